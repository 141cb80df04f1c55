"""The status of a pod as the API shows it, computed from values (pure)."""

from __future__ import annotations

from kubelet.status.assemble import pod_status, sort_ips
from kubelet.status.inputs import NodeFacts, StatusInputs, Verdict, inputs_from_state

__all__ = ["NodeFacts", "StatusInputs", "Verdict", "inputs_from_state", "pod_status", "sort_ips"]
