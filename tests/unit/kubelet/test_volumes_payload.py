"""The files of volumes that show the API: keys, modes, owners, and the texts of what is missing."""

from __future__ import annotations

from typing import Any

import pytest

from aio.errors import Retry
from kube import objects
from kube.objects.core_v1 import ConfigMapVolumeSource, Pod, ProjectedVolumeSource, SecretVolumeSource
from kubelet.objects.model import ApiObject, Kind, ObjectKey, ObjectMissing, ObjectUnread
from kubelet.podspec.downward import DownwardFacts
from kubelet.tokens import TokenWish
from kubelet.volumes.inputs import VolumeInputs
from kubelet.volumes.payload import (
    config_map_files,
    file_owner,
    for_group,
    projected_files,
    secret_files,
)
from kubelet.volumes.plugin import VolumeError

pytestmark = pytest.mark.pure

MAP = ObjectKey(Kind.CONFIG_MAP, "shop", "m")
SECRET = ObjectKey(Kind.SECRET, "shop", "s")
INPUTS = VolumeInputs(
    {
        MAP: ApiObject(MAP, data={"a": b"1", "b": b"\xff"}, binary_keys=frozenset({"b"})),
        SECRET: ApiObject(SECRET, data={"k": b"x"}),
    },
    {TokenWish("vault", 600): "jwt"},
)
NOTHING = VolumeInputs({MAP: ObjectMissing(MAP), SECRET: ObjectMissing(SECRET)})
FACTS = DownwardFacts()


def pod(context: dict[str, Any] | None = None, *users: int | None) -> Pod:
    containers = [
        {"name": f"c{index}", "securityContext": {} if user is None else {"runAsUser": user}}
        for index, user in enumerate(users or (None,))
    ]
    spec = {"containers": containers, "securityContext": context or {}}
    return objects.convert({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}, Pod)


def config_map(**fields: Any) -> ConfigMapVolumeSource:
    return objects.convert({"name": "m", **fields}, ConfigMapVolumeSource)


def projected(*sources: dict[str, Any], **fields: Any) -> ProjectedVolumeSource:
    return objects.convert({"sources": list(sources), **fields}, ProjectedVolumeSource)


def test_all_keys_are_shown_text_and_bytes_alike() -> None:
    files = config_map_files(pod(), config_map(), 0o440, INPUTS)
    assert {path: (file.data, file.mode) for path, file in files.items()} == {
        "a": (b"1", 0o440),
        "b": (b"\xff", 0o440),
    }


def test_items_choose_keys_paths_and_modes() -> None:
    items = [{"key": "a", "path": "x/y", "mode": 0o400}, {"key": "b", "path": "z"}]
    files = config_map_files(pod(), config_map(items=items), None, INPUTS)
    assert {path: file.mode for path, file in files.items()} == {"x/y": 0o400, "z": 0o644}


@pytest.mark.parametrize("inputs", [INPUTS, NOTHING])
def test_optional_forgives_the_object_and_the_key(inputs: VolumeInputs) -> None:
    source = config_map(items=[{"key": "none", "path": "p"}], optional=True)
    assert config_map_files(pod(), source, None, inputs) == {}


def test_missing_object_and_missing_key_are_told_apart() -> None:
    source = objects.convert({"secretName": "s", "items": [{"key": "z", "path": "p"}]}, SecretVolumeSource)
    with pytest.raises(VolumeError, match=r"^references non-existent secret key: z$"):
        secret_files(pod(), source, None, INPUTS)
    with pytest.raises(ObjectMissing, match=r'^secret "s" not found$'):
        secret_files(pod(), source, None, NOTHING)


def test_optional_does_not_forgive_a_server_that_does_not_answer() -> None:
    inputs = VolumeInputs({MAP: ObjectUnread(MAP, "no route")})
    with pytest.raises(ObjectUnread, match="no route"):
        config_map_files(pod(), config_map(optional=True), None, inputs)


def test_later_source_wins_a_path_and_all_faults_are_told() -> None:
    here = {"configMap": {"name": "m", "items": [{"key": "a", "path": "k"}]}}
    files = projected_files(pod(), projected(here, {"secret": {"name": "s"}}), FACTS, INPUTS)
    assert {path: file.data for path, file in files.items()} == {"k": b"x"}
    token = {"serviceAccountToken": {"path": "t"}}
    inputs = VolumeInputs(NOTHING.objects, {TokenWish(): Retry("failed to fetch token: no")})
    with pytest.raises(VolumeError) as faults:
        projected_files(pod(), projected(here, token, {"secret": {"name": "s"}}), FACTS, inputs)
    assert str(faults.value) == ('[configmap "m" not found, failed to fetch token: no, secret "s" not found]')


@pytest.mark.parametrize(
    ("context", "users", "mode", "owner"),
    [
        ({}, (None, None), 0o644, None),
        ({}, (7, None), 0o644, None),
        ({}, (7, 8), 0o644, None),
        ({}, (7, 7), 0o600, 7),
        ({"runAsUser": 7}, (None, 7), 0o600, 7),
        ({"runAsUser": 7}, (None, 8), 0o644, None),
        ({"fsGroup": 9}, (None,), 0o600, None),
    ],
)
def test_token_is_for_its_reader_alone_where_that_is_known(
    context: dict[str, Any], users: tuple[int | None, ...], mode: int, owner: int | None
) -> None:
    wish = {"serviceAccountToken": {"path": "t", "audience": "vault", "expirationSeconds": 600}}
    reader = pod(context, *users)
    file = projected_files(reader, projected(wish, defaultMode=0o644), FACTS, INPUTS)["t"]
    assert (file.data, file.mode, file.uid) == (b"jwt", mode, owner)
    assert file_owner(reader) == owner
    group = context.get("fsGroup")
    assert for_group({"t": file}, group)["t"].mode == (0o640 if group else mode)
