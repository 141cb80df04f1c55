"""Deployment: a ReplicaSet per template, moved from the old ones to the newest in steps.

A pass does the first of these that applies: make the ReplicaSet of the present template (or find that there
is one already: a rollback), follow a change of size, move the newest up, move the old ones down, clean up.
The next change brings the next pass. The numbers are in `rollout`, the conditions in `deployment_status`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from aio.clock import Clock
from controlplane.controllers import deployment_status as s
from controlplane.controllers import pods as p
from controlplane.controllers import rollout
from controlplane.controllers.base import DONE, Result, View, Writer, controller_of, key_of
from controlplane.recorder import Note
from kube import status
from kube.client import JsonObject
from kube.client import resources as r
from kube.client.resources import Resource

HASH_LABEL = "pod-template-hash"
HISTORY = f"{rollout.PREFIX}revision-history"
DEFAULT_HISTORY = 10
SCALING_EVENT = "ScalingReplicaSet"
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
# Annotations of the deployment that its sets do not inherit.
_OWN_NOTES = frozenset((
    "kubectl.kubernetes.io/last-applied-configuration", rollout.REVISION, HISTORY, rollout.DESIRED,
    rollout.MOST, "deprecated.deployment.rollback.to",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A deployment, its sets (oldest first) and the one of its present template."""

    deployment: JsonObject
    sets: tuple[JsonObject, ...]
    new: JsonObject | None
    limits: rollout.Limits

    @property
    def olds(self) -> tuple[JsonObject, ...]:
        return tuple(item for item in self.sets if item is not self.new)


def snapshot_of(deployment: JsonObject, sets: Iterable[JsonObject]) -> Snapshot:
    ordered = sorted(sets, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))
    template = without_hash(deployment["spec"]["template"])
    new = next((item for item in ordered if without_hash(item["spec"]["template"]) == template), None)
    return Snapshot(deployment, tuple(ordered), new, rollout.limits_of(deployment))


def without_hash(template: JsonObject) -> JsonObject:
    """The template without our label, and without what only says that a field is empty."""
    found = template.get("metadata") or {}
    labels = {key: value for key, value in (found.get("labels") or {}).items() if key != HASH_LABEL}
    rest = {name: value for name, value in found.items() if name != "labels" and value}
    return {"metadata": {**rest, "labels": labels}, "spec": template["spec"]}


def template_hash(template: JsonObject, collisions: int) -> str:
    """Ten letters that stand for a template; another number of collisions gives others."""
    body = msgspec.json.encode([without_hash(template), collisions], order="sorted")
    digest = int.from_bytes(hashlib.sha256(body).digest()[:8])
    letters = []
    for _ in range(10):
        digest, at = divmod(digest, len(_LETTERS))
        letters.append(_LETTERS[at])
    return "".join(letters)


def revision_of(value: JsonObject) -> int:
    text = (value["metadata"].get("annotations") or {}).get(rollout.REVISION, "0")
    return int(text) if text.isdigit() else 0


def next_revision(snapshot: Snapshot) -> int:
    """One more than any older set has; the newest keeps its own when that is more already."""
    most = max((revision_of(item) for item in snapshot.olds), default=0) + 1
    return max(most, revision_of(snapshot.new)) if snapshot.new is not None else most


def notes_of_new(snapshot: Snapshot) -> dict[str, str]:
    """Annotations the newest set must have. A set that comes back remembers the revisions it had."""
    inherited = snapshot.deployment["metadata"].get("annotations") or {}
    notes = {key: value for key, value in inherited.items() if key not in _OWN_NOTES}
    revision = next_revision(snapshot)
    notes[rollout.REVISION] = str(revision)
    if snapshot.new is not None and 0 < revision_of(snapshot.new) < revision:
        before = (snapshot.new["metadata"].get("annotations") or {}).get(HISTORY, "")
        notes[HISTORY] = ",".join(filter(None, (before, str(revision_of(snapshot.new)))))
    return notes


def scale_notes(limits: rollout.Limits) -> dict[str, str]:
    return {rollout.DESIRED: str(limits.replicas), rollout.MOST: str(limits.most)}


def make_set(snapshot: Snapshot) -> JsonObject:
    """The ReplicaSet of the present template, already as large as it may be."""
    deployment, limits = snapshot.deployment, snapshot.limits
    found, spec = deployment["metadata"], deployment["spec"]
    mark = template_hash(spec["template"], (deployment.get("status") or {}).get("collisionCount", 0))
    template = spec["template"]
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: mark}
    size = rollout.size_of_new(rollout.Set("", 0), [rollout.read_set(item) for item in snapshot.sets], limits)
    selector = spec["selector"]
    wanted: JsonObject = {
        "replicas": size,
        "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: mark}},
        "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
    }
    if spec.get("minReadySeconds"):
        wanted["minReadySeconds"] = spec["minReadySeconds"]
    metadata = {
        "name": f"{found['name']}-{mark}", "namespace": found["namespace"], "labels": labels,
        "annotations": {**notes_of_new(snapshot), **scale_notes(limits)},
        "ownerReferences": [p.owner_reference(r.DEPLOYMENTS, deployment)],
    }  # fmt: skip
    return {"metadata": metadata, "spec": wanted}


def may_create(snapshot: Snapshot, pods_of_old: int) -> bool:
    """Recreate waits until nothing of the old is left; a paused deployment makes no new set."""
    if snapshot.deployment["spec"].get("paused"):
        return False
    if snapshot.limits.is_rolling:
        return True
    return not pods_of_old and not any(rollout.read_set(item).size for item in snapshot.olds)


def sizes(snapshot: Snapshot, pods_of_old: int) -> dict[str, int]:
    """The sizes that change in this pass, by name. `pods_of_old` may still run: Recreate waits for them."""
    new = rollout.read_set(snapshot.new) if snapshot.new is not None else None
    olds = [rollout.read_set(item) for item in snapshot.olds]
    limits = snapshot.limits
    known = {item.name: item.size for item in (*olds, *([new] if new is not None else []))}
    if snapshot.deployment["spec"].get("paused") or rollout.is_scaling(
        [*olds, *([new] if new else [])], limits
    ):
        total = (snapshot.deployment.get("status") or {}).get("replicas", 0)
        wanted = rollout.scale(new, olds, limits, total)
    elif not limits.is_rolling:
        wanted = {old.name: 0 for old in olds if old.size}
        if not wanted and new is not None and not pods_of_old:
            wanted = {new.name: limits.replicas}
    elif new is None:
        wanted = {}
    else:
        size = rollout.size_of_new(new, olds, limits)
        wanted = {new.name: size} if size != new.size else rollout.sizes_of_old(new, olds, limits)
    return {name: size for name, size in wanted.items() if size != known[name]}


def superfluous(snapshot: Snapshot) -> list[JsonObject]:
    """Old sets beyond the history that is kept, of the lowest revision first."""
    keep = snapshot.deployment["spec"].get("revisionHistoryLimit", DEFAULT_HISTORY)
    idle = [
        item for item in snapshot.olds
        if not item["spec"].get("replicas", 1)
        and not (item.get("status") or {}).get("replicas", 0)
        and (item.get("status") or {}).get("observedGeneration", 0) >= item["metadata"].get("generation", 0)
        and "deletionTimestamp" not in item["metadata"]
    ]  # fmt: skip
    excess = len(snapshot.olds) - keep
    return sorted(idle, key=revision_of)[: max(excess, 0)]


def paused_change(deployment: JsonObject) -> s.Said | None:
    """What to say once when a deployment was paused or resumed."""
    found = p.condition_of(deployment, "Progressing")
    reason = found.get("reason") if found is not None else None
    is_paused = bool(deployment["spec"].get("paused"))
    if reason == s.EXCEEDED:
        return None
    if is_paused and reason != s.PAUSED:
        return s.Said(s.PAUSED, "Deployment is paused", "Unknown")
    if not is_paused and reason == s.PAUSED:
        return s.Said(s.RESUMED, "Deployment is resumed", "Unknown")
    return None


class DeploymentController:
    name = "deployment-controller"
    reads = (r.DEPLOYMENTS, r.REPLICA_SETS, r.PODS)
    writes = (r.DEPLOYMENTS, r.REPLICA_SETS)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def keys(self, resource: Resource, value: JsonObject, view: View) -> Iterable[str]:
        if resource == r.DEPLOYMENTS:
            return (key_of(value),)
        owner, namespace = controller_of(value), value["metadata"]["namespace"]
        if owner is None:
            return ()
        if resource == r.PODS:
            # Recreate waits for the last old pod.
            found = view.get(r.REPLICA_SETS, f"{namespace}/{owner['name']}")
            owner = controller_of(found) if found is not None else None
        is_ours = owner is not None and owner["kind"] == r.DEPLOYMENTS.kind
        return (f"{namespace}/{owner['name']}",) if is_ours and owner is not None else ()

    async def reconcile(self, key: str, view: View, api: Writer) -> Result:
        deployment = view.get(r.DEPLOYMENTS, key)
        if deployment is None:
            return DONE
        own = await self._own_sets(deployment, view, api)
        snapshot = snapshot_of(deployment, own)
        said = None
        if "deletionTimestamp" not in deployment["metadata"]:
            said = paused_change(deployment)
            said = await self._move(snapshot, view, api) or said
        return await self._report(snapshot, said, api)

    async def _own_sets(self, deployment: JsonObject, view: View, api: Writer) -> Sequence[JsonObject]:
        """Those it controls, and those that match and belong to nobody, which it takes."""
        found = deployment["metadata"]
        own = list(view.controlled_by(r.REPLICA_SETS, found["uid"]))
        if "deletionTimestamp" in found:
            return own
        selector = p.selector_of(deployment)
        for item in view.in_namespace(r.REPLICA_SETS, found["namespace"]):
            is_free = controller_of(item) is None and "deletionTimestamp" not in item["metadata"]
            if is_free and selector.matches(p.labels_of(item)):
                owners = item["metadata"].get("ownerReferences") or []
                change = {"ownerReferences": [*owners, p.owner_reference(r.DEPLOYMENTS, deployment)]}
                own.append(await api.patch(r.REPLICA_SETS, item, {"metadata": change}, strict=True))
        return own

    async def _move(self, snapshot: Snapshot, view: View, api: Writer) -> s.Said | None:
        """One step; what it means for progress, if anything."""
        left = _old_pods(snapshot, view)
        if snapshot.new is None and may_create(snapshot, left):
            return await self._create(snapshot, api)
        said = await self._mark_new(snapshot, api)
        changes = sizes(snapshot, left)
        for item in snapshot.sets:
            await self._scale(snapshot, item, changes.get(item["metadata"]["name"]), api)
        if not changes and s.is_complete(
            snapshot.deployment, s.counts(snapshot.deployment, snapshot.new, snapshot.sets)
        ):
            for item in superfluous(snapshot):
                await api.delete(r.REPLICA_SETS, item, propagation="Background")
        return said

    async def _create(self, snapshot: Snapshot, api: Writer) -> s.Said | None:
        body = make_set(snapshot)
        name, size = body["metadata"]["name"], body["spec"]["replicas"]
        try:
            await api.create(r.REPLICA_SETS, body)
        except status.AlreadyExists:
            await self._collide(snapshot, body, api)
            return None
        await self._set_revision(snapshot, api)
        if size:
            await self._tell(snapshot, f"Scaled up replica set {name} from 0 to {size}", api)
        return s.Said(s.CREATED, f'Created new replica set "{name}"')

    async def _collide(self, snapshot: Snapshot, body: JsonObject, api: Writer) -> None:
        """Another set has the name: ours from a moment ago (then the copy will show it), or somebody's."""
        found = body["metadata"]
        there = await api.get(r.REPLICA_SETS, key_of(body))
        owner = controller_of(there)
        uid = snapshot.deployment["metadata"]["uid"]
        is_ours = owner is not None and owner["uid"] == uid
        if is_ours and without_hash(there["spec"]["template"]) == without_hash(body["spec"]["template"]):
            return
        count = (snapshot.deployment.get("status") or {}).get("collisionCount", 0) + 1
        await api.patch(
            r.DEPLOYMENTS, snapshot.deployment, {"status": {"collisionCount": count}}, subresource="status"
        )
        raise status.already_exists(r.REPLICA_SETS, found["name"])

    async def _mark_new(self, snapshot: Snapshot, api: Writer) -> s.Said | None:
        """The newest set gets its revision and the deployment's annotations."""
        new, deployment = snapshot.new, snapshot.deployment
        if new is None:
            return None
        present = new["metadata"].get("annotations") or {}
        missing = {key: value for key, value in notes_of_new(snapshot).items() if present.get(key) != value}
        least = deployment["spec"].get("minReadySeconds", 0)
        change: JsonObject = {"metadata": {"annotations": missing}} if missing else {}
        if new["spec"].get("minReadySeconds", 0) != least:
            change["spec"] = {"minReadySeconds": least}
        if change:
            await api.patch(r.REPLICA_SETS, new, change)
        await self._set_revision(snapshot, api)
        if p.condition_of(deployment, "Progressing") is None:
            return s.Said(s.FOUND, f'Found new replica set "{new["metadata"]["name"]}"')
        return None

    async def _set_revision(self, snapshot: Snapshot, api: Writer) -> None:
        revision = next_revision(snapshot)
        if revision_of(snapshot.deployment) != revision:
            notes = {rollout.REVISION: str(revision)}
            await api.patch(r.DEPLOYMENTS, snapshot.deployment, {"metadata": {"annotations": notes}})

    async def _scale(self, snapshot: Snapshot, item: JsonObject, size: int | None, api: Writer) -> None:
        found = rollout.read_set(item)
        limits = snapshot.limits
        is_told = (found.desired, found.most) == (limits.replicas, limits.most)
        if size is None and (is_told or not found.size):
            return
        change: JsonObject = {"metadata": {"annotations": scale_notes(limits)}}
        if size is not None:
            change["spec"] = {"replicas": size}
        await api.patch(r.REPLICA_SETS, item, change)
        if size is not None:
            way = "up" if size > found.size else "down"
            await self._tell(
                snapshot, f"Scaled {way} replica set {found.name} from {found.size} to {size}", api
            )

    async def _tell(self, snapshot: Snapshot, message: str, api: Writer) -> None:
        api.tell(r.DEPLOYMENTS, snapshot.deployment, Note(SCALING_EVENT, message))

    async def _report(self, snapshot: Snapshot, said: s.Said | None, api: Writer) -> Result:
        deployment, now = snapshot.deployment, self._clock.now()
        state = s.new_status(deployment, snapshot.new, snapshot.sets, said, snapshot.limits, now)
        old = deployment.get("status") or {}
        if any(old.get(field, 0 if field != "conditions" else []) != value for field, value in state.items()):
            await api.patch(r.DEPLOYMENTS, deployment, {"status": state}, subresource="status")
        return Result(s.next_look(deployment, state, now))


def _old_pods(snapshot: Snapshot, view: View) -> int:
    """Pods of old sets that may still run."""
    return sum(
        not p.is_over(pod)
        for item in snapshot.olds
        for pod in view.controlled_by(r.PODS, item["metadata"]["uid"])
    )
