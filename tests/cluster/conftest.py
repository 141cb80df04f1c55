"""Fixtures of the cluster suite: one whole cluster for the session, kubectl in two versions, a namespace."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from pykubelet.instance.layout import Layout
from tests.cluster.clusters import NEWEST, Cluster, Kubectl, KubectlMissing, find_kubectl, wait_until
from tests.cluster.stranger import Api, Place, path_to
from tests.runtimes.fixtures import Workshop

KUBECTLS = ("PATH", NEWEST)


@pytest.fixture(scope="session")
def cluster(workshop: Workshop | None) -> Iterator[Cluster]:
    """A cluster of one node for the whole session; a test removes what it created (see `namespace`)."""
    if os.geteuid() != 0 or workshop is None:
        pytest.skip("a real runtime needs root")
    made = Cluster(Layout.of(str(workshop.base / "cluster")), dict(os.environ))
    workshop.bridges.add(made.layout.bridge)
    try:
        made.up()
        yield made
    finally:
        made.down("--purge", "--timeout", "5")


@pytest.fixture
def own_cluster(workshop: Workshop | None) -> Iterator[Cluster]:
    """A root for one test alone, which brings it up and down as it likes."""
    if os.geteuid() != 0 or workshop is None:
        pytest.skip("a real runtime needs root")
    made = Cluster(Layout.of(str(workshop.base / f"own-{secrets.token_hex(3)}")), dict(os.environ))
    workshop.bridges.add(made.layout.bridge)
    yield made
    made.down("--purge", "--timeout", "5")
    assert not made.layout.root.exists()


@pytest.fixture(scope="session", params=KUBECTLS)
def kubectl(request: pytest.FixtureRequest, cluster: Cluster) -> Kubectl:
    """Every test that takes it runs with the kubectl of PATH and with 1.36."""
    try:
        return cluster.kubectl(find_kubectl(request.param))
    except KubectlMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def namespace(cluster: Cluster, kubectl: Kubectl) -> Iterator[str]:
    """A namespace that is gone, with all in it, when the test is over."""
    name = f"test-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--timeout=60s")


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Api:
    """The session's cluster, as its administrator, without a line of ours in between."""
    return Api(cluster.kubeconfig)


@pytest.fixture(scope="module")
def room(api: Api) -> Iterator[Place]:
    """A namespace for a module, in which every test uses names of its own."""
    name = f"room-{secrets.token_hex(3)}"
    api.create(path_to("namespaces"), {"metadata": {"name": name}})
    account = path_to("serviceaccounts", name, "default")
    wait_until(lambda: not api.is_gone(account), "the default service account")
    yield Place(api, name)
    api.delete(path_to("namespaces", name=name))
    wait_until(lambda: api.is_gone(path_to("namespaces", name=name)), "the namespace is gone")
