"""How fast the agent's clients may talk to the API server (pure), from its configuration.

As upstream (cmd/kubelet/app/server.go) there are three: one for everything, one for events so that a storm of
them cannot hold up the work, and one for the lease without any limit and with a short time-out.
"""

from __future__ import annotations

from kube.client.settings import Limits
from kubelet.configuration import KubeletConfiguration

# A TLS handshake costs more than a request: many pods at once share connections instead of opening new ones.
_IN_FLIGHT = 16
_CLIENT_GO_QPS = 5.0  # rest.DefaultQPS, which a zero in kubeAPIQPS means


def api_limits(config: KubeletConfiguration) -> Limits:
    return Limits(
        qps=config.kube_api_qps or _CLIENT_GO_QPS, burst=config.kube_api_burst, in_flight=_IN_FLIGHT
    )


def event_limits(config: KubeletConfiguration) -> Limits:
    """eventRecordQPS 0 is no limit."""
    return Limits(qps=config.event_record_qps, burst=config.event_burst)


def lease_limits(config: KubeletConfiguration) -> Limits:
    """No waiting; a call ends before the next renewal is due."""
    seconds = min(config.node_status_update_frequency, float(config.node_lease_duration_seconds))
    return Limits(qps=0.0, request_seconds=seconds, connect_seconds=min(10.0, seconds))
