"""The layers: who may import whom, read from the source with `ast`; no module is imported to be checked."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A package may import itself, the standard library, third-party packages, and these of ours.
MAY_IMPORT = {
    "aio": set[str](),
    "kube": {"aio"},
    "cgroups": set[str](),
    "systemd": {"aio"},
    "cni": {"kube", "aio"},
    "cri": {"kube", "aio"},
    "probes": {"kube", "aio"},
    "kubelet": {"probes", "cri", "cni", "cgroups", "systemd", "kube", "aio"},
    "controlplane": {"kube", "aio"},
}
MAY_IMPORT_ANYTHING = {"pykubelet", "lab", "bench", "tests", "scripts"}
OURS = {*MAY_IMPORT, *MAY_IMPORT_ANYTHING}

# Leaves that nothing third-party may creep into. uvloop is for entry points alone.
STDLIB_ONLY = ("aio", "cgroups")
ENTRY_POINTS = (
    "kubelet/__main__.py", "controlplane/__main__.py", "pykubelet/**/*.py",
    "cri/conformance/__main__.py", "bench/**/*.py",
)  # fmt: skip

# Modules that decide. Patterns of files to come match nothing until they are there.
PURE = (
    "aio/backoff.py",
    "cni/conflist.py",
    "cni/filter_table.py",
    "cni/invocation.py",
    "cgroups/allocatable.py",
    "cgroups/constants.py",
    "cgroups/convert.py",
    "cgroups/settings.py",
    "cgroups/tree.py",
    "cri/enums.py",
    "cri/errors.py",
    "cri/events.py",
    "cri/logs.py",
    "cri/service.py",
    "cri/stats.py",
    "cri/types.py",
    "controlplane/controllers/deployment_status.py",
    "controlplane/controllers/pods.py",
    "controlplane/controllers/rollout.py",
    "controlplane/scheduler/affinity.py",
    "controlplane/scheduler/choose.py",
    "controlplane/scheduler/cluster.py",
    "controlplane/scheduler/filters.py",
    "controlplane/scheduler/requests.py",
    "controlplane/scheduler/scores.py",
    "controlplane/scheduler/selector.py",
    "controlplane/scheduler/waiting.py",
    "kube/apply/*.py",
    "controlplane/allocation/pool.py",
    "controlplane/allocation/services.py",
    "controlplane/api/codec.py",
    "controlplane/api/model.py",
    "controlplane/api/requestinfo.py",
    "controlplane/api/printers/*.py",
    "controlplane/api/registry/*.py",
    "controlplane/api/streaming/answer_reading.py",
    "controlplane/api/streaming/questions.py",
    "controlplane/api/streaming/targets.py",
    "controlplane/bootstrap/objects.py",
    "controlplane/bootstrap/plan.py",
    "controlplane/bootstrap/roles.py",
    "controlplane/store/decide.py",
    "controlplane/store/errors.py",
    "controlplane/store/model.py",
    "controlplane/store/position.py",
    "controlplane/store/retention.py",
    "kube/certificate_subject.py",
    "kube/client/answers.py",
    "kube/client/limiter.py",
    "kube/client/lines.py",
    "kube/client/model.py",
    "kube/client/queries.py",
    "kube/client/resources.py",
    "kube/go_duration.py",
    "kube/http_server/limits.py",
    "kube/http_server/model.py",
    "kube/http_server/reading.py",
    "kube/http_server/writing.py",
    "kube/fake/faults.py",
    "kube/fake/history.py",
    "kube/fake/paging.py",
    "kube/fake/patching.py",
    "kube/fake/subresources.py",
    "kube/objects/*.py",
    "kube/patch/*.py",
    "kube/protobuf/*.py",
    "kube/schema/*.py",
    "kube/conditions.py",
    "kube/placement.py",
    "kube/qos.py",
    "kube/quantity.py",
    "kube/rules.py",
    "kube/scale.py",
    "kube/selection.py",
    "kube/selectors.py",
    "kube/status.py",
    "kube/validation/*.py",
    "kube/streams/port_channels.py",
    "kube/streams/port_forward.py",
    "kube/streams/protocols.py",
    "kube/streams/remote_command.py",
    "kube/streams/translation.py",
    "kube/websocket.py",
    "kubelet/absorb.py",
    "kubelet/action_targets.py",
    "kubelet/actions.py",
    "kubelet/admission.py",
    "kubelet/configuration/codec.py",
    "kubelet/configuration/effect.py",
    "kubelet/configuration/errors.py",
    "kubelet/configuration/flag_table.py",
    "kubelet/configuration/flag_values.py",
    "kubelet/configuration/gates.py",
    "kubelet/configuration/merge.py",
    "kubelet/configuration/node_flags.py",
    "kubelet/configuration/types.py",
    "kubelet/configuration/validation.py",
    "kubelet/configuration/version.py",
    "kubelet/draft.py",
    "kubelet/events.py",
    "kubelet/eviction/*.py",
    "kubelet/finish.py",
    "kubelet/happened.py",
    "kubelet/images/decide.py",
    "kubelet/images/keyring.py",
    "kubelet/images/model.py",
    "kubelet/images/rate.py",
    "kubelet/images/reference.py",
    "kubelet/lifecycle.py",
    "kubelet/events_api/correlate.py",
    "kubelet/model.py",
    "kubelet/node/conditions.py",
    "kubelet/node/labels.py",
    "kubelet/node/limits.py",
    "kubelet/node/model.py",
    "kubelet/node/registration.py",
    "kubelet/node/resources.py",
    "kubelet/node/status.py",
    "kubelet/plan*.py",
    "kubelet/objects/model.py",
    "kubelet/objects/references.py",
    "kubelet/podspec/*.py",
    "kubelet/probing.py",
    "kubelet/reasons.py",
    "kubelet/resources/admit.py",
    "kubelet/resources/checksum.py",
    "kubelet/resources/cpu_choice.py",
    "kubelet/resources/cpu_static.py",
    "kubelet/resources/cpuset.py",
    "kubelet/resources/demand.py",
    "kubelet/resources/hints.py",
    "kubelet/resources/memory_static.py",
    "kubelet/resources/topology.py",
    "kubelet/restart.py",
    "kubelet/server/access.py",
    "kubelet/server/answers.py",
    "kubelet/server/exposition.py",
    "kubelet/server/healthz.py",
    "kubelet/server/log_request.py",
    "kubelet/server/remembered.py",
    "kubelet/server/view.py",
    "kubelet/sources/merge.py",
    "kubelet/sources/model.py",
    "kubelet/status/*.py",
    "kubelet/story.py",
    "kubelet/volumes/inputs.py",
    "kubelet/volumes/payload.py",
    "probes/lateness.py",
    "probes/outcome.py",
    "probes/schedule.py",
    "probes/spec.py",
    "probes/threshold.py",
)
WORLD = {"asyncio", "os", "socket", "subprocess", "time", "random", "logging", "threading", "secrets"}

# The concrete side of each Protocol, and the files that may name it besides its own package.
ADAPTERS = {
    "cri.wire": ("kubelet/agent.py", "kubelet/cluster.py"),
    "cri.fake": (),
    "cri._pb": (),
    "grpc": ("probes/grpc.py",),
}
WIRE_UP = ("kubelet/agent.py", "kubelet/__main__.py")


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement's target, as a dotted name of a module or of something in it."""

    target: str
    file: str
    line: int
    typing_only: bool

    @property
    def top(self) -> str:
        return self.target.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.target}"


def imports_of(source: str, file: str) -> Iterator[Import]:
    """Every import anywhere in a file; those under `if TYPE_CHECKING:` are marked."""
    tree = ast.parse(source, file)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in node.body
        for inner in ast.walk(child)
    }
    package = file.removesuffix("/__init__.py").removesuffix(".py").split("/")
    if not file.endswith("__init__.py"):
        package.pop()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from a import b` may mean the module a.b or a name in a: the longer form matches both.
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(name, file, node.lineno, id(node) in typing_only)


def files_of(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if "_pb2" not in path.name)


@functools.cache
def all_imports(package: str) -> tuple[Import, ...]:
    return tuple(
        found
        for path in files_of(package)
        for found in imports_of(path.read_text(), str(path.relative_to(ROOT)))
    )


def matches(file: str, patterns: tuple[str, ...]) -> bool:
    return any(file in {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)} for pattern in patterns)


def present(packages: object) -> list[str]:
    assert isinstance(packages, (dict, set, tuple))
    return sorted(name for name in packages if (ROOT / name).is_dir())


@pytest.mark.parametrize("package", present(MAY_IMPORT))
def test_package_imports_only_the_layers_below_it(package: str) -> None:
    allowed = {package} | MAY_IMPORT[package]
    wrong = [found for found in all_imports(package) if found.top in OURS - allowed]
    assert not wrong, "\n".join(map(str, wrong))


def test_every_package_at_the_top_has_a_layer() -> None:
    at_top = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert at_top - OURS == set()


@pytest.mark.parametrize("package", present(STDLIB_ONLY))
def test_leaf_needs_nothing_but_the_standard_library(package: str) -> None:
    allowed = {package, "__future__", *MAY_IMPORT[package]}
    wrong = [found for found in all_imports(package) if found.top not in sys.stdlib_module_names | allowed]
    assert not wrong, "\n".join(map(str, wrong))


def test_modules_that_decide_do_not_touch_the_world() -> None:
    files = sorted({path for pattern in PURE for path in ROOT.glob(pattern)})
    assert files
    wrong = [
        found
        for path in files
        for found in imports_of(path.read_text(), str(path.relative_to(ROOT)))
        if found.top in WORLD and not found.typing_only
    ]
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("adapter", sorted(ADAPTERS))
def test_only_the_wire_up_names_a_concrete_adapter(adapter: str) -> None:
    own = adapter.partition(".")[0] if "." in adapter else "cri"
    allowed = (*WIRE_UP, *ADAPTERS[adapter])
    wrong = [
        found
        for package in present(MAY_IMPORT)
        if package != own
        for found in all_imports(package)
        if (found.target == adapter or found.target.startswith(f"{adapter}.")) and found.file not in allowed
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_only_entry_points_choose_the_event_loop() -> None:
    wrong = [
        found
        for package in present(MAY_IMPORT)
        for found in all_imports(package)
        if found.top == "uvloop" and not matches(found.file, ENTRY_POINTS)
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_no_file_has_a_name_that_says_nothing() -> None:
    names = {"util", "utils", "helper", "helpers", "common", "manager", "misc"}
    wrong = [path for package in present(OURS) for path in files_of(package) if path.stem in names]
    assert not wrong


def test_import_reader_sees_relative_nested_and_typing_only_imports() -> None:
    source = (
        "from __future__ import annotations\n"
        "from typing import TYPE_CHECKING\n"
        "from . import sibling\n"
        "from ..other import thing\n"
        "if TYPE_CHECKING:\n    import asyncio\n"
        "def late():\n    import os.path\n"
    )
    found = {(i.target, i.typing_only) for i in imports_of(source, "kubelet/status/write.py")}
    assert ("kubelet.status.sibling", False) in found
    assert ("kubelet.other.thing", False) in found
    assert ("asyncio", True) in found
    assert ("os.path", False) in found
