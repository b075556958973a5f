"""Procedural rooms: what one view sees, others see in the same place, or something before it."""

import pytest
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reconx.datasets.base import DepthDataset
from reconx.datasets.procedural.casting import cast_rays
from reconx.datasets.procedural.dataset import ProceduralOptions, ProceduralScenes
from reconx.errors import InputError
from reconx.ops.projection import inside_image, project_points, unproject_depth
from reconx.types import Cameras, Photos

SIZE, SCENES = 48, 8
KNOWN = [7.33638, 0.17103, 0.47219]
DATA = ProceduralScenes(ProceduralOptions(scenes=SCENES, width=SIZE, height=SIZE))
ENDS = (0, 63)


def cameras_of(photos: Photos) -> Cameras:
    assert photos.prior is not None
    assert photos.prior.camera_to_world is not None
    assert photos.prior.K is not None
    return Cameras(
        camera_to_world=photos.prior.camera_to_world, K=photos.prior.K, width=SIZE, height=SIZE
    )


def first_in_last(scene: str) -> tuple[Float[Tensor, "n 2"], Tensor, Tensor, Bool[Tensor, " n"]]:
    """The first frame's points in the last: pixels, depth, what is seen there, and where inside."""
    cameras = cameras_of(DATA.read(scene, ENDS))
    first, last = DATA.read_depth(scene, ENDS)
    points = unproject_depth(first[None], cameras[0]).reshape(-1, 3)
    pixels, z = project_points(points, cameras.viewmats[1], cameras.K[1])
    inside = inside_image(pixels, SIZE, SIZE) & (z > 0)
    origin = cameras.centers[1]
    rays = (points - origin) / z[:, None]
    seen = cast_rays(DATA.world(scene), origin, rays).along
    return pixels, z, seen, inside


@pytest.mark.parametrize("scene", DATA.scenes()[:4])
def test_depth_agrees_between_views(scene: str) -> None:
    """A ray from another camera to a point that was seen ends there, or on something before it."""
    _, z, seen, inside = first_in_last(scene)
    assert inside.any()
    assert (seen[inside] < z[inside] * (1 + 1e-3)).all()
    agrees = (seen[inside] / z[inside] - 1).abs() < 1e-3
    assert agrees.float().mean() > 0.3


def test_occlusion_is_real() -> None:
    """What one end of the path sees is often hidden from the other."""
    shares = []
    for scene in DATA.scenes():
        _, z, seen, inside = first_in_last(scene)
        if inside.any():
            shares.append(float((seen[inside] < 0.98 * z[inside]).float().mean()))
    assert max(shares) > 0.25
    assert sum(shares) / len(shares) > 0.08


def test_rays_along_walls_and_boxes_end_somewhere() -> None:
    """Where a direction has a 0, planes along it are never met."""
    world = DATA.world("0")
    rays = torch.cat([torch.eye(3), -torch.eye(3), world.box_rotations[0].mT])
    ends = cast_rays(world, world.cameras.centers[0], rays)
    assert all(bool(part.isfinite().all()) for part in ends)
    assert (ends.along > 0).all()


def test_a_surface_keeps_its_colour() -> None:
    photos = DATA.read("1", (10, 14))
    cameras, depth = cameras_of(photos), DATA.read_depth("1", (10, 14))
    points = unproject_depth(depth[0][None], cameras[0]).reshape(-1, 3)
    pixels, z = project_points(points, cameras.viewmats[1], cameras.K[1])
    inside = inside_image(pixels, SIZE, SIZE) & (z > 0)
    column, row = pixels[inside].long().unbind(-1)
    same = (depth[1][row, column] / z[inside] - 1).abs() < 0.01
    here = photos.images[0].reshape(-1, 3)[inside][same]
    there = photos.images[1][row, column][same]
    other = there.roll(len(there) // 3, 0)
    assert (here - there).abs().mean() < 0.4 * (here - other).abs().mean()


def test_a_scene_is_the_same_whoever_asks() -> None:
    other = ProceduralScenes(ProceduralOptions(scenes=2, first=5, width=SIZE, height=SIZE))
    assert other.scenes() == ("5", "6")
    assert torch.equal(other.read("6", (3,)).images, DATA.read("6", (9, 3)).images[1:])
    assert not torch.equal(DATA.read("5", (3,)).images, DATA.read("6", (3,)).images)
    seeded = ProceduralScenes(ProceduralOptions(seed=1, width=SIZE, height=SIZE))
    assert not torch.equal(seeded.read("6", (3,)).images, DATA.read("6", (3,)).images)


def test_the_numbers_behind_world_0_stay() -> None:
    """Caches and checkpoints of other machines depend on them."""
    world = DATA.world("0")
    torch.testing.assert_close(
        torch.stack([world.room.sum(), world.light[0], world.textures.base[0, 0]]),
        torch.tensor(KNOWN),
        atol=1e-4,
        rtol=0,
    )


def test_the_camera_keeps_away_from_everything() -> None:
    for scene in DATA.scenes():
        depth = torch.stack(DATA.read_depth(scene, (0, 20, 40, 63)))
        assert depth.min() > 0.1
        assert depth.isfinite().all()


def test_it_is_a_dataset_with_depth_and_knows_its_scenes() -> None:
    assert isinstance(DATA, DepthDataset)
    assert DATA.length("3") == 64
    with pytest.raises(InputError, match=r"scene '8' is not among.*from 0 to 7"):
        DATA.read("8", (0,))
    with pytest.raises(InputError, match="has 64 frames.*frame 64"):
        DATA.read("1", (64,))
    with pytest.raises(InputError, match="'scenes' is 0"):
        ProceduralOptions(scenes=0)
