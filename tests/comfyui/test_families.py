"""Every family of the host's models that is claimed, run in the host's own process."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from reconx.types import Scene

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import importlib.util, json, sys
root, scene, *names = sys.argv[1:]
sys.argv = [sys.argv[0], "--cpu"]
import comfy.options
comfy.options.enable_args_parsing()
where = {"submodule_search_locations": [root]}
spec = importlib.util.spec_from_file_location("reconx_pack", root + "/__init__.py", **where)
pack = importlib.util.module_from_spec(spec)
sys.modules["reconx_pack"] = pack
spec.loader.exec_module(pack)
sys.path += [root + "/tests/comfyui", root + "/tests/support"]
import torch
from tiny_models import contract
sys.meta_path.insert(0, contract.Alias())
answer = contract.ASK(torch.load(scene, weights_only=False), names)
print(json.dumps(answer))
"""


def in_host(
    comfyui: Path, python: Path, scene: Path, question: str, names: tuple[str, ...]
) -> dict[str, Any]:
    """What a function of `tiny_models/contract.py` says of each family."""
    command = [python, "-c", SCRIPT.replace("ASK", question), ROOT, scene, *names]
    run = subprocess.run(command, cwd=comfyui, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture
def scene_file(plane_scene: Scene, tmp_path: Path) -> Path:
    torch.save(plane_scene, tmp_path / "scene.pt")
    return tmp_path / "scene.pt"


@pytest.mark.comfyui
@pytest.mark.slow
def test_every_family_keeps_the_contract(
    comfyui: Path, host_python: Path, scene_file: Path
) -> None:
    found = in_host(comfyui, host_python, scene_file, "broken_promises", ())
    assert len(found) == 18
    assert {name: failures for name, failures in found.items() if failures} == {}


@pytest.mark.comfyui
@pytest.mark.slow
def test_every_family_keeps_the_contract_of_structure(
    comfyui: Path, host_python: Path, scene_file: Path
) -> None:
    found = in_host(comfyui, host_python, scene_file, "broken_structure", ())
    assert len(found) == 16
    assert {name: failures for name, failures in found.items() if failures} == {}


@pytest.mark.comfyui
def test_prompts_alone_read_structure(comfyui: Path, host_python: Path, scene_file: Path) -> None:
    names = ("wan-t2v", "svd")
    found = in_host(comfyui, host_python, scene_file, "rows_that_read_structure", names)
    for name in names:
        assert found[f"{name}, usual"] == {"positive": True, "negative": False}
    two = found["wan-t2v, of two"]
    assert two == {"positive": True, "middle": True, "negative": False}


@pytest.mark.comfyui
@pytest.mark.slow
def test_known_latents_are_held(comfyui: Path, host_python: Path, scene_file: Path) -> None:
    names = ("wan-t2v", "wan-t2v+experts", "wan-ti2v", "ltx", "svd")
    found = in_host(comfyui, host_python, scene_file, "unheld_latents", names)
    assert found == {name: [] for name in names}


@pytest.mark.comfyui
def test_experts_change_where_they_were_trained_to(
    comfyui: Path, host_python: Path, scene_file: Path
) -> None:
    names = ("wan-t2v", "wan-i2v", "wan-vace")
    found = in_host(comfyui, host_python, scene_file, "steps_of_experts", names)
    assert found["wan-t2v"] == found["wan-vace"] == ["high", "high", "high", "low"]
    assert found["wan-i2v"] == ["high", "high", "low", "low"]


@pytest.mark.comfyui
def test_native_renders_guide_during_their_share_alone(
    comfyui: Path, host_python: Path, scene_file: Path
) -> None:
    names = ("wan-vace", "wan-i2v", "wan-t2v+uni3c", "wan-flf2v+uni3c")
    found = in_host(comfyui, host_python, scene_file, "steps_with_renders", names)
    assert found == {name: [False, True, True, False] for name in names}


@pytest.mark.comfyui
@pytest.mark.slow
def test_two_experts_share_the_memory(comfyui: Path, host_python: Path, scene_file: Path) -> None:
    found = in_host(comfyui, host_python, scene_file, "most_in_memory", ("wan-t2v+experts",))
    assert 0.9 < found["room for one"] <= 1.2
    assert found["room for both"] > 1.8


@pytest.mark.comfyui
@pytest.mark.slow
def test_two_backbones_in_turn_share_the_memory(
    comfyui: Path, host_python: Path, scene_file: Path
) -> None:
    found = in_host(comfyui, host_python, scene_file, "most_in_memory", ("wan-i2v", "wan-flf2v"))
    assert 0.9 < found["room for one"] <= 1.2
    assert found["room for both"] > 1.8


@pytest.mark.comfyui
def test_what_cannot_be_driven_is_refused_by_name(
    comfyui: Path, host_python: Path, scene_file: Path
) -> None:
    found = in_host(comfyui, host_python, scene_file, "refusals", ())
    assert "WAN21_Camera with 36 input channels" in found["wan-camera"][0]
    assert "No VAE came with the model of the family wan-t2v" in found["no vae"][0]
    assert "latents of 128 channels" in found["vae of another model"][0]
    assert "also needs clip_vision" in found["svd without vision"][0]
    assert "low-noise model of the family ltx was connected" in found["expert of ltx"][0]
    assert "low-noise model of the family wan-i2v" in found["experts of two"][0]
