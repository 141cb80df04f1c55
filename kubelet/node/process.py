"""The agent as a process: its OOM score, its garbage collector."""

from __future__ import annotations

import gc
from pathlib import Path

from aio import log as aio_log

log = aio_log.get(__name__)


def adjust_own_oom_score(value: int, path: Path = Path("/proc/self/oom_score_adj")) -> bool:
    """Set oom_score_adj of this process; False on a host that does not let us (no CAP_SYS_RESOURCE)."""
    try:
        path.write_text(str(value))
    except OSError as error:
        log.warning("Could not adjust the agent's own OOM score", value=value, err=error)
        return False
    return True


def freeze_garbage_collector() -> None:
    """Modules and caches made at start are never garbage: keep full collections from walking them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
