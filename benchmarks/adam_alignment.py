"""The recipe of DUSt3R's own aligner (arXiv 2312.14132, section 3.4), to compare ours with.

Plain gradient descent: Adam over the logarithm of every pixel's depth, a pose and a focal length
per photo, and a similarity per pair; 300 steps under a cosine schedule.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reconx.geometry.align.alignment import BASE_SCALE
from reconx.geometry.align.variables import Known, Variables
from reconx.ops.projection import pixel_centres
from reconx.ops.quaternion import matrix_to_quaternion, quaternion_to_matrix
from reconx.types import Cameras, PairPointmaps

STEPS = 300
LEARNING_RATE = 0.01
LEAST_LEARNING_RATE = 1e-6
FOCAL_BREAK = 20.0
"""The focal length's parameter is this times its logarithm, which slows it down."""


@dataclass(frozen=True, kw_only=True)
class AdamResult:
    """What it ends with."""

    cameras: Cameras
    depth: Float[Tensor, "view height width"]
    loss: float


class AdamAlignment(nn.Module):
    """All unknowns, and the objective over all pixels at once."""

    def __init__(
        self,
        pairs: list[PairPointmaps],
        known: Known,
        start: Variables,
        depth: Float[Tensor, "view pixel"],
    ) -> None:
        """Begin at a start in the pairs' own units, `start.pair_scale` included."""
        super().__init__()
        self.known = known
        self.register_buffer("grid", pixel_centres(known.width, known.height).view(-1, 2))
        for role in ("i", "j"):
            points = torch.stack([getattr(pair, f"points_{role}") for pair in pairs])
            confidence = torch.stack([getattr(pair, f"confidence_{role}") for pair in pairs])
            self.register_buffer(f"points_{role}", points.flatten(1, 2))
            self.register_buffer(f"weights_{role}", confidence.flatten(1).log())
            self.register_buffer(role, torch.tensor([getattr(pair, role) for pair in pairs]))
        shift = start.pair_shift / start.pair_scale[:, None]
        self.pair = nn.Parameter(
            torch.cat(
                [
                    matrix_to_quaternion(start.pair_rotation),
                    _signed_log1p(shift),
                    start.pair_scale[:, None].log(),
                ],
                dim=-1,
            ).float()
        )
        pose = [matrix_to_quaternion(start.rotation), _signed_log1p(start.center)]
        self.pose = nn.Parameter(torch.cat(pose, dim=-1).float())
        self.focal = nn.Parameter((FOCAL_BREAK * start.focal.log()[:, None]).float())
        self.depth = nn.Parameter(depth.log().float())

    def cameras(self) -> tuple[Float[Tensor, "view 3 3"], Float[Tensor, "view 3"]]:
        """Rotations and centres."""
        return quaternion_to_matrix(self.pose[:, :4]), _signed_expm1(self.pose[:, 4:])

    def points(self) -> Float[Tensor, "view pixel 3"]:
        """World points of all pixels."""
        depth = self.depth.exp()[..., None]
        focal = (self.focal / FOCAL_BREAK).exp()[:, None]
        offset = self.get_buffer("grid") - self.known.principal[:, None].float()
        rotation, center = self.cameras()
        local = torch.cat([depth * offset / focal, depth], dim=-1)
        return local @ rotation.mT + center[:, None]

    def forward(self) -> Float[Tensor, ""]:
        """The objective."""
        log_scale = self.pair[:, 7]
        scale = (log_scale - log_scale.mean() + math.log(BASE_SCALE)).exp()[:, None]
        turn = scale[..., None] * quaternion_to_matrix(self.pair[:, :4])
        shift = scale * _signed_expm1(self.pair[:, 4:7])
        points = self.points()
        loss = points.new_zeros(())
        for role in ("i", "j"):
            predicted = getattr(self, f"points_{role}") @ turn.mT + shift[:, None]
            distance = (points[getattr(self, role)] - predicted).norm(dim=-1)
            weights = getattr(self, f"weights_{role}")
            loss = loss + (weights * distance).sum() / weights.numel()
        return loss

    def descend(self) -> tuple[Callable[[int], None], Callable[[], AdamResult]]:
        """Adam, one step at a time.

        Returns:
            A function that makes step k of `STEPS`, and one that tells what has been reached.
        """
        optimizer = torch.optim.Adam(self.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.9))
        span = LEARNING_RATE - LEAST_LEARNING_RATE

        def step(k: int) -> None:
            rate = LEAST_LEARNING_RATE + span * (1 + math.cos(math.pi * k / STEPS)) / 2
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            self().backward()
            optimizer.step()

        return step, self._result

    @torch.no_grad()
    def _result(self) -> AdamResult:
        known = self.known
        pose = torch.eye(4).repeat(len(self.pose), 1, 1)
        pose[:, :3, :3], pose[:, :3, 3] = self.cameras()
        K = torch.eye(3).repeat(len(self.pose), 1, 1)
        K[:, 0, 0] = K[:, 1, 1] = (self.focal[:, 0] / FOCAL_BREAK).exp()
        K[:, :2, 2] = known.principal.float()
        cameras = Cameras(camera_to_world=pose, K=K, width=known.width, height=known.height)
        depth = self.depth.exp().view(-1, known.height, known.width)
        return AdamResult(cameras=cameras, depth=depth, loss=float(self()))


def _signed_log1p(value: Tensor) -> Tensor:
    return value.sign() * value.abs().log1p()


def _signed_expm1(value: Tensor) -> Tensor:
    return value.sign() * value.abs().expm1()
