"""What every Kubernetes type looks like: fields, JSON types, list keys, merge keys, required fields.

The facts are text files beside this module, one per group version, in a form made to be read and
to be diffed. `core_v1.txt` holds what a node agent meets (Pod, Event, ConfigMap, Secret and all they
contain), `cluster_v1.txt` the rest of the core group; a file is read the first time it is asked for,
so an agent never pays for the kinds of the other groups.

A type is a line that starts in the first column, its fields are the indented lines after it:

    Container                                       name of the type
    Pod = v1/Pod                                    a kind: group/version/kind as in apiVersion and kind
    LabelSelector atomic                            server-side apply treats the object as one value
      name! string                                  a required field
      ports [ContainerPort] map(containerPort,protocol) merge(containerPort)
      volumes [Volume] map(name) merge(name) retainKeys

Types: `string bool int32 int64 double bytes Quantity Time MicroTime IntOrString any object`, the name of a
type of the same file, or `file.Type`; `[T]` is a list, `{T}` a map with string keys. After the type come
the list's kind for server-side apply (`atomic`, `set`, `map(keys)`) and the patch strategy for strategic
merge (`merge(key)`, `merge` for lists of plain values, `replace`, `retainKeys`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PLAIN = ("string", "bool", "int32", "int64", "double", "bytes")
SCALARS = frozenset((*_PLAIN, "Quantity", "Time", "MicroTime", "IntOrString", "any", "object"))
# Of every API group at once: clients write them with the version of the object the request is about.
_EVERYWHERE = ("DeleteOptions", "Status", "WatchEvent")


@dataclass(frozen=True, slots=True)
class TypeRef:
    """A JSON type: `wrap` lists the containers from the outside in ("list", "map"), `name` what is inside."""

    name: str
    wrap: tuple[str, ...] = ()

    @property
    def is_scalar(self) -> bool:
        return not self.wrap and self.name in SCALARS

    def inner(self) -> TypeRef:
        return TypeRef(self.name, self.wrap[1:])


@dataclass(frozen=True, slots=True)
class FieldFact:
    """One field: `list_type` is "", "atomic", "set" or "map"; `patch` holds merge, replace, retainKeys."""

    name: str
    type: TypeRef
    required: bool = False
    list_type: str = ""
    list_keys: tuple[str, ...] = ()
    patch: tuple[str, ...] = ()
    merge_key: str = ""


@dataclass(frozen=True, slots=True)
class TypeFact:
    """One object type; `gvk` ("v1/Pod", "apps/v1/Deployment") is empty for types that are not kinds."""

    name: str
    fields: dict[str, FieldFact]
    gvk: str = ""
    atomic: bool = False


def load(qualified: str) -> TypeFact:
    """The type named `file.Type`, as in "core_v1.Pod". KeyError when there is none."""
    file, _, name = qualified.partition(".")
    return load_file(file)[name]


@cache
def load_file(file: str) -> dict[str, TypeFact]:
    """All types of one group version ("core_v1"), by name, in the order of the file."""
    text = (Path(__file__).parent / f"{file}.txt").read_text(encoding="utf-8")
    return parse(text, file)


@cache
def files() -> tuple[str, ...]:
    """The group versions there are facts for."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.txt")))


def parse(text: str, file: str) -> dict[str, TypeFact]:
    """Read the text form; references inside it come out qualified with `file`. ValueError on a bad line."""
    types: dict[str, TypeFact] = {}
    fields: dict[str, FieldFact] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0] == "#":
            continue
        if line[0] != " ":
            fields = {}
            gvk = words[2] if words[1:2] == ["="] else ""
            types[words[0]] = TypeFact(words[0], fields, gvk, words[-1] == "atomic")
        elif len(words) < 2:
            raise ValueError(f"cannot read {file}.txt line {number}: because {line!r} has no type")
        else:
            fact = _parse_field(words, file)
            fields[fact.name] = fact
    return types


def _parse_field(words: list[str], file: str) -> FieldFact:
    name, type_text, *rest = words
    list_type, merge_key = "", ""
    list_keys: tuple[str, ...] = ()
    patch: list[str] = []
    for word in rest:
        head, _, argument = word.rstrip(")").partition("(")
        if head in ("atomic", "set"):
            list_type = head
        elif head == "map":
            list_type, list_keys = head, tuple(argument.split(","))
        elif head in ("merge", "replace", "retainKeys"):
            patch.append(head)
            merge_key = argument or merge_key
        else:
            raise ValueError(f"cannot read field {name!r} of {file}.txt: because {word!r} is unknown")
    return FieldFact(
        name=name.rstrip("!"),
        type=parse_type(type_text, file),
        required=name.endswith("!"),
        list_type=list_type,
        list_keys=list_keys,
        patch=tuple(patch),
        merge_key=merge_key,
    )


def parse_type(text: str, file: str) -> TypeRef:
    wrap: list[str] = []
    while text[0] in "[{":
        wrap.append("list" if text[0] == "[" else "map")
        text = text[1:-1]
    if text not in SCALARS and "." not in text:
        text = f"{file}.{text}"
    return TypeRef(text, tuple(wrap))


def find_kind(api_version: str, kind: str) -> str | None:
    """The type ("apps_v1.Deployment") of a kind as `apiVersion` and `kind` name it; None for one unknown."""
    if kind in _EVERYWHERE:
        return f"meta_v1.{kind}"
    group, _, version = api_version.rpartition("/")
    first = group.partition(".")[0]
    for file in (f"{first}_{version}",) if group else ("core_v1", "cluster_v1", "meta_v1"):
        name = _kinds(file).get(f"{api_version}/{kind}") if file in files() else None
        if name:
            return f"{file}.{name}"
    return None


@cache
def _kinds(file: str) -> dict[str, str]:
    return {fact.gvk: name for name, fact in load_file(file).items() if fact.gvk}
