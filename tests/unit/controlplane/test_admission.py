"""What the admission plugins change and refuse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from controlplane.admission.escalation import Escalation
from controlplane.admission.namespacelifecycle import NamespaceLifecycle
from controlplane.admission.noderestriction import NodeRestriction, may_label
from controlplane.admission.order import plugins
from controlplane.admission.priority import Priority
from controlplane.admission.runtimeclass import RuntimeClass
from controlplane.admission.serviceaccount import MOUNT_PATH, ServiceAccount
from controlplane.admission.tolerations import DefaultTolerationSeconds, TaintNodesByCondition
from controlplane.api.model import AdmissionPlugin, Attributes, RequestInfo, UserInfo
from controlplane.authz.rbac import Policy
from kube.client import resources
from kube.client.resources import Resource
from kube.meta import CONFIG_MIRROR
from kube.status import Forbidden, NotFound

pytestmark = [pytest.mark.pure, pytest.mark.asyncio]
ANN = UserInfo("ann")
NODE = UserInfo("system:node:one", groups=("system:nodes",))
Json = dict[str, Any]


class Objects:
    """A View over what a test puts there."""

    def __init__(self, *items: tuple[Resource, Json]) -> None:
        self.items = {
            (resource, item["metadata"].get("namespace", ""), item["metadata"]["name"]): item
            for resource, item in items
        }

    def get(self, resource: Resource, namespace: str, name: str) -> Json | None:
        return self.items.get((resource, namespace, name))

    def list(self, resource: Resource, namespace: str = "") -> Sequence[Json]:
        return [item for key, item in self.items.items() if key[0] == resource]


def write(
    resource: Resource, value: Json | None, old: Json | None = None, verb: str = "", user: UserInfo = ANN,
    subresource: str = "", name: str = "",
) -> Attributes:  # fmt: skip
    meta = (value or old or {}).get("metadata", {})
    verb = verb or ("create" if old is None else "update")
    info = RequestInfo(
        verb, "/", True, resource.group, resource.version, resource.plural, subresource,
        "a" if resource.namespaced else "", name or ("" if verb == "create" else meta.get("name", "")),
    )  # fmt: skip
    return Attributes(user, info, resource, value, old)


def pod(name: str = "web", **spec: Any) -> Json:
    return {"metadata": {"name": name, "namespace": "a"}, "spec": {"containers": [{"name": "c"}], **spec}}


async def refusal(plugin: AdmissionPlugin, attributes: Attributes, view: Objects | None = None) -> str:
    assert plugin.handles(attributes)
    with pytest.raises(Forbidden) as caught:
        await plugin.validate(attributes, view or Objects())
    return caught.value.status.message


async def passes(plugin: AdmissionPlugin, attributes: Attributes, view: Objects | None = None) -> None:
    if plugin.handles(attributes):
        await plugin.validate(attributes, view or Objects())


def namespace(name: str = "a", phase: str = "Active") -> tuple[Resource, Json]:
    return resources.NAMESPACES, {"metadata": {"name": name}, "status": {"phase": phase}}


async def test_nothing_is_made_where_no_namespace_is_or_one_is_ending() -> None:
    plugin = NamespaceLifecycle()
    with pytest.raises(NotFound, match='namespaces "a" not found'):
        await plugin.validate(write(resources.PODS, pod()), Objects())
    await passes(plugin, write(resources.PODS, pod()), Objects(namespace()))
    ending = Objects(namespace(phase="Terminating"))
    with pytest.raises(Forbidden) as caught:
        await plugin.validate(write(resources.PODS, pod()), ending)
    status = caught.value.status
    assert status.message == (
        'pods "web" is forbidden: unable to create new content in namespace a because it is being terminated'
    )
    assert status.details is not None
    assert status.details["causes"][0]["reason"] == "NamespaceTerminating"
    await passes(plugin, write(resources.PODS, pod(), pod()), ending)


async def test_the_namespaces_a_cluster_lives_by_stay() -> None:
    plugin = NamespaceLifecycle()
    for name in ("default", "kube-system", "kube-public"):
        old = {"metadata": {"name": name}}
        assert await refusal(plugin, write(resources.NAMESPACES, None, old, "delete")) == (
            f'namespaces "{name}" is forbidden: this namespace may not be deleted'
        )
    await passes(plugin, write(resources.NAMESPACES, None, {"metadata": {"name": "mine"}}, "delete"))


def account(**fields: Any) -> tuple[Resource, Json]:
    return resources.SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "a"}, **fields}


async def test_a_pod_gets_its_account_and_the_token_volume() -> None:
    plugin = ServiceAccount(lambda: "abcde")
    view = Objects(account(imagePullSecrets=[{"name": "pull"}]))
    made = (await plugin.mutate(write(resources.PODS, pod(initContainers=[{"name": "i"}])), view))["spec"]
    assert made["serviceAccountName"] == made["serviceAccount"] == "default"
    assert made["imagePullSecrets"] == [{"name": "pull"}]
    assert [volume["name"] for volume in made["volumes"]] == ["kube-api-access-abcde"]
    token = made["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]
    assert token == {"expirationSeconds": 3607, "path": "token"}
    mount = {"name": "kube-api-access-abcde", "readOnly": True, "mountPath": MOUNT_PATH}
    assert made["containers"][0]["volumeMounts"] == made["initContainers"][0]["volumeMounts"] == [mount]


@pytest.mark.parametrize(
    ("of_pod", "of_account", "mounted"),
    [(False, True, False), (True, False, True), (None, False, False), (None, None, True)],
)
async def test_the_pods_word_on_the_token_comes_before_the_accounts(
    of_pod: bool | None, of_account: bool | None, mounted: bool
) -> None:
    fields: Json = {} if of_account is None else {"automountServiceAccountToken": of_account}
    spec: Json = {} if of_pod is None else {"automountServiceAccountToken": of_pod}
    made = await ServiceAccount().mutate(write(resources.PODS, pod(**spec)), Objects(account(**fields)))
    assert bool(made["spec"].get("volumes")) is mounted


async def test_a_container_with_a_mount_of_its_own_there_is_left_alone() -> None:
    own = {"name": "c", "volumeMounts": [{"name": "x", "mountPath": MOUNT_PATH}]}
    made = await ServiceAccount().mutate(write(resources.PODS, pod(containers=[own])), Objects(account()))
    assert "volumes" not in made["spec"]


async def test_a_pod_without_its_account_is_refused() -> None:
    with pytest.raises(Forbidden) as caught:
        await ServiceAccount().mutate(write(resources.PODS, pod()), Objects())
    assert str(caught.value) == (
        'pods "web" is forbidden: error looking up service account a/default: '
        'serviceaccount "default" not found'
    )


async def test_pods_tolerate_a_lost_node_for_five_minutes_unless_they_say_otherwise() -> None:
    plugin = DefaultTolerationSeconds()
    made = await plugin.mutate(write(resources.PODS, pod()), Objects())
    assert [(item["key"], item["tolerationSeconds"]) for item in made["spec"]["tolerations"]] == [
        ("node.kubernetes.io/not-ready", 300),
        ("node.kubernetes.io/unreachable", 300),
    ]
    own = [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "tolerationSeconds": 5}]
    made = await plugin.mutate(write(resources.PODS, pod(tolerations=own)), Objects())
    assert len(made["spec"]["tolerations"]) == 2
    made = await plugin.mutate(write(resources.PODS, pod(tolerations=[{"operator": "Exists"}])), Objects())
    assert made["spec"]["tolerations"] == [{"operator": "Exists"}]


async def test_a_new_node_takes_no_pods_yet() -> None:
    plugin = TaintNodesByCondition()
    node = {"metadata": {"name": "one"}}
    made = await plugin.mutate(write(resources.NODES, node), Objects())
    again = await plugin.mutate(write(resources.NODES, made), Objects())
    assert again["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]


def klass(name: str, value: int, **fields: Any) -> tuple[Resource, Json]:
    return resources.PRIORITY_CLASSES, {"metadata": {"name": name}, "value": value, **fields}


async def test_a_priority_class_becomes_a_number() -> None:
    plugin = Priority()
    view = Objects(klass("high", 100, preemptionPolicy="Never"), klass("low", -1, globalDefault=True))
    made = (await plugin.mutate(write(resources.PODS, pod(priorityClassName="high")), view))["spec"]
    assert (made["priority"], made["preemptionPolicy"]) == (100, "Never")
    made = (await plugin.mutate(write(resources.PODS, pod()), view))["spec"]
    assert (made["priorityClassName"], made["priority"]) == ("low", -1)
    made = (await plugin.mutate(write(resources.PODS, pod()), Objects()))["spec"]
    assert made["priority"] == 0
    assert "priorityClassName" not in made
    with pytest.raises(Forbidden, match="no PriorityClass with name none was found"):
        await plugin.mutate(write(resources.PODS, pod(priorityClassName="none")), view)
    with pytest.raises(Forbidden, match="integer value of priority"):
        await plugin.mutate(write(resources.PODS, pod(priority=7)), Objects())


async def test_one_default_priority_class_is_enough() -> None:
    view = Objects(klass("low", 1, globalDefault=True))
    second = klass("other", 2, globalDefault=True)[1]
    assert "already marked as default" in await refusal(
        Priority(), write(resources.PRIORITY_CLASSES, second), view
    )


async def test_a_runtime_class_adds_its_overhead_and_place() -> None:
    found = {
        "metadata": {"name": "vm"}, "overhead": {"podFixed": {"cpu": "100m"}},
        "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm"}]},
    }  # fmt: skip
    view = Objects((resources.RUNTIME_CLASSES, found))
    plugin = RuntimeClass()
    made = (await plugin.mutate(write(resources.PODS, pod(runtimeClassName="vm")), view))["spec"]
    assert made["overhead"] == {"cpu": "100m"}
    assert made["nodeSelector"] == {"vm": "yes"}
    assert made["tolerations"] == [{"key": "vm"}]
    same = pod(runtimeClassName="vm", overhead={"cpu": "0.1"})
    await plugin.mutate(write(resources.PODS, same), view)
    for spec, because in (
        ({"runtimeClassName": "none"}, 'RuntimeClass "none" not found'),
        ({"runtimeClassName": "vm", "overhead": {"cpu": "1"}}, "doesn't match"),
        ({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}}, "conflict"),
    ):
        with pytest.raises(Forbidden, match=because):
            await plugin.mutate(write(resources.PODS, pod(**spec)), view)
    assert "without corresponding" in await refusal(plugin, write(resources.PODS, pod(overhead={"cpu": "1"})))


async def test_a_node_writes_itself_alone_and_neither_taints_nor_foreign_labels() -> None:
    plugin = NodeRestriction()
    one: Json = {"metadata": {"name": "one", "labels": {"kubernetes.io/hostname": "one"}}, "spec": {}}
    await passes(plugin, write(resources.NODES, one, user=NODE))
    assert await refusal(plugin, write(resources.NODES, {"metadata": {"name": "two"}}, user=NODE)) == (
        'nodes "two" is forbidden: node "one" is not allowed to modify node "two"'
    )
    tainted = {**one, "spec": {"taints": [{"key": "x"}]}}
    assert "modify taints" in await refusal(plugin, write(resources.NODES, tainted, one, user=NODE))
    for label in ("node-restriction.kubernetes.io/tenant", "node-role.kubernetes.io/control-plane"):
        labelled = {"metadata": {"name": "one", "labels": {label: "x"}}}
        assert label in await refusal(plugin, write(resources.NODES, labelled, user=NODE))
    assert may_label("example.com/disk")
    assert may_label("kubelet.kubernetes.io/anything")


async def test_a_node_touches_only_pods_that_are_bound_to_it() -> None:
    plugin = NodeRestriction()
    mine, other = pod(nodeName="one"), pod(nodeName="two")
    await passes(plugin, write(resources.PODS, mine, mine, user=NODE, subresource="status"))
    await passes(plugin, write(resources.PODS, None, mine, "delete", NODE))
    status = write(resources.PODS, other, other, user=NODE, subresource="status")
    assert "only update pod status" in await refusal(plugin, status)
    assert "only delete pods" in await refusal(plugin, write(resources.PODS, None, other, "delete", NODE))
    labelled = {**mine, "metadata": {**mine["metadata"], "labels": {"a": "b"}}}
    relabel = write(resources.PODS, labelled, mine, user=NODE, subresource="status")
    assert "cannot update labels" in await refusal(plugin, relabel)
    eviction = write(resources.PODS, {}, verb="create", user=NODE, subresource="eviction", name="web")
    assert "only evict pods" in await refusal(plugin, eviction, Objects((resources.PODS, other)))
    await passes(plugin, eviction, Objects((resources.PODS, mine)))
    await passes(plugin, write(resources.PODS, None, other, "delete", ANN))


async def test_a_node_makes_mirror_pods_without_references_alone() -> None:
    plugin = NodeRestriction()
    assert "can only create mirror pods" in await refusal(
        plugin, write(resources.PODS, pod(nodeName="one"), user=NODE)
    )

    def mirror(**spec: Any) -> Attributes:
        made = pod(**{"nodeName": "one", **spec})
        made["metadata"]["annotations"] = {CONFIG_MIRROR: "hash"}
        return write(resources.PODS, made, user=NODE)

    await passes(plugin, mirror())
    assert "nodeName set to itself" in await refusal(plugin, mirror(nodeName="two"))
    assert "service account" in await refusal(plugin, mirror(serviceAccountName="root"))
    secret = [{"name": "v", "secret": {"secretName": "s"}}]
    assert "reference secrets" in await refusal(plugin, mirror(volumes=secret))


async def test_a_node_asks_tokens_for_its_own_pods_alone() -> None:
    plugin = NodeRestriction()
    mine = pod(nodeName="one", serviceAccountName="bot")
    mine["metadata"]["uid"] = "u1"
    view = Objects((resources.PODS, mine))

    def ask(**bound: str) -> Attributes:
        spec = {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", **bound}} if bound else {}
        return write(resources.SERVICE_ACCOUNTS, {"spec": spec}, verb="create", user=NODE,
                     subresource="token", name="bot")  # fmt: skip

    await passes(plugin, ask(name="web", uid="u1"), view)
    assert "not bound to a pod" in await refusal(plugin, ask(), view)
    assert "without a uid" in await refusal(plugin, ask(name="web"), view)
    assert "does not match" in await refusal(plugin, ask(name="web", uid="u2"), view)
    mine["spec"]["nodeName"] = "two"
    assert "different node" in await refusal(plugin, ask(name="web", uid="u1"), view)


async def test_a_node_keeps_its_own_lease_in_its_namespace() -> None:
    plugin = NodeRestriction()
    lease = {"metadata": {"name": "one", "namespace": "a"}}
    assert "kube-node-lease" in await refusal(plugin, write(resources.LEASES, lease, user=NODE))


async def test_escalation_is_refused_in_the_words_of_the_role() -> None:
    policy = Policy()
    rules = [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]
    role = {"metadata": {"name": "r", "namespace": "a"}, "rules": rules}
    message = await refusal(Escalation(policy, policy), write(resources.ROLES, role))
    assert message.startswith('roles.rbac.authorization.k8s.io "r" is forbidden: user "ann"')


async def test_the_order_is_upstreams() -> None:
    policy = Policy()
    names = [plugin.name for plugin in plugins(policy, policy)]
    assert names == [
        "NamespaceLifecycle", "ServiceAccount", "NodeRestriction", "TaintNodesByCondition", "Priority",
        "DefaultTolerationSeconds", "RuntimeClass", "RBACEscalation",
    ]  # fmt: skip
