"""A manifest becomes a static pod of this node, or everything that is wrong with it is said."""

from __future__ import annotations

import pytest

from kube.errors import InvalidObject
from kube.objects.core_v1 import Pod
from kube.objects.meta_v1 import ObjectMeta
from kubelet.sources.identity import Origin, static_pod
from kubelet.sources.manifest import decode_static_pods

pytestmark = pytest.mark.pure

FILE = Origin("file", "/etc/kubernetes/manifests/web.yaml", "node-1")

WEB = """\
# the web server
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
  - name: c
    image: busybox:1.35
"""


def one(text: str, origin: Origin = FILE) -> Pod:
    (pod,) = decode_static_pods(text.encode(), origin)
    return pod


def faults(text: str, origin: Origin = FILE) -> list[str]:
    with pytest.raises(InvalidObject) as caught:
        decode_static_pods(text.encode(), origin)
    return [error.located("web.yaml") for error in caught.value.errors]


def test_static_pod_gets_name_namespace_node_and_marks() -> None:
    pod = one(WEB)
    meta = pod.metadata
    assert (meta.name, meta.namespace, pod.spec.node_name) == ("web-node-1", "default", "node-1")
    assert len(meta.uid) == 32
    assert set(meta.uid) <= set("0123456789abcdef")
    assert meta.annotations == {
        "kubernetes.io/config.hash": meta.uid,
        "kubernetes.io/config.source": "file",
        "pykubelet/config.origin": "/etc/kubernetes/manifests/web.yaml",
    }
    assert pod.status.phase == "Pending"
    assert pod.spec.restart_policy == "Always"
    assert [(t.operator, t.effect, t.key) for t in pod.spec.tolerations] == [("Exists", "NoExecute", None)]


def test_name_ends_in_the_node_name_in_lower_case() -> None:
    pod = static_pod(Pod(metadata=ObjectMeta(name="web")), Origin("file", "/m/web.yaml", "Node-1"))
    assert (pod.metadata.name, pod.spec.node_name) == ("web-node-1", "Node-1")


def test_pod_of_a_url_gets_no_blanket_toleration() -> None:
    pod = one(WEB, Origin("http", "http://127.0.0.1/pods", "n"))
    assert pod.spec.tolerations == ()
    assert pod.metadata.annotations["kubernetes.io/config.source"] == "http"


def test_uid_is_the_contents_and_where_it_comes_from() -> None:
    uid = one(WEB).metadata.uid
    assert one(WEB).metadata.uid == uid
    assert one("\n" + WEB.replace("# the web server", "# other words")).metadata.uid == uid
    others = [
        one(WEB.replace("1.35", "1.36")),
        one(WEB, Origin("file", "/etc/kubernetes/manifests/other.yaml", "node-1")),
        one(WEB, Origin("file", FILE.location, "node-2")),
        one(WEB, Origin("http", FILE.location, "node-1")),
    ]
    assert len({uid, *(pod.metadata.uid for pod in others)}) == 5


def test_uid_and_namespace_that_the_user_wrote_are_kept() -> None:
    pod = one(WEB.replace("  name: web\n", "  name: web\n  uid: abc\n  namespace: kube-system\n"))
    assert (pod.metadata.uid, pod.metadata.namespace) == ("abc", "kube-system")
    assert pod.metadata.annotations["kubernetes.io/config.hash"] == "abc"


def test_list_and_several_documents_give_all_their_pods() -> None:
    item = "{metadata: {name: %s}, spec: {containers: [{name: c, image: i}]}}"
    text = f"apiVersion: v1\nkind: PodList\nitems: [{item % 'a'}, {item % 'b'}]\n---\n" + WEB
    pods = decode_static_pods(text.encode(), FILE)
    assert [pod.metadata.name for pod in pods] == ["a-node-1", "b-node-1", "web-node-1"]
    assert len({pod.metadata.uid for pod in pods}) == 3


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("    image: busybox:1.35", "    image: x\n    imagee: y"),
         'web.yaml:10: unknown field "spec.containers[0].imagee"'),
        (("  - name: c\n", "  - name: c\n    image: x\n  - name: c\n"),
         "spec.containers[1].name: Duplicate value"),
        (("  name: web", "  nam: web"), "metadata.name: Required value"),
        (("  name: web", "  name: Web_1"), "metadata.name: Invalid value"),
    ],
)  # fmt: skip
def test_faulty_manifest_names_line_and_field(change: tuple[str, str], fault: str) -> None:
    found = faults(WEB.replace(*change))
    assert any(fault in line for line in found), found
    assert all(line.startswith("web.yaml:") for line in found)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("  serviceAccountName: sa\n",
         "spec.serviceAccountName: static pods may not reference serviceaccounts"),
        ("  imagePullSecrets: [{name: s}]\n", "spec.imagePullSecrets: static pods may not reference secrets"),
        ("  volumes: [{name: v, secret: {secretName: s}}]\n",
         "spec.volumes[0]: static pods may not reference secrets"),
        ("  volumes: [{name: v, configMap: {name: s}}]\n",
         "spec.volumes[0].configMap: static pods may not reference configmaps"),
        ("  volumes: [{name: v, persistentVolumeClaim: {claimName: s}}]\n",
         "spec.volumes[0].persistentVolumeClaim: static pods may not reference persistentvolumeclaims"),
        ("  volumes: [{name: v, csi: {driver: d.io}}]\n",
         "spec.volumes[0].csi: static pods may not reference csidrivers (via CSI volumes)"),
        ("  volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}]\n",
         "spec.volumes[0].projected.sources[0].serviceAccountToken: static pods may not reference "
         "serviceaccounts (via projected volumes)"),
    ],
)  # fmt: skip
def test_reference_to_an_api_object_is_refused_in_upstreams_words(spec: str, message: str) -> None:
    (found,) = faults(WEB + spec)
    assert found == f"web.yaml:10: {message}"


def test_environment_from_api_objects_is_refused() -> None:
    for env, resource in (
        ("    envFrom: [{configMapRef: {name: a}}]\n", "configmaps"),
        ("    envFrom: [{secretRef: {name: a}}]\n", "secrets"),
        ("    env: [{name: A, valueFrom: {secretKeyRef: {name: a, key: b}}}]\n", "secrets"),
        ("    env: [{name: A, valueFrom: {configMapKeyRef: {name: a, key: b}}}]\n", "configmaps"),
    ):
        (found,) = faults(WEB + env)
        assert found.endswith(f"static pods may not reference {resource}")
        assert found.startswith("web.yaml:10: spec.containers[0].env")


def test_volumes_that_need_no_api_are_fine() -> None:
    pod = one(
        WEB + "  volumes:\n  - {name: a, emptyDir: {}}\n  - {name: b, hostPath: {path: /srv}}\n"
        "  - {name: c, projected: {sources: [{downwardAPI: {items: [{path: name, "
        "fieldRef: {fieldPath: metadata.name}}]}}]}}\n"
    )
    assert len(pod.spec.volumes) == 3


def test_one_faulty_pod_refuses_the_whole_manifest_with_all_faults() -> None:
    found = faults(
        WEB + "---\n" + WEB.replace("image:", "imag:") + "---\n" + WEB.replace("name: c", "nam: c")
    )
    assert any("imag" in line for line in found)
    assert any("nam" in line for line in found)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe\x00", b"kind: Pod", b"[]", b"a: [", b"kind: Service\napiVersion: v1\n"]
)
def test_bytes_that_are_no_pod_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidObject):
        decode_static_pods(data, FILE)
