"""The lenses behind the photos: who shares one, and what is known of it before geometry runs.

Structure from motion works in *centred pixels*: relative to the principal point, with y stretched
so that pixels are square. Then a lens is one focal length and two radial terms.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...errors import InputError
from ...types import CameraPrior, Photos

TYPICAL_FOCAL = 0.78
"""Focal length per long side where nothing is known: a 28 mm equivalent."""
TYPICAL_SIGMA = 0.2
"""Relative standard deviation of `TYPICAL_FOCAL` as a prior."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lenses:
    """Lenses, and the frame of each photo's pixels."""

    of_photo: Int[np.ndarray, " photo"]
    """Lens of each photo."""
    focal: Float[np.ndarray, " lens"]
    """In centred pixels."""
    distortion: Float[np.ndarray, "lens 2"]
    """Radial k1, k2 on normalised coordinates."""
    focal_prior: Float[np.ndarray, " lens"]
    """What the focal length should be, in centred pixels."""
    focal_sigma: Float[np.ndarray, " lens"]
    """Relative standard deviation of the prior; 0 keeps the focal length fixed."""
    given: Bool[np.ndarray, " lens"]
    """Whether the prior was given (by EXIF or the user), not guessed."""
    distortion_given: bool
    """Whether the distortion is known and stays."""
    long_side: Float[np.ndarray, " photo"]
    """Long side of each photo without padding, in centred pixels."""
    principal: Float[np.ndarray, "photo 2"]
    """Principal point of each photo in its pixels."""
    stretch: Float[np.ndarray, " photo"]
    """fx / fy of each photo."""

    def centre(self, photo: int, pixels: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Pixels of one photo as centred pixels."""
        return (pixels - self.principal[photo]) * np.array([1.0, self.stretch[photo]])

    def intrinsics(self, photo: int) -> Float[Tensor, "3 3"]:
        """K of one photo."""
        focal = self.focal[self.of_photo[photo]]
        x, y = self.principal[photo]
        rows = [[focal, 0, x], [0, focal / self.stretch[photo], y], [0, 0, 1]]
        return torch.tensor(rows, dtype=torch.float32)

    def rays(
        self, photo: Int[np.ndarray, " n"], centred: Float[np.ndarray, "n 2"]
    ) -> Float[np.ndarray, "n 2"]:
        """Undistorted normalised coordinates (z = 1) of centred pixels, each of its own photo."""
        lens = self.of_photo[photo]
        distorted = centred / self.focal[lens, None]
        k1, k2 = self.distortion[lens].T[..., None]
        rays = distorted
        for _ in range(20 if self.distortion.any() else 0):
            radius2 = np.square(rays).sum(-1, keepdims=True)
            rays = distorted / (1 + k1 * radius2 + k2 * radius2**2)
        return rays

    def mean_focal(self, i: int, j: int) -> float:
        """Geometric mean of the focal lengths of two photos."""
        return float(np.sqrt(self.focal[self.of_photo[[i, j]]].prod()))

    def with_ratio(self, ratio: float) -> "Lenses":
        """The same, where every lens that was not given has this focal length per long side."""
        first = [int(np.flatnonzero(self.of_photo == lens)[0]) for lens in range(len(self.focal))]
        guessed = ratio * self.long_side[first]
        return replace(self, focal=np.where(self.given, self.focal, guessed))


def gather_lenses(photos: Photos) -> Lenses:
    """Group photos by lens, and take over what is known beforehand.

    Photos of the same original size and the same given focal length (within 1 %) share a lens. A
    principal point that is not given lies at the centre of the original photo, not of its padding.
    A photo without a given focal length, among others that have one, expects their median.

    Raises:
        InputError: If a given focal length is not positive.
    """
    prior = photos.prior or CameraPrior()
    count = len(photos)
    to_original = photos.to_original.double().numpy()
    sizes = np.array(photos.original_sizes, dtype=np.float64)
    K = np.full((count, 3, 3), np.nan) if prior.K is None else prior.K.double().numpy()
    sigma = np.zeros(count) if prior.focal_sigma is None else prior.focal_sigma.double().numpy()
    for name, focal in zip(photos.names, K[:, 0, 0], strict=True):
        if focal <= 0:
            raise InputError(
                f"Photo {name} has a given focal length of {focal:g} pixels; expected more than 0. "
                "Correct it, or leave it out."
            )
    axes = to_original[:, [0, 1], [0, 1]]  # original pixels per pixel, along x and y
    centre = (sizes / 2 - to_original[:, :2, 2]) / axes
    principal = np.where(np.isnan(K[:, :2, 2]), centre, K[:, :2, 2])
    stretch = np.where(
        np.isnan(K[:, 0, 0] / K[:, 1, 1]), axes[:, 1] / axes[:, 0], K[:, 0, 0] / K[:, 1, 1]
    )
    long_side = np.maximum(sizes[:, 0] / axes[:, 0], sizes[:, 1] / axes[:, 1] * stretch)
    known = ~np.isnan(K[:, 0, 0])
    distortion = np.zeros((count, 2))
    distortion_given = False
    if prior.distortion is not None and bool(torch.isfinite(prior.distortion).all()):
        distortion, distortion_given = prior.distortion.double().numpy(), True
    keys = [
        (
            *sorted(photos.original_sizes[i]),
            round(float(axes[i, 0]), 3),
            round(float(np.log(K[i, 0, 0])) * 100) if known[i] else None,
            float(sigma[i]) if known[i] else None,
            *distortion[i],
        )
        for i in range(count)
    ]
    unique = list(dict.fromkeys(keys))
    of_photo = np.array([unique.index(key) for key in keys])
    first = np.array([keys.index(key) for key in unique])
    ratio = np.median((K[:, 0, 0] / long_side)[known]) if known.any() else TYPICAL_FOCAL
    focal = np.where(known[first], K[first, 0, 0], ratio * long_side[first])
    return Lenses(
        of_photo=of_photo,
        focal=focal,
        distortion=distortion[first],
        focal_prior=focal,
        focal_sigma=np.where(known[first], sigma[first], TYPICAL_SIGMA),
        given=known[first],
        distortion_given=distortion_given,
        long_side=long_side,
        principal=principal,
        stretch=stretch,
    )
