"""What is installed: the wheel is built without a network and its RECORD is read."""

from __future__ import annotations

import csv
import email
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_HOLD = {
    "kubelet",
    "cri",
    "cni",
    "cgroups",
    "probes",
    "systemd",
    "kube",
    "aio",
    "controlplane",
    "pykubelet",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = target.glob("*.whl")
    # Read whole, so that no descriptor stays open between the tests.
    return zipfile.ZipFile(io.BytesIO(built.read_bytes()))


def recorded(wheel: zipfile.ZipFile) -> list[str]:
    (record,) = [name for name in wheel.namelist() if name.endswith(".dist-info/RECORD")]
    return [row[0] for row in csv.reader(io.StringIO(wheel.read(record).decode()))]


def test_wheel_holds_nothing_but_the_programs_packages(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in recorded(wheel) if ".dist-info/" not in name}
    assert tops <= MAY_HOLD
    assert {"kubelet", "cri", "kube", "aio", "pykubelet"} <= tops


def test_wheel_holds_every_source_file_of_its_packages(wheel: zipfile.ZipFile) -> None:
    installed = set(recorded(wheel))
    tops = {name.partition("/")[0] for name in installed if ".dist-info/" not in name}
    sources = {str(path.relative_to(ROOT)) for top in tops for path in (ROOT / top).rglob("*.py")}
    assert sources - installed == set()


def test_every_package_with_code_in_the_checkout_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in recorded(wheel)}
    with_code = {path.parent.name for path in ROOT.glob("*/__init__.py")} & MAY_HOLD
    assert with_code - tops == set()


def test_wheel_holds_the_generated_messages(wheel: zipfile.ZipFile) -> None:
    assert any(name.startswith("cri/_pb/") and name.endswith("_pb2.py") for name in recorded(wheel))


def test_console_scripts_name_functions_that_exist(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    lines = wheel.read(entry_points).decode().splitlines()
    scripts = dict(line.split(" = ") for line in lines if " = " in line)
    assert {"kubelet", "pykubelet", "cri-conformance"} <= set(scripts)
    for target in scripts.values():
        module, _, function = target.partition(":")
        source = wheel.read(module.replace(".", "/") + ".py").decode()
        assert f"def {function}(" in source, target


def test_metadata_says_licence_and_python_version(wheel: zipfile.ZipFile) -> None:
    (metadata,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    fields = email.message_from_bytes(wheel.read(metadata))
    assert fields["Name"] == "pykubelet"
    assert fields["License-Expression"] == "Apache-2.0"
    assert fields["Requires-Python"] == ">=3.11"
