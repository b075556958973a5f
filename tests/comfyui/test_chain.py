"""The main job as one graph: photos, cloud, path, frames, splat, and what is saved of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comfy_host import Host, Outcome
from PIL import Image

from reconx.export.nerfstudio import read_transforms
from reconx.export.ply import read_gaussians_ply, read_points_ply
from reconx.ops.metrics import psnr
from reconx.ops.sim3 import apply_sim3_to_cameras, fit_sim3_to_cameras
from reconx.photos.decoding import decode_photo
from reconx.render.gaussians import render_gaussians
from reconx.types import Cameras

pytestmark = pytest.mark.comfyui

ROOM = Path(__file__).resolve().parents[2] / "assets" / "sample-room"
SIZE, FRAMES = 192, 5
FIT = {
    "steps": 60,
    "max_gaussians": 30000,
    "sh_degree": 0,
    "train_on_generated": True,
    "refine_poses": True,
    "seed": 0,
    "rasterizer": "auto",
}
PATH = {
    "frames": FRAMES - 1,
    "frame_rule": "4k+1",
    "width": 0,
    "height": 0,
    "loop": False,
    "easing": "linear",
    "kind": "interpolate",
}
VIEW = {"viewport_state": "", "width": 256, "height": 256}


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


GRAPH = {
    "photos": node("ReconX_LoadPhotos", max_size=384, source="sample-room"),
    "cloud": node(
        "ReconX_BuildPointCloud",
        photos=["photos", 0],
        size=SIZE,
        depth_size=SIZE,
        seed=0,
        estimator="stereo",
    ),
    "depth": node("PreviewImage", images=["cloud", 2]),
    "overlap": node("PreviewAny", source=["cloud", 3]),
    "cloud_file": node("PreviewPointCloud", model_3d=["cloud", 1], **VIEW),
    "path": node("ReconX_CameraPath", scene=["cloud", 0], **PATH),
    "plan": node("PreviewImage", images=["path", 4]),
    "renders": node("ReconX_RenderPointCloud", scene=["cloud", 0], cameras=["path", 0]),
    "render_files": node("PreviewImage", images=["renders", 0]),
    "backbone": node("ReconX_LoadBackbone", backbone="warp"),
    "guidance": node(
        "ReconX_GuidanceOptions",
        text_strength=0.0,
        keyframe_strength=1.0,
        render_strength=1.0,
        render_start=0.0,
        render_end=0.0,
        structure_strength=1.0,
        structure_start=0.0,
        structure_end=1.0,
    ),
    "views": node(
        "ReconX_SampleViews",
        backbone=["backbone", 0],
        scene=["cloud", 0],
        cameras=["path", 0],
        seed=0,
        steps=0,
        guidance=["guidance", 0],
    ),
    "fit": node("ReconX_FitGaussians", scene=["cloud", 0], views=["views", 0], **FIT),
    "report": node("PreviewAny", source=["fit", 3]),
    "splat": node("SplatToFile3D", splat=["fit", 0], format="ply"),
    "splat_file": node("SaveGaussianSplat", model_3d=["splat", 0], filename_prefix="splat", **VIEW),
    "film": node(
        "ReconX_RenderGaussians", splat=["fit", 0], cameras=["path", 0], background="#000000"
    ),
    "video": node("CreateVideo", images=["film", 0], fps=8.0),
    "video_file": node("SaveVideo", video=["video", 0], filename_prefix="film", format="mp4"),
    "compared": node("ReconX_CompareViews", images=["film", 0], reference=["views", 1]),
    "psnr": node("PreviewAny", source=["compared", 0]),
    "saved": node(
        "ReconX_SaveScene",
        scene=["fit", 1],
        filename_prefix="room",
        format="nerfstudio",
        splat=["fit", 0],
    ),
    "doctor": node("ReconX_Doctor"),
}


@pytest.fixture(scope="module")
def chain(host: Host) -> Outcome:
    """The whole graph, run once."""
    outcome = host.run(GRAPH, timeout=240)
    assert outcome.status == "success", outcome.error
    return outcome


def test_an_unchanged_chain_does_not_run_again(host: Host, chain: Outcome) -> None:
    again = host.run(GRAPH)
    # The doctor looks anew every time.
    assert again.cached == set(GRAPH) - {"doctor"}
    assert again.outputs["splat_file"] == chain.outputs["splat_file"]


def test_the_small_model_takes_the_place_of_warp(host: Host, chain: Outcome) -> None:
    frames = node("PreviewImage", images=["views", 1])
    made = {}
    for name in ("warp", "small"):
        backbone = node("ReconX_LoadBackbone", backbone=name)
        part = {key: GRAPH[key] for key in ("photos", "cloud", "path", "guidance", "views")}
        outcome = host.run({**part, "backbone": backbone, "frames": frames}, timeout=120)
        assert outcome.status == "success", outcome.error
        made[name] = [np.asarray(Image.open(it)) for it in host.files(outcome.outputs["frames"])]
    changed = [(one != other).any(-1).mean() for one, other in zip(*made.values(), strict=True)]
    # Of frames that are photos only the undistorted photo's margin differs, of others the holes.
    assert max(changed[0], changed[-1]) < 0.01
    assert 0.05 < max(changed) < 0.7


def test_pictures_have_the_sizes_asked_for(host: Host, chain: Outcome) -> None:
    def sizes(name: str) -> list[tuple[int, int]]:
        found = []
        for path in host.files(chain.outputs[name]):
            with Image.open(path) as picture:
                found.append(picture.size)
        return found

    assert sizes("render_files") == [(SIZE, SIZE * 3 // 4)] * FRAMES
    # Depth and confidence of each of the three photos.
    assert len(sizes("depth")) == 6
    assert len(sizes("plan")) == 1


def test_what_to_photograph_next_is_told(chain: Outcome) -> None:
    (told,) = chain.outputs["overlap"]["text"]
    assert told.startswith("left.jpg shares with middle.jpg ")
    assert told.endswith("What to photograph next:\nThe photos overlap well: none is missing.")


def test_the_film_is_a_video_of_the_path(host: Host, chain: Outcome) -> None:
    import av

    (path,) = host.files(chain.outputs["video_file"])
    with av.open(str(path)) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == FRAMES
    assert min(frame.std() for frame in frames) > 20


def test_the_splat_shows_what_no_photo_saw(host: Host, chain: Outcome) -> None:
    (path,) = host.files(chain.outputs["splat_file"])
    gaussians = read_gaussians_ply(path)
    (saved,) = chain.outputs["saved"]["text"]
    found, truth = read_transforms(Path(saved)), read_transforms(ROOM)
    stems = [name.rpartition(".")[0] for name in found.names]
    world_from_truth = fit_sim3_to_cameras(
        Cameras.concatenate([truth.cameras[truth.names.index(f"{stem}.jpg")] for stem in stems]),
        Cameras.concatenate(list(found.cameras)),
    )
    for name in ("holdout-1.jpg", "holdout-2.jpg"):
        index = truth.names.index(name)
        photo = decode_photo(truth.paths[index], name, SIZE).image
        camera = truth.cameras[index].resized(photo.shape[1], photo.shape[0])
        with torch.no_grad():
            drawn = render_gaussians(gaussians, apply_sim3_to_cameras(world_from_truth, camera))
        assert psnr(drawn.colour[0].clamp(0, 1), photo) > 18


def test_the_cloud_lies_over_the_splat(host: Host, chain: Outcome) -> None:
    (cloud,) = host.files(chain.outputs["cloud_file"])
    (splat,) = host.files(chain.outputs["splat_file"])
    points, _, _ = read_points_ply(cloud)
    # The viewer turns splats by half a turn about X and shows clouds as they are.
    shown = read_gaussians_ply(splat).means[::20] * torch.tensor([1.0, -1.0, -1.0])
    gaps = torch.cdist(shown, points).amin(1)
    extent = torch.linalg.vector_norm(shown.amax(0) - shown.amin(0))
    assert float(gaps.median() / extent) < 0.01


def test_texts_tell_how_it_went(chain: Outcome) -> None:
    (report,) = chain.outputs["report"]["text"]
    assert f'"steps": {FIT["steps"]}' in report
    # The film shows the scene that the frames show.
    assert float(chain.outputs["psnr"]["text"][0]) > 18
    assert "ComfyUI" in chain.outputs["doctor"]["text"][0]


def test_a_saved_scene_comes_back(host: Host, chain: Outcome) -> None:
    (saved,) = chain.outputs["saved"]["text"]
    file = f"{Path(saved).relative_to(host.folder / 'output').as_posix()} [output]"
    outcome = host.run(
        {
            "scene": node("ReconX_LoadScene", file=file),
            "path": node("ReconX_CameraPath", scene=["scene", 0], **PATH),
            "film": node(
                "ReconX_RenderGaussians",
                splat=["scene", 1],
                cameras=["path", 0],
                background="#000000",
            ),
            "files": node("PreviewImage", images=["film", 0]),
        }
    )
    assert outcome.status == "success", outcome.error
    assert len(host.files(outcome.outputs["files"])) == FRAMES
