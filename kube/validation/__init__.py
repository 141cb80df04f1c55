"""Semantic validation with Kubernetes' field paths and messages: pure functions over typed objects.

Each file has the rules of one part and yields `FieldError`s; nothing stops at the first. The agent uses it
for manifests, the API server for every write.
"""

from __future__ import annotations

from kube.validation.pod import validate_pod, validate_pod_spec

__all__ = ["validate_pod", "validate_pod_spec"]
