"""Scenes with exact geometry, small enough for any test."""

import math
from pathlib import Path

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from reconx.ops.projection import camera_rays
from reconx.ops.se3 import so3_exp
from reconx.types import Cameras, Photos, Scene, SceneSource, Sim3

ROOT = Path(__file__).resolve().parents[1]

WIDTH, HEIGHT, FOCAL = 96, 72, 84.0
BOX_LOW, BOX_HIGH = torch.tensor([-0.30, -0.10, 0.70]), torch.tensor([0.10, 0.22, 0.95])
PLANE_NORMAL, PLANE_OFFSET = torch.tensor([0.25, -0.35, 1.0]), 1.25
"""The plane is normal . x = offset; the box stands before it."""


class PlainRoot:
    """Keeps pytest from importing the repository as a package: it is one, but ComfyUI's."""

    @staticmethod
    def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(PlainRoot())
    # Tensors are small here: threads wait for each other, spinning, longer than they work.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def plane_scene() -> Scene:
    """A textured slanted plane with a box before it, seen by three cameras; depth is exact.

    Photos and pointmaps have 96 x 72 pixels, every pixel is measured (confidence 10), and each
    surface point has one colour, whichever camera sees it.
    """
    cameras = _three_cameras()
    points, on_box = _first_hits(cameras)
    images = _texture(points, on_box)
    # The convention of a scene: view 0's median depth is 1.
    scale = 1 / float(points[0, ..., 2].median())
    poses = cameras.camera_to_world.clone()
    poses[:, :3, 3] *= scale
    cameras = Cameras(camera_to_world=poses, K=cameras.K, width=WIDTH, height=HEIGHT)
    count = len(cameras)
    photos = Photos(
        images=images,
        valid=torch.ones(images.shape[:3], dtype=torch.bool),
        names=tuple(f"view{i}.png" for i in range(count)),
        original_sizes=((WIDTH, HEIGHT),) * count,
        to_original=torch.eye(3).repeat(count, 1, 1),
    )
    return Scene(
        photos=photos,
        photo_cameras=cameras,
        cameras=cameras,
        points=points * scale,
        confidence=torch.full(points.shape[:3], 10.0),
        valid=torch.ones(points.shape[:3], dtype=torch.bool),
        up=torch.tensor([0.0, -1.0, 0.0]),
        world_from_scene=Sim3.identity(),
        source=SceneSource(estimator="synthetic"),
    )


def _three_cameras() -> Cameras:
    """The identity, one camera to its right and one to its left and above, all turned inwards."""
    poses = torch.eye(4).repeat(3, 1, 1)
    poses[1, :3, :3] = so3_exp(torch.tensor([0.0, -math.radians(13), 0.0]))
    poses[1, :3, 3] = torch.tensor([0.25, 0.0, 0.02])
    poses[2, :3, :3] = so3_exp(torch.tensor([-math.radians(6), math.radians(10), 0.0]))
    poses[2, :3, 3] = torch.tensor([-0.20, -0.12, 0.0])
    K = torch.tensor([[FOCAL, 0.0, WIDTH / 2], [0.0, FOCAL, HEIGHT / 2], [0.0, 0.0, 1.0]])
    return Cameras(camera_to_world=poses, K=K.repeat(3, 1, 1), width=WIDTH, height=HEIGHT)


def _first_hits(
    cameras: Cameras,
) -> tuple[Float[Tensor, "view height width 3"], Float[Tensor, "view height width"]]:
    """Where each pixel's ray first meets a surface, and 1 on the box, 0 on the plane."""
    rotation = cameras.camera_to_world[:, :3, :3]
    rays = torch.einsum("vij,vhwj->vhwi", rotation, camera_rays(cameras))
    start = cameras.centers[:, None, None].expand_as(rays)
    to_plane = (PLANE_OFFSET - start @ PLANE_NORMAL) / (rays @ PLANE_NORMAL)
    slabs = torch.stack([(BOX_LOW - start) / rays, (BOX_HIGH - start) / rays])
    enter, leave = slabs.amin(0).amax(-1), slabs.amax(0).amin(-1)
    on_box = (enter < leave) & (enter > 0) & (enter < to_plane)
    distance = torch.where(on_box, enter, to_plane)
    return start + distance[..., None] * rays, on_box.float()


def _texture(
    points: Float[Tensor, "view height width 3"], on_box: Float[Tensor, "view height width"]
) -> Float[Tensor, "view height width 3"]:
    """A smooth colour per surface point; the shortest wave spans about 15 pixels."""
    waves = torch.tensor([[13.0, 5.0, -8.0], [-7.0, 22.0, 3.0], [18.0, -10.0, 14.0]])
    plane = 0.5 + 0.2 * torch.sin(points @ waves.mT) + 0.2 * torch.sin(points @ waves.roll(1, 1))
    box = 0.5 + 0.35 * torch.cos(points @ waves.roll(2, 0)) * torch.tensor([1.0, 0.6, 0.3])
    return torch.where(on_box[..., None] > 0, box, plane)
