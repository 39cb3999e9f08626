"""The wheel of meshgen that travels in every built mesh."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

from meshgen import __version__
from meshgen.build.wheel import NAME, own_requirements, wheel_bytes


def test_the_same_package_gives_the_same_bytes() -> None:
    """No clock and no file order is in it."""
    assert wheel_bytes() == wheel_bytes()


def test_it_holds_the_package_and_its_data_and_no_caches() -> None:
    """Also templates, protos and the probe, so that an installed meshgen can build."""
    names = zipfile.ZipFile(io.BytesIO(wheel_bytes())).namelist()
    assert {
        "meshgen/__init__.py",
        "meshgen/py.typed",
        "meshgen/_data/docker/probe.py",
        "meshgen/_data/protos/meshgen/v1/mesh.proto",
        "meshgen/_data/templates/README.md.j2",
        f"meshgen-{__version__}.dist-info/RECORD",
    } <= {*names}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert len(names) == len({*names})


def test_its_metadata_requires_what_ours_does() -> None:
    """pip can install it as any other."""
    with zipfile.ZipFile(io.BytesIO(wheel_bytes())) as wheel:
        metadata = wheel.read(f"meshgen-{__version__}.dist-info/METADATA").decode()
    assert f"Version: {__version__}\n" in metadata
    assert all(f"Requires-Dist: {line}\n" in metadata for line in own_requirements())
    assert any(line.startswith("grpcio") for line in own_requirements())


def test_pip_installs_it_and_it_packs_itself_again(tmp_path: Path) -> None:
    """Installed from the wheel, meshgen finds its data and makes the very same wheel."""
    (tmp_path / NAME).write_bytes(wheel_bytes())
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run(
        [*command, "--no-deps", "--no-index", "--target", str(site), str(tmp_path / NAME)],
        check=True,
    )
    script = (
        "import sys; from meshgen.build.wheel import wheel_bytes, package_folder; "
        "sys.stderr.write(str(package_folder())); sys.stdout.buffer.write(wheel_bytes())"
    )
    again = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        check=True,
    )
    assert again.stderr.decode() == str(site / "meshgen")
    assert again.stdout == wheel_bytes()
