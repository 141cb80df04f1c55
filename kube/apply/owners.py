"""The managedFields of an object: who owns what, read and written as Kubernetes does.

An applier is one owner whatever version it applies; other writers are told apart by version and subresource
too (BuildManagerIdentifier). Times change when the owner's fields do, which is the writer's part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kube.apply.paths import Fields, of_fields_v1, to_fields_v1

APPLY, UPDATE = "Apply", "Update"
BEFORE_FIRST_APPLY = "before-first-apply"
CLIENT_SIDE = "kubectl-client-side-apply"
ANCIENT = "ancient-changes"
MAX_UPDATES = 10
"""Entries of writers that do not apply (DefaultMaxUpdateManagers)."""
_FORMAT = "FieldsV1"


@dataclass(frozen=True, slots=True)
class Owner:
    """`api_version` is empty for an applier."""

    manager: str
    operation: str = APPLY
    subresource: str = ""
    api_version: str = ""

    @property
    def is_applier(self) -> bool:
        return self.operation == APPLY

    def shown(self) -> str:
        """As conflicts name it."""
        text = '"' + self.manager.replace("\\", "\\\\").replace('"', '\\"') + '"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return text if self.is_applier else f"{text} using {self.api_version}"


@dataclass(frozen=True, slots=True)
class Owned:
    """`api_version` is that of the write which set the fields, `time` when that was (RFC 3339)."""

    fields: Fields
    api_version: str
    time: str


Owners = Mapping[Owner, Owned]


def is_reset(value: Any) -> bool:
    """Whether a list of entries is the wish to forget all owners: one entry with nothing in it."""
    return bool(value == [{}])


def decode(value: Any) -> Owners | None:
    """Of `metadata.managedFields`; None for a list that is none of ours and must not be taken over."""
    found: dict[Owner, Owned] = {}
    try:
        for entry in value or ():
            owner, owned = _entry(entry)
            known = found.get(owner)
            if known is not None:
                owned = Owned(known.fields | owned.fields, owned.api_version, max(known.time, owned.time))
            found[owner] = owned
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return found


def _entry(entry: Mapping[str, Any]) -> tuple[Owner, Owned]:
    operation, version = entry.get("operation", ""), entry.get("apiVersion", "")
    if operation not in (APPLY, UPDATE) or entry.get("fieldsType", _FORMAT) != _FORMAT or not version:
        raise ValueError(f"cannot read managedFields: because {operation!r} entry of {version!r} is unknown")
    owner = Owner(
        entry.get("manager", ""), operation, entry.get("subresource", ""),
        "" if operation == APPLY else version,
    )  # fmt: skip
    return owner, Owned(of_fields_v1(entry.get("fieldsV1", {})), version, entry.get("time", ""))


def encode(owners: Owners) -> list[dict[str, Any]]:
    """Appliers first, then by time; those who own nothing are left out."""
    capped = _capped({owner: owned for owner, owned in owners.items() if owned.fields})
    ordered = sorted(capped.items(), key=lambda item: (
        item[0].operation, item[1].time, item[0].manager, item[1].api_version, item[0].subresource,
    ))  # fmt: skip
    return [_encode(owner, owned) for owner, owned in ordered]


def _encode(owner: Owner, owned: Owned) -> dict[str, Any]:
    entry = {"manager": owner.manager, "operation": owner.operation, "apiVersion": owned.api_version}
    if owned.time:
        entry["time"] = owned.time
    fields = {"fieldsType": _FORMAT, "fieldsV1": to_fields_v1(owned.fields)}
    return {**entry, **fields, **({"subresource": owner.subresource} if owner.subresource else {})}


def _capped(owners: dict[Owner, Owned]) -> dict[Owner, Owned]:
    """The oldest of too many writers become one, per version."""
    updates = [owner for owner in owners if not owner.is_applier]
    if len(updates) <= MAX_UPDATES:
        return owners
    updates.sort(key=lambda owner: (owner.manager != ANCIENT, owners[owner].time, owner.manager))
    left = dict(owners)
    count = len(updates)
    for owner in updates:
        if count <= MAX_UPDATES:
            break
        if owner.manager == ANCIENT:
            continue
        owned = left.pop(owner)
        bucket = Owner(ANCIENT, UPDATE, "", owned.api_version)
        known = left.get(bucket)
        if known is None:
            left[bucket] = owned
        else:
            time = max(known.time, owned.time)
            left[bucket] = Owned(known.fields | owned.fields, owned.api_version, time)
            count -= 1
    return left
