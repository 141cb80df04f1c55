"""The agent's own oom_score_adj: the kernel must kill pods before their agent."""

from __future__ import annotations

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
