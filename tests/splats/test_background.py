from dataclasses import replace

import pytest
import torch

from reconx.ops.projection import project_points
from reconx.ops.se3 import so3_exp
from reconx.ops.sh import SH_C0
from reconx.ops.sim3 import apply_sim3_to_cameras, apply_sim3_to_points
from reconx.render.gaussians import render_gaussians
from reconx.splats.background import place_background
from reconx.splats.fit import FitOptions, fit_gaussians
from reconx.splats.placing import place_gaussians
from reconx.types import Cameras, Gaussians, Scene, Sim3


@pytest.fixture(scope="module")
def layer(plane_scene: Scene) -> Gaussians:
    return place_background(plane_scene)


def turned(camera: Cameras, degrees: float) -> Cameras:
    """The camera turned about its own vertical axis."""
    pose = camera.camera_to_world.clone()
    pose[:, :3, :3] = pose[:, :3, :3] @ so3_exp(torch.tensor([0.0, torch.pi * degrees / 180, 0.0]))
    return replace(camera, camera_to_world=pose)


def test_it_stands_in_front_of_nothing(plane_scene: Scene, layer: Gaussians):
    cameras, landed = plane_scene.cameras, 0
    for view in range(len(cameras)):
        viewmat = cameras.viewmats[view]
        pixels, z = project_points(layer.means, viewmat, cameras.K[view])
        size = torch.tensor([cameras.width, cameras.height])
        inside = ((pixels >= 0) & (pixels < size)).all(-1) & (z > 0)
        column, row = pixels[inside].long().unbind(-1)
        depth = (plane_scene.points[view] @ viewmat[2, :3] + viewmat[2, 3])[row, column]
        assert (z[inside] >= depth).all()
        landed += int(inside.sum())
    assert landed > 1000


def test_photos_look_the_same_with_it(plane_scene: Scene, layer: Gaussians):
    surfaces = place_gaussians(plane_scene, max_gaussians=20_000)
    camera = plane_scene.photo_cameras[0]
    without = render_gaussians(surfaces, camera)
    drawn = render_gaussians(Gaussians.concatenate([surfaces, layer]), camera)
    covered = without.alpha > 0.98
    assert float(covered.float().mean()) > 0.8
    assert float((drawn.colour - without.colour).abs()[covered].max()) < 0.03


def test_it_goes_on_beyond_the_borders_in_the_photos_colours(plane_scene: Scene, layer: Gaussians):
    beside = turned(plane_scene.photo_cameras[1], 35)
    surfaces = render_gaussians(place_gaussians(plane_scene, max_gaussians=5000), beside)
    drawn = render_gaussians(layer, beside)
    empty = surfaces.alpha[0] < 0.01
    assert float(empty.float().mean()) > 0.2
    shown = empty & (drawn.alpha[0] > 0.9)
    assert float(shown.sum() / empty.sum()) > 0.6
    low, high = plane_scene.photos.images.amin((0, 1, 2)), plane_scene.photos.images.amax((0, 1, 2))
    assert (drawn.colour[0][shown] > low * 0.9 - 0.01).all()
    assert (drawn.colour[0][shown] < high + 0.01).all()


def test_there_is_none_behind_the_cameras(plane_scene: Scene, layer: Gaussians):
    assert (layer.means[:, 2] > 0).all()
    behind = turned(plane_scene.photo_cameras[0], 180)
    assert float(render_gaussians(layer, behind).alpha.max()) < 0.01


def test_sky_takes_the_colour_of_pixels_without_depth(plane_scene: Scene):
    images, valid = plane_scene.photos.images.clone(), plane_scene.valid.clone()
    images[:, :30], valid[:, :30] = torch.tensor([0.2, 0.4, 0.9]), False
    photos = replace(plane_scene.photos, images=images)
    points = torch.where(valid[..., None], plane_scene.points, torch.nan)
    layer = place_background(replace(plane_scene, photos=photos, points=points, valid=valid))
    pixels, _ = project_points(
        layer.means, plane_scene.cameras.viewmats[0], plane_scene.cameras.K[0]
    )
    above = (pixels[:, 1] < 15) & (pixels[:, 1] > -20)
    above &= (pixels[:, 0] > 20) & (pixels[:, 0] < 76)
    assert int(above.sum()) > 50
    colours = (0.5 + SH_C0 * layer.sh[above, 0]).mean(0)
    torch.testing.assert_close(colours, torch.tensor([0.2, 0.4, 0.9]), atol=0.02, rtol=0)


def test_a_larger_scene_has_a_larger_layer(plane_scene: Scene, layer: Gaussians):
    larger = Sim3(rotation=torch.eye(3), translation=torch.tensor([1.0, -2.0, 0.5]), scale=4.0)
    cameras = apply_sim3_to_cameras(larger, plane_scene.cameras)
    moved = place_background(
        replace(
            plane_scene,
            cameras=cameras,
            photo_cameras=cameras,
            points=apply_sim3_to_points(larger, plane_scene.points),
        )
    )
    # A direction at the rim, or the multiple of its distance, may flip with the last bit.
    assert abs(len(moved) / len(layer) - 1) < 0.01
    center = plane_scene.cameras.centers.mean(0)
    reach = torch.linalg.vector_norm(layer.means - center, dim=-1).quantile(0.5)
    there = torch.linalg.vector_norm(moved.means - cameras.centers.mean(0), dim=-1).quantile(0.5)
    assert float(there / reach) == pytest.approx(4, rel=0.01)


def test_the_fit_leaves_it_as_it_is_and_says_how_much_there_is(
    plane_scene: Scene, layer: Gaussians
):
    options = FitOptions(steps=3, max_gaussians=2500)
    result = fit_gaussians(plane_scene, options=options)
    assert result.background == len(layer)
    torch.testing.assert_close(result.gaussians.means[-len(layer) :], layer.means)
    torch.testing.assert_close(result.gaussians.sh[-len(layer) :], layer.sh)
    assert len(result.surfaces) == len(result.gaussians) - len(layer)
    alone = fit_gaussians(plane_scene, options=replace(options, background=False))
    assert alone.background == 0
    assert len(alone.surfaces) == len(alone.gaussians) == len(result.surfaces)
