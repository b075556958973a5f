from dataclasses import replace

import pytest
import torch

from reconx.ops.metrics import psnr
from reconx.ops.photos import select_photos
from reconx.progress import Preview
from reconx.render.edits import edit_renders
from reconx.render.points import render_scene
from reconx.trajectory.options import CameraPath, PathOptions
from reconx.trajectory.path import make_path
from reconx.types import CONFIDENT, FILLED, Scene
from reconx.video.backbones.background import fill_from_background
from reconx.video.registry import make_backbone
from reconx.video.sample import sample_views


def without(scene: Scene, left_out: int) -> Scene:
    index = [i for i in range(len(scene.photos)) if i != left_out]
    return replace(
        scene,
        photos=select_photos(scene.photos, index),
        photo_cameras=scene.photo_cameras[index],
        cameras=scene.cameras[index],
        points=scene.points[index],
        confidence=scene.confidence[index],
        valid=scene.valid[index],
    )


def look_from(scene: Scene, view: int) -> CameraPath:
    return CameraPath(cameras=scene.photo_cameras[view], photo_index=torch.tensor([-1]))


def test_a_photo_left_out_is_predicted(plane_scene: Scene) -> None:
    for view in range(3):
        views = sample_views(
            make_backbone("warp"), without(plane_scene, view), look_from(plane_scene, view)
        )
        assert views.confidence is not None
        sure = views.confidence >= CONFIDENT
        assert sure.float().mean() > 0.75
        truth = plane_scene.photos.images[view][None]
        # The box's outline may lie a pixel off; elsewhere the photos are looked up exactly.
        assert psnr(views.frames, truth, sure) > 28
        assert (views.frames - truth).abs()[sure].quantile(0.9) < 0.02
        assert torch.equal(views.confidence > FILLED, views.confidence >= CONFIDENT)


def test_what_no_photo_saw_has_confidence_one_and_a_colour(plane_scene: Scene) -> None:
    pose = plane_scene.cameras.camera_to_world[:1].clone()
    pose[0, 2, 3] = -0.6
    path = CameraPath(
        cameras=replace(plane_scene.photo_cameras[0], camera_to_world=pose),
        photo_index=torch.tensor([-1]),
    )
    views = sample_views(make_backbone("warp"), plane_scene, path)
    assert views.confidence is not None
    assert (views.confidence[0, :4, :4] == 1).all()
    assert not views.known[0, :4, :4].any()
    assert views.frames[0, :4, :4].min() > 0


def test_nothing_in_view_is_the_photos_mean_colour(plane_scene: Scene) -> None:
    pose = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0]))[None]
    path = CameraPath(
        cameras=replace(plane_scene.photo_cameras[0], camera_to_world=pose),
        photo_index=torch.tensor([-1]),
    )
    views = sample_views(make_backbone("warp"), plane_scene, path)
    mean = plane_scene.photos.images.mean((0, 1, 2))
    assert torch.allclose(views.frames[0], mean.expand(72, 96, 3), atol=1e-5)
    assert views.confidence is not None
    assert (views.confidence == 1).all()


def test_masked_pixels_of_a_photo_show_nowhere(plane_scene: Scene) -> None:
    images, valid = plane_scene.photos.images.clone(), plane_scene.photos.valid.clone()
    images[:, :, :20], valid[:, :, :20] = 0, False
    points_valid = plane_scene.valid.clone()
    points_valid[:, :, :20] = False
    scene = replace(
        plane_scene,
        photos=replace(plane_scene.photos, images=images, valid=valid),
        valid=points_valid,
        points=plane_scene.points.where(points_valid[..., None], torch.nan),
        confidence=plane_scene.confidence.where(points_valid, 1.0),
    )
    views = sample_views(make_backbone("warp"), scene, make_path(scene, PathOptions(frames=5)))
    # Colours of this scene lie in [0.1, 0.9]; only the mask is black.
    assert views.frames.min() > 0.09
    assert not views.frames.isnan().any()


def test_a_hole_continues_the_farther_side() -> None:
    colour = torch.zeros(8, 12, 3)
    colour[:, :4], colour[:, 8:] = 0.2, 0.9
    depth = torch.ones(8, 12)
    depth[:, 8:] = 3
    seen = torch.ones(8, 12, dtype=torch.bool)
    seen[:, 4:8] = False
    filled = fill_from_background(colour, depth, seen, torch.zeros(3))
    assert (filled[:, 4:8] > 0.85).all()
    assert torch.equal(filled[seen], colour[seen])


def test_a_hole_on_one_surface_is_interpolated() -> None:
    ramp = torch.linspace(0, 1, 11)[None, :, None].expand(1, 11, 3).contiguous()
    seen = torch.ones(1, 11, dtype=torch.bool)
    seen[:, 3:8] = False
    filled = fill_from_background(
        ramp.masked_fill(~seen[..., None], 0), torch.ones(1, 11), seen, torch.zeros(3)
    )
    assert torch.allclose(filled[0, 5], torch.full((3,), 0.5), atol=1e-6)


def test_corners_without_a_seen_line_are_filled_too() -> None:
    seen = torch.zeros(5, 5, dtype=torch.bool)
    seen[2, 2] = True
    filled = fill_from_background(
        torch.full((5, 5, 3), 0.4) * seen[..., None], torch.ones(5, 5), seen, torch.zeros(3)
    )
    assert torch.allclose(filled, torch.full((5, 5, 3), 0.4))


def test_edits_show_and_what_is_erased_is_continued_from_around(plane_scene: Scene) -> None:
    path = make_path(plane_scene, PathOptions(kind="orbit", frames=1))
    backbone = make_backbone("warp")
    plain = render_scene(plane_scene, path.cameras)
    colour, hole = plain.colour.clone(), plain.hole.clone()
    red = torch.tensor([1.0, 0.0, 0.0])
    colour[:, 10:20, 10:30] = red
    hole[:, 40:60, 40:70] = True
    before = sample_views(backbone, plane_scene, path)
    after = sample_views(backbone, plane_scene, path, renders=edit_renders(plain, colour, hole))
    assert before.confidence is not None
    assert after.confidence is not None
    shown = ~plain.hole[0, 10:20, 10:30]
    assert (after.frames[0, 10:20, 10:30][shown] == red).all()
    assert (after.confidence[0, 10:20, 10:30][shown] >= CONFIDENT).all()
    erased = ~plain.hole[0, 40:60, 40:70]
    assert erased.float().mean() > 0.9
    assert (after.confidence[0, 40:60, 40:70][erased] == 1).all()
    assert after.frames[0, 40:60, 40:70].min() > 0
    untouched = torch.ones_like(hole[0])
    untouched[10:20, 10:30] = untouched[40:60, 40:70] = False
    sure = untouched & (before.confidence[0] > FILLED)
    assert torch.equal(after.frames[0][sure], before.frames[0][sure])
    assert torch.equal(after.confidence[0][sure], before.confidence[0][sure])


def test_holes_continue_what_was_painted(plane_scene: Scene) -> None:
    path = make_path(plane_scene, PathOptions(kind="orbit", frames=1))
    plain = render_scene(plane_scene, path.cameras)
    red = torch.tensor([1.0, 0.0, 0.0])
    hole = plain.hole.clone()
    hole[:, 40:60, 40:70] = True
    edited = edit_renders(plain, red.expand_as(plain.colour), hole)
    views = sample_views(make_backbone("warp"), plane_scene, path, renders=edited)
    assert (views.frames[0, 40:60, 40:70] - red).abs().max() < 0.01


def test_blending_stops_within_a_frame(plane_scene: Scene) -> None:
    class Stopping:
        """Stops at its third report while the first frame is blended."""

        def __init__(self) -> None:
            self.heard = 0
            self.stage = ""

        def start(self, stage: str, total: int) -> "Stopping":
            self.stage = stage
            return self

        def update(self, done: int, preview: Preview | None = None) -> None:
            assert self.stage == "Rendering points" or done == 0
            self.heard += self.stage == "Blending photos"
            if self.heard == 3:
                raise KeyboardInterrupt

    path = make_path(plane_scene, PathOptions(kind="orbit", frames=4))
    with pytest.raises(KeyboardInterrupt):
        sample_views(make_backbone("warp"), plane_scene, path, progress=Stopping())
