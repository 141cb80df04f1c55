"""Kubeconfig files, ours and other people's."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from kube import kubeconfig
from kube.client.settings import BadSettings, Material, Settings

pytestmark = pytest.mark.pure

CONFIG = """\
apiVersion: v1
kind: Config
current-context: two
clusters:
- name: c1
  cluster: {server: "https://one:6443/", certificate-authority: pki/ca.crt}
- name: c2
  cluster:
    server: https://two:6443
    certificate-authority-data: Q0E=
    tls-server-name: kubernetes
users:
- name: u1
  user: {client-certificate: /abs/me.crt, client-key: me.key}
- name: u2
  user: {token: secret, tokenFile: token}
- name: plugin
  user:
    exec: {command: aws, apiVersion: client.authentication.k8s.io/v1}
contexts:
- name: one
  context: {cluster: c1, user: u1, namespace: shop}
- name: two
  context: {cluster: c2, user: u2}
- name: three
  context: {cluster: c2, user: plugin}
- name: dangling
  context: {cluster: gone, user: u1}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "config"
    file.write_text(CONFIG)
    return file


def edited(path: Path, old: str, new: str) -> Path:
    assert old in CONFIG
    path.write_text(CONFIG.replace(old, new))
    return path


def test_current_context_is_used_and_another_can_be_named(path: Path) -> None:
    two = kubeconfig.load(path)
    assert (two.server, two.ca.read(), two.tls_server_name) == ("https://two:6443", b"CA", "kubernetes")
    assert (two.token, two.token_file, two.namespace) == ("secret", str(path.parent / "token"), "default")
    one = kubeconfig.load(path, context="one")
    assert (one.server, one.namespace) == ("https://one:6443", "shop")
    assert one.ca.file == str(path.parent / "pki/ca.crt")
    assert (one.certificate.file, one.key.file) == ("/abs/me.crt", str(path.parent / "me.key"))


@pytest.mark.parametrize("program", ["exec: {command: aws}", "auth-provider: {name: gcp}"])
def test_programs_that_fetch_credentials_are_refused(path: Path, program: str) -> None:
    edited(path, "exec: {command: aws, apiVersion: client.authentication.k8s.io/v1}", program)
    name = program.partition(":")[0]
    with pytest.raises(BadSettings, match=rf'user "plugin" of kubeconfig ".*": because .*\({name}\) are not'):
        kubeconfig.load(path, context="three")


@pytest.mark.parametrize(
    ("old", "new", "context", "says"),
    [
        ("current-context: two", "", "", "it has no current-context"),
        ("", "", "nope", 'contexts has no "nope"'),
        ("", "", "dangling", 'clusters has no "gone"'),
        ("Q0E=", "Q0E", "", "certificate-authority-data is not base64"),
        ("https://two:6443", "two:6443", "", 'server must be an http or https URL, not "two:6443"'),
        (", client-key: me.key", "", "one", "client-certificate and client-key go together"),
        ("token: secret", "token: 5", "", "token must be a string"),
        ("- name: c1\n", "- nome: c1\n", "", r"clusters\[0\] is not a named cluster"),
        ("kind: Config", "kind: Pod", "", 'its kind is "Pod"'),
        ("apiVersion: v1", "apiVersion: [v1", "", r"config:\d+: "),
    ],
)
def test_what_is_wrong_is_said_with_file_and_field(
    path: Path, old: str, new: str, context: str, says: str
) -> None:
    edited(path, old, new)
    with pytest.raises(BadSettings, match=says) as caught:
        kubeconfig.load(path, context=context)
    assert str(path) in str(caught.value)


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r'^cannot read ".*nothing": because No such file'):
        kubeconfig.load(tmp_path / "nothing")


def test_of_several_files_the_first_entry_of_a_name_counts(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "sub" / "other"
    other.parent.mkdir()
    other.write_text(
        "clusters: [{name: c2, cluster: {server: 'https://never:1'}},"
        " {name: c3, cluster: {server: 'https://three:6443', certificate-authority: ca.crt}}]\n"
        "contexts: [{name: four, context: {cluster: c3, user: u2}}]\ncurrent-context: four\n"
    )
    assert kubeconfig.load_merged([path, other]).server == "https://two:6443"
    four = kubeconfig.load_merged([path, other], context="four")
    assert (four.server, four.ca.file) == ("https://three:6443", str(other.parent / "ca.crt"))
    assert four.token_file == str(path.parent / "token")


def test_what_is_written_is_read_back_and_is_the_owners_alone(tmp_path: Path) -> None:
    settings = Settings(
        "https://127.0.0.1:6443", ca=Material(b"CA"), certificate=Material(b"CERT"), key=Material(b"KEY")
    )
    path = tmp_path / "admin.kubeconfig"
    kubeconfig.write(path, settings, cluster="lab")
    assert kubeconfig.load(path) == settings
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path], "no temporary file stays"
    body: dict[str, Any] = json.loads(path.read_text())
    assert body["current-context"] == "admin@lab"
    assert body["users"][0]["user"]["client-key-data"] == base64.b64encode(b"KEY").decode()


def test_files_stay_references_when_written(tmp_path: Path) -> None:
    settings = Settings("https://x:1", ca=Material(file="/pki/ca.crt"), token_file="/run/token")
    path = tmp_path / "kubelet.kubeconfig"
    kubeconfig.write(path, settings)
    assert kubeconfig.load(path) == settings


def test_pod_finds_its_server_and_token(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("shop\n")
    environ = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    settings = kubeconfig.in_cluster(environ, mount=tmp_path)
    assert (settings.server, settings.namespace) == ("https://10.96.0.1:443", "shop")
    assert settings.token_file == str(tmp_path / "token")
    six = kubeconfig.in_cluster({**environ, "KUBERNETES_SERVICE_HOST": "fd00::1"}, mount=tmp_path)
    assert six.server == "https://[fd00::1]:443"
    with pytest.raises(BadSettings, match="KUBERNETES_SERVICE_HOST"):
        kubeconfig.in_cluster({}, mount=tmp_path)


def test_secrets_do_not_show_in_logs() -> None:
    settings = Settings("https://x", token="hush", basic=("u", "hush"), key=Material(b"hush"))
    assert "hush" not in repr(settings)
