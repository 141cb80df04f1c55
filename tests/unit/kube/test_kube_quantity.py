"""Quantities: exact values, canonical spelling, upstream's words for what is not one."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube import quantity
from kube.quantity import Format, Quantity, QuantityError

pytestmark = pytest.mark.pure

SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-2"]


@pytest.mark.parametrize(
    ("text", "canonical", "whole", "milli"),
    [
        ("250m", "250m", 1, 250),
        ("0.5", "500m", 1, 500),
        ("1.5Gi", "1536Mi", 1610612736, 1610612736000),
        ("1024Mi", "1Gi", 2**30, 2**30 * 1000),
        ("0.5Ki", "512", 512, 512_000),
        ("0.1Gi", "107374182400m", 107374183, 107374182400),
        ("100000000", "100M", 10**8, 10**11),
        ("1e3", "1e3", 1000, 10**6),
        ("1E", "1E", 10**18, 10**21),
        ("1E3", "1e3", 1000, 10**6),
        ("-1.5k", "-1500", -1500, -1500_000),
        ("-1100m", "-1100m", -2, -1100),
        ("+1", "1", 1, 1000),
        (".5", "500m", 1, 500),
        ("5.", "5", 5, 5000),
        ("0Ki", "0", 0, 0),
        ("0.0000000001", "1n", 1, 1),
        ("1e999999999", "9223372036854775807", 2**63 - 1, (2**63 - 1) * 1000),
        ("1e-999999999", "1e-9", 1, 1),
    ],
)
def test_quantity_values_and_canonical_spelling(text: str, canonical: str, whole: int, milli: int) -> None:
    parsed = quantity.parse(text)
    assert (str(parsed), parsed.to_int(), parsed.to_milli()) == (canonical, whole, milli)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", quantity.FORMAT_ERROR),
        ("ten", quantity.FORMAT_ERROR),
        ("1 Gi", quantity.FORMAT_ERROR),
        ("1Gi\n", quantity.FORMAT_ERROR),
        ("1.2.3", quantity.NUMBER_ERROR),
        (".", quantity.NUMBER_ERROR),
        ("1KiKi", quantity.SUFFIX_ERROR),
        ("1mm", quantity.SUFFIX_ERROR),
        ("1e", quantity.SUFFIX_ERROR),
        ("1i", quantity.SUFFIX_ERROR),
        ("9" * 5000, quantity.NUMBER_ERROR),
    ],
)
def test_malformed_quantity_is_refused_in_upstreams_words(text: str, message: str) -> None:
    with pytest.raises(QuantityError) as caught:
        quantity.parse(text)
    assert str(caught.value) == message


@given(
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.sampled_from(Format),
    st.sampled_from([1, 10**3, 10**6, 10**9]),
)
def test_canonical_form_reads_back_as_the_same_amount(number: int, family: Format, scale: int) -> None:
    amount = Quantity(number * scale, family)
    again = quantity.parse(str(amount))
    assert again == amount
    # Read back without its family: 125000 of the binary one is written 125k in the decimal one, and stays so.
    assert str(quantity.parse(str(again))) == str(again)


@given(st.integers(0, 10**12), st.integers(0, 999), st.sampled_from(SUFFIXES), st.sampled_from(["", "-"]))
def test_parsed_amount_is_the_exact_product(whole: int, part: int, suffix: str, sign: str) -> None:
    text = f"{sign}{whole}.{part:03}{suffix}"
    fixed = {"": Fraction(1), "e3": Fraction(1000), "E-2": Fraction(1, 100)}
    scale = fixed.get(suffix)
    if scale is None and suffix.endswith("i"):
        scale = Fraction(1024) ** ("KMGTPE".index(suffix[0]) + 1)
    if scale is None:
        scale = Fraction(1000) ** ("num kMGTPE".index(suffix) - 3)
    exact = (Fraction(whole) + Fraction(part, 1000)) * scale * 10**9
    capped = min(-(-exact.numerator // exact.denominator), (2**63 - 1) * 10**9)
    assert abs(quantity.parse(text).nanos) == capped


@given(st.text(max_size=12))
def test_any_text_is_a_quantity_or_a_quantity_error(text: str) -> None:
    assert quantity.is_valid(text) in (True, False)


def test_sums_and_order_are_exact() -> None:
    assert quantity.parse("100m") + quantity.parse("0.2") == quantity.parse("300m")
    assert str(quantity.ZERO + quantity.parse("1Gi")) == "1Gi"
    assert quantity.parse("1Gi") > quantity.parse("1G")
    assert not quantity.parse("0")
    assert hash(quantity.parse("1000m")) == hash(quantity.parse("1"))
    assert str(quantity.from_int(2**20, Format.BINARY_SI)) == "1Mi"
    assert str(quantity.from_milli(1500)) == "1500m"
