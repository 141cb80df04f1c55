"""Tables, ages and sizes as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cri.enums import ContainerState
from cri.types import ContainerMetadata, ContainerStatus, KeyValue
from pykubelet.runtime.documents import document, rfc3339, unfold
from pykubelet.runtime.listing import split_tag
from pykubelet.tables import age, parse_age, size, table

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("seconds", "text"),
    # The table of duration.HumanDuration's own behaviour, from observing kubectl.
    [
        (-5, "<invalid>"), (0, "0s"), (119, "119s"), (120, "2m"), (190, "3m10s"), (600, "10m"),
        (10799, "179m"), (10800, "3h"), (11100, "3h5m"), (28800, "8h"), (172799, "47h"), (172800, "2d"),
        (180000, "2d2h"), (691200, "8d"), (63072000, "2y"), (63158400, "2y1d"),
    ],
)  # fmt: skip
def test_ages_are_written_as_kubectl_writes_them(seconds: int, text: str) -> None:
    assert age(seconds) == text


@given(st.integers(min_value=0, max_value=10**9))
def test_an_age_is_never_long(seconds: int) -> None:
    assert 2 <= len(age(seconds)) <= 7


def test_durations_are_read_in_parts_and_nonsense_is_refused() -> None:
    assert parse_age("1h30m") == 5400
    assert parse_age("2d") == 172800
    assert parse_age("250ms") == 0.25
    for wrong in ("", "5", "m5", "5 m", "-5m", "5y"):
        with pytest.raises(ValueError, match="not a duration"):
            parse_age(wrong)


def test_columns_are_as_wide_as_their_widest_cell_and_lines_end_clean() -> None:
    assert table(("A", "LONGER", "Z"), [("wide cell", "x", ""), ("y", "z", "end")]) == (
        "A           LONGER   Z\nwide cell   x\ny           z        end\n"
    )


def test_sizes_are_decimal() -> None:
    assert [size(n) for n in (0, 999, 2140000, 1_050_000_000)] == ["0B", "999B", "2.14MB", "1.05GB"]


def test_a_registry_port_is_no_tag() -> None:
    assert split_tag("localhost:5000/a/b") == ("localhost:5000/a/b", "<none>")
    assert split_tag("localhost:5000/a/b:1") == ("localhost:5000/a/b", "1")


def test_cri_values_become_documents_with_their_cri_names() -> None:
    status = ContainerStatus(
        id="x",
        metadata=ContainerMetadata("web", 2),
        state=ContainerState.CONTAINER_RUNNING,
        started_at=1_600_000_000_000_000_007,
    )
    shown = document(status)
    assert shown["metadata"] == {"name": "web", "attempt": 2}
    assert shown["state"] == "CONTAINER_RUNNING"
    assert shown["startedAt"] == "2020-09-13T12:26:40.000000007Z"
    assert shown["finishedAt"] == ""
    assert document(KeyValue("A", b"\xff")) == {"key": "A", "value": "�"}


def test_verbose_info_is_opened_where_it_is_json() -> None:
    assert unfold({"info": '{"pid": 7}', "text": "plain"}) == {"info": {"pid": 7}, "text": "plain"}
    assert rfc3339(0) == ""
