"""Image references: normalisation and the texts for those that are none."""

from __future__ import annotations

import pytest

from kubelet.images.reference import InvalidReference, default_policy, normalised, parse, with_default_tag

pytestmark = pytest.mark.pure

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.35", "docker.io/library/busybox:1.35"),
        ("user/app", "docker.io/user/app:latest"),
        ("index.docker.io/app", "docker.io/library/app:latest"),
        ("docker.io/busybox:1", "docker.io/library/busybox:1"),
        ("localhost/app:1", "localhost/app:1"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
        ("MyHost/app", "MyHost/app:latest"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        (f"quay.io/a/b:2@{DIGEST}", f"quay.io/a/b:2@{DIGEST}"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("a__b/c--d.e", "docker.io/a__b/c--d.e:latest"),
    ],
)
def test_names_are_completed_as_every_client_does(text: str, full: str) -> None:
    assert normalised(text) == full


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "invalid reference format"),
        ("https://registry/app", "invalid reference format"),
        ("registry.example/a//b", "invalid reference format"),
        ("busybox:", "invalid reference format"),
        (" busybox", "invalid reference format"),
        ("busybox\n", "invalid reference format"),
        ("busybox:" + "t" * 129, "invalid reference format"),
        ("busybox@sha256:abcd", "invalid reference format"),
        ("../etc/passwd", "invalid reference format"),
        (
            "DUMMY_IMAGE:TEST",
            "invalid reference format: repository name (library/DUMMY_IMAGE) must be lowercase",
        ),
        (
            "hfhugs/some-GGUF:Q4",
            "invalid reference format: repository name (hfhugs/some-GGUF) must be lowercase",
        ),
        ("a" * 260, "repository name must not be more than 255 characters"),
        ("ab" * 32, f"invalid repository name ({'ab' * 32}), cannot specify 64-byte hexadecimal strings"),
    ],
)
def test_texts_that_are_no_reference_say_why(text: str, error: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse(text)
    assert str(caught.value) == error


def test_only_a_name_without_tag_and_digest_is_rewritten_for_the_runtime() -> None:
    assert with_default_tag("busybox:1.35") == "busybox:1.35"
    assert with_default_tag(f"busybox@{DIGEST}") == f"busybox@{DIGEST}"
    assert with_default_tag("busybox") == "docker.io/library/busybox:latest"


def test_latest_is_pulled_always_and_everything_else_only_when_absent() -> None:
    assert default_policy("busybox") == "Always"
    assert default_policy("localhost/x:latest") == "Always"
    assert default_policy("busybox:1.35") == "IfNotPresent"
    assert default_policy(f"busybox@{DIGEST}") == "IfNotPresent"
    assert default_policy("Not A Name") == "IfNotPresent"
