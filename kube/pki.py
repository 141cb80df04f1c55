"""Certificates: a CA, serving and client certificates, signing requests, and what a certificate says.

Everything is a value: PEM bytes in, PEM bytes out, `now` as an argument; `kube.pki_files` keeps them on disk.
Keys are ECDSA P-256, as kubelet's own requests use. `cryptography` costs 9 MiB and 33 ms to import, and is
imported by the first call.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from aio.errors import Rejected, cannot

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

# A clock that is a little behind must not reject what was just made (the CSR signer's 5 minutes).
BACKDATE = timedelta(minutes=5)
# kubeadm's lifetimes
CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
# certificate.Manager rotates between 70 % and 90 % of the life.
RENEW_FROM = 0.7
RENEW_SPREAD = 0.2


class BadCertificate(Rejected):
    """Bytes that are no certificate, key or request, or that do not belong together."""


class Usage(Enum):
    """What a certificate may be used for; the values are extended key usages."""

    SERVING = ("serverAuth",)
    CLIENT = ("clientAuth",)
    BOTH = ("serverAuth", "clientAuth")


@dataclass(frozen=True, slots=True)
class Subject:
    """Kubernetes reads the common name as the user and the organizations as groups. `hosts` are DNS names and
    IP addresses."""

    common_name: str
    organizations: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate (chain) and its private key, PEM."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Pair(…)"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a certificate says. Times are aware, in UTC; `serial` is unique within its issuer."""

    subject: Subject
    issuer: str
    serial: int
    not_before: datetime
    not_after: datetime
    is_ca: bool
    usages: frozenset[str]
    public_key_hash: str

    def renew_at(self, jitter: float) -> datetime:
        """When to replace it: at 70 to 90 % of its life, by `jitter` in [0, 1]."""
        share = RENEW_FROM + RENEW_SPREAD * jitter
        return self.not_before + (self.not_after - self.not_before) * share


def make_key() -> bytes:
    """A fresh ECDSA P-256 private key, PKCS#8 PEM."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return _key_pem(ec.generate_private_key(ec.SECP256R1()))


def public_key(key: bytes) -> bytes:
    """The public half of a private key, PEM (what verifies service-account tokens)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return _load_key(key).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def make_ca(common_name: str, now: datetime, *, lifetime: timedelta = CA_LIFETIME) -> Pair:
    """A self-signed certificate authority that signs leaf certificates only."""
    from cryptography import x509

    key = make_key()
    name = _name(Subject(common_name))
    builder = _builder(name, name, _load_key(key).public_key(), now, lifetime)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(is_ca=True), critical=True)
    return Pair(_signed(builder, _load_key(key)), key)


def issue(
    ca: Pair, subject: Subject, usage: Usage, now: datetime, *, lifetime: timedelta = LEAF_LIFETIME
) -> Pair:
    """A certificate with a key of its own, signed by `ca`; it does not outlive the CA."""
    key = make_key()
    certificate = _sign_leaf(ca, _load_key(key).public_key(), subject, usage.value, now, lifetime)
    return Pair(certificate, key)


def make_request(key: bytes, subject: Subject) -> bytes:
    """A certificate signing request, PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(subject))
    if subject.hosts:
        builder = builder.add_extension(_alternative_names(subject.hosts), critical=False)
    return builder.sign(_load_key(key), hashes.SHA256()).public_bytes(Encoding.PEM)


def read_request(request: bytes) -> Subject:
    """Who asks, and for which hosts. BadCertificate when it is no request, or not signed by its own key."""
    found = _load_request(request)
    return Subject(_attribute(found.subject, "CN"), _attributes(found.subject, "O"), _hosts(found.extensions))


def sign_request(
    ca: Pair, request: bytes, usages: Sequence[str], now: datetime, *, lifetime: timedelta = LEAF_LIFETIME
) -> bytes:
    """The certificate for a request, with its subject and hosts as they are: whoever approves checks them.
    `usages` are extended key usages ("clientAuth", "serverAuth")."""
    found = _load_request(request)
    return _sign_leaf(ca, found.public_key(), read_request(request), usages, now, lifetime)


def read_certificate(certificate: bytes) -> Facts:
    """What the first certificate of a PEM chain says."""
    from cryptography import x509

    found = _load_certificate(certificate)
    try:
        is_ca = found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_ca = False
    return Facts(
        subject=Subject(
            _attribute(found.subject, "CN"), _attributes(found.subject, "O"), _hosts(found.extensions)
        ),
        issuer=_attribute(found.issuer, "CN"),
        serial=found.serial_number,
        not_before=found.not_valid_before_utc,
        not_after=found.not_valid_after_utc,
        is_ca=is_ca,
        usages=_usages(found.extensions),
        public_key_hash=_key_hash(found),
    )


def public_key_hash(certificate: bytes) -> str:
    """`sha256:HEX` of the public key, by which a joining node knows the CA (kubeadm's pubkeypin)."""
    return _key_hash(_load_certificate(certificate))


def why_replace(
    pair: Pair, ca_certificate: bytes, wanted: Subject, usage: Usage, now: datetime, *, jitter: float = 0.0
) -> str:
    """Why a certificate on disk must be made anew: a sentence's end, or "" when it is good."""
    try:
        facts = read_certificate(pair.certificate)
        belongs = _load_certificate(pair.certificate).public_key() == _load_key(pair.key).public_key()
        is_signed = is_issued_by(pair.certificate, ca_certificate)
    except BadCertificate as error:
        return f"it cannot be read ({error})"
    missing = [host for host in wanted.hosts if host not in facts.subject.hosts]
    if not belongs:
        return "its key is another one's"
    if not is_signed:
        return "another authority signed it"
    if (facts.subject.common_name, set(facts.subject.organizations)) != (
        wanted.common_name,
        set(wanted.organizations),
    ):
        return f'it is for "{facts.subject.common_name}"'
    if missing:
        return f"it does not name {', '.join(missing)}"
    if not facts.usages >= set(usage.value):
        return f"it may not be used for {', '.join(usage.value)}"
    if now >= facts.renew_at(jitter):
        return f"it ends at {facts.not_after:%Y-%m-%dT%H:%M:%SZ}"
    return ""


def is_issued_by(certificate: bytes, ca_certificate: bytes) -> bool:
    """Whether the CA's key signed the certificate."""
    from cryptography.exceptions import InvalidSignature

    try:
        _load_certificate(certificate).verify_directly_issued_by(_load_certificate(ca_certificate))
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _sign_leaf(
    ca: Pair, key: Any, subject: Subject, usages: Iterable[str], now: datetime, lifetime: timedelta
) -> bytes:
    from cryptography import x509

    authority = _load_certificate(ca.certificate)
    left = authority.not_valid_after_utc - now
    builder = _builder(_name(subject), authority.subject, key, now, min(lifetime, left))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(is_ca=False), critical=True)
    purposes = _purposes()
    unknown = [usage for usage in usages if usage not in purposes]
    if unknown:
        raise BadCertificate(cannot("sign a certificate", f"because usage {unknown[0]!r} is unknown"))
    extended = x509.ExtendedKeyUsage([purposes[usage] for usage in usages])
    builder = builder.add_extension(extended, critical=False)
    from_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())  # type: ignore[arg-type]
    builder = builder.add_extension(from_key, critical=False)
    if subject.hosts:
        builder = builder.add_extension(_alternative_names(subject.hosts), critical=False)
    return _signed(builder, _load_key(ca.key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Any, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True, key_encipherment=not is_ca, key_cert_sign=is_ca, crl_sign=is_ca,
        content_commitment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip


def _purposes() -> dict[str, x509.ObjectIdentifier]:
    from cryptography.x509.oid import ExtendedKeyUsageOID

    return {"serverAuth": ExtendedKeyUsageOID.SERVER_AUTH, "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH}


def _name(subject: Subject) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, text) for text in subject.organizations]
    try:
        return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, subject.common_name)])
    except ValueError as error:
        raise BadCertificate(cannot(f'name "{subject.common_name}"', f"because {error}")) from error


def _alternative_names(hosts: Iterable[str]) -> x509.SubjectAlternativeName:
    from cryptography import x509

    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return x509.SubjectAlternativeName(names)


def _hosts(extensions: x509.Extensions) -> tuple[str, ...]:
    from cryptography import x509

    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def _usages(extensions: x509.Extensions) -> frozenset[str]:
    from cryptography import x509

    try:
        found = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return frozenset()
    names = {identifier: name for name, identifier in _purposes().items()}
    return frozenset(names.get(identifier, identifier.dotted_string) for identifier in found)


def _attributes(name: x509.Name, short: str) -> tuple[str, ...]:
    from cryptography.x509.oid import NameOID

    identifier = {"CN": NameOID.COMMON_NAME, "O": NameOID.ORGANIZATION_NAME}[short]
    return tuple(str(attribute.value) for attribute in name.get_attributes_for_oid(identifier))


def _attribute(name: x509.Name, short: str) -> str:
    return next(iter(_attributes(name, short)), "")


def _key_hash(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    body = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_certificate(certificate: bytes) -> x509.Certificate:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        raise BadCertificate(cannot("read a certificate", f"because {error}")) from error


def _load_request(request: bytes) -> x509.CertificateSigningRequest:
    from cryptography import x509

    try:
        found = x509.load_pem_x509_csr(request)
    except ValueError as error:
        raise BadCertificate(cannot("read a certificate request", f"because {error}")) from error
    if not found.is_signature_valid:
        raise BadCertificate(cannot("use a certificate request", "because its signature is wrong"))
    return found


def _load_key(key: bytes) -> ec.EllipticCurvePrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadCertificate(cannot("read a private key", f"because {error}")) from error
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise BadCertificate(cannot("use a private key", "because it is not an elliptic-curve key"))
    return found
