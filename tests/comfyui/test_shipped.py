"""The shipped workflows run as they are, made small, in a running host."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from comfy_host import Host
from comfy_workflow import Schemas, read_workflow, set_input
from PIL import Image
from run_workflow import main
from safetensors.torch import save_file

from reconx.export.ply import read_gaussians_ply, read_points_ply
from reconx.export.video import write_video
from reconx.geometry.dust3r.config import VIT_LARGE
from reconx.geometry.dust3r.network import Dust3rNetwork

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "example_workflows"
SMALL = [
    "ReconX_BuildPointCloud.size=192",
    "ReconX_BuildPointCloud.depth_size=192",
    "ReconX_CameraPath.frames=5",
    "ReconX_CamerasToLoad3D.index=2",
    "ReconX_FitGaussians.steps=40",
]

PHOTOS = ["ReconX_LoadPhotos.max_size=256"]


@pytest.mark.comfyui
def test_photos_to_splat_runs_from_the_command_line(
    comfyui: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = WORKFLOWS / "Photos to splat (no weights).json"
    small = [word for change in (*SMALL, *PHOTOS) for word in ("--set", change)]
    arguments = [str(file), "--comfyui", str(comfyui), "--output", str(tmp_path), *small]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    (splat,) = tmp_path.glob("reconx/*.ply")
    (video,) = tmp_path.glob("reconx/*.mp4")
    (cloud,) = tmp_path.glob("preview_pointcloud_*.ply")
    assert len(read_gaussians_ply(splat)) > 5000
    assert len(read_points_ply(cloud)[0]) > 20000
    assert video.stat().st_size > 1000
    assert all(str(path) in printed for path in (splat, video, cloud))
    assert "Fit Splat: Fitting Gaussians" in printed


@pytest.mark.comfyui
def test_video_to_splat_runs(host: Host, schemas: Schemas, inputs: Path) -> None:
    names = ("left.jpg", "middle.jpg", "right.jpg")
    frames = []
    for name in names:
        with Image.open(ROOT / "assets" / "sample-room" / "images" / name) as photo:
            frames += [np.asarray(photo.resize((512, 384)), dtype=np.float32) / 255] * 4
    write_video(inputs / "walk.mp4", torch.from_numpy(np.stack(frames)), fps=8.0)
    changes = ("LoadVideo.file=walk.mp4", "ReconX_PhotosFromVideo.count=3")
    small = ("ReconX_PhotosFromVideo.max_size=256", *SMALL[:2])
    saved = saved_suffixes(host, schemas, "Video to splat (no weights)", *changes, *small)
    assert saved == [".mp4", ".ply"]


def saved_suffixes(host: Host, schemas: Schemas, name: str, *changes: str) -> list[str]:
    """Run a workflow, made small; the kinds of files that it saves."""
    prompt = read_workflow(WORKFLOWS / f"{name}.json", schemas)
    for change in (*changes, *SMALL[2:]):
        set_input(prompt, schemas, change)
    outcome = host.run(prompt)
    assert outcome.status == "success", outcome.error
    return sorted(
        path.suffix
        for id, shown in outcome.outputs.items()
        if prompt[id]["class_type"].startswith("Save")
        for path in host.files(shown)
    )


@pytest.mark.comfyui
def test_dust3r_to_splat_runs(host: Host, schemas: Schemas, models: Path) -> None:
    folder = models / "pointmap_models"
    folder.mkdir()
    write_tiny_dust3r(folder / "DUSt3R_ViTLarge_BaseDecoder_512_dpt.safetensors")
    saved = saved_suffixes(host, schemas, "DUSt3R to splat", *PHOTOS, *SMALL[:2])
    assert saved == [".mp4", ".ply"]


def write_tiny_dust3r(path: Path) -> None:
    """Random weights of a network that is small enough for any test."""
    config = replace(
        VIT_LARGE,
        encoder_width=128,
        encoder_depth=2,
        decoder_width=64,
        decoder_depth=3,
        dpt=None,
    )
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = Dust3rNetwork(config).state_dict()
    weights = {
        name: torch.ones(tensor.shape)
        if name.endswith("norm.weight")
        else torch.randn(tensor.shape, generator=generator) / tensor[:1].numel() ** 0.5
        for name, tensor in shapes.items()
    }
    save_file(weights, path)


@pytest.mark.comfyui
@pytest.mark.slow
def test_depth_anything_to_splat_runs(
    host: Host, schemas: Schemas, models: Path, comfyui: Path, host_python: Path
) -> None:
    folder = models / "geometry_estimation"
    folder.mkdir()
    script = Path(__file__).with_name("tiny_depth_anything.py")
    command = [host_python, script, folder / "depth_anything_3_base.safetensors"]
    environment = {**os.environ, "PYTHONPATH": str(comfyui)}
    subprocess.run(command, cwd=comfyui, env=environment, check=True, capture_output=True)
    small = ["ReconX_SceneFromGeometry.size=192", "ReconX_SceneFromGeometry.depth_size=192"]
    name = "Depth Anything 3 to splat"
    saved = saved_suffixes(host, schemas, name, *PHOTOS, *small, "DA3Inference.resolution=140")
    assert saved == [".mp4", ".ply"]


def test_a_host_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["any.json", "--comfyui", str(tmp_path), "--output", str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err
