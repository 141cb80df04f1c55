"""The plugins of this host and the ones in memory answer alike: one suite for both."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cni import invocation
from cni.conflist import VERSIONS, parse
from cni.fake import FakePlugins
from cni.filter_table import NodeRules, removal, ruleset
from cni.invocation import Attachment, PluginError
from cni.leases import read
from cni.network import Network
from cni.node_network import NodeNetwork, conflist, render
from cni.plugins import Programs, Runner
from cni.results import Results
from cni.trial import try_network

PLUGIN_DIRECTORY = "/usr/lib/cni"

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(not Path(PLUGIN_DIRECTORY, "bridge").exists(), reason="no CNI plugins"),
]


@dataclass
class Scene:
    """A network of its own for one test: bridge, range and leases are nobody else's."""

    tag: str
    root: Path
    runner: Runner
    namespaces: list[str]

    @property
    def node(self) -> NodeNetwork:
        subnet = f"10.{200 + int(self.tag[:2], 16) % 50}.{int(self.tag[2:4], 16)}.0/29"
        return NodeNetwork(f"t-{self.tag}", f"t-{self.tag}", (subnet,), str(self.root / "leases"))

    async def open(self, **changes: Any) -> Network:
        value = {**conflist(self.node), **changes}
        return await Network.open(parse(json.dumps(value).encode()), self.runner, self.results)

    @property
    def results(self) -> Results:
        return Results(self.root / "results")

    def attachment(self, name: str, **values: Any) -> Attachment:
        """With a real namespace of its own, which the fake does not need."""
        own = f"t-{self.tag}-{name}"
        if isinstance(self.runner, Programs):
            subprocess.run(["ip", "netns", "add", own], check=True)
        self.namespaces.append(own)
        return Attachment(f"{name}-{self.tag}", netns=f"/run/netns/{own}", **values)

    def end_namespace(self, name: str) -> None:
        if isinstance(self.runner, Programs):
            subprocess.run(["ip", "netns", "delete", f"t-{self.tag}-{name}"], check=True)

    def clean(self) -> None:
        if isinstance(self.runner, Programs):
            for name in self.namespaces:
                subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
            subprocess.run(["ip", "link", "delete", self.node.bridge], check=False, capture_output=True)


@pytest_asyncio.fixture(params=["fake", "plugins"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    runner: Runner = FakePlugins() if request.param == "fake" else Programs([PLUGIN_DIRECTORY])
    made = Scene(secrets.token_hex(3), tmp_path, runner, [])
    yield made
    made.clean()


@pytest.mark.asyncio
async def test_an_attachment_gets_an_address_of_the_range_and_gives_it_back(scene: Scene) -> None:
    network = await scene.open()
    one, other = scene.attachment("a"), scene.attachment("b")
    first = invocation.addresses(await network.add(one))
    second = invocation.addresses(await network.add(other))
    subnet = ipaddress.ip_network(scene.node.pod_cidrs[0])
    assert {ipaddress.ip_interface(address).network for address in (*first, *second)} == {subnet}
    assert first != second
    await network.check(one)
    await network.delete(one)
    await network.delete(one)
    assert [kept.attachment.container_id for kept in scene.results.all()] == [other.container_id]
    await network.delete(other)
    assert list(scene.results.all()) == []


@pytest.mark.asyncio
async def test_an_attachment_that_was_never_made_does_not_check(scene: Scene) -> None:
    network = await scene.open()
    with pytest.raises(PluginError, match="not known"):
        await network.check(scene.attachment("a"))


@pytest.mark.asyncio
async def test_deleting_what_never_was_is_no_error(scene: Scene) -> None:
    network = await scene.open()
    await network.delete(Attachment("never"))


@pytest.mark.asyncio
async def test_a_full_range_is_told_and_leaves_nothing(scene: Scene) -> None:
    network = await scene.open()
    taken = [scene.attachment(f"x{index}") for index in range(6)]
    # Six hosts in a /29, one of them the gateway.
    for attachment in taken[:5]:
        await network.add(attachment)
    with pytest.raises(PluginError, match="no IP addresses available"):
        await network.add(taken[5])
    assert len(list(scene.results.all())) == 5
    await network.delete(taken[0])
    await network.add(taken[5])
    for attachment in taken[1:]:
        await network.delete(attachment)


@pytest.mark.asyncio
async def test_a_namespace_that_is_gone_holds_no_address(scene: Scene) -> None:
    network = await scene.open()
    attachment = scene.attachment("a")
    await network.add(attachment)
    scene.end_namespace("a")
    await network.delete(Attachment(attachment.container_id))
    assert list(scene.results.all()) == []
    assert read(scene.root / "leases", scene.node.name) == []


@pytest.mark.asyncio
async def test_addresses_of_containers_that_are_gone_are_freed_and_others_stay(scene: Scene) -> None:
    network = await scene.open()
    live, gone = scene.attachment("live"), scene.attachment("gone")
    kept = invocation.addresses(await network.add(live))
    await network.add(gone)
    scene.end_namespace("gone")
    known = [lease.attachment for lease in read(scene.root / "leases", scene.node.name)]
    freed = await network.collect({live.container_id}, known)
    assert [one.container_id for one in freed] == [gone.container_id]
    assert await network.collect({live.container_id}, known[:0]) == []
    await network.check(live)
    if isinstance(scene.runner, Programs):
        leases = read(scene.root / "leases", scene.node.name)
        assert [lease.address for lease in leases] == [kept[0].split("/")[0]]
    await network.delete(live)


@pytest.mark.asyncio
async def test_a_restart_in_between_changes_nothing(scene: Scene) -> None:
    attachment = scene.attachment("a")
    added = await (await scene.open()).add(attachment)
    again = await scene.open()
    await again.check(attachment)
    kept = next(iter(scene.results.all()))
    assert kept.result == added
    await again.delete(attachment)


@pytest.mark.asyncio
@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
async def test_lists_of_every_version_work(scene: Scene, version: str) -> None:
    network = await scene.open(cniVersion=version)
    attachment = scene.attachment("a")
    result = await network.add(attachment)
    assert network.version == version == result["cniVersion"]
    await network.check(attachment)
    await network.status()
    await network.delete(attachment)


@pytest.mark.asyncio
async def test_the_version_is_one_that_the_plugins_know(scene: Scene) -> None:
    network = await scene.open(cniVersions=list(VERSIONS))
    newest = "1.1.0" if isinstance(scene.runner, FakePlugins) else network.version
    assert network.version == newest
    attachment = scene.attachment("a")
    await network.add(attachment)
    await network.collect({attachment.container_id})
    await network.delete(attachment)


@pytest.mark.asyncio
async def test_a_missing_plugin_is_named(scene: Scene) -> None:
    if isinstance(scene.runner, FakePlugins):
        scene.runner.missing = frozenset({"nowhere"})
    with pytest.raises(PluginError, match=r"'nowhere'.*there is no such program in"):
        await scene.open(plugins=[{"type": "nowhere"}])


@pytest.mark.asyncio
async def test_many_attachments_at_once_get_different_addresses(scene: Scene) -> None:
    network = await scene.open()
    attachments = [scene.attachment(f"m{index}") for index in range(5)]
    results = await asyncio.gather(*(network.add(one) for one in attachments))
    assert len({invocation.addresses(result)[0] for result in results}) == 5
    await asyncio.gather(*(network.delete(one) for one in attachments))
    assert list(scene.results.all()) == []


# The fake alone: what this host's plugins are too old for, or cannot be asked to do.


@pytest.mark.asyncio
async def test_a_plugin_that_fails_half_way_is_undone(tmp_path: Path) -> None:
    fake = FakePlugins(failing={("portmap", "ADD"): {"code": 7, "msg": "no rules"}})
    network = await Scene("0a0b0c", tmp_path, fake, []).open()
    with pytest.raises(PluginError, match="no rules"):
        await network.add(Attachment("c1", netns="/n"))
    assert fake.held == {}
    assert fake.calls[-2:] == [("portmap", "DEL"), ("bridge", "DEL")]


@pytest.mark.asyncio
async def test_an_attachment_that_is_given_up_half_way_is_undone(tmp_path: Path) -> None:
    fake = FakePlugins()
    network = await Scene("0a0b0c", tmp_path, fake, []).open()
    fake.hanging = ("portmap", "ADD")
    adding = asyncio.create_task(network.add(Attachment("c1", netns="/n")))
    while fake.calls[-1] != ("portmap", "ADD"):
        await asyncio.sleep(0)
    assert len(fake.held) == 1
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    assert fake.held == {}


@pytest.mark.asyncio
async def test_a_lease_that_names_no_container_keeps_no_other_from_being_freed(tmp_path: Path) -> None:
    network = await Scene("0a0b0c", tmp_path, FakePlugins(), []).open()
    freed = await network.collect(set(), [Attachment("../x"), Attachment("gone")])
    assert [one.container_id for one in freed] == ["gone"]


@pytest.mark.asyncio
async def test_status_and_collection_are_sent_to_lists_of_1_1(tmp_path: Path) -> None:
    fake = FakePlugins()
    network = await Scene("0a0b0c", tmp_path, fake, []).open(cniVersion="1.1.0")
    await network.add(Attachment("live", netns="/n"))
    fake.held["t-0a0b0c", "lost", "eth0"] = "10.9.9.9"  # a lease that nobody kept a result of
    await network.collect({"live"})
    assert [key[1] for key in fake.held] == ["live"]
    fake.failing["bridge", "STATUS"] = {"code": 50, "msg": "no bridge"}
    with pytest.raises(PluginError, match=r"no bridge \(code 50\)"):
        await network.status()


@pytest.mark.asyncio
async def test_a_failed_delete_is_told_and_tried_again(tmp_path: Path) -> None:
    fake = FakePlugins(failing={("portmap", "DEL"): {"code": 11, "msg": "busy"}})
    network = await Scene("0a0b0c", tmp_path, fake, []).open()
    attachment = Attachment("c1", netns="/n")
    await network.add(attachment)
    with pytest.raises(PluginError, match="busy"):
        await network.delete(attachment)
    assert network.version == "1.0.0"
    assert fake.held == {}  # the others were called all the same
    fake.failing.clear()
    assert [one.container_id for one in await network.collect(set())] == ["c1"]


@pytest.mark.asyncio
async def test_a_plugin_that_hangs_is_ended(tmp_path: Path) -> None:
    program = tmp_path / "slow"
    program.write_text("#!/bin/sh\nsleep 1000 &\nwait\n")
    program.chmod(0o755)
    runner = Programs([str(tmp_path)], seconds=0.2)
    with pytest.raises(PluginError, match=r"did not end in 0\.2 s"):
        await runner.call("slow", {"CNI_COMMAND": "ADD"}, b"{}")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("sleep 1000 & echo $! > {pid}", r"did not end in 1 s"),
        ("echo $$ > {pid}; exec yes", "wrote more than 1048576 bytes"),
        ("echo $$ > {pid}; exec yes >&2", "wrote more than 1048576 bytes"),
    ],
    ids=["a child holds its output", "output", "errors"],
)
async def test_nothing_of_a_plugin_that_goes_on_is_left(tmp_path: Path, script: str, said: str) -> None:
    program, pid_file = tmp_path / "endless", tmp_path / "pid"
    program.write_text("#!/bin/sh\n" + script.format(pid=pid_file) + "\n")
    program.chmod(0o755)
    seconds = 1.0 if "sleep" in script else 60.0
    with pytest.raises(PluginError, match=said):
        await Programs([str(tmp_path)], seconds=seconds).call("endless", {"CNI_COMMAND": "ADD"}, b"{}")
    await buried(pid_file.read_text().strip())


async def buried(pid: str) -> None:
    """A killed process takes a moment to die, and its new parent to bury it."""
    status = Path("/proc", pid, "status")
    async with asyncio.timeout(30):
        with suppress(FileNotFoundError, ProcessLookupError):
            while "State:\tZ" not in status.read_text():
                await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_a_call_that_is_given_up_ends_the_plugin(tmp_path: Path) -> None:
    program, pid_file = tmp_path / "slow", tmp_path / "pid"
    program.write_text(
        f"#!/bin/sh\necho $$ > {pid_file}.new; mv {pid_file}.new {pid_file}\nexec sleep 1000\n"
    )
    program.chmod(0o755)
    calling = asyncio.create_task(Programs([str(tmp_path)]).call("slow", {"CNI_COMMAND": "ADD"}, b"{}"))
    while not pid_file.exists():
        await asyncio.sleep(0.01)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert not Path("/proc", pid_file.read_text().strip()).exists()


@pytest.mark.asyncio
async def test_a_plugin_that_reads_nothing_is_heard(tmp_path: Path) -> None:
    program = tmp_path / "deaf"
    program.write_text('#!/bin/sh\nexec 0<&-\necho \'{"code": 7, "msg": "no"}\'\nexit 1\n')
    program.chmod(0o755)
    answer = await Programs([str(tmp_path)]).call("deaf", {"CNI_COMMAND": "ADD"}, b"x" * (1 << 20))
    assert (answer.code, answer.output) == (1, b'{"code": 7, "msg": "no"}\n')


@pytest.mark.asyncio
async def test_a_trial_says_what_failed_and_leaves_nothing(tmp_path: Path) -> None:
    scene = Scene(secrets.token_hex(3), tmp_path, Programs([PLUGIN_DIRECTORY]), [])
    name = f"t-{scene.tag}-trial"
    try:
        trial = await try_network(await scene.open(), name)
        assert trial.is_fine, trial
        assert len(trial.addresses) == 1
        broken = {**conflist(scene.node)["plugins"][0], "ipam": {"type": "host-local", "ranges": []}}
        failed = await try_network(await scene.open(plugins=[broken]), name)
        assert (failed.is_fine, failed.failed) == (False, "ADD")
        assert "host-local" in failed.because or "range" in failed.because
        assert not Path("/run/netns", name).exists()
        assert read(tmp_path / "leases", scene.node.name) == []
    finally:
        scene.clean()


@pytest.fixture
def apart() -> Iterator[str]:
    """A network namespace in which rules can be tried."""
    name = f"t-nft-{secrets.token_hex(3)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield name
    subprocess.run(["ip", "netns", "delete", name], check=True)


def test_the_rules_are_taken_by_the_kernel_replaced_and_removed(apart: str) -> None:
    def nft(text: str) -> str:
        command = ["ip", "netns", "exec", apart, "nft"]
        subprocess.run([*command, "-f", "-"], input=text, text=True, check=True, capture_output=True)
        return subprocess.run(
            [*command, "list", "ruleset"], text=True, check=True, capture_output=True
        ).stdout

    if shutil.which("nft") is None:
        pytest.skip("nft is not installed")
    rules = NodeRules("pk-0a1b2c", "pk-0a1b2c", "10.244.0.0/24", "10.96.0.1", 443, "192.0.2.7", 6443)
    once = nft(ruleset(rules))
    assert once.count("dnat to 192.0.2.7:6443") == 2
    assert nft(ruleset(rules)) == once
    assert nft(removal("pk-0a1b2c")) == ""
    assert nft(removal("pk-0a1b2c")) == ""


def test_the_nodes_list_is_what_the_runtime_reads(tmp_path: Path) -> None:
    node = Scene("0a0b0c", tmp_path, FakePlugins(), []).node
    assert json.loads(render(node)) == conflist(node)
