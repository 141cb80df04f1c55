"""`python -m bench.store`: the SQLite store against raw batch inserts into the same kind of file.

Each figure comes from a process of its own, on a file of its own in `--directory`, values of 1 KiB. The floor
is apsw alone: one thread, 64 rows of key and value per durable transaction, write-ahead log, FULL. Lines are
`name value unit`; ratios are to the floor of the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

VALUE = bytes(range(256)) * 4
FLOOR_BATCH = 64


def floor(path: Path, seconds: float) -> dict[str, float]:
    import apsw

    db = apsw.Connection(str(path))
    db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, key TEXT, value BLOB)")
    count = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        with db:
            rows = ((f"/registry/configmaps/default/{count + row}", VALUE) for row in range(FLOOR_BATCH))
            db.executemany("INSERT INTO t (key, value) VALUES (?, ?)", rows)
        count += FLOOR_BATCH
    spent = time.perf_counter() - start
    db.close()
    return {"floor inserts/s": count / spent}


def creates(clients: int) -> Callable[[Path, float], dict[str, float]]:
    def run(path: Path, seconds: float) -> dict[str, float]:
        import uvloop

        return uvloop.run(_creates(path, seconds, clients))

    return run


async def _creates(path: Path, seconds: float, clients: int) -> dict[str, float]:
    from controlplane.store.sqlite import open_store

    store = await open_store(path)
    times: list[float] = []
    start = time.perf_counter()

    async def client(number: int) -> None:
        count = 0
        while (begun := time.perf_counter()) - start < seconds:
            await store.create(f"/registry/configmaps/default/{number}-{count}", VALUE)
            times.append(time.perf_counter() - begun)
            count += 1

    await asyncio.gather(*(client(number) for number in range(clients)))
    spent = time.perf_counter() - start
    await store.close()
    centiles = statistics.quantiles(times, n=100)
    name = f"creates, {clients} clients"
    return {
        f"{name}: 1/s": len(times) / spent,
        f"{name}: median ms": centiles[49] * 1e3,
        f"{name}: p99 ms": centiles[98] * 1e3,
        f"{name}: RSS MiB": rss_mib(),
    }


def watching(path: Path, seconds: float) -> dict[str, float]:
    import uvloop

    return uvloop.run(_watching(path, seconds))


async def _watching(path: Path, seconds: float) -> dict[str, float]:
    """300 creates a second, 20 watches: from before a create to each watch's reader. And what reads cost."""
    from controlplane.store.model import Event
    from controlplane.store.sqlite import open_store

    store = await open_store(path)
    begun: dict[str, float] = {}
    delays: list[float] = []

    async def reader() -> None:
        async with store.watch("/registry/", await store.revision() + 1) as watch:
            while True:
                items = await watch.take()
                now = time.perf_counter()
                delays.extend(now - begun[item.record.key] for item in items if isinstance(item, Event))

    readers = [asyncio.create_task(reader()) for _ in range(20)]
    start = time.perf_counter()
    for count in range(int(300 * seconds)):
        await asyncio.sleep(max(0.0, start + count / 300 - time.perf_counter()))
        key = f"/registry/configmaps/default/{count}"
        begun[key] = time.perf_counter()
        await store.create(key, VALUE)
    for task in readers:
        task.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    centiles = statistics.quantiles(delays, n=100)
    start = time.perf_counter()
    for key in begun:
        await store.get(key)
    gets = len(begun) / (time.perf_counter() - start)
    start = time.perf_counter()
    page = await store.list("/registry/")
    listing = (time.perf_counter() - start) / len(page.records) * 2000
    await store.close()
    return {
        "event seen, 20 watches, 300/s: median ms": centiles[49] * 1e3,
        "event seen, 20 watches, 300/s: p99 ms": centiles[98] * 1e3,
        "get, one after the other: 1/s": gets,
        "list of 2,000: ms": listing * 1e3,
        "after it: RSS MiB": rss_mib(),
    }


def empty(path: Path, seconds: float) -> dict[str, float]:
    """What the store alone takes: its modules and an open, empty file."""
    before = rss_mib()
    start = time.perf_counter()

    async def main() -> float:
        from controlplane.store.sqlite import open_store

        store = await open_store(path)
        spent = time.perf_counter() - start
        await store.close()
        return spent

    spent = asyncio.run(main())
    return {"import, make and open: ms": spent * 1e3, "import, make and open: MiB": rss_mib() - before}


def rss_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


PARTS: dict[str, Callable[[Path, float], dict[str, float]]] = {
    "floor": floor,
    "empty": empty,
    "creates-1": creates(1),
    "creates-16": creates(16),
    "creates-128": creates(128),
    "watching": watching,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.store", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each part")
    parser.add_argument(
        "--directory", type=Path, default=None, help="where the files are, on the disk to measure"
    )
    parser.add_argument("--part", choices=tuple(PARTS), help="one part alone, in this process")
    options = parser.parse_args()
    if options.part:
        with tempfile.TemporaryDirectory(dir=options.directory, prefix="bench-store-") as directory:
            figures = PARTS[options.part](Path(directory) / "store.db", options.seconds)
        for name, value in figures.items():
            print(f"{name}\t{value:.4g}")
        return 0
    base = 0.0
    for part in PARTS:
        command = [sys.executable, "-m", "bench.store", "--part", part, "--seconds", str(options.seconds)]
        command += ["--directory", str(options.directory)] if options.directory else []
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for line in text.splitlines():
            name, _, figure = line.rpartition("\t")
            if part == "floor":
                base = float(figure)
            is_rate = name.startswith("creates") and name.endswith("1/s")
            ratio = f"\t{float(figure) / base:.2f} of the floor" if is_rate else ""
            print(f"{line}{ratio}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
