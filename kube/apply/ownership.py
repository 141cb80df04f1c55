"""The decisions of server-side apply: who conflicts, who loses and gains fields, what nobody wants any more.

Rules are those of sigs.k8s.io/structured-merge-diff (merge/update.go) and apimachinery's managedfields, for
one version of each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from kube.apply.errors import ApplyConflicts, Conflict
from kube.apply.owners import BEFORE_FIRST_APPLY, CLIENT_SIDE, UPDATE, Owned, Owner, Owners
from kube.apply.paths import NONE, Fields, Path, below, with_structs
from kube.apply.shape import Shape
from kube.apply.walk import Difference, compare, fields_of, merge, remove

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_METADATA_OF_NOBODY = (
    "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
    "resourceVersion",
)  # fmt: skip
OF_NOBODY: Fields = frozenset((
    ("f:apiVersion",), ("f:kind",), ("f:metadata",),
    *(("f:metadata", f"f:{name}") for name in _METADATA_OF_NOBODY),
))  # fmt: skip
"""What identifies an object or is the server's (stripmeta.go)."""


Complete = Callable[[dict[str, Any]], dict[str, Any]]
"""From an object to the object with defaults; it leaves what it is given as it is."""


def _as_it_is(value: dict[str, Any]) -> dict[str, Any]:
    return value


@dataclass(frozen=True, slots=True)
class Change:
    """A write: whose, of which kind of object, with which version, when (RFC 3339)."""

    owner: Owner
    shape: Shape
    api_version: str
    time: str


@dataclass(frozen=True, slots=True)
class Applied:
    """`value` is the object with the configuration in it, `owners` who owns its fields from now on."""

    value: dict[str, Any]
    owners: Owners


def apply(
    live: dict[str, Any], config: dict[str, Any], owners: Owners, change: Change, *,
    is_forced: bool = False, allowed: Fields = NONE, complete: Complete = _as_it_is,
) -> Applied:  # fmt: skip
    """`live` is empty for an object that is not there. Conflicts in `allowed` alone count as forced.
    `complete` fills in what the server would, so that a default that is not said is no change.

    ApplyConflicts when others own what would change; ApplyError for a configuration that has no clear fields.
    """
    shape, owner = change.shape, change.owner
    said = fields_of(config, shape)
    wanted = said - OF_NOBODY
    before = owners.get(owner)
    merged = merge(live, config, shape)
    after = {**owners, owner: Owned(wanted, change.api_version, change.time)}
    if before is not None:
        # With its name, which keeps the metadata when nothing else in there is wanted any more.
        managed = said.union(*(owned.fields for owned in after.values()))
        merged = _pruned(merged, before.fields, managed, shape)
    difference = compare(live, complete(merged), shape).without(OF_NOBODY)
    conflicts = tuple(_conflicts(difference, owners, owner))
    if not is_forced and any(conflict.path not in allowed for conflict in conflicts):
        raise ApplyConflicts([conflict for conflict in conflicts if conflict.path not in allowed])
    after = _without_lost(after, difference, owner)
    if before is not None and before.fields == wanted and before.api_version == change.api_version:
        is_same = not (difference.changed or difference.removed)
        after[owner] = before if is_same else replace(before, time=change.time)
    return Applied(merged, {key: owned for key, owned in after.items() if owned.fields})


def update(old: dict[str, Any], new: dict[str, Any], owners: Owners, change: Change) -> Owners:
    """After a write that is no apply: the writer owns what it changed, and what is gone is nobody's."""
    difference = compare(old, new, change.shape).without(OF_NOBODY)
    if not (difference.changed or difference.removed):
        return owners
    after = _without_lost(dict(owners), difference, change.owner)
    known = after.get(change.owner)
    if difference.changed:
        kept = known.fields - difference.removed if known else NONE
        mine = frozenset(kept | difference.changed)
        after[change.owner] = Owned(mine, change.api_version, change.time)
    elif known is not None:
        after[change.owner] = replace(known, fields=known.fields - difference.removed)
    return {key: owned for key, owned in after.items() if owned.fields}


def untracked(live: dict[str, Any], last_applied: Any, change: Change) -> Owners:
    """The owners of an object that has none yet: what `kubectl apply` has written and nobody has changed
    since is its own (it leaves a copy in an annotation), all else was there before the first apply."""
    everything = frozenset(compare({}, live, change.shape).without(OF_NOBODY).added)
    theirs = NONE
    if isinstance(last_applied, dict):
        annotation: Path = ("f:metadata", "f:annotations", f"f:{LAST_APPLIED}")
        theirs = (unchanged_since(last_applied, live, change.shape) | {annotation}) & everything
    found = {
        Owner(BEFORE_FIRST_APPLY, UPDATE, "", change.api_version): everything - theirs,
        Owner(CLIENT_SIDE, UPDATE, "", change.api_version): theirs,
    }
    return {key: Owned(fields, change.api_version, change.time) for key, fields in found.items() if fields}


def unchanged_since(last_applied: dict[str, Any], live: dict[str, Any], shape: Shape) -> Fields:
    """The fields of a former configuration that are still what it says."""
    everything = compare({}, last_applied, shape).without(OF_NOBODY).added
    difference = compare(last_applied, live, shape)
    gone = below(everything, difference.removed | difference.modified)
    return frozenset(everything - gone)


def _conflicts(difference: Difference, owners: Owners, self_: Owner) -> Iterable[Conflict]:
    changed = difference.changed
    for owner, owned in owners.items():
        if owner != self_:
            for path in sorted(owned.fields & changed):
                yield Conflict(owner, path)


def _without_lost(owners: Owners, difference: Difference, self_: Owner) -> dict[Owner, Owned]:
    lost = difference.changed | difference.removed
    return {
        owner: owned if owner == self_ or not owned.fields & lost
        else replace(owned, fields=owned.fields - lost)
        for owner, owned in owners.items()
    }  # fmt: skip


def _pruned(merged: dict[str, Any], last: Fields, managed: Fields, shape: Shape) -> dict[str, Any]:
    """Without what the applier had applied, applies no more, and nobody else owns. What the server filled in
    below such a field goes with it; what others put there keeps it, unless it is an item of a list or an
    entry of a map, which goes with all that is in it (updater.prune)."""
    if last <= managed:
        return merged
    last_all, managed_all = with_structs(last, shape), with_structs(managed, shape)
    there = with_structs(fields_of_live(merged, shape), shape)
    bare = remove(merged, last_all, shape)
    left = with_structs(fields_of_live(bare, shape), shape) | managed_all
    owned_only = remove(merged, there - left, shape, managed)
    dangling = there - with_structs(fields_of_live(owned_only, shape), shape)
    pruned: dict[str, Any] = remove(merged, dangling & last_all, shape, managed)
    return pruned


def fields_of_live(value: Any, shape: Shape) -> Fields:
    """All there is, where items that cannot be told apart are no mistake of the one who applies."""
    return frozenset(compare({}, value, shape).added)
