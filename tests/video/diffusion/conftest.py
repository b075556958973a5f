"""Tiny pipelines with random weights, built once, and what may be asked of them."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_pipelines import write_pipeline

from reconx.video.backbones.diffusion import loading
from reconx.video.base import VideoBackbone
from reconx.video.model_options import ModelOptions, ModelSpec
from reconx.video.registry import BACKBONES, make_backbone

NAMES = [name for name, spec in BACKBONES.items() if isinstance(spec, ModelSpec)]
Build = Callable[..., VideoBackbone]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames and not any(
        "name" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")
    ):
        metafunc.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def cpu_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU counts as a device with memory of its own."""
    monkeypatch.setattr(loading, "is_apart", lambda device: True)
    monkeypatch.setattr(torch.cpu, "empty_cache", lambda: None, raising=False)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the folder of a tiny pipeline, made once."""
    for package in ("diffusers", "accelerate", "transformers", "ftfy"):
        pytest.importorskip(package)
    root = tmp_path_factory.mktemp("pipelines")

    def folder(name: str) -> Path:
        if not (root / name).is_dir():
            write_pipeline(name, root / name)
        return root / name

    return folder


@pytest.fixture
def copy(shelf: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """Gives a folder that a test may spoil; keywords change a component's config.json."""

    def copied(name: str, **changes: dict[str, Any]) -> Path:
        folder = tmp_path / name
        shutil.copytree(shelf(name), folder)
        for part, entries in changes.items():
            file = folder / (f"{part}/config.json" if part != "index" else "model_index.json")
            file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | entries), "utf-8")
        return folder

    return copied


@pytest.fixture
def build(shelf: Callable[[str], Path]) -> Build:
    """Makes a backbone of a tiny pipeline, in single precision."""

    def built(name: str, folder: Path | None = None, **options: Any) -> VideoBackbone:
        chosen = {"prompt": "a room", **options}
        return make_backbone(name, ModelOptions(folder=folder or shelf(name), **chosen))

    return built
