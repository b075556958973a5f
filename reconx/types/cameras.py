"""Pinhole cameras, and what may be known of them beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_range, check_shape
from ..errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Cameras:
    """One pinhole camera per view, all of one image size. A trajectory is a `Cameras`."""

    camera_to_world: Float[Tensor, "view 4 4"]
    """Rigid poses, OpenCV axes."""
    K: Float[Tensor, "view 3 3"]
    """Intrinsics in pixels of (width, height); pixel centres at +0.5."""
    width: int
    """Image width in pixels."""
    height: int
    """Image height in pixels."""

    def __post_init__(self) -> None:
        """Check shapes and size."""
        check_shape("Cameras.camera_to_world", self.camera_to_world, None, 4, 4)
        check_shape("Cameras.K", self.K, len(self.camera_to_world), 3, 3)
        check_range("Camera width", self.width, 1)
        check_range("Camera height", self.height, 1)

    def __len__(self) -> int:
        """Count the views."""
        return len(self.camera_to_world)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> "Cameras":
        """Select views; an int gives a `Cameras` of one view."""
        if isinstance(index, int):  # Without an index tensor, which would have to reach the device.
            poses, K = self.camera_to_world[index][None], self.K[index][None]
            return replace(self, camera_to_world=poses, K=K)
        if isinstance(index, Sequence):
            index = torch.as_tensor(index, dtype=torch.long)
        return replace(self, camera_to_world=self.camera_to_world[index], K=self.K[index])

    @property
    def viewmats(self) -> Float[Tensor, "view 4 4"]:
        """World-to-camera matrices, the rigid inverse of `camera_to_world`."""
        rotation = self.camera_to_world[:, :3, :3].mT
        translation = -rotation @ self.camera_to_world[:, :3, 3:]
        top = torch.cat([rotation, translation], dim=-1)
        return torch.cat([top, self.camera_to_world[:, 3:]], dim=1)

    @property
    def centers(self) -> Float[Tensor, "view 3"]:
        """Optical centres in the world."""
        return self.camera_to_world[:, :3, 3]

    def resized(self, width: int, height: int) -> "Cameras":
        """The same cameras for images resampled to another size."""
        factors = torch.tensor([width / self.width, height / self.height, 1.0])
        return replace(self, K=self.K * factors[:, None].to(self.K), width=width, height=height)

    def to(self, device: torch.device | str) -> "Cameras":
        """The same cameras on a device."""
        return replace(self, camera_to_world=self.camera_to_world.to(device), K=self.K.to(device))

    @staticmethod
    def concatenate(parts: Sequence["Cameras"]) -> "Cameras":
        """Join cameras of one size.

        Raises:
            InputError: If the sizes differ.
        """
        sizes = {(part.width, part.height) for part in parts}
        if len(sizes) != 1:
            raise InputError(
                f"Cameras of sizes {sorted(sizes)} cannot be joined; expected one size."
            )
        (width, height) = sizes.pop()
        return Cameras(
            camera_to_world=torch.cat([part.camera_to_world for part in parts]),
            K=torch.cat([part.K for part in parts]),
            width=width,
            height=height,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LensDistortion:
    """How a lens bends what a pinhole camera would see; none by default.

    OpenCV's models on normalised coordinates (docs.opencv.org, modules calib3d and fisheye), of
    which COLMAP's and nerfstudio's are cases.
    """

    radial: tuple[float, ...] = ()
    """k1, k2, ...: the radius is multiplied by 1 + k1 r^2 + k2 r^4 + ..."""
    divisor: tuple[float, ...] = ()
    """And divided by the like polynomial: k4, k5, k6 of OpenCV's rational model."""
    tangential: tuple[float, float] = (0.0, 0.0)
    """p1, p2: what a lens that is not parallel to the sensor adds."""
    fisheye: bool = False
    """Whether the angle to the axis takes the place of the radius (equidistant, no tangential)."""

    @property
    def bends(self) -> bool:
        """Whether it changes anything."""
        return self.fisheye or any((*self.radial, *self.divisor, *self.tangential))


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraPrior:
    """What is known of the cameras before geometry runs: each part optional, NaN = unknown."""

    K: Float[Tensor, "view 3 3"] | None = None
    """Intrinsics at the photos' resolution; NaN where unknown."""
    focal_sigma: Float[Tensor, " view"] | None = None
    """Relative standard deviation of K's focal length: 0 keeps it fixed (as does None)."""
    distortion: Float[Tensor, "view 2"] | None = None
    """Radial k1, k2 on normalised coordinates: x_distorted = x (1 + k1 r^2 + k2 r^4)."""
    camera_to_world: Float[Tensor, "view 4 4"] | None = None
    """Known poses, in a world of the user's choice."""
