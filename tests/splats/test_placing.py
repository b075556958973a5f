import logging
from dataclasses import replace

import pytest
import torch

from reconx.errors import InputError
from reconx.ops.metrics import psnr
from reconx.ops.projection import world_to_camera
from reconx.ops.quaternion import quaternion_to_matrix
from reconx.ops.sim3 import apply_sim3_to_cameras, apply_sim3_to_points
from reconx.render.gaussians import render_gaussians
from reconx.splats.placing import place_gaussians, view_depths
from reconx.types import FILLED, Scene, Sim3

PLANE_NORMAL = torch.nn.functional.normalize(torch.tensor([0.25, -0.35, 1.0]), dim=0)


def one_view(scene: Scene) -> Scene:
    """Only photo 0 has points."""
    valid = scene.valid.clone()
    valid[1:] = False
    return replace(scene, valid=valid)


def test_the_unfitted_gaussians_already_look_like_the_photo(plane_scene: Scene):
    gaussians = place_gaussians(plane_scene, max_gaussians=20_000)
    drawn = render_gaussians(gaussians, plane_scene.photo_cameras[0])
    assert psnr(drawn.colour, plane_scene.photos.images[:1]) > 24
    assert float(drawn.alpha.mean()) > 0.95


def test_no_surface_is_covered_twice(plane_scene: Scene):
    alone = len(place_gaussians(one_view(plane_scene), max_gaussians=100_000))
    together = len(place_gaussians(plane_scene, max_gaussians=100_000))
    assert alone == 96 * 72
    # The other two photos add only what photo 0 does not see: borders, and beside the box.
    assert alone < together < 2 * alone


@pytest.mark.parametrize("budget", [600, 3000])
def test_the_budget_is_kept_and_used(plane_scene: Scene, budget: int):
    assert 0.9 * budget < len(place_gaussians(plane_scene, max_gaussians=budget)) <= budget


def test_a_budget_too_small_to_cover_the_surfaces_says_so(
    plane_scene: Scene, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO, logger="reconx"):
        count = len(place_gaussians(plane_scene, max_gaussians=1))
    assert count > 1
    assert f"{count} Gaussians placed instead of 1" in caplog.text


def test_budget_goes_where_the_detail_is(plane_scene: Scene):
    images = torch.full_like(plane_scene.photos.images, 0.5)
    noise = torch.rand(72, 48, 3, generator=torch.Generator().manual_seed(0))
    images[0, :, :48] = noise
    scene = one_view(replace(plane_scene, photos=replace(plane_scene.photos, images=images)))
    gaussians = place_gaussians(scene, max_gaussians=3700)
    left = gaussians.means[:, 0] / gaussians.means[:, 2] < 0
    assert int(left.sum()) > 0.85 * 72 * 48
    assert int((~left).sum()) < 0.1 * 72 * 48


def test_gaussians_lie_flat_on_the_surface(plane_scene: Scene):
    gaussians = place_gaussians(one_view(plane_scene), max_gaussians=100_000)
    axes = quaternion_to_matrix(gaussians.quats)
    on_plane = (axes[:, :, 2] @ PLANE_NORMAL).abs() > 0.999
    assert float(on_plane.float().mean()) > 0.6  # the rest is the box and its rim
    assert (gaussians.scales[:, 2] < gaussians.scales[:, 1]).all()
    assert (gaussians.scales[:, 1] <= gaussians.scales[:, 0] * 1.0001).all()


def test_filled_points_are_fainter(plane_scene: Scene):
    confidence = plane_scene.confidence.clone()
    confidence[:, :, 48:] = 1.5
    gaussians = place_gaussians(one_view(replace(plane_scene, confidence=confidence)))
    right = gaussians.means[:, 0] > 0
    assert gaussians.opacities[right].max() < gaussians.opacities[~right].min()


def test_who_walked_by_leaves_nothing_on_the_wall_that_a_later_photo_measured(plane_scene: Scene):
    somebody = torch.zeros_like(plane_scene.valid)
    somebody[0, 30:42, 66:80] = True
    images = torch.where(somebody[..., None], torch.tensor([1.0, 0, 1]), plane_scene.photos.images)
    # Nobody else stands there, so that nothing was matched and the wall's depth was filled in.
    scene = replace(
        plane_scene,
        photos=replace(plane_scene.photos, images=images),
        confidence=plane_scene.confidence.masked_fill(somebody, FILLED),
    )
    camera = plane_scene.photo_cameras[1]
    seen, undisturbed = (
        render_gaussians(place_gaussians(taken, max_gaussians=20_000), camera)
        for taken in (scene, plane_scene)
    )
    assert psnr(seen.colour, undisturbed.colour) > 40


def test_a_similarity_of_the_scene_moves_the_gaussians_along(plane_scene: Scene):
    turn = quaternion_to_matrix(torch.tensor([0.9, 0.2, -0.3, 0.25]))
    similarity = Sim3(rotation=turn, translation=torch.tensor([0.3, -1.0, 2.0]), scale=4.0)
    cameras = apply_sim3_to_cameras(similarity, plane_scene.cameras)
    moved = replace(
        plane_scene,
        cameras=cameras,
        photo_cameras=cameras,
        points=apply_sim3_to_points(similarity, plane_scene.points),
    )
    # All of one view's pixels: a block's choice may flip with the last bit of a depth.
    here = place_gaussians(one_view(plane_scene), max_gaussians=100_000)
    there = place_gaussians(one_view(moved), max_gaussians=100_000)
    torch.testing.assert_close(
        apply_sim3_to_points(similarity, here.means), there.means, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(4 * here.scales, there.scales, rtol=1e-2, atol=1e-4)


def test_spherical_harmonics_start_constant(plane_scene: Scene):
    gaussians = place_gaussians(plane_scene, max_gaussians=500, sh_degree=2)
    assert gaussians.sh.shape[1:] == (9, 3)
    assert not gaussians.sh[:, 1:].any()


def test_depths_are_along_each_cameras_axis(plane_scene: Scene):
    depths = view_depths(plane_scene)
    local = world_to_camera(plane_scene.points[2], plane_scene.cameras.viewmats[2])
    assert torch.equal(depths[2], local[..., 2])
    assert float(depths[0].median()) == pytest.approx(1, abs=1e-5)


def test_a_scene_without_points_is_refused(plane_scene: Scene):
    empty = replace(plane_scene, valid=torch.zeros_like(plane_scene.valid))
    with pytest.raises(InputError, match="holds no points"):
        place_gaussians(empty)


def test_a_budget_of_nothing_is_refused(plane_scene: Scene):
    with pytest.raises(InputError, match="max_gaussians is 0; expected at least 1"):
        place_gaussians(plane_scene, max_gaussians=0)
