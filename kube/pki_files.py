"""Certificates and keys in a directory: made when missing, made anew when they no longer fit.

Each file is written whole or not at all. A key is readable by its owner alone, and goes to disk before the
certificate, so that after a crash in between the pair does not match and is made anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from aio import log as logs
from kube import pki
from kube.files import write_atomically
from kube.pki import Pair, Subject, Usage

log = logs.get(__name__)

KEY_MODE = 0o600
CERTIFICATE_MODE = 0o644


@dataclass(frozen=True, slots=True)
class PairFiles:
    """DIR/NAME.crt and DIR/NAME.key, as kubeadm lays them out."""

    certificate: Path
    key: Path

    @classmethod
    def of(cls, directory: Path, name: str) -> PairFiles:
        return cls(directory / f"{name}.crt", directory / f"{name}.key")

    def read(self) -> Pair | None:
        """None when a file is missing."""
        try:
            return Pair(self.certificate.read_bytes(), self.key.read_bytes())
        except FileNotFoundError:
            return None

    def write(self, pair: Pair) -> None:
        self.certificate.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        write_atomically(self.key, pair.key, mode=KEY_MODE)
        write_atomically(self.certificate, pair.certificate, mode=CERTIFICATE_MODE)


def keep_ca(files: PairFiles, common_name: str, now: datetime) -> Pair:
    """The CA on disk, made when there is none. One that cannot be used is never replaced by itself, since
    everything it has signed would be void: BadCertificate says so."""
    found = files.read()
    if found is None:
        if files.certificate.exists() != files.key.exists():
            there, missing = (files.certificate, files.key)
            if files.key.exists():
                there, missing = missing, there
            raise pki.BadCertificate(
                f'cannot use "{there}": because "{missing}" is missing; restore it, or remove both'
            )
        made = pki.make_ca(common_name, now)
        files.write(made)
        log.info("Made a certificate authority", file=files.certificate)
        return made
    facts = pki.read_certificate(found.certificate)
    if not facts.is_ca:
        raise pki.BadCertificate(f'cannot use "{files.certificate}": because it is no authority')
    if now >= facts.not_after:
        raise pki.BadCertificate(f'cannot use "{files.certificate}": because it ended at {facts.not_after}')
    return found


def keep_certificate(
    files: PairFiles,
    ca: Pair,
    subject: Subject,
    usage: Usage,
    now: datetime,
    *,
    lifetime: timedelta = pki.LEAF_LIFETIME,
) -> Pair:
    """The certificate on disk while it fits `subject` and `usage` and is not due for renewal, else a new
    one."""
    found = files.read()
    because = "there is none"
    if found is not None:
        because = pki.why_replace(found, ca.certificate, subject, usage, now)
        if not because:
            return found
    made = pki.issue(ca, subject, usage, now, lifetime=lifetime)
    files.write(made)
    log.info("Made a certificate", file=files.certificate, subject=subject.common_name, because=because)
    return made


def keep_key(file: Path, make: Callable[[], bytes] = pki.make_key) -> bytes:
    """A private key on disk, made when there is none (the one that signs service-account tokens)."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        made = make()
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        write_atomically(file, made, mode=KEY_MODE)
        return made
