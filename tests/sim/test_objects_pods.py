"""Pods that read the API, on a simulated node: what they wait for, are given, and what changes reach."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from cri.fake.images import Pullable
from kube import status
from kube.client import resources
from kube.errors import Status
from kube.fake.faults import Pattern
from tests.simcluster import NAMESPACE
from tests.simnode import manifest
from tests.simobjects import ObjectNode, simulate_objects, token_volume

pytestmark = pytest.mark.sim

CONFIG = {"name": "config", "configMap": {"name": "settings"}}
SECRET = {"name": "keys", "secret": {"secretName": "keys"}}
FORBIDDEN = Status(403, "Forbidden", 'configmaps "settings" is forbidden: no relationship found')


def mounting(name: str, *volumes: dict[str, Any], **spec: Any) -> dict[str, Any]:
    mounts = [{"name": one["name"], "mountPath": f"/{one['name']}"} for one in volumes]
    return manifest(name, {"name": "app", "volumeMounts": mounts}, volumes=list(volumes), **spec)


async def up(node: ObjectNode, *manifests: dict[str, Any], within: float = 60.0) -> float:
    for one in manifests:
        node.create(one)
    names = [one["metadata"]["name"] for one in manifests]
    return await node.until(
        lambda: all(node.is_ready(name) for name in names), what=f"{names} ready", within=within
    )


# Volumes


def test_config_map_and_secret_are_shown_and_changes_reach_the_running_pod_at_once(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.put_map("settings", color="red")
        node.put_secret("keys", key="s3cret")
        await up(node, mounting("web", CONFIG, SECRET))
        assert node.files("web", "config") == {"color": "red"}
        assert node.files("web", "keys") == {"key": "s3cret"}
        container = node.running("web")
        node.put_map("settings", color="blue", size="9")
        node.put_secret("keys", key="other")
        took = await node.until(lambda: node.files("web", "config") == {"color": "blue", "size": "9"})
        assert took < 2.0
        await node.until(lambda: node.files("web", "keys") == {"key": "other"}, within=2.0)
        assert node.running("web") == container
        node.delete("web")
        await node.until(lambda: not node.has("web"))
        await node.until(node.is_clean)
        assert node.watches("configmaps") == node.watches("secrets") == 0

    simulate_objects(tmp_path, scenario)


def test_pod_waits_for_its_config_map_and_starts_as_soon_as_it_is_made(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.create(mounting("web", CONFIG))
        await node.run(100)
        assert node.said("FailedMount") == [
            'MountVolume.SetUp failed for volume "config" : configmap "settings" not found'
        ]
        (waiting,) = node.shown("web")["containerStatuses"]
        assert waiting["state"]["waiting"]["reason"] == "ContainerCreating"
        tries = node.asked("get", "configmaps")
        assert 6 <= tries <= 10, "0.5 s, doubled up to 2m2s"
        node.put_map("settings", color="red")
        assert await node.until(lambda: node.is_ready("web")) < 1.0
        assert node.files("web", "config") == {"color": "red"}

    simulate_objects(tmp_path, scenario)


@pytest.mark.parametrize(
    ("volume", "why"),
    [
        (
            {"configMap": {"name": "settings", "items": [{"key": "k", "path": "p"}]}},
            "configmap references non-existent config key: k",
        ),
        (
            {"secret": {"secretName": "keys", "items": [{"key": "k", "path": "p"}]}},
            "references non-existent secret key: k",
        ),
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        (
            {"projected": {"sources": [{"secret": {"name": "a"}}, {"configMap": {"name": "b"}}]}},
            '[secret "a" not found, configmap "b" not found]',
        ),
        (
            {"projected": {"sources": [{"clusterTrustBundle": {"path": "p", "name": "x"}}]}},
            "cannot project a ClusterTrustBundle: this agent does not support it",
        ),
    ],
)
def test_volume_that_cannot_be_filled_says_why(tmp_path: Path, volume: dict[str, Any], why: str) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.put_map("settings", color="red")
        node.put_secret("keys", key="x")
        node.create(mounting("web", {"name": "v", **volume}))
        await node.run(3)
        assert node.said("FailedMount") == [f'MountVolume.SetUp failed for volume "v" : {why}']

    simulate_objects(tmp_path, scenario)


def test_optional_objects_may_be_missing_and_appear_later(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        items = [{"key": "color", "path": "deep/color", "mode": 0o400}]
        optional = {
            "name": "config",
            "configMap": {"name": "settings", "optional": True, "items": items},
        }
        await up(node, mounting("web", optional))
        assert node.files("web", "config") == {}
        node.put_map("settings", color="red", hidden="x")
        await node.until(lambda: node.files("web", "config") == {"deep/color": "red"}, within=2.0)
        node.api.remove(resources.CONFIG_MAPS, "settings", NAMESPACE)
        await node.until(lambda: node.files("web", "config") == {}, within=2.0)

    simulate_objects(tmp_path, scenario)


def test_deleted_object_leaves_its_files_and_is_complained_of_until_it_is_back(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.put_map("settings", color="red")
        await up(node, mounting("web", CONFIG))
        node.api.remove(resources.CONFIG_MAPS, "settings", NAMESPACE)
        await node.run(100)
        assert node.files("web", "config") == {"color": "red"}
        assert node.is_ready("web")
        assert node.said("FailedMount") == [
            'MountVolume.SetUp failed for volume "config" : configmap "settings" not found'
        ]
        node.put_map("settings", color="green")
        await node.until(lambda: node.files("web", "config") == {"color": "green"}, within=2.0)

    simulate_objects(tmp_path, scenario)


def test_labels_and_annotations_reach_the_files_of_a_running_pod(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
        me = {"name": "me", "downwardAPI": {"items": items}}
        pod = mounting("web", me)
        pod["metadata"]["labels"] = {"app": "web"}
        await up(node, pod)
        assert node.files("web", "me") == {"labels": 'app="web"'}
        node.change("web", metadata={"labels": {"app": "web", "tier": "front"}})
        await node.until(lambda: node.files("web", "me") == {"labels": 'app="web"\ntier="front"'}, within=2.0)

    simulate_objects(tmp_path, scenario)


def test_55_pods_share_one_watch_and_ask_once_for_a_token_each(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.put_map("kube-root-ca.crt", **{"ca.crt": "CA"})
        names = [f"p{number}" for number in range(55)]
        await up(node, *(mounting(name, token_volume()) for name in names))
        for name in names:
            files = node.files(name, "kube-api-access")
            assert files["ca.crt"] == "CA" and files["namespace"] == NAMESPACE
        assert len({node.files(name, "kube-api-access")["token"] for name in names}) == 55
        assert node.asked("create", "serviceaccounts") == 55
        assert (node.asked("list", "configmaps"), node.watches("configmaps")) == (1, 1)
        assert node.asked("get") == 0
        for name in names:
            node.delete(name, 0)
        await node.until(lambda: not any(map(node.has, names)))
        await node.until(node.is_clean)
        assert node.watches("configmaps") == 0

    simulate_objects(tmp_path, scenario)


def test_tokens_of_a_burst_are_asked_for_side_by_side(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.put_map("kube-root-ca.crt", **{"ca.crt": "CA"})
        node.api.delay(0.5, Pattern(verb="create", resource=resources.SERVICE_ACCOUNTS))
        took = await up(node, *(mounting(f"p{number}", token_volume()) for number in range(50)))
        assert took < 2.0, "50 answers of half a second each were waited for one after the other"

    simulate_objects(tmp_path, scenario)


def test_immutable_object_is_read_once_and_not_watched(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.put_immutable_map("settings", color="red")
        await up(node, mounting("web", CONFIG), mounting("api", CONFIG))
        assert node.files("api", "config") == {"color": "red"}
        assert (node.asked("list", "configmaps"), node.asked("watch", "configmaps")) == (1, 0)

    simulate_objects(tmp_path, scenario)


def test_refused_object_is_tried_again_and_the_refusal_is_told(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.put_map("settings", color="red")
        refusal = node.api.fail(
            status.error_of(FORBIDDEN), Pattern(resource=resources.CONFIG_MAPS, user="node"), times=-1
        )
        node.create(mounting("web", CONFIG))
        await node.run(20)
        assert node.said("FailedMount") == [
            'MountVolume.SetUp failed for volume "config" : failed to sync configmap cache: timed out '
            f"waiting for the condition: {FORBIDDEN.message}"
        ]
        node.api.faults.pending.remove(refusal)
        assert await node.until(lambda: node.is_ready("web"), within=62) <= 62

    simulate_objects(tmp_path, scenario)


def test_nothing_changes_while_the_server_is_away_and_all_is_caught_up_afterwards(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.put_map("settings", color="red")
        node.put_map("kube-root-ca.crt", **{"ca.crt": "CA"})
        await up(node, mounting("web", CONFIG, token_volume()))
        token = node.files("web", "kube-api-access")["token"]
        container = node.running("web")
        node.api.go_away()
        node.put_map("settings", color="blue")
        await node.run(600)
        assert node.files("web", "config") == {"color": "red"}
        assert node.files("web", "kube-api-access")["token"] == token
        assert node.running("web") == container and node.said("FailedMount") == []
        node.api.come_back()
        await node.until(lambda: node.files("web", "config") == {"color": "blue"}, within=62)

    simulate_objects(tmp_path, scenario)


def test_container_that_dies_while_the_server_is_away_comes_back_with_all_it_reads(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.put_service("kubernetes", "10.96.0.1", 443)
        node.put_map("settings", color="red")
        node.put_map("kube-root-ca.crt", **{"ca.crt": "CA"})
        node.runtime.images.add_to_registry("reg.example.com/app:1", Pullable("app", password="right"))
        kind = "kubernetes.io/dockerconfigjson"
        node.put_secret("pull", type=kind, **{".dockerconfigjson": docker_config("reg.example.com", "right")})
        pod = mounting("web", CONFIG, token_volume(), imagePullSecrets=[{"name": "pull"}])
        reference = {"configMapRef": {"name": "settings"}}
        pod["spec"]["containers"][0] |= {"image": "reg.example.com/app:1", "envFrom": [reference]}
        await up(node, pod)
        (first,) = node.running("web").values()
        node.api.go_away()
        await node.run(60)
        node.runtime.world.kill(node.runtime.world.containers[first])
        await node.until(lambda: first not in node.running("web").values() and bool(node.running("web")))
        env = node.env("web")
        assert env["color"] == "red" and env["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
        assert node.files("web", "config") == {"color": "red"}

    simulate_objects(tmp_path, scenario)


def test_agent_that_is_started_again_brings_files_up_to_date(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.put_map("settings", color="red")
        await up(node, mounting("web", CONFIG))
        container = node.running("web")
        await node.stop()
        node.put_map("settings", color="blue")
        await node.start()
        await node.until(lambda: node.files("web", "config") == {"color": "blue"}, within=2.0)
        assert node.running("web") == container

    simulate_objects(tmp_path, scenario)


# Tokens


def test_token_is_renewed_at_four_fifths_of_its_life(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.put_map("kube-root-ca.crt", **{"ca.crt": "CA"})
        await up(node, mounting("web", token_volume()))
        first = node.files("web", "kube-api-access")["token"]
        await node.run(0.8 * 3607 - 11)
        assert node.files("web", "kube-api-access")["token"] == first
        await node.run(13)
        second = node.files("web", "kube-api-access")["token"]
        assert second != first and node.asked("create", "serviceaccounts") == 2

    simulate_objects(tmp_path, scenario)


def test_token_that_cannot_be_renewed_serves_on_and_is_asked_for_again(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.put_map("kube-root-ca.crt", **{"ca.crt": "CA"})
        await up(node, mounting("web", token_volume()))
        first = node.files("web", "kube-api-access")["token"]
        await node.run(2800)
        node.api.go_away()
        await node.run(300)
        assert node.files("web", "kube-api-access")["token"] == first and node.said("FailedMount") == []
        node.api.come_back()
        await node.until(lambda: node.files("web", "kube-api-access")["token"] != first, within=125)

    simulate_objects(tmp_path, scenario)


def test_pod_of_an_account_that_does_not_exist_waits_for_it(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.put_map("kube-root-ca.crt", **{"ca.crt": "CA"})
        node.create(mounting("web", token_volume(), serviceAccountName="robot"))
        await node.run(3)
        assert node.said("FailedMount") == [
            'MountVolume.SetUp failed for volume "kube-api-access" : failed to fetch token: '
            'serviceaccounts "robot" not found'
        ]
        node.put_account("robot")
        await node.until(lambda: node.is_ready("web"), within=10)

    simulate_objects(tmp_path, scenario)


def test_pod_made_again_under_its_name_gets_a_token_of_its_own(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.put_map("kube-root-ca.crt", **{"ca.crt": "CA"})
        await up(node, mounting("web", token_volume()))
        first = node.files("web", "kube-api-access")["token"]
        node.delete("web", 0)
        await node.until(lambda: not node.has("web"))
        await up(node, mounting("web", token_volume()))
        assert node.files("web", "kube-api-access")["token"] != first

    simulate_objects(tmp_path, scenario)


# Environment


def env_pod(name: str, **container: Any) -> dict[str, Any]:
    return manifest(name, {"name": "app", **container})


def test_environment_of_maps_secrets_and_services_in_kubernetes_order(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.put_service("kubernetes", "10.96.0.1", 443)
        node.put_service("db", "10.96.0.7", 5432)
        node.put_service("far", "10.96.0.8", 80, namespace="other")
        node.put_map("settings", COLOR="red", DB_SERVICE_HOST="mine")
        node.put_secret("keys", KEY="s3cret")
        from_value = {"secretKeyRef": {"name": "keys", "key": "KEY"}}
        await up(
            node,
            env_pod(
                "web",
                envFrom=[
                    {"configMapRef": {"name": "settings"}},
                    {"prefix": "P_", "secretRef": {"name": "keys"}},
                    {"configMapRef": {"name": "none", "optional": True}},
                ],
                env=[
                    {"name": "ONE", "valueFrom": from_value},
                    {"name": "URL", "value": "http://$(COLOR):$(DB_SERVICE_PORT)"},
                    {"name": "MISSING", "valueFrom": {"configMapKeyRef": {
                        "name": "settings", "key": "nope", "optional": True}}},
                ],
            ),
        )  # fmt: skip
        env = node.env("web")
        assert (env["COLOR"], env["P_KEY"], env["ONE"]) == ("red", "s3cret", "s3cret")
        assert env["URL"] == "http://red:5432" and env["DB_SERVICE_HOST"] == "mine"
        assert env["KUBERNETES_SERVICE_HOST"] == "10.96.0.1" and env["KUBERNETES_SERVICE_PORT"] == "443"
        assert "MISSING" not in env and "FAR_SERVICE_HOST" not in env

    simulate_objects(tmp_path, scenario)


def test_pod_without_service_links_still_finds_the_api_server(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.put_service("kubernetes", "10.96.0.1", 443)
        node.put_service("db", "10.96.0.7", 5432)
        await up(node, manifest("web", "app", enableServiceLinks=False))
        env = node.env("web")
        assert env["KUBERNETES_SERVICE_HOST"] == "10.96.0.1" and "DB_SERVICE_HOST" not in env

    simulate_objects(tmp_path, scenario)


def test_no_container_is_made_before_the_services_were_read(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        await node.stop()
        node.put_service("kubernetes", "10.96.0.1", 443)
        refused = status.error_of(Status(403, "Forbidden", "services is forbidden"))
        fault = node.api.fail(refused, Pattern(resource=resources.SERVICES, user="node"), times=-1)
        await node.start()
        node.create(manifest("web"))
        await node.run(8)
        (waiting,) = node.shown("web")["containerStatuses"]
        assert waiting["state"]["waiting"] == {
            "reason": "CreateContainerConfigError",
            "message": "services have not yet been read at least once, cannot construct envvars",
        }
        node.api.faults.pending.remove(fault)
        await node.until(lambda: node.is_ready("web"), within=30)
        assert node.env("web")["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"

    simulate_objects(tmp_path, scenario)


def test_container_waits_for_the_map_and_the_key_its_environment_names(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        reference = {"configMapKeyRef": {"name": "settings", "key": "color"}}
        node.create(env_pod("web", env=[{"name": "COLOR", "valueFrom": reference}]))
        await node.run(2)

        def waiting() -> dict[str, Any]:
            (one,) = node.shown("web")["containerStatuses"]
            found: dict[str, Any] = one["state"]["waiting"]
            return found

        assert waiting() == {
            "reason": "CreateContainerConfigError",
            "message": 'configmap "settings" not found',
        }
        node.put_map("settings", other="x")
        await node.until(
            lambda: waiting().get("message") == f"couldn't find key color in ConfigMap {NAMESPACE}/settings",
            within=15,
        )
        node.put_map("settings", color="red")
        await node.until(lambda: node.is_ready("web"), within=2)
        assert node.env("web")["COLOR"] == "red"

    simulate_objects(tmp_path, scenario)


# Pull secrets


def docker_config(place: str, password: str) -> str:
    auth = base64.b64encode(f"robot:{password}".encode()).decode()
    return json.dumps({"auths": {place: {"auth": auth}}})


def test_private_image_is_pulled_with_the_secret_that_fits(tmp_path: Path) -> None:
    async def scenario(node: ObjectNode) -> None:
        node.runtime.images.add_to_registry("reg.example.com/a/app:1", Pullable("app", password="right"))
        kind = "kubernetes.io/dockerconfigjson"
        node.put_secret("good", type=kind, **{".dockerconfigjson": docker_config("*.example.com", "right")})
        node.put_secret("bad", type=kind, **{".dockerconfigjson": docker_config("reg.example.com/a", "x")})
        pod = manifest(
            "web",
            {"name": "app", "image": "reg.example.com/a/app:1"},
            imagePullSecrets=[{"name": "good"}, {"name": "none"}, {"name": "bad"}],
        )
        await up(node, pod)
        tried = [call.args[1].password for call in node.runtime.calls if call.name == "pull_image"]
        assert tried == ["x", "right"], "the longest path is tried first"
        assert node.said("FailedToRetrieveImagePullSecret") == [
            "Unable to retrieve some image pull secrets (none); attempting to pull the image may not succeed."
        ]

    simulate_objects(tmp_path, scenario)
