"""The shipped workflows run as they are, made small, in a running host."""

from pathlib import Path

import numpy as np
import pytest
import torch
from comfy_host import Host
from comfy_workflow import Schemas, read_workflow, set_input
from PIL import Image
from run_workflow import main

from reconx.export.ply import read_gaussians_ply, read_points_ply
from reconx.export.video import write_video

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "example_workflows"
SMALL = [
    "ReconX_BuildPointCloud.size=192",
    "ReconX_BuildPointCloud.depth_size=192",
    "ReconX_CameraPath.frames=5",
    "ReconX_CamerasToLoad3D.index=2",
    "ReconX_FitGaussians.steps=40",
]


@pytest.mark.comfyui
def test_photos_to_splat_runs_from_the_command_line(
    comfyui: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = WORKFLOWS / "Photos to splat (no weights).json"
    small = [
        word for change in (*SMALL, "ReconX_LoadPhotos.max_size=256") for word in ("--set", change)
    ]
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
    prompt = read_workflow(WORKFLOWS / "Video to splat (no weights).json", schemas)
    changes = ("LoadVideo.file=walk.mp4", "ReconX_PhotosFromVideo.count=3")
    for change in (*SMALL, *changes, "ReconX_PhotosFromVideo.max_size=256"):
        set_input(prompt, schemas, change)
    outcome = host.run(prompt)
    assert outcome.status == "success", outcome.error
    suffixes = [
        path.suffix
        for id, shown in outcome.outputs.items()
        if prompt[id]["class_type"].startswith("Save")
        for path in host.files(shown)
    ]
    assert sorted(suffixes) == [".mp4", ".ply"]


def test_a_host_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["any.json", "--comfyui", str(tmp_path), "--output", str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err
