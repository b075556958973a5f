"""The doctor names what is there and what is missing, with a command that is whole."""

import subprocess
import sys
from pathlib import Path

import pytest

from reconx import doctor
from reconx.cli import main
from reconx.parts import install_command
from reconx.video.base import BackboneSpec
from reconx.video.registry import BACKBONES

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements.txt"


@pytest.fixture
def broken_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed package whose import fails, as compiled ones do beside a wrong numpy."""
    (tmp_path / "broken_package.py").write_text("raise RuntimeError('wrong numpy')", "utf-8")
    folder = tmp_path / "broken_package-1.5.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: broken-package\nVersion: 1.5\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return "broken-package"


def line_of(text: str, start: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return line


def test_every_requirement_and_part_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    packages = text.partition("Packages\n")[2].partition("\n\n")[0]
    for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            assert line_of(packages, f"- {line.split('>')[0]} ")
    assert "on cpu, 'numba' is chosen" in text
    assert line_of(text, "- stereo (ready): Classical")
    assert line_of(text, "- warp (ready): Blends")


def test_what_is_missing_old_or_broken_comes_with_its_command(
    broken_package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "EXTRAS", ("no-such-package", "numpy<1", broken_package))
    ghost = BackboneSpec(
        name="ghost",
        factory=".nowhere:Ghost",
        requires=("no_such_module",),
        install="pip install no-such-package",
        summary="Haunts.",
    )
    monkeypatch.setitem(BACKBONES, "ghost", ghost)
    text = doctor.describe_system()
    assert line_of(text, "- no-such-package: missing.").endswith("pip install no-such-package")
    assert ": expected <1. Run: " in text
    broken = line_of(text, "- broken-package 1.5: cannot be imported (wrong numpy).")
    assert broken.endswith("pip install --upgrade broken-package")
    assert "Haunts. Needs no_such_module. Run: " in line_of(text, "- ghost (missing)")


def test_the_command_runs_as_it_is_printed(tmp_path: Path) -> None:
    command = install_command("pip --version")
    shown = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert Path(sys.prefix).name in shown.stdout


def test_an_unknown_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--device", "abacus"]) == 2
    assert "Device 'abacus' cannot be used here" in capsys.readouterr().err
