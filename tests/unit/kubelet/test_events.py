"""Events as values with upstream's words, and the ring that keeps them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kubelet import events
from kubelet.events import Event, RingEvents, container_ref, node_ref, pod_ref

pytestmark = pytest.mark.pure

POD = pod_ref("shop", "web", "u1")


class StoppedClock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def wall(self) -> float:
        return self.time.timestamp()

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("event", "type_", "reason", "message"),
    [
        (events.created(POD), "Normal", "Created", "Container created"),
        (events.started(POD), "Normal", "Started", "Container started"),
        (events.failed(POD, "boom"), "Warning", "Failed", "Error: boom"),
        (events.killing(POD, "Stopping container a"), "Normal", "Killing", "Stopping container a"),
        (events.backing_off_pull(POD, "a:1"), "Normal", "BackOff", 'Back-off pulling image "a:1"'),
        (
            events.crash_back_off(POD, "a", "web_shop(u1)"),
            "Warning",
            "BackOff",
            "Back-off restarting failed container a in pod web_shop(u1)",
        ),
        (
            events.sandbox_changed(POD),
            "Normal",
            "SandboxChanged",
            "Pod sandbox changed, it will be killed and re-created.",
        ),
        (
            events.failed_create_sandbox(POD, "no network"),
            "Warning",
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: no network",
        ),
        (
            events.network_not_ready(POD, "cni"),
            "Warning",
            "NetworkNotReady",
            "network is not ready: cni",
        ),
        (
            events.exceeded_grace_period(POD),
            "Warning",
            "ExceededGracePeriod",
            "Container runtime did not kill the pod within specified grace period.",
        ),
        (events.post_start_failed(POD), "Warning", "FailedPostStartHook", "PostStartHook failed"),
        (events.pre_stop_failed(POD), "Warning", "FailedPreStopHook", "PreStopHook failed"),
    ],
)
def test_events_have_upstreams_type_reason_and_text(
    event: Event, type_: str, reason: str, message: str
) -> None:
    assert event == Event(type_, reason, message, POD)


def test_reference_names_the_container_as_kubectl_shows_it() -> None:
    assert container_ref(POD, "a").field_path == "spec.containers{a}"
    assert container_ref(POD, "a", group="initContainers").field_path == "spec.initContainers{a}"
    assert container_ref(POD, "a").uid == "u1"
    assert str(POD) == "shop/web"
    assert (str(node_ref("n1")), node_ref("n1").uid) == ("n1", "n1")


def test_repeated_event_is_counted_and_not_kept_twice() -> None:
    clock = StoppedClock()
    ring = RingEvents(clock)
    ring.record(events.created(POD))
    ring.record(events.started(POD))
    clock.time += timedelta(seconds=5)
    ring.record(events.created(POD))
    kept = ring.recorded()
    assert [(entry.event.reason, entry.count) for entry in kept] == [("Started", 1), ("Created", 2)]
    assert kept[1].last_at - kept[1].first_at == timedelta(seconds=5)


def test_ring_forgets_the_oldest_and_can_be_asked_for_one_object() -> None:
    ring = RingEvents(StoppedClock(), size=2)
    for number in range(3):
        ring.record(events.killing(pod_ref("shop", f"p{number}", f"u{number}"), "bye"))
    assert [entry.event.about.uid for entry in ring] == ["u1", "u2"]
    assert [entry.event.about.uid for entry in ring.recorded("u2")] == ["u2"]
