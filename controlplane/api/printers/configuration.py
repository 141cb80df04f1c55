"""Rows of ConfigMaps, Secrets, ServiceAccounts and the kinds of RBAC."""

from __future__ import annotations

from datetime import datetime

from controlplane.api.printers.model import AGE, NAME, Cells, Column, Json, Printer, age_of, name_of, wide


def _config_map(item: Json, now: datetime) -> Cells:
    return [name_of(item), len(item.get("data") or ()) + len(item.get("binaryData") or ()), age_of(item, now)]


def _secret(item: Json, now: datetime) -> Cells:
    return [name_of(item), item.get("type", ""), len(item.get("data") or ()), age_of(item, now)]


def _service_account(item: Json, now: datetime) -> Cells:
    return [name_of(item), len(item.get("secrets") or ()), age_of(item, now)]


def _binding(item: Json, now: datetime) -> Cells:
    ref = item.get("roleRef") or {}
    subjects: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for one in item.get("subjects") or ():
        kind, name = one.get("kind", ""), one.get("name", "")
        shown = f"{one.get('namespace', '')}/{name}" if kind == "ServiceAccount" else name
        subjects.setdefault(kind, []).append(shown)
    return [
        name_of(item),
        f"{ref.get('kind', '')}/{ref.get('name', '')}",
        age_of(item, now),
        *(", ".join(subjects[kind]) for kind in ("User", "Group", "ServiceAccount")),
    ]


_DATA = Column("Data", "string", "How many keys there are.")
CONFIG_MAP = Printer((NAME, _DATA, AGE), _config_map)
SECRET = Printer((NAME, Column("Type", description="What the data is for."), _DATA, AGE), _secret)
SERVICE_ACCOUNT = Printer(
    (NAME, Column("Secrets", "string", "How many secrets the account names."), AGE), _service_account
)
BINDING = Printer(
    (
        NAME,
        Column("Role", description="The role that is given."),
        AGE,
        wide("Users", "Users who have it."),
        wide("Groups", "Groups who have it."),
        wide("ServiceAccounts", "Service accounts who have it."),
    ),
    _binding,
)
