"""Depth of other programs: as a scene, and where stereo has measured nothing."""

from dataclasses import replace

import pytest
import torch

from reconx.errors import InputError
from reconx.geometry.depth_maps import DepthMaps, GivenDepth, resample_maps, without_flying
from reconx.geometry.estimators.base import GeometryOptions
from reconx.geometry.given import fill_scene, scene_from_depth
from reconx.ops.photos import select_photos
from reconx.ops.projection import world_to_camera
from reconx.ops.se3 import so3_exp
from reconx.ops.sim3 import apply_sim3_to_cameras
from reconx.progress import SilentProgress
from reconx.types import CONFIDENT, FILLED, CameraPrior, Scene, Sim3

SOMEWHERE = Sim3(
    rotation=so3_exp(torch.tensor([0.3, -0.8, 0.2])),
    translation=torch.tensor([4.0, 1.0, -2.0]),
    scale=7.0,
)


def true_depth(scene: Scene) -> torch.Tensor:
    """z of every pixel in its own camera."""
    return torch.stack(
        [
            world_to_camera(p, m)[..., 2]
            for p, m in zip(scene.points, scene.cameras.viewmats, strict=True)
        ]
    )


def scale_of(built: Scene, truth: Scene) -> float:
    """How much larger a scene is than the true one: what is filled counts in its median depth."""
    return float((built.points[0, 0, 0] / truth.points[0, 0, 0])[2])


def as_given(scene: Scene) -> GivenDepth:
    """What a perfect multi-view network says of the scene, in a world and unit of its own."""
    cameras = apply_sim3_to_cameras(SOMEWHERE, scene.cameras)
    return GivenDepth(
        depth=true_depth(scene) * SOMEWHERE.scale,
        confidence=torch.full(scene.confidence.shape, 2.0),
        K=cameras.K,
        camera_to_world=cameras.camera_to_world,
        estimator="net",
        licence="free",
    )


def build(scene: Scene, given: GivenDepth, **photos: object) -> Scene:
    return scene_from_depth(
        replace(scene.photos, **photos), given, GeometryOptions(), SilentProgress()
    )


def fill(scene: Scene, given: GivenDepth) -> Scene:
    return fill_scene(scene, scene.photos, given, SilentProgress())


def with_hole(scene: Scene) -> Scene:
    """The scene with nothing in the middle of photo 0, and a guess there."""
    confidence = scene.confidence.clone()
    confidence[0, 20:50, 30:60] = 1.5
    points = scene.points.clone()
    points[0, 20:50, 30:60] *= 1.3
    return replace(scene, points=points, confidence=confidence)


def test_a_scene_of_true_depth_is_the_scene(plane_scene: Scene) -> None:
    built = build(plane_scene, as_given(plane_scene))
    scale = scale_of(built, plane_scene)
    assert scale == pytest.approx(1, abs=0.02)
    torch.testing.assert_close(
        built.cameras.centers, scale * plane_scene.cameras.centers, atol=1e-4, rtol=0
    )
    measured = built.measured
    # All but the seam between box and plane, where a point may hang in between.
    assert float(measured.float().mean()) > 0.85
    torch.testing.assert_close(
        built.points[measured], scale * plane_scene.points[measured], atol=1e-3, rtol=0
    )
    assert (built.source.estimator, built.source.licence) == ("net", "free")


def test_photos_with_known_poses_keep_their_world(plane_scene: Scene) -> None:
    world = apply_sim3_to_cameras(SOMEWHERE.inverse(), plane_scene.cameras).camera_to_world
    built = build(plane_scene, as_given(plane_scene), prior=CameraPrior(camera_to_world=world))
    back = apply_sim3_to_cameras(built.world_from_scene, built.photo_cameras)
    torch.testing.assert_close(back.camera_to_world, world, atol=1e-4, rtol=0)


def test_what_a_network_doubts_is_not_measured(plane_scene: Scene) -> None:
    given = as_given(plane_scene)
    confidence = torch.linspace(1.01, 3.0, given.depth.numel()).reshape(given.depth.shape)
    built = build(plane_scene, replace(given, confidence=confidence))
    assert not built.measured[0, :15].any()
    assert built.valid[0, :15].all()
    assert float(built.confidence[0, :15].max()) <= FILLED
    assert float(built.confidence.max()) == 10


def test_depth_that_another_photo_contradicts_is_not_measured(plane_scene: Scene) -> None:
    given = as_given(plane_scene)
    depth, confidence = given.depth.clone(), torch.full(given.depth.shape, 2.0)
    depth[1, 30:40, 40:50] *= 0.7
    confidence[1] = 1.9
    built = build(plane_scene, replace(given, depth=depth, confidence=confidence))
    inside = (1, slice(31, 39), slice(41, 49))
    assert not built.measured[inside].any()
    # Nor does it stay as a guess: it would hide what the other photos measured.
    error = (built.points / scale_of(built, plane_scene) - plane_scene.points).norm(dim=-1)
    assert float(error[inside].nanmedian()) < 0.05


def test_points_between_surfaces_are_dropped() -> None:
    x = torch.arange(32.0)
    plane = (1 / (0.2 + 0.02 * x)).expand(1, 24, 32)
    kept = without_flying(DepthMaps(depth=plane, confidence=torch.ones_like(plane)))
    assert torch.equal(kept.depth, plane)
    step = torch.where(x < 16, 2.0, 3.0).expand(1, 24, 32).clone()
    step[..., 16] = 2.5  # what bilinear resampling leaves between them
    kept = without_flying(DepthMaps(depth=step, confidence=torch.full_like(step, 5.0)))
    gone = kept.depth.isnan()
    assert gone[..., 15:18].all()
    assert not gone[..., :14].any()
    assert float(kept.confidence[gone].max()) == 1


def test_maps_are_resampled_without_new_depths() -> None:
    depth = torch.tensor([1.0, 5.0]).repeat_interleave(4).expand(1, 6, 8)
    maps = DepthMaps(depth=depth, confidence=torch.ones_like(depth))
    assert set(resample_maps(maps, 5, 3).depth.unique().tolist()) == {1.0, 5.0}


def test_one_photo_makes_a_scene_of_its_own(plane_scene: Scene) -> None:
    photos = select_photos(plane_scene.photos, [0])
    alone = GivenDepth(
        depth=5 * true_depth(plane_scene)[:1],
        K=plane_scene.cameras.K[:1],
        estimator="mono",
        licence="MIT",
    )
    built = scene_from_depth(photos, alone, GeometryOptions(), SilentProgress())
    measured = built.measured
    torch.testing.assert_close(
        built.points[measured],
        scale_of(built, plane_scene) * plane_scene.points[:1][measured],
        atol=1e-4,
        rtol=0,
    )
    assert built.world_from_scene.scale == pytest.approx(5, rel=0.02)
    blind = replace(alone, K=None)
    with pytest.raises(InputError, match="mono tells no focal length, and none is known of photo"):
        scene_from_depth(photos, blind, GeometryOptions(), SilentProgress())
    known = replace(photos, prior=CameraPrior(K=plane_scene.cameras.K[:1]))
    again = scene_from_depth(known, blind, GeometryOptions(), SilentProgress())
    torch.testing.assert_close(again.points, built.points, equal_nan=True)


def test_several_photos_need_poses(plane_scene: Scene) -> None:
    given = replace(as_given(plane_scene), camera_to_world=None)
    with pytest.raises(InputError, match="net has measured each of the 3 photos alone"):
        build(plane_scene, given)


def test_depth_of_other_pictures_is_refused(plane_scene: Scene) -> None:
    given = as_given(plane_scene)
    two = select_photos(plane_scene.photos, [0, 1])
    with pytest.raises(InputError, match="speaks of 3 pictures, but there are 2 photos"):
        scene_from_depth(two, given, GeometryOptions(), SilentProgress())
    flat = replace(given, depth=given.depth[:, :36], confidence=None)
    with pytest.raises(InputError, match="96 x 36 pixels, the photos 96 x 72: another shape"):
        build(plane_scene, flat)
    pair = GivenDepth(depth=given.depth[:2], estimator="net", licence="free")
    with pytest.raises(InputError, match=r"photo view2.png is not among .*\(view0.png, view1.png"):
        fill_scene(plane_scene, two, pair, SilentProgress())


def test_a_gap_is_filled_at_the_scale_of_what_was_measured(plane_scene: Scene) -> None:
    truth = true_depth(plane_scene)
    x = torch.linspace(0.9, 1.1, truth.shape[-1])  # the network's own smooth error
    given = GivenDepth(depth=11 * truth * x, estimator="mono", licence="MIT")
    filled = fill(with_hole(plane_scene), given)
    gap = (slice(0, 1), slice(20, 50), slice(30, 60))
    scale = scale_of(filled, plane_scene)
    error = (filled.points[gap] / scale - plane_scene.points[gap]).norm(dim=-1)
    assert float(error.nanmedian()) < 0.02
    assert float(filled.confidence[gap].max()) <= FILLED
    kept = with_hole(plane_scene).measured
    assert torch.equal(filled.measured, kept)
    torch.testing.assert_close(filled.points[kept], scale * plane_scene.points[kept])
    back = apply_sim3_to_cameras(filled.world_from_scene, filled.cameras)
    torch.testing.assert_close(
        back.camera_to_world, plane_scene.cameras.camera_to_world, atol=1e-4, rtol=0
    )
    assert filled.source.licence == "Apache-2.0; where filled: MIT"


def test_filler_never_hides_what_another_photo_measured(plane_scene: Scene) -> None:
    depth = true_depth(plane_scene)
    depth[0, 25:45, 35:55] *= 0.6
    given = GivenDepth(depth=depth, estimator="mono", licence="MIT")
    filled = fill(with_hole(plane_scene), given)
    z = filled.points[0, 25:45, 35:55, 2] / filled.points[0, 0, 0, 2]
    truth = plane_scene.points[0, 25:45, 35:55, 2] / plane_scene.points[0, 0, 0, 2]
    assert not (z < 0.9 * truth).any()


def test_a_filler_that_does_not_fit_is_told(plane_scene: Scene) -> None:
    waves = 1 + 0.8 * torch.sin(torch.arange(96.0) / 10)
    given = GivenDepth(depth=true_depth(plane_scene) * waves, estimator="mono", licence="MIT")
    filled = fill(with_hole(plane_scene), given)
    assert "mono's depth of view0.png is off by" in filled.source.warnings[0]


def test_a_photo_without_measurements_keeps_its_guesses(plane_scene: Scene) -> None:
    confidence = plane_scene.confidence.clone()
    confidence[0] = FILLED
    scene = replace(plane_scene, confidence=confidence)
    filled = fill(scene, GivenDepth(depth=true_depth(scene), estimator="mono", licence="MIT"))
    torch.testing.assert_close(filled.points, scene.points, atol=1e-5, rtol=0)
    assert not (filled.confidence[0] >= CONFIDENT).any()
