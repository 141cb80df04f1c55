"""YAML as Go's sigs.k8s.io/yaml reads it, JSON beside it, and bounds on what a text may cost."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from hypothesis import given

from kube import json_text, yaml
from kube.errors import InvalidObject
from tests import strategies

pytestmark = pytest.mark.pure


def value_of(text: str) -> Any:
    (document,) = yaml.load_all(text)
    return document.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", True), ("Off", False), ("y", True), ("N", False), ("true", True), ("tRUE", "tRUE"),
        ("~", None), ("Null", None), ("''", ""),
        ("0777", 511), ("0o777", 511), ("0x1F", 31), ("0b11", 3), ("08", 8), ("1_000", 1000), ("-0", 0),
        ("1e3", 1000), ("1.0", 1), ("1.5", 1.5), (".5", 0.5), ("+7", 7),
        ("18446744073709551615", 2**64 - 1), ("18446744073709551616", 2**64), ("9" * 500, "9" * 500),
        ("12:30:45", "12:30:45"), ("2026-11-20", "2026-11-20"), ("1.2.3", "1.2.3"), ("-", None),
        ("'5'", "5"), ("!!str 5", "5"), ("!!int '5'", 5), ("! 5", "5"), ("!own 7", "7"), ("!!float 1", 1),
        ("!!binary aGk=", "hi"), ("!!bool yes", True), ("0x", "0x"), ("1__0", 10), (".", "."),
    ],
)  # fmt: skip
def test_scalars_read_as_go_reads_them(text: str, expected: Any) -> None:
    if text == "-":
        assert value_of("a:\n-") == {"a": [None]}
    else:
        found = value_of(f"a: {text}")["a"]
        assert (found, type(found)) == (expected, type(expected))


def test_map_keys_become_strings() -> None:
    assert value_of("1: a\ntrue: b\n1.5: c\nnull: d\n0x10: e\n") == {
        "1": "a", "true": "b", "1.5": "c", "null": "d", "16": "e",
    }  # fmt: skip


def test_duplicate_keys_are_reported_with_both_lines_and_the_first_stands() -> None:
    (document,) = yaml.load_all("a: 1\nb:\n  c: 2\n  d: 3\n  'c': 4\n")
    assert document.value == {"a": 1, "b": {"c": 2, "d": 3}}
    assert [error.located("f") for error in document.errors] == [
        'f:5: duplicate field "b.c" (first on line 3)'
    ]


def test_lines_of_every_field_are_known() -> None:
    (_, document) = yaml.load_all("x: 1\n---\na:\n  b.c: 1\n  d:\n  - e: 1\n  - 2\n")
    assert document.lines["a"] == 3
    assert document.lines["a.b.c"] == document.lines["a[b.c]"] == 4
    assert document.lines["a.d[0].e"] == 6
    assert document.lines["a.d[1]"] == 7


def test_merge_keys_fill_in_what_is_not_there() -> None:
    text = "base: &b {p: 1, q: 2}\nmore: &m {q: 5, r: 6}\nuse:\n  q: 3\n  <<: [*b, *m]\n"
    assert value_of(text)["use"] == {"p": 1, "q": 3, "r": 6}
    with pytest.raises(InvalidObject, match="map merge requires map"):
        yaml.load_all("a:\n  <<: 5\n")


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: b: c", 1, "mapping values are not allowed"),
        ("a: 1\nb: *x", 2, 'alias "x" has no anchor'),
        ("a: &x\n  b: *x", 2, 'alias "x" has no anchor'),
        ("? [a]\n: b", 1, "a map key must be a plain value"),
        ("a: !!int x", 1, "not !!int"),
        ("a: !!int yes", 1, "not !!int"),
        ("a: !!binary '%'", 1, "not base64"),
        ("[" * 100_000, 1, "nesting is deeper than 100"),
        ("a:\n" + "- " * 200 + "1", 2, "nesting is deeper than 100"),
        ('{"a": ' * 5000, 1, "nesting is deeper than 100"),
        ('{"a": 1\n "b": 2}', 2, "a comma or '}' is expected"),
        ('{"a": 1}\n{', 2, "there is more after the end"),
        ('{"a" 1}', 1, "a colon is expected"),
        ("a: 1e999", 1, "'1e999' is no number that JSON has"),
        ("a:\n- .nan", 2, "'.nan' is no number that JSON has"),
        ("a: \x00", 1, "cannot read YAML"),
        (b"a: 1\nb: \x80", 2, "byte 0x80 is not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str | bytes, line: int, reason: str) -> None:
    with pytest.raises(InvalidObject) as caught:
        yaml.load_all(text)
    (error,) = caught.value.errors
    assert reason in error.message
    assert error.line == line


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": }', "a value is expected"),
        ('{"a": 1e999}', "a number is too large"),
        ('{"a": "\n"}', "invalid control character"),
        ('{"a": 01}', "a comma or '}' is expected"),
        ('{"a": 1,}', "a field name in double quotes is expected"),
        ('["a"', "a comma or ']' is expected"),
        ("nul", "a value is expected"),
        ("", "a value is expected"),
        ("9" * 500, "a number is too long"),
    ],
)
def test_json_is_strict(text: str, reason: str) -> None:
    with pytest.raises(InvalidObject, match=f"cannot read JSON: because {re.escape(reason)}"):
        json_text.load(text)


def test_aliases_that_grow_without_bounds_are_refused_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    started = time.process_time()
    with pytest.raises(InvalidObject, match="aliases expand to too many values"):
        yaml.load_all("\n".join(lines))
    assert time.process_time() - started < 1


def test_json_is_read_with_tabs_duplicates_and_escapes() -> None:
    (document,) = yaml.load_all(
        '{\n\t"a": "\\/\\u00e9\\ud83d\\ude00\\ud800",\n\t"b": [1, -2.5, true, null],\n\t"a": 2}\n'
    )
    assert document.value == {"a": "/é😀\ufffd", "b": [1, -2.5, True, None]}
    assert [error.line for error in document.errors] == [4]
    assert document.lines["b"] == 3


def test_flow_style_yaml_that_is_not_json_is_yaml() -> None:
    assert value_of("{a: 1, b: [x, y]}") == {"a": 1, "b": ["x", True]}


def test_byte_order_mark_and_empty_documents_are_skipped() -> None:
    documents = yaml.load_all(b"\xef\xbb\xbf---\n# nothing\n---\na: 1\n...\n---\n")
    assert [document.value for document in documents] == [{"a": 1}]


@given(strategies.json_values())
def test_json_text_reads_back_as_the_standard_library_reads_it(value: Any) -> None:
    text = json.dumps(value)
    read = json_text.load(text).value
    assert read == json.loads(text) or "\\ud" in text


@pytest.mark.parametrize(("text", "line"), [("a: é\nb: 1\nc: \0x\n", 3), ("a: 1\n\x01", 2)])
def test_control_characters_are_refused_with_their_line(text: str, line: int) -> None:
    with pytest.raises(InvalidObject) as refused:
        yaml.load_all(text)
    (error,) = refused.value.errors
    assert error.line == line
    assert "control characters are not allowed (character U+000" in error.message
