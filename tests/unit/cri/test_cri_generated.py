"""The generated messages and converters: fresh, complete, and lossless for every field we know."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from cri import service, types
from cri._pb import api_pb2 as pb
from cri._pb import convert
from cri.enums import ContainerState, PodSandboxState, Signal
from scripts import generate_proto

pytestmark = pytest.mark.pure

NAMES = sorted(name.removeprefix("from_") for name in vars(convert) if name.startswith("from_"))
ASKED = sorted(name.removeprefix("to_") for name in vars(convert) if name.startswith("to_"))


def test_generated_code_is_what_the_protos_give() -> None:
    files = generate_proto.generate()
    assert [name for name, text in files.items() if generate_proto.current(name) != text] == []


def test_every_call_of_the_interface_has_a_method() -> None:
    for name, protocol in (
        ("RuntimeService", service.RuntimeService),
        ("ImageService", service.ImageService),
    ):
        calls = {_snake(method.name) for method in pb.DESCRIPTOR.services_by_name[name].methods}
        methods = {
            key for key, value in vars(protocol).items() if inspect.isfunction(value) and key[0] != "_"
        }
        # CRI's name of this one call is in the singular.
        calls = {"list_pod_sandboxes" if call == "list_pod_sandbox" else call for call in calls}
        assert methods == calls


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def _scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.enum_type:
        return st.sampled_from([value.number for value in field.enum_type.values])
    kinds: dict[int, st.SearchStrategy[Any]] = {
        FieldDescriptor.CPPTYPE_STRING: st.text(max_size=5),
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
        FieldDescriptor.CPPTYPE_DOUBLE: st.floats(allow_nan=False),
        FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
        FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
        FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    }
    return st.binary(max_size=5) if field.type == FieldDescriptor.TYPE_BYTES else kinds[field.cpp_type]


def _fields(message: Message) -> list[Any]:
    """The stubs know two classes of descriptor for the one there is."""
    return list(message.DESCRIPTOR.fields)


@st.composite
def messages(draw: st.DrawFn, name: str) -> Message:
    """A message of that type; fields that our values leave out (Windows) stay unset."""
    message = GetMessageClass(pb.DESCRIPTOR.message_types_by_name[name])()
    for field in _fields(message):
        if "Windows" in (field.message_type.name if field.message_type else ""):
            continue
        if generate_proto.is_map(field):
            getattr(message, field.name).update(
                draw(st.dictionaries(st.text(max_size=3), st.text(max_size=3)))
            )
        elif field.is_repeated:
            for _ in range(draw(st.integers(0, 2))):
                item = draw(messages(field.message_type.name) if field.message_type else _scalars(field))
                getattr(message, field.name).append(item)
        elif field.message_type:
            if draw(st.booleans()):
                getattr(message, field.name).CopyFrom(draw(messages(field.message_type.name)))
        else:
            setattr(message, field.name, draw(_scalars(field)))
    return message


def assert_same(value: Any, message: Message) -> None:
    """Field by field, by reflection and not by the generator's own rules."""
    ours = {field.name.replace("_", "").lower(): field.name for field in dataclasses.fields(value)}
    for field in _fields(message):
        if field.message_type and "Windows" in field.message_type.name:
            continue
        mine, theirs = getattr(value, ours[field.name.replace("_", "").lower()]), getattr(message, field.name)
        if generate_proto.is_map(field):
            assert mine == dict(theirs)
        elif field.is_repeated:
            assert isinstance(mine, tuple) and len(mine) == len(theirs)
            for one, other in zip(mine, theirs, strict=True):
                assert_same(one, other) if field.message_type else _assert_equal(one, other)
        elif field.message_type and not message.HasField(field.name):
            assert mine is None or mine == type(mine)()
        elif field.message_type and field.message_type.name in generate_proto.WRAPPERS:
            assert mine == getattr(theirs, field.message_type.fields[0].name)
        elif field.message_type:
            assert_same(mine, theirs)
        else:
            _assert_equal(mine, theirs)


def _assert_equal(mine: Any, theirs: Any) -> None:
    assert mine == theirs


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_a_message_from_the_wire_keeps_every_field(name: str, data: st.DataObject) -> None:
    message = data.draw(messages(name))
    assert_same(getattr(convert, f"from_{name}")(message), message)


@pytest.mark.parametrize("name", sorted(set(ASKED) & set(NAMES)))
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_a_value_survives_the_way_to_the_wire_and_back(name: str, data: st.DataObject) -> None:
    value = getattr(convert, f"from_{name}")(data.draw(messages(name)))
    sent = getattr(convert, f"to_{name}")(value).SerializeToString()
    assert getattr(convert, f"from_{name}")(getattr(pb, name).FromString(sent)) == value


def test_a_container_config_is_sent_whole() -> None:
    config = types.ContainerConfig(
        metadata=types.ContainerMetadata("web", 3),
        image=types.ImageSpec("busybox", user_specified_image="busybox:1"),
        command=("/bin/sh",),
        args=("-c", "true"),
        envs=(types.KeyValue("A", b"\xff"),),
        mounts=(types.Mount("/in", "/out", uid_mappings=(types.IDMapping(1, 2, 3),)),),
        cdi_devices=(types.CDIDevice("vendor.com/gpu=0"),),
        linux=types.LinuxContainerConfig(
            security_context=types.LinuxContainerSecurityContext(run_as_user=0, run_as_group=None)
        ),
        stop_signal=Signal.SIGUSR1,
    )
    sent = convert.to_ContainerConfig(config)
    assert (sent.metadata.name, sent.metadata.attempt) == ("web", 3)
    assert list(sent.args) == ["-c", "true"]
    assert sent.envs[0].value == b"\xff"
    assert sent.mounts[0].uidMappings[0].length == 3
    assert sent.CDI_devices[0].name == "vendor.com/gpu=0"
    assert sent.linux.security_context.HasField("run_as_user")
    assert not sent.linux.security_context.HasField("run_as_group")
    assert not sent.linux.HasField("resources")
    assert sent.stop_signal == 29


def test_a_filter_sends_state_only_when_asked_for() -> None:
    assert not convert.to_ContainerFilter(types.ContainerFilter(id="x")).HasField("state")
    sent = convert.to_ContainerFilter(types.ContainerFilter(state=ContainerState.CONTAINER_CREATED))
    assert sent.HasField("state") and sent.state.state == 0


def test_a_state_this_version_does_not_know_is_not_a_healthy_one() -> None:
    assert convert.from_Container(pb.Container(state=99)).state is ContainerState.CONTAINER_UNKNOWN
    assert convert.from_PodSandbox(pb.PodSandbox(state=99)).state is PodSandboxState.SANDBOX_NOTREADY
