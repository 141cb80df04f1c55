"""TLS of the agent's server: the configured certificate, or one of its own making.

Without `tlsCertFile` the agent makes what upstream makes: an authority that exists for one signature, and a
certificate for this node's name and addresses signed by it, both in `CERT_DIR/kubelet.crt` (the key beside
it in `kubelet.key`). It is kept until it no longer fits or four fifths of its life are over.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from aio import log as aio_log
from kube.http_server.tls import server_context
from kube.pki import Pair, Subject, Usage, issue, make_ca, why_replace
from kube.pki_files import PairFiles
from kubelet.configuration import KubeletConfiguration

log = aio_log.get(__name__)

PAIR_NAME = "kubelet"
_END = b"-----END CERTIFICATE-----\n"

# Go's names (crypto/tls) and OpenSSL's. Those of TLS 1.3 cannot be chosen, in Go neither.
CIPHERS = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}
_TLS13 = frozenset({"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"})
_VERSIONS = {
    "": ssl.TLSVersion.TLSv1_2,
    "VersionTLS12": ssl.TLSVersion.TLSv1_2,
    "VersionTLS13": ssl.TLSVersion.TLSv1_3,
}


class BadTls(ValueError):
    """The configuration of TLS cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Host:
    """Whom the certificate is for."""

    name: str
    addresses: tuple[str, ...] = ()


def make_context(config: KubeletConfiguration, cert_dir: Path, host: Host, now: datetime) -> ssl.SSLContext:
    """The server's TLS; blocks for a moment on files. BadTls, or OSError for files that cannot be read."""
    version = _VERSIONS.get(config.tls_min_version)
    if version is None:
        raise BadTls(f'unknown tls version "{config.tls_min_version}"')
    ciphers = cipher_names(config.tls_cipher_suites)
    files = configured_pair(config) or keep_own(cert_dir, host, now)
    client_ca_file = config.authentication.x509.client_ca_file
    client_ca = Path(client_ca_file).read_bytes() if client_ca_file else None
    context = server_context(files.certificate, files.key, client_ca=client_ca)
    context.minimum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    return context


def configured_pair(config: KubeletConfiguration) -> PairFiles | None:
    """The pair that the configuration names; None for none."""
    if not config.tls_cert_file and not config.tls_private_key_file:
        return None
    if not config.tls_cert_file or not config.tls_private_key_file:
        raise BadTls("tlsCertFile and tlsPrivateKeyFile must be set together")
    return PairFiles(Path(config.tls_cert_file), Path(config.tls_private_key_file))


def cipher_names(suites: tuple[str, ...]) -> str:
    """OpenSSL's list for Go's names; "" leaves the default."""
    unknown = [name for name in suites if name not in CIPHERS and name not in _TLS13]
    if unknown:
        raise BadTls(f"Cipher suite {unknown[0]} not supported or doesn't exist")
    return ":".join(dict.fromkeys(CIPHERS[name] for name in suites if name in CIPHERS))


def keep_own(cert_dir: Path, host: Host, now: datetime) -> PairFiles:
    """The agent's own pair, made when there is none that fits."""
    files = PairFiles.of(cert_dir, PAIR_NAME)
    subject = Subject(f"{host.name}@pykubelet", hosts=(host.name, *host.addresses))
    found = files.read()
    because = "there is none"
    if found is not None:
        leaf, authority = _split(found.certificate)
        because = why_replace(Pair(leaf, found.key), authority, subject, Usage.SERVING, now)
        if not because:
            return files
    authority_pair = make_ca(f"{host.name}-ca@pykubelet", now)
    made = issue(authority_pair, subject, Usage.SERVING, now)
    files.write(Pair(made.certificate + authority_pair.certificate, made.key))
    log.info("Made a serving certificate", file=files.certificate, because=because)
    return files


def _split(chain: bytes) -> tuple[bytes, bytes]:
    """The first certificate of a chain, and the rest; the first again where there is only one."""
    first, end, rest = chain.partition(_END)
    return first + end, rest or first + end
