"""Pointmaps as a pairwise network makes them, from true geometry: for benchmarks and tests.

Errors are a network's: noise that its confidence knows of, outliers, a smooth bias, and for every
pair a scale and a slip of the second map of its own.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ..ops.projection import camera_rays, unproject_depth, world_to_camera
from ..ops.se3 import so3_exp
from ..types import Cameras, PairPointmaps

SECOND_MAP = 1.6
"""How much worse a network knows the second photo's points than the first one's."""
ROOM_LOW, ROOM_HIGH = (-6.0, -3.0, -6.0), (6.0, 1.2, 6.0)
SPHERES = (
    (0.0, 0.3, 0.0, 0.9),
    (1.5, 0.6, 0.8, 0.6),
    (-1.4, 0.5, 0.5, 0.7),
    (0.3, 0.9, -1.3, 0.3),
)
"""x, y, z and radius."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairErrors:
    """How wrong the pointmaps of a pair are."""

    noise: float = 0.01
    """Median standard deviation along the ray, as a share of depth."""
    bias: float = 0.02
    """Standard deviation of the smooth error, as a share of depth."""
    outliers: float = 0.02
    """Share of pixels that are off by half their depth, with little confidence."""
    slip: float = 0.01
    """Standard deviation of the second map's shift, as a share of its median distance; it is turned
    by about as much (1 degree at 0.0175)."""
    scale: float = 0.05
    """Standard deviation of the logarithm of the pair's scale."""


def complete_pairs(count: int) -> list[tuple[int, int]]:
    """All ordered pairs."""
    return [(i, j) for i in range(count) for j in range(count) if i != j]


def ring_pairs(count: int, reach: int) -> list[tuple[int, int]]:
    """Ordered pairs of each photo and the `reach` next ones on both sides of a closed ring."""
    steps = [step for step in range(-reach, reach + 1) if step]
    return [(i, (i + step) % count) for i in range(count) for step in steps]


def ring_cameras(count: int, width: int, height: int) -> Cameras:
    """Cameras around the middle of the room, 22.5 degrees apart, or closer where they are many."""
    step = min(math.radians(22.5), 2 * math.pi / count)
    poses = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    for view in range(count):
        angle = step * (view - (count - 1) / 2)
        tilt = 0.15 + 0.03 * math.sin(2.4 * view)
        rotation = so3_exp(torch.tensor([0.0, -angle, 0.0], dtype=torch.float64))
        rotation = rotation @ so3_exp(torch.tensor([-tilt, 0.0, 0.0], dtype=torch.float64))
        centre = torch.tensor([4 * math.sin(angle), -0.6, -4 * math.cos(angle)])
        poses[view, :3, :3] = rotation
        poses[view, :3, 3] = centre + 0.1 * torch.sin(torch.arange(3) + 1.7 * view)
    focal = 0.9 * max(width, height)
    K = torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
    return Cameras(
        camera_to_world=poses.float(), K=K.repeat(count, 1, 1), width=width, height=height
    )


def cast_room(cameras: Cameras) -> Float[Tensor, "view height width"]:
    """True z-depth of a closed room with four spheres in its middle."""
    local = camera_rays(cameras)
    rays = torch.einsum("vij,vhwj->vhwi", cameras.camera_to_world[:, :3, :3], local)
    start = cameras.centers[:, None, None]
    exits = torch.maximum(
        (torch.tensor(ROOM_LOW) - start) / rays, (torch.tensor(ROOM_HIGH) - start) / rays
    )
    depth = exits.amin(-1)
    for x, y, z, radius in SPHERES:
        offset = start - torch.tensor([x, y, z])
        a, b = rays.square().sum(-1), (rays * offset).sum(-1)
        root = b.square() - a * (offset.square().sum(-1) - radius**2)
        near = (-b - root.clamp_min(0).sqrt()) / a
        depth = torch.where((root > 0) & (near > 0), torch.minimum(depth, near), depth)
    return depth


def predict_pairs(
    depth: Float[Tensor, "view height width"],
    cameras: Cameras,
    pairs: Iterable[tuple[int, int]],
    *,
    errors: PairErrors | None = None,
    seed: int = 0,
) -> Iterator[PairPointmaps]:
    """What a pairwise network would say of photos of known geometry, one pair at a time.

    Args:
        depth: True z-depth at the cameras' resolution.
        cameras: True cameras.
        pairs: (i, j) of each pair.
        errors: None for the usual ones.
        seed: Each pair's errors follow from it and from (i, j) alone.
    """
    errors = errors or PairErrors()
    points = unproject_depth(depth, cameras)
    for i, j in pairs:
        generator = torch.Generator().manual_seed((seed * 1009 + i) * 1009 + j)
        first = world_to_camera(points[i], cameras.viewmats[i])
        second = world_to_camera(points[j], cameras.viewmats[i])
        second = _slip(second, errors.slip, generator)
        both = torch.cat([first.flatten(0, 1), second.flatten(0, 1)])
        # A network's pointmaps have a mean distance near 1.
        scale = math.exp(errors.scale * float(torch.randn((), generator=generator)))
        scale /= float(torch.linalg.vector_norm(both, dim=-1).mean())
        points_i, confidence_i = _disturb(scale * first, errors, 1.0, generator)
        points_j, confidence_j = _disturb(scale * second, errors, SECOND_MAP, generator)
        yield PairPointmaps(
            i=i,
            j=j,
            points_i=points_i,
            points_j=points_j,
            confidence_i=confidence_i,
            confidence_j=confidence_j,
        )


def _slip(
    points: Float[Tensor, "height width 3"], share: float, generator: torch.Generator
) -> Float[Tensor, "height width 3"]:
    """Turn and shift a map a little about its middle."""
    middle = points.flatten(0, 1).median(0).values
    turn = so3_exp(share * torch.randn(3, generator=generator))
    shift = share * torch.linalg.vector_norm(middle) * torch.randn(3, generator=generator)
    return (points - middle) @ turn.mT + middle + shift


def _disturb(
    points: Float[Tensor, "height width 3"],
    errors: PairErrors,
    factor: float,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width"]]:
    """A map with errors, and the confidence with which a network would give it."""
    shape = points.shape[:2]

    def smooth(knots: int) -> Float[Tensor, "height width"]:
        grid = torch.randn(1, 1, knots, knots, generator=generator)
        return functional.interpolate(grid, shape, mode="bicubic", align_corners=False)[0, 0]

    sigma = factor * errors.noise * torch.exp(0.7 * smooth(12))
    along = 1 + factor * errors.bias * smooth(8) + sigma * torch.randn(shape, generator=generator)
    distance = torch.linalg.vector_norm(points, dim=-1, keepdim=True)
    sideways = 0.4 * sigma[..., None] * distance * torch.randn(points.shape, generator=generator)
    confidence = 1 + (0.05 / sigma.clamp_min(1e-4)).clamp_max(40)
    confidence = confidence * torch.exp(0.2 * torch.randn(shape, generator=generator)).clamp_min(1)
    wrong = torch.rand(shape, generator=generator) < errors.outliers
    along = torch.where(wrong, along * (1 + 0.5 * torch.randn(shape, generator=generator)), along)
    doubt = 1 + 0.5 * torch.rand(shape, generator=generator)
    return points * along[..., None] + sideways, torch.where(wrong, doubt, confidence)
