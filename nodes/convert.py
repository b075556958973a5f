"""The only file that knows both worlds' types: the host's on one side, the library's on the other.

The host's 3D viewer is right-handed with Y up and cameras that look down -Z; the library's axes are
OpenCV's. Splat files need no turn, since the viewer turns them itself; cameras and point clouds do.
"""

import io as bytes_io
import tempfile
from pathlib import Path

import torch
from comfy_api.latest import Types
from jaxtyping import Bool, Float
from torch import Tensor

from ..reconx.checks import check_shape
from ..reconx.export.ply import write_points_ply
from ..reconx.ops.sim3 import apply_sim3_to_gaussians, apply_sim3_to_points
from ..reconx.render.cloud import scene_cloud
from ..reconx.types import Gaussians, Scene, Sim3


def images_from_host(images: Tensor) -> Float[Tensor, "view height width 3"]:
    """Take an IMAGE batch; alpha is dropped, and storage shared where that is possible."""
    check_shape("IMAGE", images, None, None, None, None)
    return _ordinary(images[..., :3])


def masks_from_host(masks: Tensor) -> Bool[Tensor, "view height width"]:
    """Take a MASK batch: true where it is white."""
    check_shape("MASK", masks, None, None, None)
    return masks.cpu() > 0.5


def _ordinary(tensor: Tensor) -> Tensor:
    """A float32 CPU tensor that may take part in a fit: the host's own were made without."""
    tensor = tensor.to("cpu", torch.float32)
    return tensor.clone() if tensor.is_inference() else tensor


def cloud_to_host(scene: Scene) -> Types.File3D:
    """A scene's measured points as the host's point cloud file: in the user's world, Y up.

    The viewer turns splats by half a turn about X but shows point clouds as they are, so points
    are turned here and lie over the splat.
    """
    cloud = scene_cloud(scene)
    points = apply_sim3_to_points(scene.world_from_scene, cloud.points)
    points = points * torch.tensor([1.0, -1.0, -1.0])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cloud.ply"
        write_points_ply(path, points, cloud.colours, cloud.confidence)
        return Types.File3D(bytes_io.BytesIO(path.read_bytes()), "ply")


def splat_to_host(gaussians: Gaussians, world_from_scene: Sim3) -> Types.SPLAT:
    """A scene's Gaussians as the host's SPLAT: a batch of one, in the user's world."""
    world = apply_sim3_to_gaussians(world_from_scene, gaussians)
    return Types.SPLAT(
        world.means[None],
        world.scales[None],
        world.quats[None],
        world.opacities[None, :, None],
        world.sh[None],
    )


def splat_from_host(splat: Types.SPLAT) -> list[Gaussians]:
    """Every splat of a SPLAT batch, without its padding, in the user's world."""
    check_shape("SPLAT positions", splat.positions, None, None, 3)
    batch, most = splat.positions.shape[:2]
    counts = [most] * batch if splat.counts is None else splat.counts.tolist()
    return [
        Gaussians(
            means=_ordinary(splat.positions[index, :count]),
            quats=_ordinary(splat.rotations[index, :count]),
            scales=_ordinary(splat.scales[index, :count]),
            opacities=_ordinary(splat.opacities[index, :count]).flatten(),
            sh=_ordinary(splat.sh[index, :count]),
        )
        for index, count in enumerate(counts)
    ]
