"""Whom a certificate names, read from its DER (pure).

For whoever got a certificate that TLS has verified already and needs nothing but its subject: `cryptography`
costs 9 MiB to import. Mechanism: X.509's fixed order of fields (RFC 5280 4.1) is walked to the subject, whose
common name and organizations are text; nothing else is looked into, nothing is verified.
"""

from __future__ import annotations

from collections.abc import Iterator

from kube.pki import BadCertificate, Subject

_SEQUENCE = 0x30
_SET = 0x31
_OID = 0x06
_VERSION = 0xA0
_COMMON_NAME = bytes((0x55, 0x04, 0x03))
_ORGANIZATION = bytes((0x55, 0x04, 0x0A))
_MAX_LENGTH_BYTES = 4
# X.680: UTF8String, NumericString, PrintableString, TeletexString (read as Latin-1, as Go does), IA5String,
# BMPString.
_TEXTS = {12: "utf-8", 18: "ascii", 19: "ascii", 20: "latin-1", 22: "ascii", 30: "utf-16-be"}


def subject_of(der: bytes) -> Subject:
    """Common name (the last one, where there are several: Go's rule) and organizations, in their order.
    BadCertificate when it cannot be read."""
    try:
        (certificate,) = _elements(der)
        signed = next(_elements(_inside(certificate, _SEQUENCE)))
        fields = list(_elements(_inside(signed, _SEQUENCE)))
        if fields and fields[0][0] == _VERSION:
            del fields[0]
        # serial number, signature, issuer, validity, subject
        names = list(_names(_inside(fields[4], _SEQUENCE)))
    except (ValueError, IndexError, StopIteration) as error:
        raise BadCertificate(f"cannot read a certificate's subject: because {error}") from error
    common = [text for oid, text in names if oid == _COMMON_NAME]
    organizations = tuple(text for oid, text in names if oid == _ORGANIZATION)
    return Subject(common[-1] if common else "", organizations)


def _names(subject: bytes) -> Iterator[tuple[bytes, str]]:
    """Type and text of each attribute that is one of the two."""
    for several in _elements(subject):
        for one in _elements(_inside(several, _SET)):
            oid, value = _elements(_inside(one, _SEQUENCE))
            if oid[0] != _OID:
                raise ValueError("an attribute has no type")
            if oid[1] in (_COMMON_NAME, _ORGANIZATION):
                if value[0] not in _TEXTS:
                    raise ValueError(f"a name is of type {value[0]}, not text")
                yield oid[1], value[1].decode(_TEXTS[value[0]])


def _inside(element: tuple[int, bytes], tag: int) -> bytes:
    if element[0] != tag:
        raise ValueError(f"there is an element of type {element[0]} where one of type {tag} belongs")
    return element[1]


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element that `data` is made of."""
    at = 0
    while at < len(data):
        tag, first = data[at], data[at + 1]
        at += 2
        length = first
        if first & 0x80:
            size = first & 0x7F
            if not 0 < size <= _MAX_LENGTH_BYTES:
                raise ValueError("the length of an element is not definite")
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        if at + length > len(data):
            raise ValueError("an element is cut short")
        yield tag, data[at : at + length]
        at += length
