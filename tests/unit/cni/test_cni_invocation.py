"""One call of a plugin: environment, configuration, answers; leases and rules as text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cni import invocation
from cni.conflist import NetworkList, Plugin, parse
from cni.filter_table import NodeRules, removal, ruleset
from cni.invocation import Attachment, Command, PluginError
from cni.leases import Lease, stale
from cni.leases import parse as parse_lease
from kube.errors import InvalidObject

pytestmark = pytest.mark.pure


def network(**changes: Any) -> NetworkList:
    plugins = [
        {"type": "bridge", "capabilities": {"mac": True}},
        {"type": "portmap", "capabilities": {"portMappings": True, "ips": False}},
    ]
    return parse(json.dumps({"cniVersion": "1.1.0", "name": "pods", "plugins": plugins, **changes}).encode())


def test_the_environment_names_the_attachment() -> None:
    attachment = Attachment("c1", "eth0", "/run/netns/x", {"K8S_POD_NAME": "web", "IgnoreUnknown": "1"})
    assert invocation.environment(Command.ADD, attachment, ("/a", "/b")) == {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "c1",
        "CNI_IFNAME": "eth0",
        "CNI_NETNS": "/run/netns/x",
        "CNI_ARGS": "K8S_POD_NAME=web;IgnoreUnknown=1",
        "CNI_PATH": "/a:/b",
    }


def test_a_namespace_that_is_gone_is_not_named() -> None:
    assert "CNI_NETNS" not in invocation.environment(Command.DEL, Attachment("c1"), ())
    assert invocation.environment(Command.VERSION, None, ("/a",)) == {
        "CNI_COMMAND": "VERSION", "CNI_PATH": "/a",
    }  # fmt: skip


def test_a_plugin_gets_only_what_it_declares_it_can() -> None:
    found = network()
    asked = Attachment("c1", capabilities={"portMappings": [{"hostPort": 80}], "ips": ["10.0.0.1"]})
    bridge, portmap = found.plugins
    assert invocation.execution_config(found, "1.0.0", bridge, asked) == {
        "type": "bridge", "name": "pods", "cniVersion": "1.0.0",
    }  # fmt: skip
    assert invocation.execution_config(found, "1.0.0", portmap, asked, {"ips": []}) == {
        "type": "portmap",
        "name": "pods",
        "cniVersion": "1.0.0",
        "runtimeConfig": {"portMappings": [{"hostPort": 80}]},
        "prevResult": {"ips": []},
    }


def test_collection_names_the_attachments_that_are() -> None:
    found = network()
    config = invocation.collection_config(found, "1.1.0", found.plugins[0], [Attachment("c1", "net1")])
    assert config["cni.dev/valid-attachments"] == [{"containerID": "c1", "ifname": "net1"}]


@pytest.mark.parametrize(
    ("code", "output", "wanted_code", "wanted"),
    [
        (1, b'{"code": 7, "msg": "bad config", "details": "no bridge"}', 7, "bad config; no bridge"),
        (0, b'{"code": 11, "msg": "try again"}', 11, "try again"),
        (2, b"", 999, "it ended with status 2"),
        (0, b"hello", 999, "it wrote no JSON: 'hello'"),
        (0, b"[]", 999, "it wrote no JSON object"),
        (1, b'{"code": "x", "msg": "m"}', 999, "m"),
    ],
)
def test_failures_are_told_with_the_plugins_words(
    code: int, output: bytes, wanted_code: int, wanted: str
) -> None:
    with pytest.raises(PluginError) as failed:
        invocation.read_answer("bridge", Command.ADD, code, output)
    assert (failed.value.code, failed.value.text) == (wanted_code, wanted)
    expected = f"cannot ADD with the network plugin 'bridge': because {wanted} (code {wanted_code})"
    assert str(failed.value) == expected


def test_a_call_without_a_result_is_no_failure() -> None:
    assert invocation.read_answer("bridge", Command.DEL, 0, b"\n") == {}


def test_addresses_are_read_from_results_of_every_version() -> None:
    assert invocation.addresses({"ips": [{"version": "4", "address": "10.0.0.2/24"}]}) == ("10.0.0.2/24",)
    assert invocation.addresses({"ips": [{"address": "a"}, {"address": "b"}]}) == ("a", "b")
    assert invocation.addresses({}) == ()


def test_the_newest_version_that_all_plugins_support_is_used() -> None:
    found = network(cniVersions=["1.0.0", "0.4.0"])
    assert invocation.choose_version(found, [["0.4.0", "1.0.0"], ["1.0.0", "1.1.0"]]) == "1.0.0"
    assert invocation.choose_version(found, [["0.4.0"], ["0.4.0"]]) == "0.4.0"
    with pytest.raises(PluginError, match=r"do not all support version 1\.1\.0"):
        invocation.choose_version(found, [["0.4.0"], ["1.0.0"]])


@pytest.mark.parametrize(
    ("version", "checks", "collects"),
    [("0.3.1", False, False), ("0.4.0", True, False), ("1.0.0", True, False), ("1.1.0", True, True)],
)
def test_newer_commands_are_not_sent_to_older_lists(version: str, checks: bool, collects: bool) -> None:
    assert invocation.may_check(network(), version) is checks
    assert invocation.may_collect(network(), version) is collects
    assert not invocation.may_check(network(disableCheck=True), version)
    assert not invocation.may_collect(network(disableGC=True), version)


@pytest.mark.parametrize(
    "attachment",
    [
        Attachment(""),
        Attachment("../x"),
        Attachment("c1", "eth0/1"),
        Attachment("c1", "a" * 16),
        Attachment("c1", ".."),
        Attachment("c1", "a b"),
        Attachment("c1", arguments={"A": "1;B=2"}),
    ],
)
def test_names_that_the_specification_forbids_are_refused(attachment: Attachment) -> None:
    with pytest.raises(InvalidObject):
        attachment.check()


def test_a_lease_file_is_the_container_and_its_interface() -> None:
    assert parse_lease("10.1.0.2", "abc\r\neth0") == Lease("10.1.0.2", "abc", "eth0")
    assert parse_lease("10.1.0.2", "abc") == Lease("10.1.0.2", "abc", "eth0")
    assert parse_lease("last_reserved_ip.0", "10.1.0.2") is None
    assert parse_lease("lock", "") is None
    assert parse_lease("10.1.0.3", "") is None


def test_leases_of_containers_that_are_gone_are_stale() -> None:
    kept, gone = Lease("10.1.0.2", "a", "eth0"), Lease("10.1.0.3", "b", "eth0")
    assert stale([kept, gone], {"a"}) == [gone]
    assert gone.attachment == Attachment("b", "eth0")


RULES = NodeRules("pk-0a1b2c", "pk-0a1b2c", "10.244.0.0/24", "10.96.0.1", 443, "192.0.2.7", 6443)


def test_the_table_is_replaced_as_a_whole() -> None:
    lines = ruleset(RULES).splitlines()
    assert lines[:3] == [
        "add table ip pk-0a1b2c", "delete table ip pk-0a1b2c", "table ip pk-0a1b2c {",
    ]  # fmt: skip
    text = ruleset(RULES)
    assert text.count("ip daddr 10.96.0.1 tcp dport 443 dnat to 192.0.2.7:6443") == 2
    assert 'ip saddr 10.244.0.0/24 ip daddr != 10.244.0.0/24 oifname != "pk-0a1b2c" masquerade' in text
    assert removal("pk-0a1b2c") == "add table ip pk-0a1b2c\ndelete table ip pk-0a1b2c\n"


def test_without_an_api_server_there_is_only_the_way_outside() -> None:
    text = ruleset(NodeRules("t", "br0", "10.1.0.0/24"))
    assert "dnat to" not in text
    assert "masquerade" in text


@pytest.mark.parametrize(
    "rules",
    [
        NodeRules("a b", "br0", "10.1.0.0/24"),
        NodeRules("t", 'br0"; flush ruleset', "10.1.0.0/24"),
        NodeRules("t", "br0", "10.1.0.0/24; x"),
        NodeRules("t", "br0", "10.1.0.0/24", "10.96.0.1", 0, "1.2.3.4"),
        NodeRules("t", "br0", "10.1.0.0/24", "10.96.0.1", 443, "x"),
    ],
)
def test_nothing_but_names_and_addresses_gets_into_the_rules(rules: NodeRules) -> None:
    with pytest.raises(ValueError, match=r"cannot write|does not appear|Expected|Only|netmask"):
        ruleset(rules)


def test_a_plugin_keeps_its_whole_configuration() -> None:
    assert Plugin("x", {"type": "x", "odd": [1]}).config["odd"] == [1]
