"""Certificates as values and on disk, checked with OpenSSL's own verdict where there is one."""

from __future__ import annotations

import ssl
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kube import pki, pki_files
from kube.pki import BadCertificate, Pair, Subject, Usage
from kube.pki_files import PairFiles

pytestmark = pytest.mark.pure

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SERVER = Subject("kube-apiserver", hosts=("kubernetes", "kubernetes.default.svc", "10.96.0.1", "::1"))
ADMIN = Subject("kubernetes-admin", ("system:masters",))


@pytest.fixture(scope="module")
def ca() -> Pair:
    return pki.make_ca("kubernetes", NOW)


def test_ca_signs_leaves_only_and_says_what_it_is(ca: Pair) -> None:
    facts = pki.read_certificate(ca.certificate)
    assert facts.is_ca
    assert (facts.subject.common_name, facts.issuer) == ("kubernetes", "kubernetes")
    assert facts.not_before == NOW - timedelta(minutes=5)
    assert facts.not_after == NOW + timedelta(days=3650)
    assert pki.is_issued_by(ca.certificate, ca.certificate)


def test_certificate_says_user_groups_hosts_and_usage(ca: Pair) -> None:
    admin = pki.read_certificate(pki.issue(ca, ADMIN, Usage.CLIENT, NOW).certificate)
    assert admin.subject == ADMIN
    assert (admin.usages, admin.is_ca, admin.issuer) == (frozenset({"clientAuth"}), False, "kubernetes")
    server = pki.read_certificate(pki.issue(ca, SERVER, Usage.SERVING, NOW).certificate)
    assert server.subject.hosts == SERVER.hosts
    assert server.usages == {"serverAuth"}
    assert server.serial != admin.serial


def test_several_groups_keep_their_order(ca: Pair) -> None:
    subject = Subject("u", ("b", "a", "c"))
    assert pki.read_certificate(pki.issue(ca, subject, Usage.BOTH, NOW).certificate).subject == subject


def test_certificate_does_not_outlive_its_authority() -> None:
    short = pki.make_ca("short", NOW, lifetime=timedelta(days=10))
    facts = pki.read_certificate(pki.issue(short, ADMIN, Usage.CLIENT, NOW).certificate)
    assert facts.not_after == NOW + timedelta(days=10)


def test_renewal_is_due_between_70_and_90_percent_of_the_life(ca: Pair) -> None:
    pair = pki.issue(ca, ADMIN, Usage.CLIENT, NOW, lifetime=timedelta(days=100, minutes=-5))
    facts = pki.read_certificate(pair.certificate)
    start = facts.not_before
    assert facts.renew_at(0.0) == start + timedelta(days=70)
    assert facts.renew_at(1.0) == start + timedelta(days=90)
    assert pki.why_replace(pair, ca.certificate, ADMIN, Usage.CLIENT, start + timedelta(days=69)) == ""
    late = pki.why_replace(pair, ca.certificate, ADMIN, Usage.CLIENT, start + timedelta(days=71))
    assert late == f"it ends at {facts.not_after:%Y-%m-%dT%H:%M:%SZ}"


def test_certificate_that_does_not_fit_says_why(ca: Pair) -> None:
    pair = pki.issue(ca, SERVER, Usage.SERVING, NOW)
    other_ca = pki.make_ca("kubernetes", NOW)
    more = Subject("kube-apiserver", hosts=(*SERVER.hosts, "node-1"))

    def why(found: Pair, authority: Pair, subject: Subject, usage: Usage = Usage.SERVING) -> str:
        return pki.why_replace(found, authority.certificate, subject, usage, NOW)

    assert why(pair, ca, SERVER) == ""
    assert why(pair, other_ca, SERVER) == "another authority signed it"
    assert why(pair, ca, more) == "it does not name node-1"
    assert why(pair, ca, ADMIN) == 'it is for "kube-apiserver"'
    assert why(pair, ca, SERVER, Usage.CLIENT) == "it may not be used for clientAuth"
    assert why(Pair(pair.certificate, pki.make_key()), ca, SERVER) == "its key is another one's"
    assert why(Pair(b"nonsense", pair.key), ca, SERVER).startswith("it cannot be read (cannot read a cert")


def test_request_is_signed_with_the_key_of_who_asks(ca: Pair) -> None:
    key = pki.make_key()
    subject = Subject("system:node:n1", ("system:nodes",), ("n1", "10.0.0.5"))
    request = pki.make_request(key, subject)
    assert pki.read_request(request) == subject
    certificate = pki.sign_request(ca, request, ["clientAuth"], NOW)
    assert pki.why_replace(Pair(certificate, key), ca.certificate, subject, Usage.CLIENT, NOW) == ""
    with pytest.raises(BadCertificate, match="usage 'codeSigning' is unknown"):
        pki.sign_request(ca, request, ["codeSigning"], NOW)


def test_request_that_was_tampered_with_is_refused() -> None:
    import base64

    request = pki.make_request(pki.make_key(), Subject("system:node:n1"))
    body = bytearray(base64.b64decode(b"".join(request.splitlines()[1:-1])))
    at = bytes(body).index(b"n1")
    body[at : at + 2] = b"n2"
    changed = (
        b"-----BEGIN CERTIFICATE REQUEST-----\n"
        + base64.encodebytes(bytes(body))
        + b"-----END CERTIFICATE REQUEST-----\n"
    )
    with pytest.raises(BadCertificate, match="its signature is wrong"):
        pki.read_request(changed)


@pytest.mark.parametrize(
    "read", [pki.read_certificate, pki.read_request, pki.public_key, pki.public_key_hash]
)
@pytest.mark.parametrize(
    "body", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff\x00"]
)
def test_nonsense_is_refused_in_words(read: object, body: bytes) -> None:
    assert callable(read)
    with pytest.raises(BadCertificate, match=r"^cannot read a .*: because "):
        read(body)


def test_public_key_hash_is_what_openssl_computes(ca: Pair, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(ca.certificate)
    key = "openssl x509 -pubkey -noout -in ca.crt | openssl pkey -pubin -outform DER"
    command = f"{key} | openssl dgst -sha256 -hex"
    shown = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert pki.public_key_hash(ca.certificate) == f"sha256:{shown.stdout.split()[-1]}"


def test_openssl_accepts_the_chain_and_python_serves_it(ca: Pair, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    fresh = pki.make_ca("kubernetes", now)
    files = PairFiles.of(tmp_path, "apiserver")
    files.write(pki.issue(fresh, SERVER, Usage.SERVING, now))
    (tmp_path / "ca.crt").write_bytes(fresh.certificate)
    command = [
        "openssl",
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-CAfile",
        "ca.crt",
        "apiserver.crt",
    ]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert shown.stdout == "apiserver.crt: OK\n", shown.stderr
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(files.certificate, files.key)


def test_files_are_kept_while_they_fit_and_made_anew_when_they_do_not(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    ca_files, files = PairFiles.of(directory, "ca"), PairFiles.of(directory, "apiserver")
    ca = pki_files.keep_ca(ca_files, "kubernetes", NOW)
    assert pki_files.keep_ca(ca_files, "kubernetes", NOW) == ca
    first = pki_files.keep_certificate(files, ca, SERVER, Usage.SERVING, NOW)
    assert pki_files.keep_certificate(files, ca, SERVER, Usage.SERVING, NOW) == first
    later = NOW + timedelta(days=300)
    second = pki_files.keep_certificate(files, ca, SERVER, Usage.SERVING, later)
    assert second != first
    assert files.read() == second
    more = Subject(SERVER.common_name, hosts=(*SERVER.hosts, "n1"))
    assert pki_files.keep_certificate(files, ca, more, Usage.SERVING, later) != second
    assert sorted(path.name for path in directory.iterdir()) == [
        "apiserver.crt",
        "apiserver.key",
        "ca.crt",
        "ca.key",
    ]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert (modes["ca.key"], modes["apiserver.key"], modes["apiserver.crt"]) == (0o600, 0o600, 0o644)


def test_half_written_pair_is_made_anew_and_a_broken_authority_never(tmp_path: Path) -> None:
    ca_files, files = PairFiles.of(tmp_path, "ca"), PairFiles.of(tmp_path, "leaf")
    ca = pki_files.keep_ca(ca_files, "kubernetes", NOW)
    pki_files.keep_certificate(files, ca, ADMIN, Usage.CLIENT, NOW)
    files.key.write_bytes(pki.make_key())
    again = pki_files.keep_certificate(files, ca, ADMIN, Usage.CLIENT, NOW)
    assert pki.why_replace(again, ca.certificate, ADMIN, Usage.CLIENT, NOW) == ""
    with pytest.raises(BadCertificate, match="because it ended at"):
        pki_files.keep_ca(ca_files, "kubernetes", NOW + timedelta(days=3651))
    ca_files.key.unlink()
    with pytest.raises(BadCertificate, match=r"ca\.crt\".*ca\.key\" is missing"):
        pki_files.keep_ca(ca_files, "kubernetes", NOW)


def test_signing_key_is_made_once(tmp_path: Path) -> None:
    file = tmp_path / "pki" / "sa.key"
    first = pki_files.keep_key(file)
    assert pki_files.keep_key(file) == first
    assert pki.public_key(first).startswith(b"-----BEGIN PUBLIC KEY-----")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_pair_does_not_show_its_key_in_logs(ca: Pair) -> None:
    assert "PRIVATE" not in repr(ca)


def test_importing_pki_does_not_import_cryptography() -> None:
    code = "import sys, kube.pki, kube.pki_files; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
