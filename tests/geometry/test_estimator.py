"""From sparse points to a normalised scene; the sparse points are exact here."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reconx.errors import AlignmentFailed, InputError
from reconx.geometry.estimators.base import GeometryOptions
from reconx.geometry.estimators.registry import make_estimator
from reconx.geometry.stereo.assemble import assemble_scene
from reconx.geometry.stereo.cost import try_judging
from reconx.geometry.stereo.exposure import measure_exposures
from reconx.geometry.stereo.neighbours import choose_sources
from reconx.geometry.stereo.sparse import SparseReconstruction
from reconx.ops.photos import resize_photos
from reconx.ops.projection import project_points
from reconx.ops.se3 import so3_exp
from reconx.ops.sim3 import apply_sim3_to_cameras, apply_sim3_to_points
from reconx.progress import SilentProgress
from reconx.types import CameraPrior, Cameras, Photos, Scene, Sim3

SHARED = Path(__file__).parents[3] / "shared" / "data" / "photos" / "herz-jesus-p8"


@pytest.fixture(scope="module")
def sparse(plane_scene) -> SparseReconstruction:
    """Every 41st surface point of the first photo, in a world that is turned, moved and tripled."""
    world = Sim3(
        rotation=so3_exp(torch.tensor([0.2, -0.4, 0.1])),
        translation=torch.tensor([1.0, 2.0, -3.0]),
        scale=3.0,
    )
    return _sparse(plane_scene, world)


@pytest.fixture(scope="module")
def scene(plane_scene, sparse) -> Scene:
    return _assemble(plane_scene.photos, sparse)


def test_view_0_is_the_identity_and_its_median_depth_1(scene):
    torch.testing.assert_close(scene.cameras.camera_to_world[0], torch.eye(4), atol=1e-5, rtol=0)
    assert float(scene.points[0, ..., 2][scene.valid[0]].median()) == pytest.approx(1, abs=1e-5)
    assert torch.equal(scene.points.isfinite().all(-1), scene.valid)


def test_points_are_where_they_should_be(scene, plane_scene):
    measured = scene.measured
    assert measured.float().mean() > 0.5
    # The normalisations differ by the median of what was measured.
    scale = float(plane_scene.cameras.centers[1].norm() / scene.cameras.centers[1].norm())
    error = (scale * scene.points - plane_scene.points).norm(dim=-1)
    assert error[measured].median() < 0.01


def test_without_given_poses_the_world_is_the_sparse_one_stood_upright(scene, sparse):
    back = apply_sim3_to_cameras(scene.world_from_scene, scene.cameras).camera_to_world
    found = sparse.cameras.camera_to_world
    turn = back[0, :3, :3] @ found[0, :3, :3].mT
    torch.testing.assert_close(turn @ found[:, :3], back[:, :3], atol=1e-4, rtol=1e-4)
    up = scene.world_from_scene.rotation @ scene.up
    torch.testing.assert_close(up, torch.tensor([0.0, -1.0, 0.0]), atol=1e-5, rtol=0)


def test_given_poses_come_back(plane_scene, sparse):
    elsewhere = Sim3(
        rotation=so3_exp(torch.tensor([0.0, 1.0, 0.0])),
        translation=torch.tensor([5.0, 0.0, 0.0]),
        scale=0.5,
    )
    given = apply_sim3_to_cameras(elsewhere, sparse.cameras).camera_to_world
    given[2] = torch.nan  # one photo's pose is unknown
    photos = replace(plane_scene.photos, prior=CameraPrior(camera_to_world=given))
    scene = _assemble(photos, sparse)
    back = apply_sim3_to_cameras(scene.world_from_scene, scene.cameras)
    torch.testing.assert_close(back.camera_to_world[:2], given[:2], atol=1e-4, rtol=1e-4)


def test_photos_that_joined_nothing_are_absent(plane_scene, sparse):
    seen = sparse.observed_view < 2
    pair = replace(
        sparse,
        photo_index=(0, 2),
        cameras=sparse.cameras[[0, 2]],
        distortion=sparse.distortion[:2],
        observed_view=sparse.observed_view[seen],
        observed_point=sparse.observed_point[seen],
        observed_pixel=sparse.observed_pixel[seen],
        warnings=("view1.png was left out.",),
    )
    scene = _assemble(plane_scene.photos, pair)
    assert scene.photos.names == ("view0.png", "view2.png")
    assert "view1.png was left out." in scene.source.warnings


def test_distorted_photos_are_undistorted_once(plane_scene, sparse):
    scene = _assemble(plane_scene.photos, replace(sparse, distortion=torch.full((3, 2), 0.2)))
    # A positive k1 pulls the photo's rim inwards, so that the pinhole's corners see nothing.
    assert not scene.photos.valid[:, 0, 0].any()
    assert scene.photos.valid[:, 36, 48].all()
    assert not scene.measured[:, 0, 0].any()


def exposed(photos: Photos, *stops: float) -> Photos:
    """The photos as taken with other exposures, and clipped as a camera clips."""
    images = photos.images.clamp(0, 1)
    linear = torch.where(images > 0.04045, ((images + 0.055) / 1.055) ** 2.4, images / 12.92)
    linear = (linear * 2 ** torch.tensor(stops)[:, None, None, None]).clamp(max=1)
    images = torch.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return replace(photos, images=images)


@pytest.mark.parametrize("stops", [(0.0, 0.0, 0.0), (0.0, 1.0, -0.7), (0.3, 0.3, 0.9)])
def test_exposures_are_measured(plane_scene, sparse, stops):
    found = measure_exposures(exposed(plane_scene.photos, *stops), sparse)
    expected = torch.tensor(stops) - torch.tensor(stops).median()
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


def test_a_photo_without_common_points_has_no_exposure(plane_scene, sparse):
    blown = plane_scene.photos.images.clone()
    blown[1] = 1.0
    found = measure_exposures(replace(plane_scene.photos, images=blown), sparse)
    assert found.isnan().tolist() == [False, True, False]


def test_an_uneven_exposure_is_told_by_name(plane_scene, sparse):
    pair = exposed(plane_scene.photos, 0.0, 1.0, 0.0)
    (warning,) = _assemble(pair, sparse).source.warnings
    assert warning.startswith("view1.png is 1.0 stops brighter than the other photos")
    assert _assemble(plane_scene.photos, sparse).source.warnings == ()


def test_no_depth_at_all_is_said(plane_scene, sparse):
    blank = replace(plane_scene.photos, images=torch.full_like(plane_scene.photos.images, 0.5))
    with pytest.raises(AlignmentFailed, match=r"No depth was found in photo 1 \(view0.png\)"):
        _assemble(blank, sparse)


def test_sources_prefer_views_at_a_good_angle():
    poses = torch.eye(4).repeat(4, 1, 1)
    poses[:, 0, 3] = torch.tensor([0.0, 0.02, 0.9, 8.0])  # 0.3, 13 and 60 degrees at depth 4
    count = 20
    observed_view = torch.arange(4).repeat_interleave(count)
    reconstruction = SparseReconstruction(
        photo_index=(0, 1, 2, 3),
        cameras=Cameras(camera_to_world=poses, K=torch.eye(3).repeat(4, 1, 1), width=4, height=4),
        distortion=torch.zeros(4, 2),
        points=torch.tensor([[0.0, 0.0, 4.0]]).repeat(count, 1),
        observed_view=observed_view,
        observed_point=torch.arange(count).repeat(4),
        observed_pixel=torch.zeros(len(observed_view), 2),
        matches={},
        warnings=(),
    )
    assert choose_sources(reconstruction, 1)[0] == (2,)


def test_the_cost_grows_with_the_work(plane_scene):
    """Sixteen times the pixels, of which SIFT, memory and dense stereo see all."""
    small = make_estimator("stereo", GeometryOptions()).estimate_cost(plane_scene.photos)
    photos = resize_photos(plane_scene.photos, 384, 288)
    large = make_estimator("stereo", GeometryOptions()).estimate_cost(photos)
    assert 0 < small.seconds < large.seconds
    assert 80 < small.megabytes < large.megabytes - 80
    with pytest.raises(InputError, match="Device 'abacus' cannot be used here"):
        make_estimator("stereo", GeometryOptions(device="abacus")).estimate_cost(photos)


def test_a_device_is_tried_out():
    assert 1e-9 < try_judging("cpu") < 1e-3


@pytest.mark.slow
def test_real_photos():
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is absent")
    names = json.loads((SHARED / "splits.json").read_text())["easy2"]["context"]
    images = [np.asarray(Image.open(SHARED / "images" / name), np.float32) / 255 for name in names]
    stack = torch.from_numpy(np.stack(images))
    count, height, width = stack.shape[:3]
    photos = Photos(
        images=stack,
        valid=torch.ones(stack.shape[:3], dtype=torch.bool),
        names=tuple(names),
        original_sizes=((width, height),) * count,
        to_original=torch.eye(3).repeat(count, 1, 1),
    )
    scene = make_estimator("stereo", GeometryOptions(geometry_size=256)).estimate(
        photos, SilentProgress()
    )
    assert (scene.measured.float().mean(dim=(1, 2)) > 0.35).all()
    assert float(scene.up @ torch.tensor([0.0, -1.0, 0.0])) > 0.9


def _assemble(photos: Photos, sparse: SparseReconstruction) -> Scene:
    return assemble_scene(photos, sparse, GeometryOptions(), SilentProgress())


def _sparse(scene: Scene, world: Sim3) -> SparseReconstruction:
    cameras = apply_sim3_to_cameras(world, scene.cameras)
    points = apply_sim3_to_points(world, scene.points[0].reshape(-1, 3)[::41])
    views, index, pixels = [], [], []
    for view in range(len(cameras)):
        seen, _ = project_points(points, cameras.viewmats[view], cameras.K[view])
        views.append(torch.full((len(points),), view))
        index.append(torch.arange(len(points)))
        pixels.append(seen)
    return SparseReconstruction(
        photo_index=tuple(range(len(cameras))),
        cameras=cameras,
        distortion=torch.zeros(len(cameras), 2),
        points=points,
        observed_view=torch.cat(views),
        observed_point=torch.cat(index),
        observed_pixel=torch.cat(pixels),
        matches={(0, 1): len(points)},
        warnings=(),
    )
