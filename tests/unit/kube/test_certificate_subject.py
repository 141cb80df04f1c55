"""Subjects read from DER say what the certificate library says."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from kube import pki
from kube.certificate_subject import subject_of
from kube.pki import BadCertificate, Subject, Usage

pytestmark = pytest.mark.pure

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CA = pki.make_ca("ca", NOW)
KEY = ec.generate_private_key(ec.SECP256R1())
CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])
# X.520's upper bound is 64, which the library counts in bytes.
NAMES = st.text(CHARACTERS, min_size=1, max_size=60).filter(lambda text: len(text.encode()) <= 64)


def der_of(name: x509.Name) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "another")]))
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


@given(NAMES, st.lists(NAMES, max_size=3))
def test_any_subject_is_read(common_name: str, organizations: list[str]) -> None:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, text) for text in organizations]
    der = der_of(x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
    assert subject_of(der) == Subject(common_name, tuple(organizations))


def test_a_node_s_certificate_is_the_node_s() -> None:
    subject = Subject("system:node:n1", ("system:nodes",))
    pair = pki.issue(CA, subject, Usage.CLIENT, NOW)
    assert subject_of(ssl.PEM_cert_to_DER_cert(pair.certificate.decode())) == subject


def test_other_attributes_and_kinds_of_text_are_no_trouble() -> None:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.COMMON_NAME, "first"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "printable", _ASN1Type.PrintableString),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "wide ü", _ASN1Type.BMPString),
            x509.NameAttribute(NameOID.COMMON_NAME, "last", _ASN1Type.IA5String),
        ]
    )
    assert subject_of(der_of(name)) == Subject("last", ("printable", "wide ü"))
    assert subject_of(der_of(x509.Name([]))) == Subject("")
    both = x509.RelativeDistinguishedName(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "o"),
            x509.NameAttribute(NameOID.COMMON_NAME, "c"),
        ]
    )
    assert subject_of(der_of(x509.Name([both]))) == Subject("c", ("o",))


DER = der_of(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]))


@pytest.mark.parametrize("der", [b"", b"?", b"\x30", b"\x30\x80", b"\x30\x85\x00", b"\x02\x01\x00", DER[:-1]])
def test_what_is_no_certificate_is_refused(der: bytes) -> None:
    with pytest.raises(BadCertificate):
        subject_of(der)


@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_a_damaged_certificate_is_refused_or_names_somebody(at: int, value: int) -> None:
    damaged = bytearray(DER)
    damaged[at] = value
    try:
        found = subject_of(bytes(damaged))
    except BadCertificate:
        return
    assert isinstance(found.common_name, str)
