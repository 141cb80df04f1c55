"""Environment, downward API, service variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from kube.objects.core_v1 import Pod
from kubelet.podspec.downward import DownwardFacts, format_map, go_quote
from kubelet.podspec.env import NoObjects, container_env, skipped_keys, static_env
from kubelet.podspec.errors import ContainerConfigError, ObjectNotFound
from kubelet.podspec.service_env import ServiceEndpoint, service_variables

pytestmark = pytest.mark.pure

FACTS = DownwardFacts(
    node_name="n1",
    node_ips=("192.168.0.1", "fd00::1"),
    pod_ips=("10.1.0.5", "fd01::5"),
    allocatable={"cpu": "3900m", "memory": "7Gi", "ephemeral-storage": "10G"},
)


class Objects:
    """Two objects; everything else is missing."""

    def config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        if (namespace, name) == ("shop", "cm"):
            return {"k": "v", "HOST": "from-cm"}
        raise ObjectNotFound(f'configmap "{name}" not found')

    def secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        if (namespace, name) == ("shop", "sec"):
            return {"p": b"\xff\x00w"}
        raise ObjectNotFound(f'secret "{name}" not found')


def make_pod(container: dict[str, Any], **spec: Any) -> Pod:
    metadata = {
        "name": "web",
        "namespace": "shop",
        "uid": "u1",
        "labels": {"app": "web", "b/c": 'q"\n'},
        "annotations": {"note": "ünï"},
    }
    body = {"containers": [{"name": "c", **container}], "serviceAccountName": "sa", **spec}
    return msgspec.convert({"metadata": metadata, "spec": body}, Pod)


def env_of(
    container: dict[str, Any], services: Mapping[str, str] | None = None, **spec: Any
) -> dict[str, str]:
    pod = make_pod(container, **spec)
    return container_env(pod, pod.spec.containers[0], FACTS, Objects(), services)


def field(path: str) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}


def resource(name: str, divisor: str | None = None) -> dict[str, Any]:
    reference = {"resource": name, **({"divisor": divisor} if divisor else {})}
    return {"name": "X", "valueFrom": {"resourceFieldRef": reference}}


def test_env_wins_over_env_from_which_wins_over_services() -> None:
    container = {
        "envFrom": [{"configMapRef": {"name": "cm"}}, {"prefix": "P_", "configMapRef": {"name": "cm"}}],
        "env": [
            {"name": "HOST", "value": "env+$(HOST)"},
            {"name": "LATER", "value": "$(HOST) $(SVC) $(UNSET)"},
        ],
    }
    assert env_of(container, {"SVC": "s", "k": "service"}) == {
        "SVC": "s",
        "k": "v",
        "HOST": "env+from-cm",
        "P_k": "v",
        "P_HOST": "from-cm",
        "LATER": "env+from-cm s $(UNSET)",
    }


def test_a_value_sees_only_what_is_before_it() -> None:
    assert env_of({"env": [{"name": "A", "value": "$(B)"}, {"name": "B", "value": "1"}]}) == {
        "A": "$(B)",
        "B": "1",
    }


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "u1"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['note']", "ünï"),
        ("metadata.labels['none']", ""),
        ("metadata.labels", 'app="web"\nb/c="q\\"\\n"'),
        ("spec.nodeName", "n1"),
        ("spec.serviceAccountName", "sa"),
        ("status.hostIP", "192.168.0.1"),
        ("status.hostIPs", "192.168.0.1,fd00::1"),
        ("status.podIP", "10.1.0.5"),
        ("status.podIPs", "10.1.0.5,fd01::5"),
    ],
)
def test_field_references(path: str, value: str) -> None:
    assert env_of({"env": [field(path)]}) == {"X": value}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("spec.hostname", "unsupported fieldPath: spec.hostname"),
        ("spec.nodeName['x']", "fieldPath \"spec.nodeName['x']\" does not support subscript"),
    ],
)
def test_a_field_that_does_not_exist_is_a_configuration_error(path: str, message: str) -> None:
    with pytest.raises(ContainerConfigError) as refused:
        env_of({"env": [field(path)]})
    assert (refused.value.message, refused.value.reason) == (message, "CreateContainerConfigError")


@pytest.mark.parametrize(
    ("name", "divisor", "value"),
    [
        ("limits.cpu", None, "2"),
        ("limits.cpu", "1m", "1250"),
        ("requests.cpu", None, "1"),
        ("requests.cpu", "1m", "250"),
        ("limits.memory", None, "67108864"),
        ("limits.memory", "1Mi", "64"),
        ("limits.memory", "1Gi", "1"),
        ("requests.memory", None, "0"),
        ("limits.ephemeral-storage", None, "10000000000"),
        ("requests.hugepages-2Mi", "1Mi", "4"),
    ],
)
def test_resource_references_round_up(name: str, divisor: str | None, value: str) -> None:
    resources = {
        "limits": {"cpu": "1250m", "memory": "64Mi"},
        "requests": {"cpu": "250m", "hugepages-2Mi": "4Mi"},
    }
    assert env_of({"env": [resource(name, divisor)], "resources": resources}) == {"X": value}


def test_a_missing_limit_is_the_pods_then_the_nodes() -> None:
    asked = {"env": [resource("limits.memory", "1Mi")]}
    assert env_of(asked) == {"X": str(7 * 1024)}
    assert env_of(asked, resources={"limits": {"memory": "512Mi"}}) == {"X": "512"}


def test_an_unknown_resource_is_a_configuration_error() -> None:
    with pytest.raises(ContainerConfigError, match=r"unsupported container resource : limits\.gpu"):
        env_of({"env": [resource("limits.gpu")]})


def reference(kind: str, name: str, key: str, *, optional: bool = False) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {kind: {"name": name, "key": key, "optional": optional}}}


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        (reference("configMapKeyRef", "no", "k"), 'configmap "no" not found'),
        (reference("secretKeyRef", "no", "k"), 'secret "no" not found'),
        (reference("configMapKeyRef", "cm", "z"), "couldn't find key z in ConfigMap shop/cm"),
        (reference("secretKeyRef", "sec", "z"), "couldn't find key z in Secret shop/sec"),
    ],
)
def test_missing_references_are_configuration_errors_in_upstreams_words(
    variable: dict[str, Any], message: str
) -> None:
    with pytest.raises(ContainerConfigError) as refused:
        env_of({"env": [variable]})
    assert refused.value.message == message


@pytest.mark.parametrize("kind", ["configMapKeyRef", "secretKeyRef"])
def test_missing_optional_references_are_left_out(kind: str) -> None:
    assert env_of({"env": [reference(kind, "no", "k", optional=True)]}) == {}
    assert env_of({"env": [reference(kind, "cm" if kind[0] == "c" else "sec", "z", optional=True)]}) == {}


def test_secret_bytes_that_are_not_text_survive() -> None:
    value = env_of({"env": [reference("secretKeyRef", "sec", "p")]})["X"]
    assert value.encode("utf-8", "surrogateescape") == b"\xff\x00w"


def test_an_agent_without_an_api_server_refuses_references() -> None:
    pod = make_pod({"envFrom": [{"secretRef": {"name": "s", "optional": True}}]})
    with pytest.raises(ContainerConfigError) as refused:
        container_env(pod, pod.spec.containers[0], FACTS, NoObjects())
    assert refused.value.message == "couldn't get secret shop/s, no kubeClient defined"


def test_keys_that_cannot_be_variables_are_left_out_and_told() -> None:
    class Odd:
        def config_map(self, _namespace: str, _name: str) -> dict[str, str]:
            return {"a.b-c": "1", "1st": "2", "x=y": "3", "caf\u00e9": "4"}

        def secret(self, _namespace: str, _name: str) -> dict[str, bytes]:
            return {"k=": b"1"}

    sources = [{"configMapRef": {"name": "m"}, "prefix": "P_"}, {"secretRef": {"name": "s"}}]
    pod = make_pod({"envFrom": sources})
    (box,) = pod.spec.containers
    assert container_env(pod, box, FACTS, Odd()) == {"P_a.b-c": "1", "P_1st": "2"}
    assert skipped_keys(box, "shop", Odd()) == (
        "Keys [P_caf\u00e9, P_x=y] from the EnvFrom configMap shop/m were skipped since they are considered "
        "invalid environment variable names.",
        "Keys [k=] from the EnvFrom secret shop/s were skipped since they are considered invalid environment "
        "variable names.",
    )


def test_static_env_knows_only_literal_values() -> None:
    pod = make_pod(
        {"env": [{"name": "A", "value": "1"}, field("metadata.name"), {"name": "B", "value": "$(A)$(X)"}]}
    )
    assert static_env(pod.spec.containers[0]) == {"A": "1", "B": "1$(X)"}


def test_maps_are_sorted_and_quoted_as_go_quotes() -> None:
    assert format_map({"b": "2", "a": "\t\x01é\u200b\U0001f600\u2028"}) == (
        'a="\\t\\x01é\\u200b\U0001f600\\u2028"\nb="2"'
    )
    assert go_quote('a "b" \\') == '"a \\"b\\" \\\\"'


SERVICES = (
    ServiceEndpoint("shop", "my-db", "10.0.0.5", (("sql", "TCP", 5432), ("", "UDP", 53))),
    ServiceEndpoint("shop", "headless", "None", (("", "TCP", 80),)),
    ServiceEndpoint("other", "far", "10.0.0.6", (("", "TCP", 80),)),
    ServiceEndpoint("default", "kubernetes", "10.0.0.1", (("https", "TCP", 443),)),
)


def test_service_variables_have_the_docker_link_form() -> None:
    found = service_variables(SERVICES, "shop", service_links=True)
    expected = {
        "MY_DB_SERVICE_HOST": "10.0.0.5",
        "MY_DB_SERVICE_PORT": "5432",
        "MY_DB_SERVICE_PORT_SQL": "5432",
        "MY_DB_PORT": "tcp://10.0.0.5:5432",
        "MY_DB_PORT_5432_TCP": "tcp://10.0.0.5:5432",
        "MY_DB_PORT_5432_TCP_PROTO": "tcp",
        "MY_DB_PORT_5432_TCP_PORT": "5432",
        "MY_DB_PORT_5432_TCP_ADDR": "10.0.0.5",
        "MY_DB_PORT_53_UDP": "udp://10.0.0.5:53",
        "MY_DB_PORT_53_UDP_PROTO": "udp",
        "MY_DB_PORT_53_UDP_PORT": "53",
        "MY_DB_PORT_53_UDP_ADDR": "10.0.0.5",
    }
    assert {name: value for name, value in found.items() if name.startswith("MY_DB")} == expected
    assert not any(name.startswith(("FAR", "HEADLESS")) for name in found)
    assert found["KUBERNETES_SERVICE_HOST"] == "10.0.0.1"


def test_without_service_links_only_the_api_server_is_told() -> None:
    found = service_variables(SERVICES, "shop", service_links=False)
    assert {name.split("_")[0] for name in found} == {"KUBERNETES"}
