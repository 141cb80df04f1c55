"""A containerd of one's own: private root, state, socket, CNI network; gone without trace after `stop()`.

Mechanism: the daemon is a child process; its shims and containers are found by the socket address in their
command line and by descent, so `stop()` removes them even after the daemon was killed. Promise: nothing that
another runtime on the host owns is touched, and two instances never share a bridge, a subnet, a lease
directory or a network namespace directory.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from cri import imagefile, imageload
from scripts import later_suite
from tests.runtimes import host
from tests.runtimes.settings import SANDBOX_IMAGE, Layout, cni_config, containerd_config

KINDS = ("containerd-1.6", "containerd-2.1")
"""The two runtimes that tests run against: Debian 12's, and one of a later suite (see `version`)."""

READY_SECONDS = 30.0
STOP_SECONDS = 10.0
SHIM_SOCKETS = Path("/run/containerd/s")
"""containerd's shims listen here whatever the state directory is (defaults.DefaultStateDir of containerd)."""

RUNC_STATE = Path("/run/containerd/runc")
"""runc's own state, RUNC_STATE/NAMESPACE/ID, wherever the state directory is (its default in the shim)."""

CNI_RESULTS = Path("/var/lib/cni/results")
"""libcni's cache, which containerd's CRI plugin gives no other place."""

CGROUP_PARENT = "k8s.io"
"""Where runc puts containers that were given no cgroup parent: the containerd namespace of CRI."""

SOCKET_LIMIT = 100  # of sockaddr_un's 108 bytes, the rest is for the ".ttrpc" suffix


class RuntimeMissing(Exception):
    """This kind of runtime is not on the host; the text says how to get it."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs of one containerd: daemon, ctr and the shim side by side."""

    kind: str
    directory: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def find_binaries(kind: str) -> Binaries:
    """Where this kind of runtime is; raise RuntimeMissing with the command that brings it."""
    if kind == KINDS[1]:
        unpacked = later_suite.find("containerd")
        if unpacked is None:
            raise RuntimeMissing(f"{kind} is not unpacked: run scripts/setup test")
        return Binaries(kind, unpacked.root / "usr" / "bin", unpacked.version)
    if kind != KINDS[0]:
        raise ValueError(f"unknown runtime kind {kind!r}: must be one of {', '.join(KINDS)}")
    program = shutil.which("containerd")
    if program is None:
        raise RuntimeMissing(f"{kind} is not installed: run scripts/setup test")
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"\b(\d+\.\d+\.\d+)", said)
    if found is None or not found[1].startswith("1."):
        raise RuntimeMissing(f"{kind} is not on this host: {program} says {said.strip()!r}")
    return Binaries(kind, Path(program).parent, found[1])


class PrivateContainerd:
    """One containerd; `start()`, then `stop()` or a `with` block.

    `root` must be a short path (sockets live in it) and not exist or be empty; it is removed by `stop()`.
    """

    def __init__(
        self,
        kind: str,
        root: Path | str,
        *,
        sandbox_image: str = SANDBOX_IMAGE,
        portmap: bool = False,
        extra_config: str = "",
    ) -> None:
        self.kind = kind
        self.root = Path(root).resolve()
        if len(str(self.root / "containerd.sock")) > SOCKET_LIMIT:
            raise ValueError(f"cannot use root {str(self.root)!r}: too long for a socket path")
        self.binaries = find_binaries(kind)
        mark = hashlib.sha256(str(self.root).encode()).hexdigest()[:8]
        self.layout = Layout(
            root=self.root,
            network=f"pkt-{mark}",
            bridge=f"pkt{mark}",
            subnet=_free_subnet(mark),
            restrict_oom_score_adj=not host.may_lower_oom_score(),
            sandbox_image=sandbox_image,
            portmap=portmap,
        )
        self._extra_config = extra_config
        self._daemon: subprocess.Popen[bytes] | None = None
        self._ids: set[str] = set()
        self._leavings: set[Path] = set()
        self._sockets_before = frozenset(SHIM_SOCKETS.glob("*"))
        self._cgroups_before = frozenset(_container_cgroups())

    # What callers need to know of it

    @property
    def version(self) -> str:
        return self.binaries.version

    @property
    def socket(self) -> Path:
        return self.layout.socket

    @property
    def endpoint(self) -> str:
        return f"unix://{self.socket}"

    @property
    def sandbox_image(self) -> str:
        return self.layout.sandbox_image

    @property
    def config_path(self) -> Path:
        return self.root / "config.toml"

    @property
    def log_path(self) -> Path:
        return self.root / "containerd.log"

    @property
    def pid(self) -> int | None:
        """The daemon's process id, None while it does not run."""
        return self._daemon.pid if self._daemon is not None and self._daemon.poll() is None else None

    def leases(self) -> dict[str, str]:
        """Leased pod addresses and the sandbox id that holds each (host-local's files)."""
        directory = self.root / "leases" / self.layout.network
        found = {}
        for path in directory.iterdir() if directory.is_dir() else ():
            if path.name[:1].isdigit():
                words = _text_of(path).split()
                if words:
                    found[path.name] = words[0]
        return found

    def netns(self) -> set[str]:
        """Mount points of the network namespaces that this runtime made for sandboxes."""
        return {point for point in host.mount_points(self.root) if "/netns/" in point}

    def shims(self) -> set[int]:
        """Process ids of the shims that belong to this instance, whether or not the daemon runs."""
        address = str(self.socket)
        return {
            process.pid
            for process in host.processes().values()
            if process.argv and "containerd-shim" in process.argv[0] and address in process.argv
        }

    def container_processes(self) -> set[int]:
        """Every process inside a container of this instance, sandboxes included."""
        running = host.processes()
        shims = self.shims()
        below = host.descendants(shims, running) - shims
        return below | {pid for pid in running if host.has_mount_below(pid, self.root)}

    # Life

    def start(self) -> PrivateContainerd:
        """Write the configuration and start; returns when CRI answers that runtime and network are ready."""
        for directory in (self.root, self.layout.data, self.layout.state, self.layout.cni, self.layout.certs):
            directory.mkdir(parents=True, exist_ok=True)
        config = containerd_config(self.layout, self.binaries.major, self._extra_config)
        self.config_path.write_text(config)
        (self.layout.cni / "10-test.conflist").write_text(cni_config(self.layout))
        self._launch()
        return self

    def restart(self, *, graceful: bool = True) -> None:
        """Stop the daemon alone (SIGTERM, or SIGKILL when not graceful) and start it; containers live on."""
        self._end_daemon(signal.SIGTERM if graceful else signal.SIGKILL)
        self._launch()

    def kill(self) -> None:
        """SIGKILL the daemon alone; shims and containers live on, `restart()` brings it back."""
        self._end_daemon(signal.SIGKILL)

    def reboot(self) -> None:
        """What a reboot of the host does: every process, mount and volatile file is gone, the data stays."""
        self._sweep_processes()
        shutil.rmtree(self.layout.state)
        self.layout.state.mkdir()
        self._launch()

    def stop(self) -> None:
        """Remove everything: processes, mounts, links, rules, cgroups, files. Harmless when called again."""
        self._sweep_processes()
        host.iptables_rules_of(self.layout.network)
        # The loopback's results bear containerd's network name and not ours; the namespace in them is ours.
        for path in CNI_RESULTS.glob("*"):
            if path.name.startswith(f"{self.layout.network}-") or f'"{self.root}/' in _text_of(path):
                path.unlink(missing_ok=True)
        self._remove_forgotten()
        if not any(Path(p.argv[0]).name == "containerd" for p in host.processes().values() if p.argv):
            # Shared by all runtimes of a host; nobody may be just about to make a container in it.
            host.remove_empty_cgroups(CGROUP_PARENT)
        if self.root.exists():
            shutil.rmtree(self.root)

    def __enter__(self) -> PrivateContainerd:
        return self if self.pid is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Its content

    def ctr(self, *args: str, stdin: bytes | None = None) -> str:
        """Run `ctr -n k8s.io ARGS`; raise RuntimeError with what it said when it fails."""
        command = [str(self.binaries.directory / "ctr"), "--address", str(self.socket), "-n", "k8s.io", *args]
        done = subprocess.run(command, input=stdin, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"ctr {' '.join(args)} failed: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode(errors="replace")

    def import_images(self) -> None:
        """The built-in pause and busybox images, and pause also under the configured sandbox image name."""
        pauses = tuple(dict.fromkeys((self.layout.sandbox_image, imagefile.PAUSE_NAME)))
        archive = self.root / "builtin.tar"
        for build, names in (
            (imagefile.pause_bytes, pauses),
            (imagefile.busybox_bytes, imagefile.BUSYBOX_NAMES),
        ):
            archive.write_bytes(build(names))
            self.import_archive(archive)
        archive.unlink()
        self.ctr("images", "label", self.layout.sandbox_image, imageload.PINNED_LABEL)

    def import_archive(self, archive: Path) -> None:
        """Import an image archive, and wait until CRI shows every name in it."""
        self.ctr("images", "import", str(archive))
        for name in imageload.archive_names(archive):
            self._wait(lambda name=name: self._has_image(name), f"show image {name!r}")  # type: ignore[misc]

    def trust_registry(self, address: str) -> None:
        """Let pulls from `address` (HOST:PORT) go over plain HTTP; takes effect with the next pull."""
        directory = self.layout.certs / address
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "hosts.toml").write_text(
            f'server = "http://{address}"\n[host."http://{address}"]\n  capabilities = ["pull", "resolve"]\n'
        )

    # Inside

    def _launch(self) -> None:
        if self.pid is not None:
            raise RuntimeError("cannot start containerd: it runs already")
        # The shim is looked up in PATH; the one beside the daemon must win over the host's own.
        env = os.environ | {
            "PATH": f"{self.binaries.directory}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        }
        command = [str(self.binaries.directory / "containerd"), "--config", str(self.config_path)]
        with self.log_path.open("ab") as log:
            self._daemon = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True
            )
        self._wait(self._is_ready, "become ready")

    def _wait(self, is_done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not is_done():
            if self.pid is None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.kind} did not {what}:\n{self._log_tail()}")
            time.sleep(0.02)

    def _call(self, method: str, request: bytes) -> bytes | None:
        """One CRI call with encoded messages, None when it is refused or nobody listens."""
        if not self.socket.exists():
            return None
        import grpc  # late: most test sessions start no runtime

        with grpc.insecure_channel(self.endpoint) as channel:
            try:
                call = channel.unary_unary(f"/runtime.v1.{method}", bytes, bytes)
                answer: bytes = call(request, timeout=5)
            except grpc.RpcError:
                return None
        return answer

    def _is_ready(self) -> bool:
        """Whether CRI's Status answers; it refuses until the plugin, its network included, is set up."""
        answer = self._call("RuntimeService/Status", b"")
        return answer is not None and b"NetworkPluginNotReady" not in answer

    def _has_image(self, name: str) -> bool:
        # ImageStatusRequest{image: ImageSpec{image: name}}; the answer's field 1 is there when the image is.
        spec = b"\x0a" + bytes((len(name),)) + name.encode()
        answer = self._call("ImageService/ImageStatus", b"\x0a" + bytes((len(spec),)) + spec)
        return bool(answer)

    def _end_daemon(self, by: signal.Signals) -> None:
        daemon = self._daemon
        if daemon is None:
            return
        if daemon.poll() is None:
            daemon.send_signal(by)
            try:
                daemon.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait(STOP_SECONDS)
        self._daemon = None

    def _sweep_processes(self) -> None:
        """Daemon, shims, containers, their mounts, links and cgroups; the data directory stays."""
        self._end_daemon(signal.SIGKILL)
        self._note_bundles()
        # Containers while their shims still reap them: the end of a process namespace waits for its zombies,
        # and the host's init may be slow to come.
        host.kill_all(self.container_processes())
        host.kill_all(self.shims())
        # A shim that was just starting its container when it died may have left runc behind.
        host.kill_all(self.container_processes())
        host.unmount_below(self.root)
        host.delete_link(self.layout.bridge)
        host.remove_cgroups(self._ids)
        for path in self._leavings:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self._ids.clear()
        self._leavings.clear()

    def _note_bundles(self) -> None:
        """Container ids, shim sockets and runc's state, from the bundle that each container has."""
        for bundle in self.layout.state.glob("io.containerd.runtime.v2.task/*/*"):
            self._ids.add(bundle.name)
            self._leavings.add(RUNC_STATE / bundle.parent.name / bundle.name)
            for name in ("address", "bootstrap.json"):
                path = bundle / name
                address = path.read_text() if path.is_file() else ""
                if name == "bootstrap.json" and address:
                    address = json.loads(address)["address"]
                socket = Path(address.removeprefix("unix://"))
                if address and socket.parent == SHIM_SOCKETS:
                    self._leavings.add(socket)

    def _remove_forgotten(self) -> None:
        """What shims leave whose bundle containerd has removed: cgroups, runc's state, dead sockets."""
        host.remove_cgroups(name for name in _container_cgroups() if name not in self._cgroups_before)
        for state in RUNC_STATE.glob("*/*"):
            if f"{self.root}/" in _text_of(state / "state.json"):
                shutil.rmtree(state, ignore_errors=True)
        bound = Path("/proc/net/unix").read_text()
        for socket in set(SHIM_SOCKETS.glob("*")) - self._sockets_before:
            if str(socket) not in bound:
                socket.unlink(missing_ok=True)

    def _log_tail(self) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-20:])


def _container_cgroups() -> set[str]:
    """Names of the empty cgroups that runc made for containers without a parent."""
    return {
        path.name
        for path in host.cgroups()
        if path.parent.name == CGROUP_PARENT and not _text_of(path / "cgroup.procs")
    }


def _text_of(path: Path) -> str:
    """ "" when another runtime has just removed it."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _free_subnet(mark: str) -> str:
    """A /24 of 10.64.0.0/10 that the host has no route to; where the search begins comes from `mark`."""
    taken = host.routed_subnets()
    begin = int(mark, 16)
    for step in range(1 << 14):
        number = (begin + step) % (1 << 14)
        prefix = f"10.{64 + (number >> 8)}.{number & 255}."
        if prefix not in taken:
            return f"{prefix}0/24"
    raise RuntimeError("cannot find a free /24 in 10.64.0.0/10")


def main() -> None:
    """Run one by hand: `python -m tests.runtimes.containerd KIND ROOT`, until a signal."""
    kind, root = sys.argv[1:]
    with PrivateContainerd(kind, root) as runtime:
        runtime.import_images()
        print(runtime.endpoint, runtime.version, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main()
