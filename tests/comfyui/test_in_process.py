"""The pack in the host's own Python, without a server: what it imports, what the cache counts."""

import json
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.comfyui

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("av", "diffusers", "kornia", "numba", "poselib", "pycolmap", "scipy", "transformers")

LOAD_PACK = """
import asyncio, importlib.util, json, sys, time
import comfy.options
comfy.options.enable_args_parsing()
import torch
import comfy_api.latest, comfy.cli_args, folder_paths

def load_pack():
    where = {"submodule_search_locations": [ROOT]}
    spec = importlib.util.spec_from_file_location("reconx_pack", ROOT + "/__init__.py", **where)
    pack = importlib.util.module_from_spec(spec)
    sys.modules["reconx_pack"] = pack
    spec.loader.exec_module(pack)
    return asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
"""


def run_in_host(comfyui: Path, python: Path, script: str) -> dict:
    """What a script prints as its last line, as JSON, when the host's Python runs it."""
    script = f"ROOT = {str(ROOT)!r}\n{LOAD_PACK}\n{script}"
    command = [python, "-c", script, "--cpu"]
    run = subprocess.run(command, cwd=comfyui, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_loading_the_pack_imports_nothing_heavy(comfyui: Path, host_python: Path) -> None:
    script = f"""
before, start = set(sys.modules), time.perf_counter()
nodes = load_pack()
seconds = time.perf_counter() - start
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
schemas = [node.GET_SCHEMA() for node in nodes]
heavy = sorted(new & set({HEAVY!r}))
print(json.dumps({{"heavy": heavy, "seconds": seconds, "nodes": len(nodes)}}))
"""
    loaded = run_in_host(comfyui, host_python, script)
    assert loaded["nodes"] > 0
    assert loaded["heavy"] == []
    # Under half a second on an idle machine; four times that is no noise.
    assert loaded["seconds"] < 2, f"loading the pack took {loaded['seconds']:.3f} s"


def test_the_ram_cache_counts_our_tensors(comfyui: Path, host_python: Path) -> None:
    script = """
load_pack()
from comfy_execution.caching import CacheKeySetInputSignature, RAMPressureCache
from execution import CacheEntry
from reconx_pack.nodes.sockets import pack
from reconx_pack.reconx.types import Photos

images = torch.rand(3, 64, 96, 3)
photos = Photos(
    images=images,
    valid=torch.ones(3, 64, 96, dtype=torch.bool),
    names=("a", "b", "c"),
    original_sizes=((96, 64),) * 3,
    to_original=torch.eye(3).repeat(3, 1, 1),
)
cache = RAMPressureCache(CacheKeySetInputSignature)
cache.cache["node"] = CacheEntry(ui={}, outputs=[[pack(photos)]])
cache.used_generation["node"], cache.timestamps["node"], cache.generation = 0, 0.0, 1
tensors = (images, photos.valid, photos.to_original)
print(json.dumps({
    "counted": cache.ram_release(float("inf")),
    "held": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
}))
"""
    sizes = run_in_host(comfyui, host_python, script)
    # The host adds a fraction of a byte, so that nothing counts as free.
    assert sizes["counted"] == pytest.approx(sizes["held"], abs=1)
