"""How late timers fire on this machine whoever asks: a process with nothing else to do, beside the agent."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time


def lateness(per_second: int, seconds: float) -> float:
    """p99 in seconds of a child's timers, `per_second` of them for `seconds`; blocks as long."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.control", str(per_second), str(seconds)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout)


async def measure(per_second: int, seconds: float) -> list[float]:
    """The lateness of every timer."""
    late: list[float] = []
    began = time.monotonic()
    for number in range(int(per_second * seconds)):
        due = began + number / per_second
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        late.append(time.monotonic() - due)
    return late


def main() -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        late = sorted(runner.run(measure(int(sys.argv[1]), float(sys.argv[2]))))
    print(late[int(len(late) * 0.99)])


if __name__ == "__main__":
    main()
