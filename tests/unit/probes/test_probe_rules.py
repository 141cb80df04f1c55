"""Thresholds, schedule, specs and texts: the probes' pure part."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aio.errors import Rejected
from kube.objects.core_v1 import (
    ContainerPort,
    ExecAction,
    GRPCAction,
    HTTPGetAction,
    HTTPHeader,
    Probe,
    TCPSocketAction,
)
from probes.lateness import Lateness
from probes.outcome import ProbeKind, event_message, failure, success, unknown, warning
from probes.schedule import make_schedule
from probes.spec import ExecCheck, GrpcCheck, HttpCheck, ProbeSpec, TcpCheck, build_spec, resolve_port
from probes.target import ProbeTarget
from probes.threshold import Counter, new_counter

pytestmark = pytest.mark.pure

GOOD, BAD, ODD = success(), failure("no"), unknown("prober broke")
PORTS = (ContainerPort(container_port=8080, name="web"), ContainerPort(container_port=9090))


def fed(counter: Counter, outcomes: str) -> Counter:
    for letter in outcomes:
        counter = counter.observe({"+": GOOD, "-": BAD, "?": ODD}[letter])
    return counter


@pytest.mark.parametrize(("kind", "initial"), [("readiness", False), ("liveness", True), ("startup", None)])
def test_result_before_the_first_probe_is_upstreams(kind: ProbeKind, initial: bool | None) -> None:
    counter = new_counter(kind, 1, 3)
    assert counter.result is initial
    assert not counter.is_settled


@pytest.mark.parametrize(
    ("outcomes", "result"),
    [
        ("+", False),
        ("++", True),
        ("+-+", False),
        ("++--", True),
        ("++---", False),
        ("++--+--", True),
        ("++-?-?-", False),
        ("+?+", True),
    ],
)
def test_readiness_changes_only_after_its_thresholds(outcomes: str, result: bool) -> None:
    assert fed(new_counter("readiness", 2, 3), outcomes).result is result


def test_liveness_holds_after_it_failed() -> None:
    failed = fed(new_counter("liveness", 1, 3), "+---")
    assert failed.is_held and failed.result is False
    assert fed(failed, "+++") == failed


def test_startup_holds_after_either_end() -> None:
    assert fed(new_counter("startup", 1, 3), "--+").is_held
    assert fed(new_counter("startup", 1, 3), "--+").result is True
    assert fed(new_counter("startup", 1, 3), "---").result is False
    assert fed(new_counter("startup", 1, 3), "---").is_held
    assert fed(new_counter("startup", 1, 3), "--").result is None


def test_adopted_container_keeps_its_result_until_a_real_one() -> None:
    seeded = new_counter("readiness", 1, 2, seed=True)
    assert fed(seeded, "-").result is True
    assert fed(seeded, "--").result is False
    assert new_counter("startup", 1, 3, seed=True).is_held


def test_warning_counts_as_success() -> None:
    assert new_counter("readiness", 1, 3).observe(warning("moved")).result is True


@given(st.text("+-?", max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_result_is_what_the_last_long_enough_run_said(outcomes: str, ups: int, downs: int) -> None:
    expected = False
    run, last = 0, ""
    for letter in outcomes.replace("?", ""):
        run = run + 1 if letter == last else 1
        last = letter
        if run >= (ups if letter == "+" else downs):
            expected = letter == "+"
    assert fed(new_counter("readiness", ups, downs), outcomes).result is expected


def test_first_probe_is_due_exactly_after_the_delay_or_at_once() -> None:
    schedule = make_schedule(started=100.0, initial_delay=5.0, period=10.0)
    assert schedule.first_due(now=101.0) == 105.0
    assert schedule.first_due(now=105.0) == 105.0
    assert schedule.first_due(now=262.5) == 262.5


def test_next_probes_stay_on_the_grid_however_long_a_check_takes() -> None:
    schedule = make_schedule(100.0, 0.0, 10.0)
    assert schedule.due_after(fired=100.0, now=100.1) == 110.0
    assert schedule.due_after(fired=110.02, now=119.9) == 120.0


def test_grid_point_missed_by_a_long_check_fires_once_right_after_it() -> None:
    schedule = make_schedule(100.0, 0.0, 1.0)
    assert schedule.due_after(fired=100.0, now=101.01) == 101.01
    assert schedule.due_after(fired=100.0, now=104.4) == 104.4
    assert schedule.due_after(fired=104.4, now=104.5) == 105.0


@given(st.floats(0, 1000), st.floats(0, 100), st.sampled_from([1.0, 3.0, 10.0]), st.floats(0, 30))
def test_next_probe_is_never_early_and_never_more_than_a_period_and_a_half_away(
    fired_after: float, delay: float, period: float, took: float
) -> None:
    schedule = make_schedule(50.0, delay, period)
    fired = schedule.first + fired_after
    due = schedule.due_after(fired, fired + took)
    assert due >= fired + took
    assert due <= max(fired + took, fired + 1.5 * period) + 1e-6
    assert due - fired >= min(period / 2, took) - 1e-6


def test_defaults_are_kubernetes() -> None:
    spec = build_spec(Probe(http_get=HTTPGetAction(port=80)), ())
    assert spec == ProbeSpec(HttpCheck(80), 0.0, 10.0, 1.0, 1, 3, None)
    assert spec.check == HttpCheck(port=80, path="/", host="", scheme="http", headers=())


def test_every_field_reaches_the_spec() -> None:
    probe = Probe(
        http_get=HTTPGetAction(
            port="web",
            path="/ok?x=1",
            host="example.local",
            scheme="HTTPS",
            http_headers=(HTTPHeader(name="A", value="1"), HTTPHeader(name="A", value="2")),
        ),
        initial_delay_seconds=7,
        period_seconds=3,
        timeout_seconds=2,
        success_threshold=2,
        failure_threshold=5,
        termination_grace_period_seconds=9,
    )
    check = HttpCheck(8080, "/ok?x=1", "example.local", "https", (("A", "1"), ("A", "2")))
    assert build_spec(probe, PORTS) == ProbeSpec(check, 7.0, 3.0, 2.0, 2, 5, 9)


def test_other_kinds_of_check_and_expansion_of_commands() -> None:
    assert build_spec(Probe(tcp_socket=TCPSocketAction(port="web")), PORTS).check == TcpCheck(8080)
    assert build_spec(Probe(grpc=GRPCAction(port=5, service="s")), ()).check == GrpcCheck(5, "s")
    command = Probe(exec=ExecAction(command=("echo", "$(X)")))
    assert build_spec(command, (), expand=lambda text: text.replace("$(X)", "1")).check == ExecCheck(
        ("echo", "1")
    )


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (Probe(), "spec.containers[0].livenessProbe: must specify a handler type"),
        (
            Probe(http_get=HTTPGetAction(port="nope")),
            'spec.containers[0].livenessProbe.httpGet.port: no port of this container is named "nope"',
        ),
        (
            Probe(tcp_socket=TCPSocketAction(port=70000)),
            "spec.containers[0].livenessProbe.tcpSocket.port: invalid port number: 70000",
        ),
    ],
)
def test_impossible_probe_is_rejected_with_its_field(probe: Probe, message: str) -> None:
    with pytest.raises(Rejected) as caught:
        build_spec(probe, PORTS, path="spec.containers[0].livenessProbe")
    assert str(caught.value) == message


def test_port_given_as_digits_is_a_number() -> None:
    assert resolve_port("8081", PORTS, "p") == 8081


def test_event_texts_are_kubernetes() -> None:
    assert event_message("readiness", failure("boom")) == "Readiness probe failed: boom"
    assert event_message("liveness", warning("x")) == "Liveness probe warning: x"
    expected = "Startup probe errored and resulted in unknown state: rpc error"
    assert event_message("startup", unknown("rpc error")) == expected
    assert event_message("startup", success("ok")) == ""


def test_target_waits_for_an_address_only_where_it_needs_one() -> None:
    http = ProbeTarget(ProbeSpec(HttpCheck(80)), "c1", 0.0)
    assert not http.may_fire
    assert ProbeTarget(ProbeSpec(HttpCheck(80, host="10.1.1.1")), "c1", 0.0).may_fire
    assert ProbeTarget(ProbeSpec(ExecCheck(("true",))), "c1", 0.0).may_fire
    ready = ProbeTarget(ProbeSpec(TcpCheck(80)), "c1", 0.0, pod_ip="10.0.0.9")
    assert ready.may_fire and ready.resolved_check() == TcpCheck(80, "10.0.0.9")


def test_lateness_quantile_is_the_bound_of_its_bucket() -> None:
    lateness = Lateness()
    assert lateness.quantile(0.99) == 0.0
    for _ in range(98):
        lateness.note(0.0005)
    lateness.note(0.004)
    lateness.note(0.3)
    assert lateness.count == 100
    assert lateness.quantile(0.5) == 0.001
    assert lateness.quantile(0.99) == 0.005
    assert lateness.quantile(1.0) == 0.3
    lateness.clear()
    assert lateness.count == 0 and lateness.worst_seconds == 0.0
