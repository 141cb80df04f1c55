from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator

import pytest

import aio.log

pytestmark = pytest.mark.pure


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers = list(root.handlers)
    yield io.StringIO()
    aio.log.configure()
    root.handlers = handlers


def test_entry_names_the_file_and_line_of_its_caller(stream: io.StringIO) -> None:
    aio.log.configure(stream=stream)
    aio.log.get("kubelet.worker").info("Syncing pod", pod="shop/web")
    line = stream.getvalue()
    assert "test_aio_log.py:" in line
    assert line.endswith('] "Syncing pod" pod="shop/web"\n')


def test_verbose_entries_appear_at_their_level_and_above(stream: io.StringIO) -> None:
    log = aio.log.get("kubelet.sometimes")
    aio.log.configure(3, stream=stream)
    log.v(3).info("shown")
    log.v(4).info("hidden")
    assert not log.v(4) and log.v(3)
    assert "shown" in stream.getvalue() and "hidden" not in stream.getvalue()
    aio.log.configure(4, stream=stream)
    log.v(4).info("hidden no more")
    assert "hidden no more" in stream.getvalue()


def test_vmodule_raises_one_module_by_name_or_path(stream: io.StringIO) -> None:
    aio.log.configure(1, {"work*": 4, "kubelet/volumes/*": 5}, stream=stream)
    assert aio.log.get("kubelet.worker").is_enabled(4)
    assert not aio.log.get("kubelet.worker").is_enabled(5)
    assert aio.log.get("kubelet.volumes.mount").is_enabled(5)
    assert not aio.log.get("kubelet.status").is_enabled(2)


def test_vmodule_text_is_parsed_or_refused_by_part() -> None:
    assert aio.log.parse_vmodule("worker=4, a/*=2,") == {"worker": 4, "a/*": 2}
    with pytest.raises(ValueError, match='"worker" must be pattern=N'):
        aio.log.parse_vmodule("worker")
    with pytest.raises(ValueError, match='"=3" must be pattern=N'):
        aio.log.parse_vmodule("=3")


def test_json_lines_are_one_object_each(stream: io.StringIO) -> None:
    aio.log.configure(format="json", stream=stream)
    aio.log.get("x").error("Failed", err=OSError("disk\nfull"), pod="a/b")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["err"] == "disk\nfull"


def test_journal_gets_a_priority_on_every_line(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as reader, os.fdopen(write_end, "w") as writer:
        found = os.fstat(writer.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        aio.log.configure(stream=writer)
        aio.log.get("x").warning("Careful", text="a\nb")
        lines = [reader.readline() for _ in range(4)]
    assert all(line.startswith("<4>") for line in lines)


def test_other_stream_than_the_journal_gets_no_priority(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    aio.log.configure(stream=stream)
    aio.log.get("x").info("plain")
    assert stream.getvalue().startswith("I")


def test_standard_library_warnings_pass_through_and_chatter_does_not(stream: io.StringIO) -> None:
    aio.log.configure(stream=stream)
    logging.getLogger("asyncio").warning("slow %s", "callback")
    logging.getLogger("asyncio").info("chatter")
    assert stream.getvalue().startswith("W")
    assert '"slow callback" logger="asyncio"' in stream.getvalue()
    assert "chatter" not in stream.getvalue()
