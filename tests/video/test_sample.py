import logging
import re
from dataclasses import replace

import pytest
import torch
from tiny_structure import tiny_structure

from reconx.errors import BackboneMismatch, InputError
from reconx.progress import Progress
from reconx.render.edits import edit_renders
from reconx.render.points import render_scene
from reconx.trajectory.frame_rule import legal_frame_count
from reconx.trajectory.options import PathOptions
from reconx.trajectory.path import make_path
from reconx.types import Cameras, Scene
from reconx.video.base import BackboneSpec, Clip, ClipRequest
from reconx.video.clips import Stretch, plan_clips
from reconx.video.fitting import fit_cameras_to_spec
from reconx.video.reel import CAPTURED_CONFIDENCE
from reconx.video.sample import sample_views

SPEC = BackboneSpec(name="plain", factory="", keyframes="any", needs_first=False, renders="native")


class RenderBackbone:
    """Shows the point renders as they are, and keeps what it was asked."""

    def __init__(self, spec: BackboneSpec) -> None:
        self.spec = spec
        self.requests: list[ClipRequest] = []

    def fit_cameras(self, cameras: Cameras) -> Cameras:
        return fit_cameras_to_spec(cameras, self.spec)

    def generate_clip(self, request: ClipRequest, progress: Progress) -> Clip:
        self.requests.append(request)
        return Clip(frames=request.renders.colour, confidence=None)


@pytest.mark.parametrize(
    ("count", "rule", "legal"),
    [
        (1, "4k+1", 1),
        (2, "4k+1", 5),
        (5, "4k+1", 5),
        (6, "8k+1", 9),
        (17, "8k+1", 17),
        (6, "any", 6),
    ],
)
def test_counts_are_rounded_up(count: int, rule: str, legal: int) -> None:
    assert legal_frame_count(count, rule) == legal


def test_one_clip_sees_all_keyframes_where_they_belong(plane_scene: Scene) -> None:
    path = make_path(plane_scene, PathOptions(frames=9))
    backbone = RenderBackbone(SPEC)
    views = sample_views(backbone, plane_scene, path)
    (request,) = backbone.requests
    assert [(k.index, k.photo_index) for k in request.keyframes] == [
        (frame, photo) for frame, photo in enumerate(path.photo_index.tolist()) if photo >= 0
    ]
    assert views.confidence is None
    generated = path.photo_index < 0
    assert torch.equal(views.frames[generated], request.renders.colour[generated])
    assert torch.equal(views.known[generated], ~request.renders.hole[generated])


def test_clips_share_a_frame_and_join_to_the_same_film(plane_scene: Scene) -> None:
    path = make_path(plane_scene, PathOptions(frames=12))
    whole = sample_views(RenderBackbone(SPEC), plane_scene, path)
    backbone = RenderBackbone(replace(SPEC, max_frames=5))
    pieces = sample_views(backbone, plane_scene, path)
    assert len(backbone.requests) == 3
    assert max(len(request.cameras) for request in backbone.requests) <= 5
    assert torch.equal(whole.frames, pieces.frames)
    # Each later clip starts from the frame before it.
    for request in backbone.requests[1:]:
        assert request.keyframes[0].index == 0


def test_a_backbone_that_meets_photos_at_its_ends_gets_a_clip_per_pair(plane_scene: Scene) -> None:
    path = make_path(plane_scene, PathOptions(frames=11))
    backbone = RenderBackbone(replace(SPEC, keyframes="first_last"))
    sample_views(backbone, plane_scene, path)
    assert len(backbone.requests) == 2
    for request in backbone.requests:
        assert [k.index for k in request.keyframes] == [0, len(request.cameras) - 1]


def test_illegal_counts_and_sizes_are_fitted_and_brought_back(
    plane_scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_path(plane_scene, PathOptions(frames=11, width=88, height=66))
    spec = replace(SPEC, keyframes="first_last", frame_rule="8k+1", size_multiple=16)
    backbone = RenderBackbone(spec)
    with caplog.at_level(logging.WARNING, logger="reconx"):
        views = sample_views(backbone, plane_scene, path)
    assert len(caplog.records) == 1
    assert "clips of 8k+1 frames: 18 are made instead of 12" in caplog.text
    for request in backbone.requests:
        assert (request.cameras.width, request.cameras.height) == (96, 64)
        assert len(request.cameras) % 8 == 1
        assert [k.index for k in request.keyframes] == [0, len(request.cameras) - 1]
        assert request.keyframes[0].image.shape == (64, 96, 3)
    assert views.frames.shape == (11, 66, 88, 3)
    assert views.cameras is path.cameras


def test_photos_go_back_only_where_they_are_valid(plane_scene: Scene) -> None:
    valid = plane_scene.photos.valid.clone()
    valid[:, :, :30] = False
    scene = replace(plane_scene, photos=replace(plane_scene.photos, valid=valid))
    path = make_path(scene, PathOptions(frames=3))

    class Grey(RenderBackbone):
        def generate_clip(self, request: ClipRequest, progress: Progress) -> Clip:
            grey = torch.full_like(request.renders.colour, 0.5)
            return Clip(frames=grey, confidence=torch.full(grey.shape[:3], 2.0))

    views = sample_views(Grey(SPEC), scene, path)
    assert views.confidence is not None
    for frame, photo in enumerate(path.photo_index.tolist()):
        assert (views.frames[frame, :, :30] == 0.5).all()
        assert (views.confidence[frame, :, :30] == 2).all()
        assert torch.equal(views.frames[frame, :, 30:], scene.photos.images[photo, :, 30:])
        assert (views.confidence[frame, :, 30:] == CAPTURED_CONFIDENCE).all()


def test_a_missing_last_frame_is_refused_before_any_work(plane_scene: Scene) -> None:
    backbone = RenderBackbone(replace(SPEC, name="svd", keyframes="first"))
    text = (
        "Backbone 'svd' cannot take a last frame, and this path comes to photo 0 (view0.png). "
        "Choose warp, "
    )
    with pytest.raises(
        BackboneMismatch, match=f"{re.escape(text)}.*or an open path from one photo"
    ):
        sample_views(backbone, plane_scene, make_path(plane_scene, PathOptions(frames=9)))
    assert not backbone.requests


def test_a_path_without_photos_is_refused_by_who_needs_one(plane_scene: Scene) -> None:
    backbone = RenderBackbone(replace(SPEC, needs_first=True))
    path = make_path(plane_scene, PathOptions(kind="orbit", frames=5))
    with pytest.raises(BackboneMismatch, match="needs a photo as its first frame"):
        sample_views(backbone, plane_scene, path)


def test_a_clip_of_the_wrong_size_is_named(plane_scene: Scene) -> None:
    class Short(RenderBackbone):
        def generate_clip(self, request: ClipRequest, progress: Progress) -> Clip:
            return Clip(frames=request.renders.colour[1:], confidence=None)

    with pytest.raises(InputError, match=r"A clip of backbone 'plain' has shape \(4, 72, 96, 3\)"):
        sample_views(Short(SPEC), plane_scene, make_path(plane_scene, PathOptions(frames=5)))


def test_a_path_of_one_frame_is_one_clip(plane_scene: Scene) -> None:
    path = make_path(plane_scene, PathOptions(kind="orbit", frames=1))
    assert plan_clips(path, SPEC, plane_scene.photos.names, list) == [Stretch(0, 0)]
    assert len(sample_views(RenderBackbone(SPEC), plane_scene, path).frames) == 1


def test_edits_reach_every_clip_at_its_size_and_count(plane_scene: Scene) -> None:
    path = make_path(plane_scene, PathOptions(kind="orbit", frames=11, width=88, height=66))
    plain = render_scene(plane_scene, path.cameras)
    colour, hole = plain.colour.clone(), plain.hole.clone()
    colour[:, 20:40, 20:40], hole[:, 20:40, 20:40] = torch.tensor([1.0, 0.0, 0.0]), False
    hole[:, 20:40, 50:70] = True
    spec = replace(SPEC, keyframes="first_last", frame_rule="8k+1", size_multiple=16, max_frames=9)
    backbone = RenderBackbone(spec)
    views = sample_views(backbone, plane_scene, path, renders=edit_renders(plain, colour, hole))
    assert len(backbone.requests) == 2
    for request in backbone.requests:
        assert request.edited is not None
        assert request.edited.shape == request.renders.hole.shape == (9, 64, 96)
        painted = request.edited[:, 22:36, 24:42]
        assert painted.all()
        assert (request.renders.colour[:, 22:36, 24:42, 0] > 0.99).all()
        assert request.renders.hole[:, 22:36, 56:74].all()
        assert not request.edited[:, 50:, :].any()
    assert (views.frames[:, 22:38, 22:38, 1:] < 0.01).all()
    assert not views.known[:, 20:40, 20:40].any()


def test_edits_of_another_path_are_refused_before_any_work(plane_scene: Scene) -> None:
    path = make_path(plane_scene, PathOptions(frames=5))
    other = make_path(plane_scene, PathOptions(kind="orbit", frames=5))
    backbone = RenderBackbone(SPEC)
    with pytest.raises(InputError, match="along another path"):
        sample_views(backbone, plane_scene, path, renders=render_scene(plane_scene, other.cameras))
    backbone.spec = replace(SPEC, name="svd", renders="none")
    text = r"Backbone 'svd' cannot take edited renders\. Choose warp, .*or leave them out\."
    with pytest.raises(BackboneMismatch, match=text):
        sample_views(backbone, plane_scene, path, renders=render_scene(plane_scene, path.cameras))
    assert not backbone.requests


def test_structure_goes_to_backbones_that_take_it(plane_scene: Scene) -> None:
    path = make_path(plane_scene, PathOptions(frames=5))
    model = tiny_structure("toy", (12,))
    backbone = RenderBackbone(replace(SPEC, structure_family="toy", keyframes="first_last"))
    sample_views(backbone, plane_scene, path, structure=model)
    assert len(backbone.requests) == 2
    for request in backbone.requests:
        assert request.structure is not None
        assert request.structure.adapter is model.adapter
        reference = request.structure.tokens.reference
        assert torch.equal(reference.camera_to_world, request.cameras[0].camera_to_world)
    with pytest.raises(BackboneMismatch, match="'plain' cannot take structure .* trained for toy"):
        sample_views(RenderBackbone(SPEC), plane_scene, path, structure=model)
    other = RenderBackbone(replace(SPEC, structure_family="wan"))
    with pytest.raises(BackboneMismatch, match="cannot take structure .* trained for toy"):
        sample_views(other, plane_scene, path, structure=model)


def test_steps_default_to_what_suits_the_backbone(
    plane_scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_path(plane_scene, PathOptions(frames=5))
    backbone = RenderBackbone(replace(SPEC, default_steps=30))
    sample_views(backbone, plane_scene, path)
    sample_views(backbone, plane_scene, path, steps=4)
    assert [request.steps for request in backbone.requests] == [30, 4]
    with caplog.at_level(logging.INFO, logger="reconx"):
        sample_views(RenderBackbone(SPEC), plane_scene, path, steps=4)
    assert "'plain' does not denoise: 4 steps are ignored" in caplog.text
    with pytest.raises(InputError, match="Denoising steps is 0"):
        sample_views(backbone, plane_scene, path, steps=0)


@pytest.mark.parametrize("keyframes", ["first_last", "any"])
def test_a_closed_path_ends_at_its_first_frame(plane_scene: Scene, keyframes: str) -> None:
    path = make_path(plane_scene, PathOptions(frames=12, loop=True))
    backbone = RenderBackbone(replace(SPEC, keyframes=keyframes, frame_rule="4k+1"))
    views = sample_views(backbone, plane_scene, path)
    assert len(views.frames) == 12
    last = backbone.requests[-1]
    assert torch.equal(last.cameras.camera_to_world[-1], path.cameras.camera_to_world[0])
    assert (last.keyframes[-1].index, last.keyframes[-1].photo_index) == (len(last.cameras) - 1, 0)
    assert sorted(views.photo_index[views.photo_index >= 0].tolist()) == [0, 1, 2]
    for frame, photo in enumerate(views.photo_index.tolist()):
        if photo >= 0:
            assert torch.equal(views.frames[frame], plane_scene.photos.images[photo])


def test_a_closed_path_without_photos_ends_at_the_frame_it_made(plane_scene: Scene) -> None:
    path = make_path(plane_scene, PathOptions(kind="orbit", frames=8, loop=True))

    class Counting(RenderBackbone):
        """Every frame differs from every other, however often it is made."""

        def generate_clip(self, request: ClipRequest, progress: Progress) -> Clip:
            self.requests.append(request)
            count = len(request.cameras)
            shades = torch.arange(count) / 100 + len(self.requests) / 10
            size = (count, request.cameras.height, request.cameras.width, 3)
            return Clip(frames=shades[:, None, None, None].expand(size), confidence=None)

    backbone = Counting(SPEC)
    views = sample_views(backbone, plane_scene, path)
    first, second = backbone.requests
    assert not first.keyframes
    assert [keyframe.index for keyframe in second.keyframes] == [0, 4]
    assert torch.equal(second.keyframes[0].image, views.frames[4])
    assert torch.equal(second.keyframes[1].image, views.frames[0])
    shades = views.frames[:, 0, 0, 0]
    expected = torch.tensor([0.10, 0.11, 0.12, 0.13, 0.14, 0.21, 0.22, 0.23])
    assert torch.allclose(shades, expected)
