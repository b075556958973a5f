"""Video models of the host along camera paths, with tiny random weights under the real names."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from comfy_host import Host, Outcome, Prompt
from comfy_workflow import Schemas, read_workflow, set_input
from PIL import Image
from safetensors.torch import load_file
from tiny_structure import tiny_structure

from reconx.export.ply import read_gaussians_ply
from reconx.structure.model import save_structure_model

pytestmark = pytest.mark.comfyui

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "example_workflows"
TINY = Path(__file__).resolve().parent / "tiny_models"
WRITE_FILES = """
import sys
models, sys.argv = sys.argv[1], [sys.argv[0], "--cpu"]
import comfy.options
comfy.options.enable_args_parsing()
sys.path.append({tests!r})
from pathlib import Path
from tiny_models.files import write_all
write_all(Path(models))
"""
BROKEN = "download_that_broke_off.safetensors"
STRUCTURE, OTHER_STRUCTURE = "tiny_wan.safetensors", "larger_wan.safetensors"
WIDTH, HEIGHT = 64, 48
SMALL = (
    "ReconX_LoadPhotos.max_size=256",
    "ReconX_BuildPointCloud.size=192",
    "ReconX_BuildPointCloud.depth_size=192",
    "ReconX_CameraPath.frames=9",
    f"ReconX_CameraPath.width={WIDTH}",
    f"ReconX_CameraPath.height={HEIGHT}",
    "ReconX_CamerasToLoad3D.index=2",
    "ReconX_FitGaussians.steps=3",
    "ReconX_FitGaussians.max_gaussians=5000",
)
VACE, FIRST_LAST, UNI3C, SPLIT = (
    "Wan VACE 1.3B + point renders (8 GB)",
    "Wan first-last frame",
    "Wan Uni3C + point renders",
    "Three photos, clip by clip, native nodes",
)
ENDS = ("PreviewImage", "PreviewGaussianSplat", "SaveGaussianSplat", "SaveVideo")
SAMPLERS = {name: "ReconX_SampleViews" for name in (VACE, FIRST_LAST, UNI3C)} | {SPLIT: "KSampler"}


@pytest.fixture(scope="module")
def tiny_files(comfyui: Path, host_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of model folders that hold tiny files, and one that is cut short."""
    models = tmp_path_factory.mktemp("tiny")
    script = WRITE_FILES.format(tests=str(TINY.parent))
    subprocess.run([host_python, "-c", script, models], cwd=comfyui, check=True)
    whole = models / "diffusion_models" / "wan2.1_vace_1.3B_fp16.safetensors"
    whole.with_name(BROKEN).write_bytes(whole.read_bytes()[:-1000])
    structures = models / "structure_models"
    structures.mkdir()
    for file, blocks in ((STRUCTURE, 2), (OTHER_STRUCTURE, 3)):
        save_structure_model(tiny_structure("wan", (256,) * blocks), structures / file)
    return models


@pytest.fixture(scope="module")
def host(comfyui: Path, host_python: Path, tiny_files: Path) -> Iterator[Host]:
    """A host with the tiny files, and the pack of this folder."""
    with Host(comfyui, host_python, models=tiny_files, packs=(TINY,), cpu=True) as running:
        yield running


@pytest.fixture(scope="module")
def schemas(host: Host) -> Schemas:
    return host.object_info()


def tiny_prompt(name: str, schemas: Schemas) -> Prompt:
    """A shipped workflow as it is, made small, without text encoder and CLIP vision."""
    texts = {"CLIPLoader", "CLIPTextEncode", "CLIPVisionLoader", "CLIPVisionEncode"}
    prompt = read_workflow(WORKFLOWS / f"{name}.json", schemas)
    for change in (*SMALL, f"{SAMPLERS[name]}.steps=2"):
        set_input(prompt, schemas, change)
    for seed, (id, node) in enumerate(list(prompt.items())):
        if node["class_type"] == "CLIPTextEncode":
            prompt[id] = {"class_type": "Tiny_Conditioning", "inputs": {"seed": seed}}
        elif node["class_type"] in texts:
            del prompt[id]
    for node in prompt.values():
        links = {key: value for key, value in node["inputs"].items() if isinstance(value, list)}
        for key, (source, *_) in links.items():
            if source not in prompt:
                del node["inputs"][key]
    return prompt


def one(prompt: Prompt, kind: str) -> tuple[str, dict[str, Any]]:
    (found,) = [(id, node) for id, node in prompt.items() if node["class_type"] == kind]
    return found


def preview_of(prompt: Prompt, kind: str) -> str:
    """The node that shows the frames of views."""
    views, _ = one(prompt, kind)
    return next(id for id, node in prompt.items() if node["inputs"].get("images") == [views, 1])


def film_alone(prompt: Prompt, schemas: Schemas) -> str:
    """Leave away what is shown and saved besides the frames; gives the node that shows them."""
    preview = preview_of(prompt, "ReconX_SampleViews")
    for id, node in list(prompt.items()):
        if id != preview and schemas[node["class_type"]]["output_node"]:
            del prompt[id]
    return preview


def run(host: Host, prompt: Prompt) -> Outcome:
    outcome = host.run(prompt, timeout=600)
    assert outcome.status == "success", outcome.error
    return outcome


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_shipped_workflow_runs_from_photos_to_splat(
    host: Host, schemas: Schemas, name: str
) -> None:
    prompt = tiny_prompt(name, schemas)
    outcome = run(host, prompt)
    saver, _ = one(prompt, "SaveGaussianSplat")
    (splat,) = (path for path in host.files(outcome.outputs[saver]) if path.suffix == ".ply")
    assert len(read_gaussians_ply(splat)) > 1000
    views = "ReconX_JoinViews" if name == SPLIT else "ReconX_SampleViews"
    frames = host.files(outcome.outputs[preview_of(prompt, views)])
    assert len(frames) == 9
    with Image.open(frames[0]) as frame:
        assert frame.size == (WIDTH, HEIGHT)


def test_another_loader_changes_nothing_else(host: Host, schemas: Schemas) -> None:
    prompt = tiny_prompt(VACE, schemas)
    run(host, prompt)
    set_input(prompt, schemas, "UNETLoader.unet_name=wan2.1_i2v_480p_14B_fp8_e4m3fn.safetensors")
    outcome = run(host, prompt)
    assert one(prompt, "ReconX_BuildPointCloud")[0] in outcome.cached


def told(host: Host, node: str) -> str:
    """The text of a node without inputs."""
    prompt = {
        "1": {"class_type": node, "inputs": {}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }
    return run(host, prompt).outputs["2"]["text"][0]


def test_nothing_stays_once_memory_is_freed(host: Host, schemas: Schemas) -> None:
    run(host, tiny_prompt(UNI3C, schemas))
    assert told(host, "Tiny_Memory") != "0 loaded, 0 of ours"
    host.free()
    assert told(host, "Tiny_Memory") == "0 loaded, 0 of ours"


@pytest.mark.slow
def test_twenty_clips_more_are_not_kept(host: Host, schemas: Schemas) -> None:
    """No tensor lives on, and the process grows by less than 50 MB of memory in use.

    What is in use alone says what clips leave behind. The allocator's free memory, which this
    leaves out, goes up in steps at any time: by 22 MB in 47 clips, with 0.1 MB more in use.
    """
    prompt = tiny_prompt(VACE, schemas)
    film_alone(prompt, schemas)

    def clips(seeds: range) -> dict[str, float]:
        for seed in seeds:
            set_input(prompt, schemas, f"ReconX_SampleViews.seed={seed}")
            assert one(prompt, "ReconX_SampleViews")[0] not in run(host, prompt).cached
        return json.loads(told(host, "Tiny_Kept"))

    before = clips(range(100, 103))  # What is made once, is made now.
    after = clips(range(103, 123))
    assert after["tensors"] == before["tensors"]
    assert after["megabytes"] - before["megabytes"] < 50


def encode_structure(prompt: Prompt, cameras: list[Any], file: str = STRUCTURE) -> list[Any]:
    """Add what makes structure of the scene; gives its link."""
    scene, _ = one(prompt, "ReconX_BuildPointCloud")
    prompt["load"] = {
        "class_type": "ReconX_LoadStructureModel",
        "inputs": {"file": file, "dtype": "fp32"},
    }
    prompt["encode"] = {
        "class_type": "ReconX_EncodeStructure",
        "inputs": {"structure_model": ["load", 0], "scene": [scene, 0], "cameras": cameras},
    }
    return ["encode", 0]


def apply_structure(prompt: Prompt, strength: float) -> None:
    """Let the model that KSampler samples read the structure of each clip."""
    sampler = one(prompt, "KSampler")[1]["inputs"]
    split, _ = one(prompt, "ReconX_SplitPath")
    guidance = {"strength": strength, "start": 0.0, "end": 1.0}
    structure = encode_structure(prompt, [split, 0])
    prompt["apply"] = {
        "class_type": "ReconX_ApplyStructure",
        "inputs": {"model": sampler["model"], "structure": structure, **guidance},
    }
    sampler["model"] = ["apply", 0]


def latents(host: Host, prompt: Prompt) -> list[torch.Tensor]:
    """What KSampler makes, clip by clip."""
    for id in [id for id, node in prompt.items() if node["class_type"] in ENDS]:
        del prompt[id]
    sampler, _ = one(prompt, "KSampler")
    inputs = {"samples": [sampler, 0], "filename_prefix": "latents"}
    prompt["save"] = {"class_type": "SaveLatent", "inputs": inputs}
    files = host.files(run(host, prompt).outputs["save"])
    return [load_file(file)["latent_tensor"] for file in files]


def test_structure_reaches_a_sampler_of_the_host(host: Host, schemas: Schemas) -> None:
    """Strength 0 is the model without structure, to the bit; the prompt's rows alone read it."""
    plain = tiny_prompt(SPLIT, schemas)
    made = {}
    for strength in (0.0, 1.0, 2.0):
        prompt = tiny_prompt(SPLIT, schemas)
        apply_structure(prompt, strength)
        made[strength] = latents(host, prompt)
    before = latents(host, plain)
    assert len(before) == 2
    for clip, latent in enumerate(before):
        assert torch.equal(made[0.0][clip], latent)
        assert not torch.equal(made[1.0][clip], latent)
        assert not torch.equal(made[2.0][clip], made[1.0][clip])


def test_structure_reaches_weights_of_8_bits(host: Host, schemas: Schemas) -> None:
    made = []
    for strength in (0.0, 1.0):
        prompt = tiny_prompt(SPLIT, schemas)
        set_input(prompt, schemas, "UNETLoader.weight_dtype=fp8_e4m3fn")
        apply_structure(prompt, strength)
        made.append(latents(host, prompt))
    for without, guided in zip(*made, strict=True):
        assert guided.isfinite().all()
        assert not torch.equal(without, guided)


def test_a_sampler_with_structure_leads_to_a_splat(host: Host, schemas: Schemas) -> None:
    prompt = tiny_prompt(SPLIT, schemas)
    apply_structure(prompt, 1.0)
    views = one(prompt, "ReconX_JoinViews")[1]
    split, _ = one(prompt, "ReconX_SplitPath")
    views["class_type"], views["inputs"]["cameras"] = "ReconX_ViewsFromFrames", [split, 0]
    outcome = run(host, prompt)
    saver, _ = one(prompt, "SaveGaussianSplat")
    splats = [path for path in host.files(outcome.outputs[saver]) if path.suffix == ".ply"]
    assert splats
    assert all(len(read_gaussians_ply(splat)) > 1000 for splat in splats)


def test_structure_reaches_sample_views_and_goes(host: Host, schemas: Schemas) -> None:
    prompt = tiny_prompt(VACE, schemas)
    frames = film_alone(prompt, schemas)
    plain = [file.read_bytes() for file in host.files(run(host, prompt).outputs[frames])]
    path, _ = one(prompt, "ReconX_CameraPath")
    sampler = one(prompt, "ReconX_SampleViews")[1]["inputs"]
    sampler["structure"] = encode_structure(prompt, [path, 0])
    guided = [file.read_bytes() for file in host.files(run(host, prompt).outputs[frames])]
    assert sum(one != other for one, other in zip(plain, guided, strict=True)) >= 6
    host.free()
    assert told(host, "Tiny_Memory") == "0 loaded, 0 of ours"


def test_structure_of_another_model_is_refused(host: Host, schemas: Schemas) -> None:
    prompt = tiny_prompt(VACE, schemas)
    path, _ = one(prompt, "ReconX_CameraPath")
    sampler = one(prompt, "ReconX_SampleViews")[1]["inputs"]
    sampler["structure"] = encode_structure(prompt, [path, 0], OTHER_STRUCTURE)
    text = "attentions 3 of 256 channels, and the model is a wan with attentions 2 of 256"
    refused(host, prompt, "ReconX_SampleViews", text)


def refused(host: Host, prompt: Prompt, node: str, text: str) -> None:
    outcome = host.run(prompt, timeout=120)
    assert outcome.status == "error"
    assert f"({node})" in outcome.error
    assert text in outcome.error


def test_guidance_that_a_family_lacks_is_refused(host: Host, schemas: Schemas) -> None:
    prompt = tiny_prompt(VACE, schemas)
    set_input(prompt, schemas, "ReconX_GuidanceOptions.keyframe_strength=0.5")
    refused(host, prompt, "ReconX_SampleViews", "'wan-vace' cannot vary its keyframe strength")


def test_a_model_patch_beside_another_family_is_refused(host: Host, schemas: Schemas) -> None:
    prompt = tiny_prompt(UNI3C, schemas)
    set_input(prompt, schemas, "UNETLoader.unet_name=wan2.1_vace_1.3B_fp16.safetensors")
    refused(host, prompt, "ReconX_BackboneFromModel", "beside a Wan 2.1 model")


def test_missing_prompts_are_told(host: Host, schemas: Schemas) -> None:
    prompt = tiny_prompt(VACE, schemas)
    del one(prompt, "ReconX_BackboneFromModel")[1]["inputs"]["negative"]
    refused(host, prompt, "ReconX_BackboneFromModel", "wan-vace also needs negative")


def test_a_truncated_file_is_told(host: Host, schemas: Schemas) -> None:
    prompt = tiny_prompt(VACE, schemas)
    set_input(prompt, schemas, f"UNETLoader.unet_name={BROKEN}")
    refused(host, prompt, "UNETLoader", "incomplete metadata, file not fully covered")


def test_a_path_too_short_for_its_photos_is_refused(host: Host, schemas: Schemas) -> None:
    prompt = tiny_prompt(VACE, schemas)
    set_input(prompt, schemas, "ReconX_CameraPath.frames=1")
    refused(host, prompt, "ReconX_CameraPath", "cannot pass through 3 cameras")


def test_one_frame_of_a_move_is_made(host: Host, schemas: Schemas) -> None:
    prompt = tiny_prompt(VACE, schemas)
    for change in ("ReconX_CameraPath.kind=dolly", "ReconX_CameraPath.frames=1"):
        set_input(prompt, schemas, change)
    frames = film_alone(prompt, schemas)
    assert len(host.files(run(host, prompt).outputs[frames])) == 1
