"""What a binding gets when it leaves it out (pkg/apis/rbac/v1/defaults.go), on the JSON value, in place."""

from __future__ import annotations

from typing import Any

RBAC = "rbac.authorization.k8s.io"


def default_binding(value: dict[str, Any]) -> None:
    """The API groups of the role, and of subjects other than service accounts."""
    ref = value.setdefault("roleRef", {})
    ref["apiGroup"] = ref.get("apiGroup") or RBAC
    for subject in value.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject["apiGroup"] = subject.get("apiGroup") or RBAC
