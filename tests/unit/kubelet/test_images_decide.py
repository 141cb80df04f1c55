"""Image decisions: policies, failure kinds and the exact texts."""

from __future__ import annotations

import pytest

from kubelet.images import decide, rate
from kubelet.images.model import ALWAYS, IF_NOT_PRESENT, NEVER

pytestmark = pytest.mark.pure


def test_always_pulls_without_looking_and_other_policies_look_first() -> None:
    assert decide.first_step("busybox", ALWAYS) == decide.Pull("docker.io/library/busybox:latest")
    assert decide.first_step("busybox:1", IF_NOT_PRESENT) == decide.Inspect("busybox:1")
    assert decide.first_step("busybox:1", NEVER) == decide.Inspect("busybox:1")


def test_a_bad_name_is_refused_and_not_asked_again() -> None:
    step = decide.first_step("NoSuch:1", IF_NOT_PRESENT)
    assert isinstance(step, decide.Refuse)
    assert step.result.reason == "InvalidImageName"
    assert step.result.message == (
        'Failed to apply default image tag "NoSuch:1": couldn\'t parse image name "NoSuch:1": '
        "invalid reference format: repository name (library/NoSuch) must be lowercase"
    )
    assert step.result.retry_after_seconds is None


def test_absent_image_is_pulled_unless_the_policy_is_never() -> None:
    assert decide.decide("a:1", "a:1", IF_NOT_PRESENT, is_present=False) == decide.Pull("a:1")
    refused = decide.decide("a:1", "a:1", NEVER, is_present=False)
    assert isinstance(refused, decide.Refuse)
    assert refused.result.reason == "ErrImageNeverPull"
    assert refused.result.message == 'Container image "a:1" is not present with pull policy of Never'
    assert refused.result.retry_after_seconds == 10.0


@pytest.mark.parametrize("policy", [IF_NOT_PRESENT, NEVER])
def test_present_image_is_used_as_it_is(policy: str) -> None:
    found = decide.decide("a:1", "a:1", policy, is_present=True)
    assert found == decide.UsePresent(
        'Container image "a:1" already present on machine and can be accessed by the pod'
    )


@pytest.mark.parametrize(
    ("error", "reason", "start"),
    [
        ("manifest unknown", "ErrImagePull", "manifest unknown"),
        (
            "RegistryUnavailable: tcp reset",
            "RegistryUnavailable",
            "image pull failed for x:1 because the registry is unavailable: tcp reset",
        ),
        (
            "SignatureValidationFailed: bad key",
            "SignatureValidationFailed",
            'image pull failed for "x:1" because the signature validation failed: bad key',
        ),
    ],
)
def test_pull_errors_get_the_reason_that_upstream_gives(error: str, reason: str, start: str) -> None:
    result = decide.pull_failed("x:1", error)
    assert result.reason == reason
    assert result.message.startswith(start)
    assert result.retry_after_seconds == decide.SHOW_ERROR_SECONDS


@pytest.mark.parametrize(
    "error",
    [
        'failed to do request: Head "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io'
        " on 127.0.0.53:53: server misbehaving",
        "dial tcp 127.0.0.1:5000: connect: connection refused",
        "dial tcp 10.0.0.1:443: i/o timeout",
        "lookup registry.k8s.io: no such host",
        "net/http: TLS handshake timeout",
        "RegistryUnavailable",
    ],
)
def test_without_a_registry_the_message_names_if_not_present(error: str) -> None:
    message = decide.pull_failed("x:1", error).message
    assert "No registry could be reached" in message
    assert "imagePullPolicy: IfNotPresent" in message
    assert "pykubelet image load" in message


@pytest.mark.parametrize("error", ["x:1: not found", "pull access denied", "unexpected status 429", "denied"])
def test_an_answer_of_a_registry_gets_no_hint(error: str) -> None:
    assert decide.pull_failed("x:1", error).message == error


def test_back_off_message_carries_the_last_error() -> None:
    result = decide.backing_off("x:1", "ErrImagePull: not found", 7.5)
    assert result.reason == "ImagePullBackOff"
    assert result.message == 'Back-off pulling image "x:1": ErrImagePull: not found'
    assert result.retry_after_seconds == 7.5
    assert decide.backing_off("x:1", "", 1.0).message == 'Back-off pulling image "x:1"'


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.0004, "0s"),
        (0.15, "150ms"),
        (1.0, "1s"),
        (1.5, "1.5s"),
        (1.2345, "1.234s"),
        (123.05, "2m3.05s"),
        (60.0, "1m0s"),
        (3661.5, "1h1m1.5s"),
    ],
)
def test_durations_print_as_go_prints_them(seconds: float, text: str) -> None:
    assert f"in {text} ({text} including waiting)" in decide.pulled_message("x", seconds, seconds, 1)


def test_pulled_message_is_upstreams() -> None:
    assert decide.pulled_message("nginx", 1.5, 2.25, 4096) == (
        'Successfully pulled image "nginx" in 1.5s (2.25s including waiting). Image size: 4096 bytes.'
    )


def test_bucket_lets_a_burst_through_and_then_the_rate() -> None:
    bucket = rate.full_bucket(5.0, 10, now=0.0)
    allowed = 0
    for _ in range(12):
        bucket, is_allowed = bucket.take(0.0)
        allowed += is_allowed
    assert allowed == 10
    bucket, is_allowed = bucket.take(0.1)
    assert not is_allowed
    bucket, is_allowed = bucket.take(0.21)
    assert is_allowed


def test_rate_of_zero_means_no_limit() -> None:
    bucket = rate.full_bucket(0.0, 1, now=0.0)
    for _ in range(50):
        bucket, is_allowed = bucket.take(0.0)
        assert is_allowed
