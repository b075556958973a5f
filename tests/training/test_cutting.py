"""Clips and their clouds, from every kind of data in tiny."""

import io
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy_trainable import SPEC

from reconx.datasets.procedural.dataset import ProceduralOptions, ProceduralScenes
from reconx.errors import AlignmentFailed, InputError
from reconx.geometry.depth_maps import DepthMaps
from reconx.geometry.estimators.base import GeometryOptions
from reconx.geometry.scene import make_scene
from reconx.ops.projection import pixel_centres, project_points
from reconx.progress import CostEstimate, Progress
from reconx.saving import save_scene
from reconx.training import cutting
from reconx.training.cutting import ClipCutter, choose_frames
from reconx.training.options import ClipOptions, CloudOptions, DataOptions
from reconx.types import FILLED, Cameras, Photos, Scene, SceneSource

CLIP = ClipOptions(frames=3, width=32, height=24, skip=2)
WORLDS = ProceduralScenes(ProceduralOptions(scenes=3, frames=8, width=48, height=32))


def cutter(data: DataOptions, clip: ClipOptions = CLIP, **cloud: object) -> ClipCutter:
    options = CloudOptions(**{"views": 2, "size": 32, **cloud})  # type: ignore[arg-type]
    return ClipCutter([data], clip, options, SPEC, seed=0, device="cpu")


def nerfstudio(root: Path, scene: Scene, *, depth: bool) -> Path:
    folder = save_scene(root / "room", scene, "nerfstudio")
    (folder / "scene.safetensors").unlink()
    if depth:
        document = json.loads((folder / "transforms.json").read_text("utf-8"))
        for view, frame in enumerate(document["frames"]):
            to_camera = scene.cameras.viewmats[view]
            z = scene.points[view] @ to_camera[2, :3] + to_camera[2, 3]
            steps = (z * 1000).round().to(torch.int32).numpy().astype(np.uint16)
            frame["depth_file_path"] = f"depth-{view}.png"
            Image.fromarray(steps).save(folder / frame["depth_file_path"])
        (folder / "transforms.json").write_text(json.dumps(document), "utf-8")
    return root


def chunks(root: Path) -> Path:
    """Procedural frames as RealEstate10K keeps them."""
    (root / "train").mkdir()
    examples = []
    for key in WORLDS.scenes():
        photos = WORLDS.read(key, range(8))
        assert photos.prior is not None
        cameras = torch.zeros(8, 18)
        K, poses = photos.prior.K, photos.prior.camera_to_world
        assert K is not None
        assert poses is not None
        cameras[:, :4] = K[:, [0, 1, 0, 1], [0, 1, 2, 2]] / torch.tensor([48, 32, 48, 32])
        cameras[:, 6:] = torch.linalg.inv(poses)[:, :3].flatten(1)
        images = []
        for image in photos.images:
            file = io.BytesIO()
            Image.fromarray((image * 255).byte().numpy()).save(file, "PNG")
            images.append(torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8))
        examples.append({"key": key, "images": images, "cameras": cameras})
    torch.save(examples, root / "train" / "0.torch")
    index = dict.fromkeys(WORLDS.scenes(), "0.torch")
    (root / "train" / "index.json").write_text(json.dumps(index), "utf-8")
    return root


def test_frames_lie_in_the_video_and_keyframes_where_the_backbone_wants_them() -> None:
    clip = ClipOptions(frames=5, skip=3, keyframes=2)
    seen = set()
    for number in range(40):
        cut = choose_frames("a", 12, clip, SPEC, 3, random.Random(number))
        assert 0 <= cut.frames[0] < cut.frames[-1] < 12
        steps = {after - before for before, after in zip(cut.frames, cut.frames[1:], strict=False)}
        assert len(steps) == 1
        seen |= steps
        assert cut.keyframes[0] == 0
        assert cut.keyframes[-1] == 4
        assert len(cut.views) == 3
        assert {0, 4} <= set(cut.views)
    assert seen == {1, 2}  # a skip of 3 does not fit
    for kind, shown in (("first", (0,)), ("first_last", (0, 4))):
        spec = replace(SPEC, keyframes=kind)
        assert choose_frames("a", 12, clip, spec, 2, random.Random(0)).keyframes == shown
    with pytest.raises(InputError, match="'a' has 4 frames, and a clip 5"):
        choose_frames("a", 4, clip, SPEC, 2, random.Random(0))


def test_uneven_frames_lie_between_and_beyond_the_two_that_are_shown() -> None:
    clip = ClipOptions(frames=5, uneven=True, keyframes=0)
    between, beyond, gaps = 0, 0, set()
    for number in range(60):
        cut = choose_frames("a", 12, clip, SPEC, 2, random.Random(number))
        assert len(set(cut.frames)) == 5
        assert set(cut.frames) <= set(range(12))
        assert cut.keyframes == cut.views == (0, 4)
        first, *rest, last = cut.frames
        assert first < last
        assert rest == sorted(rest)
        gaps |= {b - a for a, b in zip(rest, rest[1:], strict=False)}
        inside = [first < frame < last for frame in rest]
        between, beyond = between + all(inside), beyond + (not any(inside))
    assert between > 5
    assert beyond > 5
    assert len(gaps) > 4
    assert choose_frames("a", 5, clip, SPEC, 2, random.Random(0)).frames != ()


@pytest.mark.parametrize("kind", ["procedural", "folders"])
def test_cloud_and_cameras_of_a_clip_agree(kind: str, plane_scene: Scene, tmp_path: Path) -> None:
    """A point of the cloud has the colour of the frame's pixel that it falls on."""
    if kind == "folders":
        data = DataOptions(kind=kind, root=nerfstudio(tmp_path, plane_scene, depth=True), clips=2)
    else:
        data = DataOptions(kind=kind, scenes=2, clips=2)
    clip = cutter(data, ClipOptions(frames=3, width=48, height=40, skip=1), size=48).cut(1)
    assert clip.frames.shape == (3, 40, 48, 3)
    points = clip.scene.points[0].reshape(-1, 3)
    pixels, _ = project_points(points, clip.cameras.viewmats[0], clip.cameras.K[0])
    centres = torch.cartesian_prod(torch.arange(40) + 0.5, torch.arange(48) + 0.5).flip(1)
    assert (pixels - centres).norm(dim=-1).nanmedian() < 0.05
    assert bool(clip.scene.measured.any())
    assert float(clip.scene.points[0, ..., 2].nanmedian()) == pytest.approx(1, abs=1e-4)


def test_a_clip_is_the_same_whoever_cuts_it() -> None:
    data = DataOptions(kind="procedural", scenes=3, clips=6)
    one, other = cutter(data), cutter(data)
    other.cut(0)
    first, second = one.cut(4), other.cut(4)
    assert first.name == second.name
    assert torch.equal(first.frames, second.frames)
    assert torch.equal(first.scene.points.nan_to_num(), second.scene.points.nan_to_num())
    assert len({one.cut(number).name for number in range(6)}) > 3


def test_a_shorter_procedural_path_is_the_same_path_in_wider_steps() -> None:
    clip = ClipOptions(frames=3, width=32, height=24, skip=1)
    short, long = (DataOptions(kind="procedural", scenes=1, clips=1, frames=n) for n in (3, 64))
    assert cutter(short, clip).cut(0).name.endswith("frames 0 to 2")
    steps = [
        float((clip.cameras.centers[1] - clip.cameras.centers[0]).norm())
        for clip in (cutter(data, clip).cut(0) for data in (short, long))
    ]
    assert steps[0] > 10 * steps[1]
    with pytest.raises(InputError, match="Procedural frames is 1"):
        DataOptions(kind="procedural", frames=1)


class KnowsWorld0:
    """An estimator as any other, which is right."""

    def estimate_cost(self, photos: Photos) -> CostEstimate:
        raise NotImplementedError

    def estimate(self, photos: Photos, progress: Progress) -> Scene:
        assert photos.prior is not None
        assert photos.prior.K is not None
        assert photos.prior.camera_to_world is not None
        depth = WORLDS.read_depth("0", [int(name.removeprefix("frame-")) for name in photos.names])
        cameras = Cameras(
            camera_to_world=photos.prior.camera_to_world,
            K=photos.prior.K,
            width=photos.width,
            height=photos.height,
        )
        maps = DepthMaps(depth=torch.stack(depth), confidence=torch.full((2, 32, 48), 9.0))
        options = GeometryOptions(fit_size=48, geometry_size=48)
        return make_scene(photos, cameras, maps, SceneSource(estimator="true"), options)


def test_withheld_depth_is_guessed() -> None:
    data = DataOptions(kind="procedural", scenes=2, clips=2, frames=8)
    shares = []
    for number in range(2):
        whole, part = (cutter(data, missing=missing).cut(number).scene for missing in (0.0, 0.8))
        assert whole.measured.all()
        shares.append(float(part.measured.float().mean()))
        guessed = ~part.measured & part.points.isfinite().all(-1)
        assert guessed.float().mean() > 0.5 * (1 - shares[-1])
        assert part.confidence[guessed].max() <= FILLED
        # What is measured is exact, and what is guessed is not.
        scale = part.world_from_scene.scale / whole.world_from_scene.scale
        error = (part.points * scale - whole.points).norm(dim=-1)
        assert error[part.measured].max() < 1e-4
        assert error[guessed].median() > 1e-3
    assert 0.2 <= min(shares) < max(shares) < 1


def test_only_true_depth_can_be_withheld() -> None:
    with pytest.raises(InputError, match="missing, and 'stereo' makes them; expected source"):
        CloudOptions(source="stereo", missing=0.5)
    with pytest.raises(InputError, match="missing is 1; expected between 0 and 0.9"):
        CloudOptions(missing=1.0)


def test_chunks_go_through_an_estimator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = DataOptions(kind="re10k", root=chunks(tmp_path), clips=3)
    clip = replace(CLIP, width=48, height=32)
    with pytest.raises(InputError, match="re10k scene '0'.*there is none. Set cloud.source"):
        cutter(data, clip).cut(0)
    monkeypatch.setattr(cutting, "make_estimator", lambda name, options: KnowsWorld0())
    made = cutter(data, clip, source="pi3").cut(0)
    first = int(made.name.split()[4])
    torch.testing.assert_close(
        made.frames[0], WORLDS.read("0", (first,)).images[0], atol=4e-3, rtol=0
    )
    pixels, _ = project_points(made.scene.points[0], made.cameras.viewmats[0], made.cameras.K[0])
    torch.testing.assert_close(pixels, pixel_centres(48, 32), atol=0.01, rtol=0)


def test_an_estimator_that_fails_is_told_with_the_clip() -> None:
    data = DataOptions(kind="procedural", scenes=1, clips=1)
    with pytest.raises(AlignmentFailed, match="Of procedural scene '0', frames .* too little text"):
        cutter(data, source="stereo").cut(0)


@pytest.mark.slow
def test_stereo_makes_clouds_of_procedural_rooms() -> None:
    data = DataOptions(kind="procedural", scenes=1, clips=1)
    clip = ClipOptions(frames=9, width=192, height=144, skip=1)
    made = cutter(data, clip, source="stereo", views=3, size=192).cut(0)
    scene, view = made.scene, len(made.scene.photos) - 1
    assert scene.source.estimator == "stereo"
    measured = scene.measured[view]
    pixels, _ = project_points(
        scene.points[view][measured], made.cameras.viewmats[-1], made.cameras.K[-1]
    )
    rows, columns = measured.nonzero(as_tuple=True)
    assert (pixels - torch.stack([columns, rows], -1) - 0.5).norm(dim=-1).median() < 0.5


@pytest.mark.parametrize(
    ("clip", "spec", "text"),
    [
        ({"frames": 4}, {"frame_rule": "4k+1"}, "clips of 4 frames; expected.*4k"),
        ({"width": 40}, {"size_multiple": 16}, "40 x 24 pixels; expected multiples of 16"),
        ({"renders": 0.5}, {"renders": "blended"}, "not trained to take point renders"),
    ],
)
def test_what_a_backbone_cannot_make_is_said(clip: dict, spec: dict, text: str) -> None:
    with pytest.raises(InputError, match=text):
        ClipCutter(
            [DataOptions(kind="procedural")],
            replace(CLIP, **clip),
            CloudOptions(),
            replace(SPEC, **spec),
            seed=0,
            device="cpu",
        )
