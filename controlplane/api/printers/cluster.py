"""Rows of what a cluster is made of: nodes, namespaces, leases, classes; and of events."""

from __future__ import annotations

from datetime import datetime

from controlplane.api.printers.model import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    Cells,
    Column,
    Json,
    Printer,
    age_of,
    name_of,
    since,
    wide,
)

_ROLE_PREFIX, _ROLE_LABEL = "node-role.kubernetes.io/", "kubernetes.io/role"


def _node(item: Json, now: datetime) -> Cells:
    state = item.get("status") or {}
    facts = state.get("nodeInfo") or {}
    return [
        name_of(item),
        ",".join(_node_words(item)),
        ",".join(_roles(item)) or NONE,
        age_of(item, now),
        facts.get("kubeletVersion", ""),
        _address(state, "InternalIP"),
        _address(state, "ExternalIP"),
        *(facts.get(field) or UNKNOWN for field in ("osImage", "kernelVersion", "containerRuntimeVersion")),
    ]


def _node_words(item: Json) -> list[str]:
    words = [
        "Ready" if one.get("status") == "True" else "NotReady"
        for one in (item.get("status") or {}).get("conditions") or ()
        if one.get("type") == "Ready"
    ]
    is_closed = (item.get("spec") or {}).get("unschedulable")
    return [*(words[-1:] or ["Unknown"]), *(["SchedulingDisabled"] if is_closed else [])]


def _roles(item: Json) -> list[str]:
    found = set()
    for key, value in (item["metadata"].get("labels") or {}).items():
        role = key.removeprefix(_ROLE_PREFIX) if key.startswith(_ROLE_PREFIX) else ""
        found.add(role or (value if key == _ROLE_LABEL else ""))
    return sorted(found - {""})


def _address(state: Json, type_: str) -> str:
    listed = state.get("addresses") or ()
    return next((str(one.get("address")) for one in listed if one.get("type") == type_), NONE)


def _namespace(item: Json, now: datetime) -> Cells:
    return [name_of(item), (item.get("status") or {}).get("phase", ""), age_of(item, now)]


def _event(item: Json, now: datetime) -> Cells:
    about, source = item.get("involvedObject") or {}, item.get("source") or {}
    series = item.get("series")
    first = since(item.get("firstTimestamp") or item.get("eventTime"), now)
    last = since(item.get("lastTimestamp"), now) if item.get("lastTimestamp") else first
    if series:
        last = since(series.get("lastObservedTime"), now)
    kind = about.get("kind", "").lower()
    component = source.get("component") or item.get("reportingComponent") or ""
    instance = source.get("host") or item.get("reportingInstance") or ""
    return [
        last,
        item.get("type", ""),
        item.get("reason", ""),
        f"{kind}/{about['name']}" if about.get("name") else kind,
        about.get("fieldPath", ""),
        f"{component}, {instance}" if instance else component,
        item.get("message", "").strip(),
        first,
        (series.get("count") if series else item.get("count")) or 1,
        name_of(item),
    ]


def _lease(item: Json, now: datetime) -> Cells:
    return [name_of(item), (item.get("spec") or {}).get("holderIdentity", ""), age_of(item, now)]


def _runtime_class(item: Json, now: datetime) -> Cells:
    return [name_of(item), item.get("handler", ""), age_of(item, now)]


def _priority_class(item: Json, now: datetime) -> Cells:
    return [
        name_of(item),
        item.get("value") or 0,
        bool(item.get("globalDefault")),
        age_of(item, now),
        item.get("preemptionPolicy", ""),
    ]


NODE = Printer(
    (
        NAME,
        Column("Status", description="Whether the node can run pods."),
        Column("Roles", description="What the node is for."),
        AGE,
        Column("Version", description="Of the node's agent."),
        wide("Internal-IP", "The node's address within the cluster."),
        wide("External-IP", "The node's address from outside."),
        wide("OS-Image", "The node's operating system."),
        wide("Kernel-Version", "The node's kernel."),
        wide("Container-Runtime", "What runs the containers."),
    ),
    _node,
)
NAMESPACE = Printer((NAME, Column("Status", description="Active, or Terminating."), AGE), _namespace)
EVENT = Printer(
    (
        Column("Last Seen", description="How long ago it happened last."),
        Column("Type", description="Normal, or Warning."),
        Column("Reason", description="What happened, in one word."),
        Column("Object", description="What it is about."),
        wide("Subobject", "Which part of that object."),
        wide("Source", "Who tells."),
        Column("Message", description="What happened, in a sentence."),
        wide("First Seen", "How long ago it happened first."),
        wide("Count", "How often it has happened.", "string"),
        wide("Name", "Of the event itself."),
    ),
    _event,
)
LEASE = Printer((NAME, Column("Holder", description="Who holds the lease."), AGE), _lease)
RUNTIME_CLASS = Printer(
    (NAME, Column("Handler", description="The runtime's name for the class."), AGE), _runtime_class
)
PRIORITY_CLASS = Printer(
    (
        NAME,
        Column("Value", "integer", "The priority of pods of the class."),
        Column("Global-Default", "boolean", "Whether it is for pods that name no class."),
        AGE,
        Column("PreemptionPolicy", description="Whether pods of the class may take the place of others."),
    ),
    _priority_class,
)
