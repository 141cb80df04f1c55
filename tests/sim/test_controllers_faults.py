"""A mistake in a controller costs the object that brings it to light, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from aio.clock import VirtualClock
from controlplane.controllers.base import DONE, Result, View, Writer, key_of
from kube.client import JsonObject
from kube.client import resources as r
from kube.client.resources import Resource
from tests.sim.controllers_world import World, scenario

pytestmark = pytest.mark.sim


class Clumsy:
    """Fails where an object's name says so: "dark" when it is to tell whom that concerns, "wrong" at work."""

    name = "clumsy"
    reads = writes = (r.CONFIG_MAPS,)

    def __init__(self) -> None:
        self.tried: list[str] = []

    def keys(self, resource: Resource, value: JsonObject, view: View) -> Iterable[str]:
        if "dark" in value["metadata"]["name"]:
            raise KeyError("spec")
        return (key_of(value),)

    async def reconcile(self, key: str, view: View, api: Writer) -> Result:
        self.tried.append(key)
        if "wrong" in key:
            raise TypeError("no such thing")
        return DONE


def config(name: str) -> JsonObject:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}}


def test_the_others_are_served_and_the_one_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    clumsy = Clumsy()

    async def body(world: World) -> None:
        for name in ("a", "wrong", "dark", "z"):
            world.api.put(config(name))
        await world.clock.sleep(10)
        assert {"shop/a", "shop/z"} <= set(clumsy.tried)
        assert clumsy.tried.count("shop/wrong") > 5, "with growing pauses"
        assert clumsy.tried.count("shop/a") == 1
        world.api.put(config("later"))
        await world.clock.sleep(1)
        assert "shop/later" in clumsy.tried

    def make(clock: VirtualClock) -> list[Clumsy]:
        return [clumsy]

    scenario(make, body)  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert "A controller is wrong" in said and "TypeError: no such thing (test_controllers_faults.py:" in said
    assert "Cannot tell whom a change concerns" in said
