"""gRPC statuses become the narrowest error, with what the caller needs from the runtime's text."""

from __future__ import annotations

import pytest

from cri import errors
from cri.types import VersionResponse
from cri.wire import check_version

pytestmark = pytest.mark.pure

OWNER = "895784831c64d43c64e93468d641b689a6c2601750f5c360cd8df2525ae67a37"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("NOT_FOUND", errors.NotFound),
        ("DEADLINE_EXCEEDED", errors.DeadlineExceeded),
        ("UNAVAILABLE", errors.Unavailable),
        ("UNIMPLEMENTED", errors.Unimplemented),
        ("INVALID_ARGUMENT", errors.InvalidArgument),
        ("ALREADY_EXISTS", errors.AlreadyExists),
        ("UNKNOWN", errors.CriError),
        ("INTERNAL", errors.CriError),
    ],
)
def test_a_status_becomes_its_error(code: str, kind: type[errors.CriError]) -> None:
    error = errors.from_status(code, "no such thing", "ContainerStatus")
    assert type(error) is kind
    assert (error.code, error.message, error.call) == (code, "no such thing", "ContainerStatus")
    assert str(error) == "cannot ContainerStatus: because no such thing"


@pytest.mark.parametrize(
    "text",
    [
        f'failed to reserve sandbox name "p_ns_u_0": name "p_ns_u_0" is reserved for "{OWNER}"',
        f'rpc error: code = Unknown desc = name \\"p_ns_u_0\\" is reserved for \\"{OWNER}\\"',
        f"the container name p_ns_u_0 is already in use by {OWNER}. You have to remove that container",
    ],
)
@pytest.mark.parametrize("call", ["RunPodSandbox", "CreateContainer"])
def test_a_reserved_name_tells_who_holds_it(text: str, call: str) -> None:
    error = errors.from_status("UNKNOWN", text, call)
    assert isinstance(error, errors.NameReserved)
    assert error.owner_id == OWNER
    assert error.code == "UNKNOWN"


def test_a_reserved_name_in_another_call_is_no_reservation() -> None:
    text = f'name "x" is reserved for "{OWNER}"'
    assert type(errors.from_status("UNKNOWN", text, "StopContainer")) is errors.CriError


def test_a_pull_fails_for_the_image_or_for_the_connection() -> None:
    assert isinstance(errors.from_status("NOT_FOUND", "no manifest", "PullImage"), errors.ImagePullError)
    assert isinstance(errors.from_status("UNKNOWN", "dial tcp", "PullImage"), errors.ImagePullError)
    assert isinstance(errors.from_status("UNAVAILABLE", "gone", "PullImage"), errors.Unavailable)


def test_version_must_be_v1_and_name_a_runtime() -> None:
    good = VersionResponse("0.1.0", "containerd", "1.6.20", "v1")
    check_version(good, "unix:///x")
    with pytest.raises(errors.Unimplemented, match='speaks CRI "v1alpha2" and not "v1"'):
        check_version(VersionResponse("0.1.0", "containerd", "1.5.0", "v1alpha2"), "unix:///x")
    with pytest.raises(errors.CriError, match="does not say which runtime"):
        check_version(VersionResponse("0.1.0", "", "1.6.20", "v1"), "unix:///x")
