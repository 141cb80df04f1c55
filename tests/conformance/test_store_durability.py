"""What the SQLite engine promises about its file: kills, full disks, damage, growth, copies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import stat
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from controlplane.store import backup, compaction, writer
from controlplane.store.errors import (
    Compacted,
    Corrupt,
    Exists,
    InUse,
    NoSpace,
    StoreError,
    WrongVersion,
)
from controlplane.store.memory import MemoryStore
from controlplane.store.model import Create, Delete, Event, Operation, Progress, Store, Update
from controlplane.store.retention import Retention
from controlplane.store.schema import Limits, number, open_reader
from controlplane.store.sqlite import Settings, SqliteStore, open_store

pytestmark = pytest.mark.conformance
ROOT = Path(__file__).parent.parent.parent
WRITERS = Path(__file__).parent / "store_writers.py"
KIB = 1024


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


async def fill(store: Store, count: int, *, prefix: str = "/k/", value: bytes = b"v") -> None:
    await asyncio.gather(*(store.create(f"{prefix}{number:05}", value) for number in range(count)))


async def made(path: Path, count: int = 20) -> int:
    """A closed store with some keys; its revision."""
    store = await open_store(path)
    await fill(store, count, value=b"x" * 500)
    revision = await store.revision()
    await store.close()
    return revision


async def history(store: Store, first: int) -> list[Event]:
    events = []
    async with store.watch("", first) as watch:
        async for item in watch:
            if isinstance(item, Progress):
                break
            events.append(item)
    return events


@pytest.mark.asyncio
async def test_store_is_as_it_was_after_closing_and_opening_again(path: Path) -> None:
    store = await open_store(path)
    await store.create("/a", b"1")
    await store.update("/a", b"2", 2)
    await store.create("/b", b"", ttl=3600)
    await store.delete("/b")
    before = (await store.list(""), await history(store, 2))
    await store.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["store.db", "store.db.lock"]
    store = await open_store(path)
    assert (await store.list(""), await history(store, 2)) == before
    assert await store.create("/c", b"") == 6
    await store.close()


@pytest.mark.asyncio
async def test_only_the_owner_may_read_the_files_of_a_store(path: Path) -> None:
    store = await open_store(path)
    await store.create("/secret", b"s")
    await store.backup(path.with_name("copy"))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    await store.close()
    assert set(modes) == {"store.db", "store.db-wal", "store.db-shm", "store.db.lock", "copy"}
    assert set(modes.values()) == {0o600}


@pytest.mark.asyncio
async def test_killed_under_a_hundred_writers_it_loses_no_answered_write_and_halves_none(path: Path) -> None:
    answered: dict[str, int] = defaultdict(int)
    for _ in range(3):
        command = [sys.executable, str(WRITERS), str(path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(1500)]
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.readlines()
        assert child.returncode == -signal.SIGKILL
        for line in lines:
            name, _, count = line.rstrip("\n").partition(" ")
            answered[name] = max(answered[name], int(count))
        await check_writes(path, answered)


async def check_writes(path: Path, answered: dict[str, int]) -> None:
    store = await open_store(path)
    counts = await store.list("/count/")
    found = {record.key: record for key in "ab" for record in (await store.list(f"/{key}/")).records}
    await store.close()
    assert len(counts.records) == 100
    expected = set()
    for record in counts.records:
        name = record.key.removeprefix("/count/")
        count = int(record.value)
        # One transaction more than answered may have been made durable.
        assert answered[name] <= count <= answered[name] + 1
        answered[name] = count
        for index in range(1, count + 1):
            first, second = found[f"/a/{name}/{index}"], found[f"/b/{name}/{index}"]
            assert first.value == second.value == str(index).encode() * (int(name) * 5 + 1)
            assert first.mod_revision == second.mod_revision
            expected |= {first.key, second.key}
        assert record.mod_revision == found[f"/a/{name}/{count}"].mod_revision
    assert set(found) == expected


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "store-test", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


async def write_until_full(store: Store) -> list[str]:
    """Keys whose creation was answered before the disk was full."""
    written: list[str] = []
    for count in range(2000):
        try:
            await store.create(f"/k/{count:05}", b"x" * 4 * KIB)
        except NoSpace as full:
            assert str(full) == "cannot write to the store: the disk or the store is full"
            return written
        written.append(f"/k/{count:05}")
    raise AssertionError("the disk did not become full")


async def check_full_then_room(store: SqliteStore, written: list[str]) -> None:
    assert [record.key for record in (await store.list("/k/")).records] == written
    assert (await store.get(written[0])) is not None
    with pytest.raises(Exists):
        await store.create(written[0], b"")
    with pytest.raises(NoSpace):
        await store.create("/k/too-much", b"x" * 256 * KIB)
    assert await store.revision() == len(written) + 1
    assert len(await history(store, 2)) == len(written)


@pytest.mark.asyncio
async def test_full_disk_fails_writes_lets_reads_go_on_and_mends_with_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 1024 * KIB)
    store = await open_store(small_disk / "store.db")
    written = await write_until_full(store)
    await check_full_then_room(store, written)
    ballast.unlink()
    revision = await store.create("/k/after", b"x" * 4 * KIB)
    assert revision == len(written) + 2
    await store.close()
    store = await open_store(small_disk / "store.db")
    assert [record.key for record in (await store.list("/k/")).records] == [*written, "/k/after"]
    await store.close()


@pytest.mark.asyncio
async def test_store_at_its_own_limit_has_room_again_after_deletions_are_compacted(path: Path) -> None:
    store = await open_store(path, settings=Settings(limits=Limits(max_pages=300)))
    written = await write_until_full(store)
    await check_full_then_room(store, written)
    for key in written[:50]:
        try:
            await store.delete(key)
        except NoSpace:
            break
    await store.compact(await store.revision())
    left = len((await store.list("/k/")).records)
    assert left < len(written)
    await store.create("/k/after", b"x" * 4 * KIB)
    await store.close()


@pytest.mark.asyncio
async def test_write_too_large_for_the_room_left_does_not_fail_the_small_ones_beside_it(path: Path) -> None:
    store = await open_store(path, settings=Settings(limits=Limits(max_pages=200)))
    small = [store.create(f"/small/{number}", b"x") for number in range(10)]
    large = store.create("/large", b"x" * 1024 * KIB)
    results = await asyncio.gather(*small[:5], large, *small[5:], return_exceptions=True)
    assert isinstance(results[5], NoSpace)
    del results[5]
    assert sorted(result for result in results if isinstance(result, int)) == list(range(2, 12))
    assert [event.revision for event in await history(store, 2)] == list(range(2, 12))
    await store.close()


@pytest.mark.asyncio
async def test_second_process_is_refused_and_told_who_has_the_store(path: Path) -> None:
    store = await open_store(path)
    program = (
        "import asyncio, sys, pathlib\n"
        "from controlplane.store.sqlite import open_store\n"
        "asyncio.run(open_store(pathlib.Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f'InUse: cannot open "{path}": the process {os.getpid()} has it open' in done.stderr
    with pytest.raises(InUse):
        await open_store(path)
    await store.create("/a", b"")
    await store.close()
    store = await open_store(path)
    await store.close()


async def refused(path: Path, error: type[StoreError], words: str) -> None:
    """Opening fails with `words`, and changes no file."""
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.suffix != ".lock"}
    with pytest.raises(error, match=words):
        await open_store(path)
    after = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.suffix != ".lock"}
    assert after == before


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "it is empty, and a store never is"), (b"\0" * 8192, "it does not begin as a store does")],
)
async def test_file_without_a_header_is_refused_and_left_alone(
    path: Path, content: bytes, words: str
) -> None:
    path.write_bytes(content)
    await refused(path, Corrupt, words)


@pytest.mark.asyncio
async def test_file_cut_short_is_refused_and_left_alone(path: Path) -> None:
    await made(path)
    path.write_bytes(path.read_bytes()[:-4096])
    await refused(path, Corrupt, "damaged")


@pytest.mark.asyncio
@pytest.mark.parametrize("page", [1, 2, 3, 4])
async def test_file_with_a_damaged_page_is_refused_and_left_alone(path: Path, page: int) -> None:
    await made(path)
    content = bytearray(path.read_bytes())
    content[page * 4096 : page * 4096 + 4096] = os.urandom(4096)
    path.write_bytes(content)
    await refused(path, Corrupt, "damaged|lacks tables")


@pytest.mark.asyncio
async def test_damage_found_while_serving_is_said_and_the_rest_is_served(path: Path) -> None:
    await made(path, 200)
    content = bytearray(path.read_bytes())
    content[12 * 4096 : 13 * 4096] = b"\xff" * 4096
    path.write_bytes(content)
    store = await open_store(path, settings=Settings(limits=Limits(check_bytes=0)))
    with pytest.raises(Corrupt, match="cannot read the store: the store is damaged"):
        await store.list("/k/")
    assert await store.get("/k/00000") is not None
    await store.close()


@pytest.mark.asyncio
async def test_log_without_its_store_is_refused_and_left_alone(path: Path) -> None:
    path.with_name("store.db-wal").write_bytes(b"something")
    await refused(path, Corrupt, "it is missing, while its write-ahead log")
    assert not path.exists()


@pytest.mark.asyncio
async def test_database_of_another_program_or_a_newer_one_is_refused(path: Path) -> None:
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE t (x)")
    db.close()
    await refused(path, Corrupt, "a database of some other program")
    path.unlink()
    await made(path)
    db = apsw.Connection(str(path))
    db.execute("PRAGMA user_version = 99")
    db.close()
    await refused(path, WrongVersion, "its format is 99, and this program knows 1")


async def compacted(store: Store, revision: int) -> None:
    """Wait until the store has forgotten `revision` by itself."""
    async with asyncio.timeout(20):
        while True:
            try:
                await store.get("/k/00000", revision - 1)
            except Compacted:
                return
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_file_stays_bounded_under_churn(path: Path) -> None:
    settings = Settings(
        retention=Retention(revisions=100, seconds=0.1),
        compact_every_seconds=0.1,
        sample_every_seconds=0.02,
    )
    store = await open_store(path, settings=settings)
    value = b"x" * 2 * KIB
    await fill(store, 50, value=value)
    largest = 0
    for _ in range(25):
        before = await store.revision()
        for _ in range(4):
            await asyncio.gather(*(store.update(f"/k/{index:05}", value, 0) for index in range(50)))
            await store.create("/other", b"")
            await store.delete("/other")
        largest = max(largest, sum(file.stat().st_size for file in path.parent.iterdir()))
        await compacted(store, before)
    # 10 MiB of values were written over 0.1 MiB; a log of up to 4 MiB is copied back at a time.
    assert largest < 9000 * KIB
    await store.compact(await store.revision())
    await store.close()
    assert path.stat().st_size < 4 * 1024 * KIB
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    assert number(db, "SELECT count(*) FROM log") == number(db, "SELECT count(*) FROM live") == 50
    db.close()


@pytest.mark.asyncio
async def test_free_pages_go_back_to_the_file_system(path: Path) -> None:
    store = await open_store(path)
    await fill(store, 1000, value=b"x" * 8 * KIB)
    for part in range(0, 1000, 100):
        await store.transact([Delete(f"/k/{number:05}") for number in range(part, part + 100)])
    await store.compact(await store.revision())
    await store.close()
    assert path.stat().st_size < 3 * 1024 * KIB


@pytest.mark.asyncio
async def test_idle_store_empties_its_log(path: Path) -> None:
    store = await open_store(path, settings=Settings(idle_seconds=0.02))
    await fill(store, 100)
    wal = path.with_name("store.db-wal")
    async with asyncio.timeout(5):
        while wal.stat().st_size:
            await asyncio.sleep(0.01)
    await store.create("/more", b"")
    assert wal.stat().st_size
    assert len((await store.list("")).records) == 101
    await store.close()


@pytest.mark.asyncio
async def test_reader_that_never_ends_neither_stops_writes_nor_keeps_the_log_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WAL_CHECKPOINT_PAGES", 20)
    monkeypatch.setattr(writer, "WAL_LIMIT_PAGES", 100)
    store = await open_store(path)
    wal = path.with_name("store.db-wal")
    await store.create("/first", b"")
    reading = open_reader(path)
    reading.execute("BEGIN")
    assert number(reading, "SELECT count(*) FROM log") == 1
    await fill(store, 500, value=b"x" * 2 * KIB)
    held = wal.stat().st_size
    assert held > 500 * 2 * KIB
    assert number(reading, "SELECT count(*) FROM log") == 1
    reading.close()
    await fill(store, 300, prefix="/more/", value=b"x" * 2 * KIB)
    assert wal.stat().st_size < held / 2
    await store.close()


@pytest.mark.asyncio
async def test_compaction_cut_off_by_a_kill_is_finished_by_the_next_process(path: Path) -> None:
    store = await open_store(path)
    await store.create("/a", b"")
    await asyncio.gather(*(store.update("/a", b"", 0) for _ in range(600)))
    revision = await store.revision()
    await store.close()
    db = apsw.Connection(str(path))
    compaction.begin(db, revision)
    assert compaction.sweep(db)
    assert 100 < number(db, "SELECT count(*) FROM log") < 600
    db.close()
    store = await open_store(path)
    await store.compact(1)  # waits for the one that is under way
    with pytest.raises(Compacted):
        await store.get("/a", revision - 1)
    assert await store.revision() == revision
    await store.close()
    db = apsw.Connection(str(path))
    assert number(db, "SELECT count(*) FROM log") == 1
    db.close()


@pytest.mark.asyncio
async def test_backup_of_a_store_in_use_is_whole_and_of_one_moment(path: Path) -> None:
    copy = path.with_name("copy.db")
    store = await open_store(path)
    writing = asyncio.create_task(fill(store, 2000))
    while await store.revision() < 100:
        await asyncio.sleep(0)
    await store.backup(copy)
    await writing
    await store.close()
    restored = await open_store(copy)
    page = await restored.list("/k/")
    assert 100 <= page.revision <= 2001
    assert sorted(record.mod_revision for record in page.records) == list(range(2, page.revision + 1))
    await restored.close()


@pytest.mark.asyncio
async def test_store_may_be_backed_up_by_another_process_running_or_not(path: Path) -> None:
    copy = path.with_name("copy.db")
    store = await open_store(path)
    await store.create("/a", b"1")
    await asyncio.to_thread(backup.backup_file, path, copy)
    await store.create("/b", b"2")
    await store.close()
    restored = await open_store(copy)
    assert [record.key for record in (await restored.list("")).records] == ["/a"]
    await restored.close()
    backup.backup_file(path, copy)
    restored = await open_store(copy)
    assert [record.key for record in (await restored.list("")).records] == ["/a", "/b"]
    await restored.close()


@pytest.mark.asyncio
async def test_restored_store_goes_on_at_a_later_revision_and_tells_old_clients_to_list_anew(
    path: Path,
) -> None:
    copy = path.with_name("copy.db")
    store = await open_store(path)
    await store.create("/a", b"kept")
    await store.backup(copy)
    await store.update("/a", b"lost", 0)
    await store.create("/b", b"lost")
    with pytest.raises(InUse):
        backup.restore_file(copy, path)
    await store.close()
    assert backup.restore_file(copy, path) == 5
    store = await open_store(path)
    page = await store.list("")
    assert [(record.key, record.value, record.mod_revision) for record in page.records] == [
        ("/a", b"kept", 2)
    ]
    assert page.revision == 5
    for revision in (3, 4, 5):
        async with store.watch("", revision) as watch:
            with pytest.raises(Compacted):
                await watch.take()
    assert await store.create("/c", b"") == 6
    assert [event.revision for event in await history(store, 6)] == [6]
    await store.close()
    replaced = await open_store(backup.replaced_path(path))
    assert await replaced.revision() == 4
    await replaced.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("old", ["missing", "damaged"])
async def test_backup_replaces_a_store_that_is_lost_with_revisions_nobody_has_seen(
    path: Path, old: str
) -> None:
    copy = path.with_name("copy.db")
    revision = await made(path)
    backup.backup_file(path, copy)
    if old == "missing":
        path.unlink()
    else:
        path.write_bytes(b"\0" * 4096)
        path.with_name("store.db-wal").write_bytes(b"old log")
    assert backup.restore_file(copy, path) == revision + 1_000_000_000
    store = await open_store(path)
    assert len((await store.list("/k/")).records) == 20
    await store.close()
    if old == "damaged":
        assert backup.replaced_path(path).read_bytes() == b"\0" * 4096
        assert path.with_name("store.db.replaced-wal").read_bytes() == b"old log"


@pytest.mark.asyncio
async def test_damaged_backup_is_refused_and_changes_nothing(path: Path) -> None:
    copy = path.with_name("copy.db")
    await made(path)
    backup.backup_file(path, copy)
    content = bytearray(copy.read_bytes())
    content[-4096:] = b"\xff" * 4096
    copy.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(Corrupt):
        backup.restore_file(copy, path)
    assert path.read_bytes() == before
    assert not path.with_name("store.db.new").exists()
    assert not backup.replaced_path(path).exists()


def random_operations(source: random.Random) -> list[Operation]:
    keys = source.sample([f"/k/{number}" for number in range(6)], source.randint(1, 3))
    makers = (
        lambda key: Create(key, source.randbytes(source.randint(0, 20))),
        lambda key: Update(key, source.randbytes(source.randint(0, 20)), 0),
        Delete,
    )
    return [source.choice(makers)(key) for key in keys]


async def outcome(store: Store, operations: list[Operation]) -> object:
    try:
        return await store.transact(operations)
    except StoreError as error:
        return type(error), str(error)


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", range(6))
async def test_both_engines_agree_on_every_revision_of_a_random_history(path: Path, seed: int) -> None:
    source = random.Random(seed)
    memory = MemoryStore()
    sqlite = await open_store(path)
    compacted = 0
    for _ in range(150):
        operations = random_operations(source)
        assert await outcome(memory, operations) == await outcome(sqlite, operations)
        if source.random() < 0.03:
            compacted = source.randint(max(1, compacted), await memory.revision())
            await memory.compact(compacted)
            await sqlite.compact(compacted)
    for revision in range(max(1, compacted), await memory.revision() + 1):
        expected = await memory.list("/k/", revision=revision)
        assert await sqlite.list("/k/", revision=revision) == expected
        limited = [await store.list("/k/", limit=2, revision=revision) for store in (memory, sqlite)]
        assert limited[0] == limited[1]
        for record in expected.records:
            assert await sqlite.get(record.key, revision) == record
    assert await history(sqlite, compacted + 1) == await history(memory, compacted + 1)
    await memory.close()
    await sqlite.close()
