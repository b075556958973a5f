"""The unknowns of the alignment, and what a prior holds fixed of them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ...checks import check_shape
from ...ops.se3 import so3_exp
from ...types import CameraPrior, Cameras

PAIR_SIZE = 7
"""Entries of a step per pair: rotation vector, shift, logarithm of the scale."""
VIEW_SIZE = 7
"""Entries of a step per view: rotation vector, shift of the centre, logarithm of the focal
length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variables:
    """A similarity per pair (pointmap to world), and a camera per view; float64."""

    pair_scale: Float[Tensor, " pair"]
    """World units per unit of `Observations.unit`."""
    pair_rotation: Float[Tensor, "pair 3 3"]
    """Pair to world."""
    pair_shift: Float[Tensor, "pair 3"]
    """World = scale * rotation @ point + shift: where the pair's first camera stands."""
    rotation: Float[Tensor, "view 3 3"]
    """Camera to world."""
    center: Float[Tensor, "view 3"]
    """Optical centres in the world."""
    focal: Float[Tensor, " view"]
    """Horizontal focal length in pixels."""

    def moved(self, step: Float[Tensor, " entry"]) -> "Variables":
        """Apply a step: all pairs' entries, then all views'."""
        split = PAIR_SIZE * len(self.pair_scale)
        pair, view = step[:split].view(-1, PAIR_SIZE), step[split:].view(-1, VIEW_SIZE)
        return Variables(
            pair_scale=self.pair_scale * pair[:, 6].exp(),
            pair_rotation=so3_exp(pair[:, :3]) @ self.pair_rotation,
            pair_shift=self.pair_shift + pair[:, 3:6],
            rotation=so3_exp(view[:, :3]) @ self.rotation,
            center=self.center + view[:, 3:6],
            focal=self.focal * view[:, 6].exp(),
        )

    def transformed(
        self, scale: float, rotation: Float[Tensor, "3 3"], shift: Float[Tensor, "3"]
    ) -> "Variables":
        """The same in another world: x -> scale * rotation @ x + shift."""
        return Variables(
            pair_scale=self.pair_scale * scale,
            pair_rotation=rotation @ self.pair_rotation,
            pair_shift=scale * self.pair_shift @ rotation.mT + shift,
            rotation=rotation @ self.rotation,
            center=scale * self.center @ rotation.mT + shift,
            focal=self.focal,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A camera prior made complete: for every view, what is known and how well."""

    principal: Float[Tensor, "view 2"]
    """Principal point in pixels; the image's centre where it is not given."""
    aspect: Float[Tensor, " view"]
    """Vertical by horizontal focal length; 1 where it is not given."""
    focal: Float[Tensor, " view"]
    """Horizontal focal length in pixels; NaN where unknown."""
    focal_sigma: Float[Tensor, " view"]
    """Relative standard deviation of `focal`: 0 holds it fixed; infinite where unknown."""
    camera_to_world: Float[Tensor, "view 4 4"]
    """Given poses; NaN where unknown."""
    pose: Bool[Tensor, " view"]
    """True where the pose is given, and held fixed."""
    width: int
    """Of the pointmaps, in pixels."""
    height: int
    """Of the pointmaps, in pixels."""

    @property
    def fixes_scale(self) -> bool:
        """True if given centres lie apart, so that the world's scale is the prior's."""
        centers = self.camera_to_world[self.pose, :3, 3]
        return len(centers) > 1 and float((centers - centers[0]).abs().max()) > 1e-9

    def rays(
        self, pixels: Float[Tensor, "view n 2"], focal: Float[Tensor, " view"]
    ) -> Float[Tensor, "view n 3"]:
        """Directions in each camera's frame, with z = 1."""
        lengths = torch.stack([focal, focal * self.aspect], dim=-1).to(pixels)
        slopes = (pixels - self.principal[:, None].to(pixels)) / lengths[:, None]
        return functional.pad(slopes, (0, 1), value=1.0)

    def cameras(self, variables: Variables) -> Cameras:
        """The views' cameras in the variables' world."""
        pose = torch.eye(4, dtype=torch.float64).repeat(len(self.focal), 1, 1)
        pose[:, :3, :3] = variables.rotation
        pose[:, :3, 3] = variables.center
        K = torch.eye(3, dtype=torch.float64).repeat(len(self.focal), 1, 1)
        K[:, 0, 0] = variables.focal
        K[:, 1, 1] = variables.focal * self.aspect
        K[:, :2, 2] = self.principal
        return Cameras(
            camera_to_world=pose.float(), K=K.float(), width=self.width, height=self.height
        )


def complete_prior(
    prior: CameraPrior | None, views: int, width: int, height: int, aspect: int | float = 1.0
) -> Known:
    """What a prior says of every view.

    Distortion is not looked at: pointmaps come from undistorted photos. Entries of K stand alone: a
    principal point may be given without a focal length. `aspect` is fy / fx where K lacks it.

    Raises:
        InputError: If the prior speaks of another number of views.
    """
    prior = prior or CameraPrior()
    K = torch.full((views, 3, 3), torch.nan) if prior.K is None else prior.K
    poses = prior.camera_to_world
    poses = torch.full((views, 4, 4), torch.nan) if poses is None else poses
    sigma = torch.zeros(views) if prior.focal_sigma is None else prior.focal_sigma
    check_shape("CameraPrior.K", K, views, 3, 3)
    check_shape("CameraPrior.focal_sigma", sigma, views)
    check_shape("CameraPrior.camera_to_world", poses, views, 4, 4)
    K, poses = K.double(), poses.double()
    middle = torch.tensor([width / 2, height / 2], dtype=torch.float64)
    given = K[:, 1, 1] / K[:, 0, 0]
    return Known(
        principal=torch.where(K[:, :2, 2].isnan(), middle, K[:, :2, 2]),
        aspect=torch.where(given.isnan(), aspect, given),
        focal=K[:, 0, 0],
        focal_sigma=torch.where(K[:, 0, 0].isnan(), torch.inf, sigma.double()),
        camera_to_world=poses,
        pose=poses.isfinite().all(-1).all(-1),
        width=width,
        height=height,
    )
