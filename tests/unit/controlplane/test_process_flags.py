"""The command line of kube-controlplane."""

from __future__ import annotations

from pathlib import Path

import pytest

from aio.clock import SystemClock
from controlplane.bootstrap.roles import objects
from controlplane.components import Controlled, account_of, make_controllers
from controlplane.flags import COMPONENTS, BadFlag, Flags, parse
from controlplane.place import place_of

pytestmark = pytest.mark.pure


def test_without_flags_it_serves_everything_on_6443() -> None:
    found = parse([])
    assert found == Flags()
    assert (found.bind_address, found.secure_port, found.components) == ("0.0.0.0", 6443, COMPONENTS)
    assert (found.service_cluster_ip_range, found.cluster_cidr) == ("10.96.0.0/12", "10.244.0.0/16")


def test_flags_are_spelled_with_and_without_an_equals_sign() -> None:
    words = [
        "--data-dir",
        "/d",
        "--secure-port=0",
        "--bind-address=127.0.0.1",
        "--advertise-address",
        "10.0.0.5",
    ]
    found = parse([*words, "--tls-san=a,b", "--tls-san", "c", "-v", "4", "--logging-format=json"])
    assert (found.data_dir, found.secure_port, found.bind_address) == (Path("/d"), 0, "127.0.0.1")
    assert (found.advertise_address, found.tls_sans) == ("10.0.0.5", ("a", "b", "c"))
    assert (found.verbosity, found.logging_format) == (4, "json")


def test_components_are_in_one_order_and_apart_need_a_kubeconfig() -> None:
    assert parse(["--components=controllers,api"]).components == ("api", "controllers")
    assert parse(["--components", "scheduler", "--kubeconfig", "f"]).components == ("scheduler",)
    with pytest.raises(BadFlag, match="needs --kubeconfig"):
        parse(["--components=scheduler,controllers"])
    with pytest.raises(BadFlag, match='for --components without "api"'):
        parse(["--kubeconfig=f"])


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--secure-port=65536"], '"65536" is not a port'),
        (["--secure-port=-1"], '"-1" is not a port'),
        (["--bind-address=localhost"], '"localhost" is not an IP address'),
        (["--cluster-cidr=10.244.0.1/16"], "has host bits set"),
        (["--service-cluster-ip-range=10.0.0.0/30"], "too small"),
        (["--components="], "is not a list of"),
        (["--data"], "--data"),
        (["stray"], "stray"),
    ],
)
def test_a_wrong_flag_says_what_is_wrong(words: list[str], shown: str) -> None:
    with pytest.raises(BadFlag) as caught:
        parse(words)
    assert shown in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_advertised_address_is_the_nearest_that_is_known() -> None:
    assert place_of(Flags(bind_address="127.0.0.1")).advertised == "127.0.0.1"
    both = Flags(bind_address="127.0.0.1", advertise_address="10.0.0.5", tls_sans=("cp",))
    assert place_of(both).advertised == "10.0.0.5"
    assert {"10.0.0.5", "127.0.0.1", "cp"} <= set(place_of(both).hosts)
    assert place_of(Flags()).advertised, "some address of the host, or loopback"


def test_every_controller_has_a_user_with_a_role() -> None:
    accounts = {
        f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
        if subject["kind"] == "ServiceAccount"
        else subject["name"]
        for item in objects()
        for subject in item.get("subjects", ())
    }
    made = make_controllers(SystemClock(), Controlled("", "10.244.0.0/16"))
    assert len({item.name for item in made}) == len(made)
    for item in made:
        assert account_of(item.name).name in accounts, item.name
