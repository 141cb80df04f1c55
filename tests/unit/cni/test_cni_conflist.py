"""Network lists: what is read, and how each fault is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cni.conflist import NetworkList, parse
from cni.node_network import NodeNetwork, conflist, render, write
from kube.errors import InvalidObject

pytestmark = pytest.mark.pure


def listing(**changes: Any) -> bytes:
    value = {"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge"}], **changes}
    return json.dumps({key: item for key, item in value.items() if item is not None}).encode()


def faults(data: bytes) -> list[str]:
    with pytest.raises(InvalidObject) as refused:
        parse(data)
    return [str(error) for error in refused.value.errors]


def test_a_list_is_read_with_its_plugins_in_order() -> None:
    plugins = [
        {"type": "bridge", "mtu": 1400, "ipam": {"type": "host-local"}},
        {"type": "portmap", "capabilities": {"portMappings": True, "bandwidth": False}},
    ]
    found = parse(listing(plugins=plugins, disableCheck=True))
    assert [plugin.type for plugin in found.plugins] == ["bridge", "portmap"]
    assert found.plugins[0].config["mtu"] == 1400
    assert found.plugins[0].ipam_type == "host-local"
    assert found.plugins[1].ipam_type == ""
    assert found.plugins[1].capabilities == {"portMappings"}
    assert (found.name, found.version, found.disable_check, found.disable_gc) == (
        "pods",
        "1.0.0",
        True,
        False,
    )


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_every_version_that_is_in_use_is_taken(version: str) -> None:
    assert parse(listing(cniVersion=version)).version == version


def test_of_several_versions_the_newest_known_comes_first() -> None:
    found = parse(listing(cniVersion=None, cniVersions=["0.4.0", "1.1.0", "9.0.0", "1.0.0"]))
    assert found.versions == ("1.1.0", "1.0.0", "0.4.0")


def test_booleans_may_be_quoted() -> None:
    assert parse(listing(disableGC="true")).disable_gc is True
    assert parse(listing(disableGC="false")).disable_gc is False


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (listing(name=None), ["name: Required value"]),
        (listing(name=7), ["name: Invalid value: 7: must be a string"]),
        (listing(cniVersion="0.2.0"), [
            'cniVersion: Unsupported value: "0.2.0": supported values: "0.3.1", "0.4.0", "1.0.0", "1.1.0"'
        ]),
        (listing(cniVersion=None), ["cniVersion: Required value"]),
        (listing(plugins=[]), ["plugins: Required value: at least one plugin is needed"]),
        (listing(plugins={"type": "x"}), ['plugins: Invalid value: {"type": "x"}: must be a list']),
        (listing(plugins=[{"type": "bridge"}, {}]), ["plugins[1].type: Required value"]),
        (listing(plugins=["x"]), ['plugins[0]: Invalid value: "x": must be an object']),
        (listing(plugins=[{"type": "../sh"}]), [
            'plugins[0].type: Invalid value: "../sh": must be the name of a program, without a path'
        ]),
        (listing(plugins=[{"type": "a", "capabilities": {"ips": 1}}]), [
            "plugins[0].capabilities.ips: Invalid value: 1: must be a boolean"
        ]),
        (listing(plugins=[{"type": "a", "ipam": {"type": "host-local", "ranges": [[{}], 3]}}]), [
            "plugins[0].ipam.ranges[0][0].subnet: Required value",
            "plugins[0].ipam.ranges[1]: Invalid value: 3: must be a list",
        ]),
        (listing(disableCheck=1), ["disableCheck: Invalid value: 1: must be a boolean"]),
    ],
)  # fmt: skip
def test_each_fault_names_its_field(data: bytes, wanted: list[str]) -> None:
    assert faults(data) == wanted


def test_all_faults_are_told_at_once() -> None:
    found = faults(listing(name="", cniVersion="7", plugins=[{}]))
    assert [text.split(":")[0] for text in found] == ["name", "cniVersion", "plugins[0].type"]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[]", b'"x"'])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    assert len(faults(data)) == 1


def test_a_name_that_is_no_name_is_refused() -> None:
    assert faults(listing(name="a b"))[0].startswith('name: Invalid value: "a b": must begin with a letter')


def node_network(**changes: Any) -> NodeNetwork:
    values = {"name": "pk-0a1b2c", "bridge": "pk-0a1b2c", "pod_cidrs": ("10.244.3.0/24",), "leases": "/l"}
    return NodeNetwork(**{**values, **changes})


def parsed(network: NodeNetwork) -> NetworkList:
    return parse(render(network))


def test_the_nodes_own_list_can_be_read_back() -> None:
    found = parsed(node_network(mtu=1400))
    assert [plugin.type for plugin in found.plugins] == ["bridge", "portmap"]
    bridge = found.plugins[0].config
    assert (bridge["bridge"], bridge["isGateway"], bridge["ipMasq"], bridge["mtu"]) == (
        "pk-0a1b2c", True, False, 1400,
    )  # fmt: skip
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.3.0/24"}]]
    assert bridge["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}]


def test_a_node_with_two_families_gets_a_range_and_a_route_of_each() -> None:
    ipam = conflist(node_network(pod_cidrs=("10.244.3.0/24", "fd00:3::/64")))["plugins"][0]["ipam"]
    assert ipam["ranges"] == [[{"subnet": "10.244.3.0/24"}], [{"subnet": "fd00:3::/64"}]]
    assert ipam["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]


@pytest.mark.parametrize("ranges", [(), ("10.244.3.1/24",), ("x",)])
def test_a_range_that_is_none_makes_no_list(ranges: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"range|host bits|not appear"):
        conflist(node_network(pod_cidrs=ranges))


def test_a_list_is_written_whole_and_only_when_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "net.d" / "10-pods.conflist"
    assert write(node_network(), path) is True
    before = path.stat().st_ino
    assert write(node_network(), path) is False
    assert path.stat().st_ino == before
    assert write(node_network(pod_cidrs=("10.244.4.0/24",)), path) is True
    assert parse(path.read_bytes()).plugins[0].config["ipam"]["ranges"] == [[{"subnet": "10.244.4.0/24"}]]
    assert [file.name for file in path.parent.iterdir()] == ["10-pods.conflist"]
