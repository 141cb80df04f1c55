"""What an instance holds on its host, found by its names alone, and how the last of it is removed.

Nothing here depends on a record: shims carry the socket's path, containers' filesystems lie below the root,
links, rules and leases bear the instance's tag. So `down` finds what a killed daemon left, and nothing that
belongs to anyone else is ever touched.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from pykubelet.errors import CommandError
from pykubelet.instance import cgroupfs, netfilter
from pykubelet.instance.facts import is_program, search_path
from pykubelet.instance.layout import SHORT_RUN_DIR, Layout
from pykubelet.instance.processes import Process, all_processes, descendants, kill_all
from pykubelet.instance.record import SharedThings

SHIM_SOCKETS = Path("/run/containerd/s")
"""containerd's shims listen here whatever the state directory is (defaults.DefaultStateDir)."""

RUNC_STATE = Path("/run/containerd/runc")
"""runc's own state, RUNC_STATE/NAMESPACE/ID, whatever the state directory is (the shim's default)."""

CNI_RESULTS = Path("/var/lib/cni/results")
"""libcni's cache of results, which containerd's CRI plugin gives no other place."""


@dataclass(slots=True)
class Bundles:
    """Container ids that the runtime's state directory tells of, and files of theirs elsewhere."""

    ids: set[str] = field(default_factory=set)
    files: set[Path] = field(default_factory=set)

    def note(self, layout: Layout) -> None:
        """Add what is there now; bundles vanish as containers are removed."""
        for bundle in layout.containerd_state.glob("io.containerd.runtime.v2.task/*/*"):
            self.ids.add(bundle.name)
            self.files.add(RUNC_STATE / bundle.parent.name / bundle.name)
            socket = _shim_socket(bundle)
            if socket is not None:
                self.files.add(socket)


def _shim_socket(bundle: Path) -> Path | None:
    """containerd 1.x writes the address as it is, 2.x into a JSON document."""
    for name in ("address", "bootstrap.json"):
        try:
            text = (bundle / name).read_text()
        except (FileNotFoundError, NotADirectoryError):
            continue
        address = json.loads(text)["address"] if name.endswith(".json") else text
        socket = Path(address.removeprefix("unix://"))
        return socket if socket.parent == SHIM_SOCKETS else None
    return None


def owned_daemons(layout: Layout, running: dict[int, Process]) -> set[int]:
    """The instance's daemons, by the configuration or the data that they were started with."""
    marks = {
        "containerd": str(layout.containerd_config),
        "kubelet": str(layout.kubelet_config),
        "kube-controlplane": str(layout.controlplane),
    }
    return {
        process.pid
        for process in running.values()
        if not process.is_dead
        and any(mark in process.argv and is_program(process.argv, name) for name, mark in marks.items())
    }


def owned_shims(layout: Layout, running: dict[int, Process]) -> set[int]:
    address = str(layout.containerd_socket)
    return {
        process.pid
        for process in running.values()
        if process.argv and "containerd-shim" in Path(process.argv[0]).name and address in process.argv
    }


def owned_containers(layout: Layout, running: dict[int, Process]) -> set[int]:
    """Every process in a container of the instance: below a shim, or with its root on our layers."""
    below = descendants(owned_shims(layout, running), running)
    inside = {pid for pid, process in running.items() if not process.is_dead and _lives_on(pid, layout)}
    return {pid for pid in below | inside if not running[pid].is_dead}


def _lives_on(pid: int, layout: Layout) -> bool:
    try:
        first = Path(f"/proc/{pid}/mountinfo").read_text().split("\n", 1)[0]
    except OSError:
        return False
    return f"{layout.containerd}/" in first


def owned_mounts(layout: Layout) -> list[str]:
    """Mount points at and below the root and the directory of sockets, in the order they were mounted."""
    places = [str(place) for place in (layout.root, layout.run)]
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split(" ")[4].encode().decode("unicode_escape")
        if any(point.startswith(f"{place}/") for place in places):
            found.append(point)
    return found


def owned_links(layout: Layout) -> list[str]:
    """The bridge and what is plugged into it."""
    net = Path("/sys/class/net")
    plugged = [path.name for path in net.iterdir() if _master(path) == layout.bridge]
    return [*plugged, *([layout.bridge] if (net / layout.bridge).exists() else [])]


def _master(link: Path) -> str:
    try:
        return (link / "master").readlink().name
    except OSError:
        return ""


def cni_results(layout: Layout) -> list[Path]:
    """libcni's records of this network; those of the loopback bear containerd's name and our namespace."""
    below = f'"{layout.root}/'
    return [
        path
        for path in CNI_RESULTS.glob("*")
        if path.name.startswith(f"{layout.network}-") or below in _text_of(path)
    ]


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def sweep(layout: Layout, bundles: Bundles) -> None:
    """Remove, by force, every process, mount, link, rule, cgroup and volatile file of the instance."""
    bundles.note(layout)
    kill_all(owned_daemons(layout, all_processes()))
    bundles.note(layout)
    # Containers while their shims still reap them: the end of a process namespace waits for its zombies.
    kill_all(owned_containers(layout, all_processes()))
    kill_all(owned_shims(layout, all_processes()))
    # A shim that was just starting its container when it died may have left runc behind.
    kill_all(owned_containers(layout, all_processes()))
    for point in reversed(owned_mounts(layout)):
        _run("umount", "--lazy", point)
    for link in owned_links(layout):
        _delete_link(link)
    netfilter.remove_network_rules(layout.network)
    netfilter.remove_table(layout.nft_table)
    cgroupfs.remove(cgroupfs.of_containers(bundles.ids))
    for path in (*bundles.files, *cni_results(layout)):
        remove_path(path)
    remove_path(layout.containerd_state)
    remove_path(layout.leases / layout.network)
    remove_path(layout.run)
    if layout.run.parent == SHORT_RUN_DIR and SHORT_RUN_DIR.is_dir() and not any(SHORT_RUN_DIR.iterdir()):
        SHORT_RUN_DIR.rmdir()


def _delete_link(name: str) -> None:
    """A pod's end of a link goes with its namespace, at a moment of the kernel's choosing."""
    try:
        _run("ip", "link", "delete", name)
    except CommandError:
        if Path("/sys/class/net", name).exists():
            raise


def return_shared(before: SharedThings) -> None:
    """Take away what of the host's shared things came with the instance, when no other runtime uses them."""
    names = [Path(process.argv[0]).name for process in all_processes().values() if process.argv]
    if "containerd" not in names and "crio" not in names:
        cgroupfs.remove_new_parents(before.cgroups)
        netfilter.remove_new_tables(before.tables)


def leftovers(layout: Layout, ids: Collection[str]) -> list[str]:
    """One line for each thing of the instance that is still there; data below the root does not count."""
    running = all_processes()
    pids = owned_daemons(layout, running) | owned_shims(layout, running) | owned_containers(layout, running)
    lines = [f"process {pid}: {' '.join(running[pid].argv)}" for pid in sorted(pids)]
    lines += [f"mount {point}" for point in owned_mounts(layout)]
    lines += [f"link {name}" for name in owned_links(layout)]
    lines += [f"rule {line}" for line in netfilter.network_rules(layout.network)]
    lines += [f"table {table}" for table in netfilter.tables() if table == f"ip {layout.nft_table}"]
    lines += [f"cgroup {path}" for path in cgroupfs.of_containers(ids)]
    lines += [f"file {path}" for path in cni_results(layout)]
    if layout.run.exists():
        lines.append(f"directory {layout.run}")
    return lines


def remove_path(path: Path) -> None:
    """A file, a socket or a whole directory; nothing when it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _run(*command: str) -> None:
    program = shutil.which(command[0], path=search_path())
    if program is None:
        raise CommandError(f'cannot run "{" ".join(command)}": because it is not installed')
    done = subprocess.run([program, *command[1:]], check=False, capture_output=True, text=True)
    if done.returncode:
        why = done.stderr.strip() or f"exit status {done.returncode}"
        raise CommandError(f'cannot run "{" ".join(command)}": because {why}')
