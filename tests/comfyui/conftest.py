"""One real ComfyUI for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_host import Host, HostError, find_comfyui, find_python


@pytest.fixture(scope="session")
def comfyui() -> Path:
    """The folder of the ComfyUI to test with."""
    try:
        return find_comfyui()
    except HostError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def host_python(comfyui: Path) -> Path:
    return find_python(comfyui)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The host's input folder, empty at first."""
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the host's model folders, empty at first."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def started(
    comfyui: Path, host_python: Path, inputs: Path, models: Path
) -> Iterator[tuple[Host, dict[str, dict[str, Any]]]]:
    with Host(comfyui, host_python, inputs=inputs, models=models, cpu=True) as host:
        # Asked for at once: combos list the files that tests make later.
        yield host, host.object_info()


@pytest.fixture(scope="session")
def host(started: tuple[Host, dict[str, dict[str, Any]]]) -> Host:
    """A running ComfyUI that has this checkout as its only pack."""
    return started[0]


@pytest.fixture(scope="session")
def schemas(started: tuple[Host, dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """What the host says of every node while its folders are empty."""
    return started[1]
