"""The contract: what every registered video backbone keeps."""

import subprocess
import sys

import pytest
import torch

from reconx.errors import InputError
from reconx.render.edits import edit_renders
from reconx.render.points import render_scene
from reconx.trajectory.frame_rule import legal_frame_count
from reconx.trajectory.options import PathOptions
from reconx.trajectory.path import make_path
from reconx.types import Scene, Views
from reconx.video.model_options import ModelSpec
from reconx.video.registry import BACKBONES, make_backbone
from reconx.video.sample import sample_views

USABLE = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            bool(spec.missing()), reason=f"{name} needs {', '.join(spec.missing())}"
        ),
    )
    for name, spec in BACKBONES.items()
    if not isinstance(spec, ModelSpec)
]
"""Those with weights are in `diffusion/`."""


def film(name: str, scene: Scene, **options: object) -> Views:
    return sample_views(make_backbone(name), scene, make_path(scene, PathOptions(**options)))


@pytest.mark.parametrize("name", USABLE)
def test_frames_have_the_paths_count_size_and_range(name: str, plane_scene: Scene) -> None:
    views = film(name, plane_scene, frames=6, width=48)
    assert views.frames.shape == (6, 36, 48, 3)
    assert views.frames.min() >= 0
    assert views.frames.max() <= 1
    assert views.known.shape == (6, 36, 48)
    if views.confidence is not None:
        assert views.confidence.min() >= 1


@pytest.mark.parametrize("name", USABLE)
def test_captured_photos_come_back_as_themselves(name: str, plane_scene: Scene) -> None:
    views = film(name, plane_scene, frames=7)
    captured = (views.photo_index >= 0).nonzero()[:, 0].tolist()
    assert len(captured) == 3
    for frame in captured:
        assert torch.equal(views.frames[frame], plane_scene.photos.images[views.photo_index[frame]])
        assert views.known[frame].all()


@pytest.mark.parametrize("name", USABLE)
def test_edited_renders_show(name: str, plane_scene: Scene) -> None:
    if BACKBONES[name].renders == "none":
        pytest.skip(f"{name} takes no renders")
    path = make_path(plane_scene, PathOptions(kind="orbit", frames=2, width=48))
    plain = render_scene(plane_scene, path.cameras)
    colour, hole = plain.colour.clone(), plain.hole.clone()
    colour[:, 8:28, 4:20], hole[:, 8:28, 4:20] = torch.tensor([1.0, 0.0, 1.0]), False
    views = sample_views(
        make_backbone(name), plane_scene, path, renders=edit_renders(plain, colour, hole)
    )
    assert (views.frames[:, 12:24, 8:16] - torch.tensor([1.0, 0.0, 1.0])).abs().mean() < 0.2
    assert not views.known[:, 8:28, 4:20].any()


@pytest.mark.parametrize("name", USABLE)
def test_the_same_seed_gives_the_same_bytes(name: str, plane_scene: Scene) -> None:
    first, second = (film(name, plane_scene, frames=4, width=48) for _ in range(2))
    assert torch.equal(first.frames, second.frames)
    assert torch.equal(first.known, second.known)


@pytest.mark.parametrize("name", USABLE)
@pytest.mark.parametrize("count", [1, 2, 9, 14])
def test_fitted_cameras_are_legal_and_see_the_same(
    name: str, count: int, plane_scene: Scene
) -> None:
    backbone = make_backbone(name)
    cameras = plane_scene.cameras[[0] * count]
    fitted = backbone.fit_cameras(cameras)
    assert len(fitted) == legal_frame_count(len(fitted), backbone.spec.frame_rule) >= count
    assert fitted.width % backbone.spec.size_multiple == 0
    assert fitted.height % backbone.spec.size_multiple == 0
    assert torch.equal(fitted.camera_to_world[:count], cameras.camera_to_world)
    assert torch.allclose(
        fitted.resized(cameras.width, cameras.height).K[:count], cameras.K, atol=1e-4
    )


def test_names_are_keys() -> None:
    assert all(spec.name == name for name, spec in BACKBONES.items())
    assert all(spec.summary.endswith(".") for spec in BACKBONES.values())


def test_an_unknown_backbone_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"Video backbone 'sora' is unknown\. Choose one of: warp"):
        make_backbone("sora")


def test_listing_backbones_imports_none_of_them() -> None:
    code = (
        "import sys; from reconx.video.registry import BACKBONES; list(BACKBONES.items());"
        "heavy = [m for m in sys.modules if m.startswith(('reconx.video.backbones.', 'diffusers',"
        " 'transformers', 'comfy'))]; print(heavy); sys.exit(len(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
