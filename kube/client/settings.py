"""Where an API server is and how to prove who we are, as a value made from a kubeconfig or a mount."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aio.errors import Rejected


class BadSettings(Rejected):
    """Settings, or a file they name, that no client can be made of."""


@dataclass(frozen=True, slots=True)
class Material:
    """A certificate, key or CA bundle: PEM in memory, or in a file that may change (and is then read again).
    Data goes before the file, as in a kubeconfig."""

    data: bytes = b""
    file: str = ""

    def __bool__(self) -> bool:
        return bool(self.data or self.file)

    def __repr__(self) -> str:
        # Keys must not get into logs.
        return f"Material(file={self.file!r})" if self.file and not self.data else "Material(data=…)"

    def read(self) -> bytes:
        """BadSettings names the file that cannot be read."""
        if self.data or not self.file:
            return self.data
        try:
            return Path(self.file).read_bytes()
        except OSError as error:
            because = error.strerror or error
            raise BadSettings(f'cannot read "{self.file}": because {because}') from error


NOTHING = Material()


@dataclass(frozen=True, slots=True)
class Settings:
    """`server` is "https://host:port" with an optional path. `token_file` goes before `token` where both are
    set. `namespace` is what people mean when they name none; calls never use it."""

    server: str
    ca: Material = NOTHING
    certificate: Material = NOTHING
    key: Material = NOTHING
    token: str = field(default="", repr=False)
    token_file: str = ""
    basic: tuple[str, str] = field(default=("", ""), repr=False)
    tls_server_name: str = ""
    is_insecure: bool = False
    proxy_url: str = ""
    impersonate_user: str = ""
    impersonate_groups: tuple[str, ...] = ()
    namespace: str = "default"
    user_agent: str = "pykubelet"


@dataclass(frozen=True, slots=True)
class Limits:
    """`qps` and `burst` as in KubeletConfiguration kubeAPIQPS and kubeAPIBurst; `qps` <= 0 = no limit.
    `request_seconds` is for one attempt of anything but watches and streams. `in_flight` of those, at most,
    go at once, each on a connection of its own; 0 = no limit."""

    qps: float = 50.0
    burst: int = 100
    connect_seconds: float = 10.0
    request_seconds: float = 60.0
    in_flight: int = 0


DEFAULT_LIMITS = Limits()
