"""Forms of klog entries; the expected lines are written by hand after klog's documented output."""

from __future__ import annotations

import json
import re

import pytest

from aio.klog import Entry, format_json, format_text, quote

pytestmark = pytest.mark.pure


def entry(message: str = "Hello", /, *, severity: str = "I", err: object = None, **values: object) -> Entry:
    return Entry(severity, 1700518500.123456, 1234, "file.py:88", message, values, err, 4)


def body(line: str) -> str:
    return line.partition("] ")[2]


def test_header_has_severity_date_time_thread_and_caller() -> None:
    line = format_text(entry())
    assert re.fullmatch(r'I\d{4} \d\d:\d\d:\d\d\.123456    1234 file\.py:88\] "Hello"', line)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("shop/web", 'k="shop/web"'),
        ('say "hi"\\', r'k="say \"hi\"\\"'),
        ("tab\tbell\a\x00\x7f", r'k="tab\tbell\a\x00\x7f"'),
        ("grüße 日本", 'k="grüße 日本"'),
        ("\u200b", r'k="\u200b"'),
        (3, "k=3"),
        (2.5, "k=2.5"),
        (True, "k=true"),
        (None, "k=<nil>"),
        (["a", "b"], 'k=["a","b"]'),
        ({"a": 1}, 'k={"a":1}'),
        (ValueError("bad"), 'k="bad"'),
        (KeyError(), 'k="KeyError"'),
        ("one\ntwo", "k=<\n\tone\n\ttwo\n >"),
        ("one\ntwo\n", "k=<\n\tone\n\ttwo\n >"),
    ],
)
def test_values_are_written_as_klog_writes_them(value: object, text: str) -> None:
    assert body(format_text(entry(k=value))) == f'"Hello" {text}'


def test_error_comes_before_the_other_values() -> None:
    line = format_text(entry("Failed", severity="E", err=OSError("disk"), pod="a/b"))
    assert body(line) == '"Failed" err="disk" pod="a/b"'


def test_quote_escapes_line_breaks_in_messages() -> None:
    assert quote("a\nb\r") == r'"a\nb\r"'


def test_json_has_milliseconds_caller_verbosity_and_values() -> None:
    record = json.loads(format_json(entry(pod="a/b", n=3)))
    assert record == {
        "ts": 1700518500123.456,
        "caller": "file.py:88",
        "msg": "Hello",
        "v": 4,
        "pod": "a/b",
        "n": 3,
    }


def test_json_error_has_err_and_no_verbosity() -> None:
    record = json.loads(format_json(entry("Failed", severity="E", err=OSError("disk"))))
    assert record["err"] == "disk"
    assert "v" not in record
