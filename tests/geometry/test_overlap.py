"""How far photos overlap, and what to photograph next, where both are known."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reconx.export.nerfstudio import read_transforms
from reconx.export.posed import read_depth
from reconx.geometry.next_photo import (
    describe_overlap,
    neighbours_of,
    strongest_links,
    suggest_photos,
)
from reconx.geometry.overlap import SAMPLES, measure_overlap
from reconx.ops.projection import camera_rays, unproject_depth
from reconx.ops.se3 import se3_exp, so3_exp
from reconx.ops.sim3 import apply_sim3_to_cameras, apply_sim3_to_points
from reconx.types import ALL_WELL, Cameras, Overlap, Photos, Scene, SceneSource, Sim3

WIDTH, HEIGHT = 60, 40
ROOM = Path(__file__).resolve().parents[2] / "assets" / "sample-room"


def wall_scene(poses: Tensor, *, focal: float = WIDTH, scale: int = 1) -> Scene:
    """Cameras before the wall z = 1; with the default focal length each shows a width of 1."""
    count, width, height = len(poses), scale * WIDTH, scale * HEIGHT
    f = scale * focal
    K = torch.tensor([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1]]).repeat(count, 1, 1)
    cameras = Cameras(camera_to_world=poses, K=K, width=width, height=height)
    rays = torch.einsum("vij,vhwj->vhwi", poses[:, :3, :3], camera_rays(cameras))
    start = cameras.centers[:, None, None]
    return scene_of(cameras, start + (1 - start[..., 2:]) / rays[..., 2:] * rays)


def scene_of(cameras: Cameras, points: Tensor) -> Scene:
    """All of it measured; the photos are called a, b, c ..."""
    everywhere = torch.ones(points.shape[:3], dtype=torch.bool)
    photos = Photos(
        images=torch.full_like(points, 0.5),
        valid=everywhere,
        names=tuple("abcdefgh"[: len(cameras)]),
        original_sizes=((cameras.width, cameras.height),) * len(cameras),
        to_original=torch.eye(3).repeat(len(cameras), 1, 1),
    )
    return Scene(
        photos=photos,
        photo_cameras=cameras,
        cameras=cameras,
        points=points,
        confidence=torch.full(points.shape[:3], 10.0),
        valid=everywhere,
        up=torch.tensor([0.0, -1.0, 0.0]),
        world_from_scene=Sim3.identity(),
        source=SceneSource(estimator="synthetic"),
    )


def shifted(*steps: float) -> Tensor:
    """Poses of cameras that look straight at the wall from so far to the right."""
    poses = torch.eye(4).repeat(len(steps), 1, 1)
    poses[:, 0, 3] = torch.tensor(steps)
    return poses


def around(*degrees: float) -> Tensor:
    """Poses that look at (0, 0, 1) from a distance of 1, turned so far about it."""
    poses = torch.eye(4).repeat(len(degrees), 1, 1)
    centre = torch.tensor([0.0, 0.0, 1.0])
    for pose, angle in zip(poses, degrees, strict=True):
        pose[:3, :3] = so3_exp(torch.tensor([0.0, -math.radians(angle), 0.0]))
        pose[:3, 3] = centre - pose[:3, :3] @ centre
    return poses


@pytest.fixture(scope="module")
def row() -> Scene:
    """Three photos in a row, of which the last one stands apart."""
    return wall_scene(shifted(0.0, 0.25, 1.0))


def test_shares_are_those_of_the_pictures(row: Scene) -> None:
    overlap = measure_overlap(row)
    expected = torch.tensor([[1.0, 0.75, 0.0], [0.75, 1.0, 0.25], [0.0, 0.25, 1.0]])
    torch.testing.assert_close(overlap.share, expected)
    assert overlap.angle_degrees[0, 2].isnan()
    assert overlap.middle[0, 2].isnan().all()


def test_witnesses_are_counted_per_pixel(row: Scene) -> None:
    witnesses = measure_overlap(row).witnesses[:, HEIGHT // 2]
    # A quarter of photo a and three of c are theirs alone; all of b is shown by a or by c.
    assert witnesses[0].tolist() == [1] * 15 + [2] * 45
    assert witnesses[1].tolist() == [2] * 60
    assert witnesses[2].tolist() == [2] * 15 + [1] * 45


def test_angles_are_those_of_the_lines_of_sight() -> None:
    overlap = measure_overlap(wall_scene(around(0.0, 20.0, 50.0), focal=100 * WIDTH))
    expected = torch.tensor([[0.0, 20, 50], [20, 0, 30], [50, 30, 0]])
    torch.testing.assert_close(overlap.angle_degrees, expected, atol=0.2, rtol=0)


def test_nothing_behind_a_surface_is_shared() -> None:
    scene = wall_scene(shifted(0.0, 0.25))
    near = replace(scene, points=scene.points.clone())
    # Photo b shows something at half the wall's distance all over its picture.
    near.points[1] = scene.cameras.centers[1] + 0.5 * (scene.points[1] - scene.cameras.centers[1])
    assert measure_overlap(near).share[0, 1] == 0
    assert measure_overlap(scene).share[0, 1] == 0.75


def test_what_is_masked_shows_nothing() -> None:
    scene = wall_scene(shifted(0.0, 0.25))
    valid = scene.photos.valid.clone()
    valid[1, :, : WIDTH // 4] = False
    masked = replace(scene, photos=replace(scene.photos, valid=valid))
    assert measure_overlap(masked).share[0, 1] == 0.5


def test_a_large_scene_is_sampled(row: Scene) -> None:
    large = wall_scene(shifted(0.0, 0.25, 1.0), scale=4)
    assert large.valid[0].numel() > 2 * SAMPLES
    overlap, small = measure_overlap(large), measure_overlap(row)
    torch.testing.assert_close(overlap.share, small.share, atol=0.02, rtol=0)
    assert overlap.witnesses.shape == large.valid.shape


def test_a_similarity_moves_only_where_to_stand(plane_scene: Scene) -> None:
    world = Sim3(
        rotation=so3_exp(torch.tensor([0.3, -0.5, 0.2])),
        translation=torch.tensor([3.0, -1.0, 2.0]),
        scale=2.5,
    )
    moved = replace(
        plane_scene,
        cameras=apply_sim3_to_cameras(world, plane_scene.cameras),
        points=apply_sim3_to_points(world, plane_scene.points),
    )
    before, after = measure_overlap(plane_scene), measure_overlap(moved)
    # Rounding decides at a picture's very border.
    torch.testing.assert_close(after.share, before.share, atol=1e-3, rtol=0)
    torch.testing.assert_close(after.angle_degrees, before.angle_degrees, atol=0.05, rtol=0)
    there = apply_sim3_to_points(world, before.middle)
    torch.testing.assert_close(after.middle, there, atol=0.02, rtol=0)
    assert (after.witnesses != before.witnesses).float().mean() < 1e-3


def test_the_weakest_link_comes_first(row: Scene) -> None:
    overlap = measure_overlap(row)
    assert strongest_links(overlap) == ((1, 2), (0, 1))
    assert neighbours_of(overlap, 1) == (0, 2)
    assert neighbours_of(overlap, 2) == (1,)


def test_a_closed_ring_hangs_together_by_all_but_its_weakest_link() -> None:
    share = torch.eye(4)
    for (i, j), part in {(0, 1): 0.7, (1, 2): 0.6, (2, 3): 0.2, (3, 0): 0.5}.items():
        share[i, j] = share[j, i] = part
    ring = Overlap(
        share=share,
        angle_degrees=torch.zeros(4, 4),
        middle=torch.zeros(4, 4, 3),
        witnesses=torch.ones(4, 2, 2, dtype=torch.int64),
    )
    assert strongest_links(ring) == ((0, 3), (1, 2), (0, 1))


def test_a_gap_is_closed_from_halfway(row: Scene) -> None:
    first, *others = suggest_photos(row, measure_overlap(row))
    assert first.photos == ("b", "c")
    assert "Between b and c, which share 25 % of what they show" in first.text
    # Both show x from 0.5 to 0.75 and stand 0.375 to the sides of its middle.
    expected = torch.tensor([0.625, 0.0, 1 - math.hypot(0.375, 1)])
    torch.testing.assert_close(first.center, expected, atol=0.02, rtol=0)
    assert [photo.photos for photo in others] == [("c",), ("a",)]
    assert "of whose middle and right thirds no other photo shows 100 %" in others[0].text
    assert "of whose left third no other photo shows 75 %" in others[1].text


@pytest.mark.parametrize(
    ("degrees", "words"),
    [
        ((0.0, 50.0), "stand 50 degrees apart: take one more from halfway, 25 degrees"),
        ((0.0, 2.0), "stand at most 2.0 degrees apart from it"),
    ],
    ids=["too far apart", "too close"],
)
def test_angles_out_of_range_are_told(degrees: tuple[float, ...], words: str) -> None:
    scene = wall_scene(around(*degrees), focal=100 * WIDTH)
    overlap = measure_overlap(scene)
    assert overlap.mutual.min() > 0.6
    suggested = suggest_photos(scene, overlap)
    assert words in suggested[0].text


def test_nothing_is_suggested_where_all_is_well() -> None:
    scene = wall_scene(around(-10.0, 0.0, 10.0), focal=4 * WIDTH)
    assert suggest_photos(scene, measure_overlap(scene)) == ()


def test_no_place_is_claimed_between_photos_that_share_nothing() -> None:
    scene = wall_scene(shifted(0.0, 0.2, 5.0))
    suggested = suggest_photos(scene, measure_overlap(scene))
    assert suggested[0].photos == ("c",)
    assert suggested[0].center is None
    assert (
        "of whose left and middle and right thirds no other photo shows 100 %" in suggested[0].text
    )


def test_a_scene_without_points_overlaps_nowhere(row: Scene) -> None:
    empty = replace(row, valid=torch.zeros_like(row.valid))
    overlap = measure_overlap(empty)
    assert overlap.share.sum() == 0
    assert suggest_photos(empty, overlap) == ()


def test_the_text_tells_of_every_photo(row: Scene) -> None:
    lines = describe_overlap(row, measure_overlap(row)).splitlines()
    assert lines[0] == "a shares with b 75 % at 14 degrees"
    assert lines[1].startswith("b shares with a 75 % at 14 degrees, c 25 % at ")
    assert lines[3] == "What to photograph next:"
    assert len(lines) == 4 + 3
    well = wall_scene(around(-10.0, 0.0, 10.0), focal=4 * WIDTH)
    assert describe_overlap(well, measure_overlap(well)).endswith(ALL_WELL)


def test_an_upright_step_is_between_as_well() -> None:
    """Nothing of this is about left and right: two photos above each other, and turned."""
    poses = se3_exp(torch.tensor([[0.0, 0, 0, 0, 0, 0], [0, 0, math.pi, 0, 0.4, 0]]))
    overlap = measure_overlap(wall_scene(poses))
    # Of a height of 2/3 each, 0.4 apart.
    assert overlap.share[0, 1] == pytest.approx(0.4, abs=0.01)


def test_the_sample_room_asks_for_its_middle_photo() -> None:
    """From the true depth of the outer photos; the middle one was taken where it is asked for."""
    posed = read_transforms(ROOM)
    left, middle, right = (posed.names.index(f"{name}.jpg") for name in ("left", "middle", "right"))
    depth = torch.stack([read_depth(posed, index) for index in (left, right)])
    cameras = Cameras.concatenate([posed.cameras[left], posed.cameras[right]])
    cameras = cameras.resized(depth.shape[2], depth.shape[1])
    scene = scene_of(cameras, unproject_depth(depth, cameras))
    wanted = suggest_photos(scene, measure_overlap(scene))[0]
    assert "stand 40 degrees apart" in wanted.text
    assert wanted.center is not None
    # 3.3 metres apart stand the outer photos.
    assert float((wanted.center - posed.cameras[middle].centers[0]).norm()) < 0.2
