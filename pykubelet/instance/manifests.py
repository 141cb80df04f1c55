"""The directory of manifests, read with the agent's own eyes: which pods it asks for, and what is refused.

The same code decodes them as in the agent, so what is said here is what the agent does, without reading logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kube.errors import InvalidObject
from kubelet.sources.fileset import is_manifest_name
from kubelet.sources.identity import Origin
from kubelet.sources.manifest import decode_static_pods
from kubelet.sources.model import FILE


@dataclass(frozen=True, slots=True)
class Manifests:
    """`pods`: NAMESPACE/NAME of each pod by file. `problems`: "FILE:LINE: FIELD: what is wrong", by file."""

    pods: dict[Path, tuple[str, ...]]
    problems: dict[Path, tuple[str, ...]]

    @property
    def count(self) -> int:
        return len(self.pods) + len(self.problems)

    @property
    def names(self) -> set[str]:
        return {name for names in self.pods.values() for name in names}


def read_manifests_in(directory: str, node: str) -> Manifests:
    """Every manifest of a directory, for the node of that name; a missing directory holds none."""
    pods: dict[Path, tuple[str, ...]] = {}
    problems: dict[Path, tuple[str, ...]] = {}
    for path in _files(directory):
        try:
            found = decode_static_pods(path.read_bytes(), Origin(FILE, str(path), node))
        except InvalidObject as error:
            problems[path] = error.located(str(path))
        except OSError as error:
            problems[path] = (f"{path}: cannot read: because {error.strerror}",)
        else:
            pods[path] = tuple(f"{pod.metadata.namespace}/{pod.metadata.name}" for pod in found)
    return Manifests(pods, problems)


def _files(directory: str) -> list[Path]:
    try:
        found = list(Path(directory).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(path for path in found if path.is_file() and is_manifest_name(path.name))
