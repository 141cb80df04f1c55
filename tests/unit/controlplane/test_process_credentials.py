"""The credentials of a cluster on disk, and the kubeconfigs made from them."""

from __future__ import annotations

import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controlplane import credentials
from controlplane.credentials import Pki
from kube import kubeconfig, pki
from kube.pki_files import PairFiles

pytestmark = pytest.mark.pure

NOW = datetime(2030, 1, 1, tzinfo=UTC)
URL = "https://10.0.0.5:6443"


def keep(directory: Path, *hosts: str, now: datetime = NOW) -> Pki:
    return credentials.keep_pki(directory, hosts=hosts, service_ip="10.96.0.1", now=now)


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def facts(files: PairFiles) -> pki.Facts:
    found = files.read()
    assert found is not None
    return pki.read_certificate(found.certificate)


def test_the_directory_is_laid_out_like_kubeadms(tmp_path: Path) -> None:
    made = keep(tmp_path / "pki", "10.0.0.5")
    assert set(contents(tmp_path / "pki")) == {
        "ca.crt", "ca.key", "apiserver.crt", "apiserver.key", "apiserver-kubelet-client.crt",
        "apiserver-kubelet-client.key", "sa.key", "sa.pub",
    }  # fmt: skip
    for key in ("ca.key", "apiserver.key", "apiserver-kubelet-client.key", "sa.key"):
        assert stat.S_IMODE((tmp_path / "pki" / key).stat().st_mode) == 0o600
    assert pki.public_key(made.token_key.read_bytes()) == made.token_public_key.read_bytes()


def test_the_server_has_all_its_names_and_the_client_is_a_master(tmp_path: Path) -> None:
    made = keep(tmp_path, "10.0.0.5", "cp.example.com")
    serving, client = facts(made.serving), facts(made.kubelet_client)
    assert {
        "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1",
        "10.96.0.1", "10.0.0.5", "cp.example.com",
    } <= set(serving.subject.hosts)  # fmt: skip
    assert serving.usages == {"serverAuth"}
    assert client.subject.common_name == "kube-apiserver-kubelet-client"
    assert client.subject.organizations == ("system:masters",)
    assert client.usages == {"clientAuth"}


def test_what_is_good_stays_and_a_new_name_changes_the_servers_certificate_alone(tmp_path: Path) -> None:
    keep(tmp_path)
    before = contents(tmp_path)
    keep(tmp_path)
    assert contents(tmp_path) == before
    keep(tmp_path, "cp.example.com")
    changed = {name for name, data in contents(tmp_path).items() if data != before[name]}
    assert changed == {"apiserver.crt", "apiserver.key"}


def test_certificates_are_renewed_before_they_end(tmp_path: Path) -> None:
    keep(tmp_path)
    before = contents(tmp_path)
    made = keep(tmp_path, now=NOW + timedelta(days=300))
    assert facts(made.serving).not_after > NOW + timedelta(days=600)
    changed = {name for name, data in contents(tmp_path).items() if data != before[name]}
    assert "ca.crt" not in changed and "sa.key" not in changed


def test_a_ca_without_its_key_is_refused(tmp_path: Path) -> None:
    keep(tmp_path)
    (tmp_path / "ca.key").unlink()
    with pytest.raises(pki.BadCertificate, match=r"ca\.key"):
        keep(tmp_path)


def test_two_at_once_agree(tmp_path: Path) -> None:
    made: list[Pki] = []
    both = [threading.Thread(target=lambda: made.append(keep(tmp_path))) for _ in range(4)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len({one.ca.certificate for one in made}) == 1
    serving = made[0].serving.read()
    assert serving is not None
    assert pki.is_issued_by(serving.certificate, made[0].ca.certificate)


def test_nothing_to_read_is_none(tmp_path: Path) -> None:
    assert credentials.read_pki(tmp_path) is None
    assert credentials.read_pki(keep(tmp_path).directory) is not None


def test_kubeconfigs_name_their_users_and_hold_all_they_need(tmp_path: Path) -> None:
    made = keep(tmp_path / "pki")
    admin, node, part = tmp_path / "x" / "admin", tmp_path / "node", tmp_path / "part"
    credentials.write_admin_kubeconfig(made, admin, URL, NOW)
    credentials.write_node_kubeconfig(made, node, "n1", URL, NOW)
    credentials.write_component_kubeconfig(made, part, credentials.SCHEDULER, URL, NOW)
    wanted = {
        admin: ("kubernetes-admin", ("system:masters",)),
        node: ("system:node:n1", ("system:nodes",)),
        part: ("system:kube-scheduler", ()),
    }
    for file, (name, groups) in wanted.items():
        settings = kubeconfig.load(file)
        assert (settings.server, settings.ca.read()) == (URL, made.ca.certificate)
        found = pki.read_certificate(settings.certificate.read())
        assert (found.subject.common_name, found.subject.organizations) == (name, groups)
        assert found.usages == {"clientAuth"}
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b'"current-context": "kubernetes-admin@kubernetes"' in admin.read_bytes()


def test_a_nodes_serving_certificate_is_for_its_hosts(tmp_path: Path) -> None:
    made = keep(tmp_path / "pki")
    files = credentials.keep_node_serving(made, tmp_path / "kubelet", "n1", ["10.0.0.7"], NOW)
    found = facts(files)
    assert (files.certificate.name, files.key.name) == ("kubelet.crt", "kubelet.key")
    assert found.subject.common_name == "system:node:n1"
    assert {"n1", "10.0.0.7"} == set(found.subject.hosts)
    assert found.usages == {"serverAuth"}
    before = files.read()
    credentials.keep_node_serving(made, tmp_path / "kubelet", "n1", ["10.0.0.7"], NOW)
    assert files.read() == before
