"""Which way the demo takes, and what it says of that."""

import sys
from pathlib import Path

import pytest
from demo import run_in_comfyui


def test_without_a_comfyui_it_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    assert not run_in_comfyui(tmp_path / "out")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("With the library alone")
    assert str(tmp_path) in line


def test_a_comfyui_that_does_not_start_is_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "main.py").write_text("raise ImportError('no torch here')", encoding="utf-8")
    (tmp_path / "comfy_execution").mkdir()
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    monkeypatch.setenv("COMFYUI_PYTHON", sys.executable)
    assert not run_in_comfyui(tmp_path / "out")
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("With the library alone")
    assert line.endswith("ImportError: no torch here")
    assert not (tmp_path / "out").exists()
