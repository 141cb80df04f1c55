"""Ten thousand generated pods against the fake runtime: the long form of tests/sim/test_core_specs.py.

The work is shared by as many processes as there are processors, since nothing in it waits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.sim.test_core_specs import check_tally

pytestmark = pytest.mark.sim

SPECS = 10_000
ROOT = Path(__file__).parent.parent
SHARE = """
import json, sys
import aio.log
from tests.sim.test_core_specs import run_all

aio.log._emit = lambda _entry: None
print(json.dumps(run_all(int(sys.argv[1]))))
"""


@pytest.mark.timeout(400)
def test_ten_thousand_generated_pods_are_run_or_refused_with_a_reason(tmp_path: Path) -> None:
    shares = min(4, os.cpu_count() or 1)
    each = -(-SPECS // shares)
    shm = Path("/dev/shm")
    environment = {**os.environ, "TMPDIR": str(shm if os.access(shm, os.W_OK) else tmp_path)}
    command = [sys.executable, "-c", SHARE, str(each)]
    started = [
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(shares)
    ]
    tally: Counter[str] = Counter()
    for process in started:
        output, errors = process.communicate()
        assert process.returncode == 0, errors[-20_000:]
        tally.update(json.loads(output))
    check_tally(tally, SPECS)
