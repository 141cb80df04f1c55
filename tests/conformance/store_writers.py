"""A process that a test kills: a hundred writers in the store of argv[1], each answered write told on stdout.

Writer W's transaction N creates /a/W/N and /b/W/N with the same value and sets /count/W to N. Its line is
"W N", written after the store has answered.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from controlplane.store.model import Create, Operation, Update
from controlplane.store.sqlite import SqliteStore, open_store

WRITERS = 100


async def write_for_ever(store: SqliteStore, writer: int) -> None:
    count = await store.get(f"/count/{writer}")
    number = int(count.value) if count is not None else 0
    while True:
        number += 1
        text = str(number).encode()
        value = text * (writer * 5 + 1)
        counter: Operation = (
            Update(f"/count/{writer}", text, 0) if number > 1 else Create(f"/count/{writer}", text)
        )
        await store.transact(
            [Create(f"/a/{writer}/{number}", value), counter, Create(f"/b/{writer}/{number}", value)]
        )
        os.write(1, f"{writer} {number}\n".encode())


async def main() -> None:
    store = await open_store(Path(sys.argv[1]))
    await asyncio.gather(*(write_for_ever(store, writer) for writer in range(WRITERS)))


asyncio.run(main())
