from dataclasses import replace

import pytest
import torch
from same_scenes import moved, shuffled

from reconx.errors import InputError
from reconx.ops.projection import inside_image, project_points, world_to_camera
from reconx.structure.points import StructurePoints, choose_points, farthest_points
from reconx.types import Cameras, Scene


def choose(scene: Scene, cameras: Cameras | None = None, points: int = 400) -> StructurePoints:
    return choose_points(scene, (cameras or scene.cameras)[1], points=points, queries=50)


def same(first: StructurePoints, second: StructurePoints, tolerance: float) -> bool:
    parts = ("positions", "seen", "colours")
    return torch.equal(first.queries, second.queries) and all(
        torch.allclose(getattr(first, part), getattr(second, part), atol=tolerance)
        for part in parts
    )


@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
def test_a_similarity_of_scene_and_cameras_changes_nothing(
    plane_scene: Scene, scale: float
) -> None:
    # A point on a voxel's wall may change sides by rounding, which moves a mean a little.
    assert same(choose(plane_scene), choose(*moved(plane_scene, scale)), 2e-3)


def test_the_order_of_points_changes_nothing(plane_scene: Scene) -> None:
    other = shuffled(plane_scene)
    assert not torch.equal(other.points, plane_scene.points)
    assert same(choose(plane_scene), choose(other), 1e-6)


def test_another_reference_is_another_frame(plane_scene: Scene) -> None:
    first, second = (
        choose_points(plane_scene, plane_scene.cameras[i], points=400, queries=50) for i in (0, 1)
    )
    assert not torch.allclose(first.positions.mean(0), second.seen.mean(0), atol=0.01)


def test_points_are_centred_and_within_a_radius_of_one(plane_scene: Scene) -> None:
    points = choose(plane_scene)
    assert points.positions.mean(0).abs().max() < 1e-5
    share = (points.positions.norm(dim=-1) <= 1 + 1e-5).float().mean()
    assert 0.94 <= share <= 0.96


@pytest.mark.parametrize("budget", [60, 400, 3000])
def test_the_budget_is_kept_and_used(plane_scene: Scene, budget: int) -> None:
    assert 0.6 * budget <= len(choose(plane_scene, points=budget).positions) <= budget


def test_a_small_cloud_is_kept_whole(plane_scene: Scene) -> None:
    valid = torch.zeros_like(plane_scene.valid)
    valid[0, ::12, ::12] = True
    count = int(valid.sum())
    points = choose(replace(plane_scene, valid=valid))
    assert len(points.positions) == count
    assert len(points.queries) == min(50, count)


def test_thinned_points_lie_on_the_surface(plane_scene: Scene) -> None:
    """Seen from the reference they are as deep as what the photo's pixel shows, up to one scale."""
    camera = plane_scene.cameras[1]
    points = choose(plane_scene, points=3000)
    pixels, depth = project_points(points.seen, torch.eye(4), camera.K[0])
    inside = inside_image(pixels, camera.width, camera.height)
    x, y = pixels[inside].long().unbind(-1)
    shown = world_to_camera(plane_scene.points[1, y, x], camera.viewmats[0])[..., 2]
    ratio = shown / depth[inside]
    assert inside.float().mean() > 0.6
    assert (
        (ratio / ratio.median() - 1).abs() < 0.03
    ).float().mean() > 0.75  # the rest lies behind the box


def test_filled_points_are_left_out(plane_scene: Scene) -> None:
    confidence = plane_scene.confidence.clone()
    confidence[:, :, 48:] = 1.5
    filled = replace(plane_scene, confidence=confidence)
    valid = plane_scene.valid.clone()
    valid[:, :, 48:] = False
    without = replace(plane_scene, valid=valid)
    assert same(choose(filled), choose(without), 1e-6)


def test_one_far_point_shrinks_nothing(plane_scene: Scene) -> None:
    far = plane_scene.points.clone()
    far[0, 0, 0] = torch.tensor([0.0, 0.0, 1e6])
    spread = choose(replace(plane_scene, points=far)).positions.norm(dim=-1).median()
    assert spread > 0.3


def test_farthest_points_of_a_line() -> None:
    line = torch.tensor([[0.1, 0, 0], [1.0, 0, 0], [2.0, 0, 0], [-3.0, 0, 0], [4.0, 0, 0]])
    assert farthest_points(line, 4).tolist() == [0, 4, 3, 2]


def test_too_few_points_are_refused(plane_scene: Scene) -> None:
    nothing = replace(plane_scene, confidence=torch.ones_like(plane_scene.confidence))
    with pytest.raises(InputError, match="0 measured points; expected at least 32"):
        choose(nothing)


def test_points_that_are_no_surface_are_refused(plane_scene: Scene) -> None:
    lost = plane_scene.points.clone()
    lost[0, 0, 0, 2] = torch.nan
    heap = torch.ones_like(lost)
    for points in (lost, heap):
        with pytest.raises(InputError, match="not finite, or all in one place"):
            choose(replace(plane_scene, points=points))


def test_one_reference_camera_is_asked_for(plane_scene: Scene) -> None:
    with pytest.raises(InputError, match="frame of one camera, and 3 were given"):
        choose_points(plane_scene, plane_scene.cameras, points=400, queries=50)
