"""What may change of a pod: on the main path, by ephemeralcontainers and by resize."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from controlplane.api.registry import pods
from tests.unit.controlplane.api_world import POD, PODS, Json, World, in_world

pytestmark = pytest.mark.pure
STRATEGIC = "application/strategic-merge-patch+json"
RESOURCES = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}


async def _patch(api: World, target: str, body: Json, code: int = 0) -> Json:
    return await api.do("PATCH", f"{PODS}/web{target}", body, content_type=STRATEGIC, code=code)


def _messages(before: Json, **spec: Any) -> list[str]:
    old = {"metadata": {"name": "p", "namespace": "n"}, "spec": {**_SPEC, **before}}
    new = copy.deepcopy(old)
    new["spec"].update(spec)
    return [str(error) for error in pods.update(new, old)]


_SPEC: Json = {
    "containers": [{"name": "a", "image": "x", "imagePullPolicy": "Always",
                    "terminationMessagePolicy": "File"}],
    "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
}  # fmt: skip
_TOLERATION = {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}


def test_tolerations_are_added_and_their_time_changes() -> None:
    longer = {**_TOLERATION, "tolerationSeconds": 60}
    more = {"key": "b", "operator": "Exists"}
    assert _messages({"tolerations": [_TOLERATION]}, tolerations=[longer, more]) == []
    (message,) = _messages({"tolerations": [_TOLERATION]}, tolerations=[])
    assert "existing toleration can not be modified except its tolerationSeconds" in message


def test_a_deadline_only_comes_nearer() -> None:
    assert _messages({}, activeDeadlineSeconds=5) == []
    assert _messages({"activeDeadlineSeconds": 9}, activeDeadlineSeconds=5) == []
    (message,) = _messages({"activeDeadlineSeconds": 5}, activeDeadlineSeconds=9)
    assert message == (
        "spec.activeDeadlineSeconds: Invalid value: 9: must be less than or equal to previous value"
    )
    (message,) = _messages({"activeDeadlineSeconds": 5}, activeDeadlineSeconds=None)
    assert "must not update from a positive integer to nil value" in message


def test_gates_only_go_and_while_they_are_there_the_selector_grows() -> None:
    gated = {"schedulingGates": [{"name": "a"}, {"name": "b"}], "nodeSelector": {"x": "1"}}
    assert _messages(gated, schedulingGates=[{"name": "b"}], nodeSelector={"x": "1", "y": "2"}) == []
    (message,) = _messages(gated, schedulingGates=[{"name": "c"}])
    assert "only deletion is allowed, but found new scheduling gate 'c'" in message
    (message,) = _messages(gated, nodeSelector={"x": "2"})
    assert "only additions to spec.nodeSelector are allowed" in message
    assert "pod updates may not change fields other than" in _messages({}, nodeSelector={"x": "1"})[0]


def test_an_image_changes_and_must_be_one() -> None:
    (container,) = _SPEC["containers"]
    assert _messages({}, containers=[{**container, "image": "y"}]) == []
    (message,) = _messages({}, containers=[{**container, "image": ""}])
    assert message == "spec.containers[0].image: Required value"
    (message,) = _messages({}, containers=[{**container, "command": ["sh"]}])
    assert message.startswith("spec: Forbidden: pod updates may not change fields other than")


@in_world
async def test_ephemeral_containers_are_added_to_a_pod_and_stay(api: World) -> None:
    await api.do("POST", PODS, POD)
    debugger = {"name": "dbg", "image": "busybox:1.35", "targetContainerName": "main"}
    more = {"spec": {"ephemeralContainers": [debugger], "hostNetwork": True}}
    made = await _patch(api, "/ephemeralcontainers", more)
    (one,) = made["spec"]["ephemeralContainers"]
    assert (one["imagePullPolicy"], one["terminationMessagePolicy"]) == ("IfNotPresent", "File")
    assert "hostNetwork" not in made["spec"]
    assert made["metadata"]["generation"] == 2
    assert (await api.do("GET", f"{PODS}/web/ephemeralcontainers"))["spec"] == made["spec"]
    changed = {"spec": {"ephemeralContainers": [{"name": "dbg", "image": "other"}]}}
    refused = await _patch(api, "/ephemeralcontainers", changed, code=422)
    assert 'existing ephemeral containers "dbg" may not be changed' in refused["message"]
    without = {**made, "spec": {**made["spec"], "ephemeralContainers": []}}
    refused = await api.do("PUT", f"{PODS}/web/ephemeralcontainers", without, code=422)
    assert "may not be removed" in refused["message"]
    twice = {"spec": {"ephemeralContainers": [{"name": "main", "image": "x"}]}}
    refused = await _patch(api, "/ephemeralcontainers", twice, code=422)
    assert "Duplicate value" in refused["message"]
    odd = {"name": "e", "image": "", "targetContainerName": "x", "ports": [{"containerPort": 1}],
           "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "s"}]}  # fmt: skip
    refused = await _patch(api, "/ephemeralcontainers", {"spec": {"ephemeralContainers": [odd]}}, code=422)
    at = "spec.ephemeralContainers[0]"
    assert [cause["field"] for cause in refused["details"]["causes"]] == [
        f"{at}.image", f"{at}.targetContainerName", f"{at}.ports", f"{at}.volumeMounts[0].name",
        f"{at}.volumeMounts[0].subPath",
    ]  # fmt: skip
    stale = {**made, "metadata": {**made["metadata"], "resourceVersion": "1"}}
    await api.do("PUT", f"{PODS}/web/ephemeralcontainers", stale, code=409)
    refused = await _patch(api, "", {"spec": {"ephemeralContainers": [{"name": "e", "image": "x"}]}}, 422)
    assert "pod updates may not change fields other than" in refused["message"]


@in_world
async def test_a_pod_is_resized_within_its_class(api: World) -> None:
    pod = copy.deepcopy(POD)
    pod["spec"]["containers"][0]["resources"] = RESOURCES
    made = await api.do("POST", PODS, pod)

    def wish(**amounts: str) -> Json:
        resources = {side: {**RESOURCES[side], **amounts} for side in ("requests", "limits")}
        return {"spec": {"containers": [{"name": "main", "image": "other", "resources": resources}]}}

    resized = await _patch(api, "/resize", wish(cpu="2"))
    (container,) = resized["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "1Gi"}
    assert container["image"] == made["spec"]["containers"][0]["image"]
    looser = {"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "500m"}}}]}}
    refused = await _patch(api, "/resize", looser, code=422)
    assert "Pod QOS Class may not change as a result of resizing" in refused["message"]
    refused = await _patch(api, "/resize", wish(**{"ephemeral-storage": "1Gi"}), code=422)
    assert "only cpu and memory resources are mutable" in refused["message"]
    refused = await _patch(api, "", wish(cpu="3"), code=422)
    assert refused["reason"] == "Invalid"


def _eviction(name: str = "web", **options: Any) -> Json:
    body: Json = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    return {**body, "deleteOptions": options} if options else body


@in_world
async def test_an_eviction_is_a_delete_by_its_own_options(api: World) -> None:
    uid = (await api.do("POST", PODS, POD))["metadata"]["uid"]
    path = f"{PODS}/web/eviction"
    refused = await api.do("POST", path, _eviction("other"), code=400)
    assert "does not match the name on the URL" in refused["message"]
    refused = await api.do("POST", path, _eviction(preconditions={"uid": "x"}), code=409)
    assert "Precondition failed: UID" in refused["message"]
    await api.do("POST", path, {**_eviction(), "kind": "Pod"}, code=400)
    for dry in (_eviction(dryRun=["All"]), _eviction()):
        target = path if "deleteOptions" in dry else f"{path}?dryRun=All"
        assert (await api.do("POST", target, dry, code=201))["status"] == "Success"
        assert "deletionTimestamp" not in (await api.do("GET", f"{PODS}/web"))["metadata"]
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web"}, "target": {"name": "n"}}
    await api.do("POST", f"{PODS}/web/binding", binding)
    wish = _eviction(gracePeriodSeconds=7, preconditions={"uid": uid})
    await api.do("POST", path, wish, code=201)
    assert (await api.do("GET", f"{PODS}/web"))["metadata"]["deletionGracePeriodSeconds"] == 7
    await api.do("POST", f"{PODS}/nobody/eviction", _eviction("nobody"), code=404)
