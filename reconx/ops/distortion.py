"""Lens distortion, and its removal from photos."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..types import Cameras, LensDistortion, Photos
from .image import erode
from .projection import camera_rays, sample_image

_RADII = 1024
"""Between the axis and the farthest pixel, to find where a lens model folds back."""


def distort_points(
    points: Float[Tensor, "*batch 2"], lens: LensDistortion
) -> Float[Tensor, "*batch 2"]:
    """Where a lens shows what a pinhole camera sees at these normalised coordinates."""
    radius2 = points.square().sum(-1, keepdim=True)
    shown = points * _radial_factor(radius2, lens)
    if not any(lens.tangential):
        return shown
    p1, p2 = lens.tangential
    twice = 2 * points.prod(-1, keepdim=True)
    along = radius2 + 2 * points.square()
    return shown + twice * points.new_tensor([p1, p2]) + along * points.new_tensor([p2, p1])


def _radial_factor(
    radius2: Float[Tensor, "*batch 1"], lens: LensDistortion
) -> Float[Tensor, "*batch 1"]:
    """Shown over true radius, without what is tangential."""
    if not lens.fisheye:
        return _polynomial(radius2, lens.radial) / _polynomial(radius2, lens.divisor)
    radius = radius2.sqrt()
    angle = torch.atan(radius)
    shrunk = torch.where(radius > 0, angle / radius, 1.0)
    return shrunk * _polynomial(angle.square(), lens.radial)


def _polynomial(
    value: Float[Tensor, "*batch 1"], coefficients: Sequence[float]
) -> Float[Tensor, "*batch 1"]:
    """1 + c1 v + c2 v^2 + ..., by Horner's rule."""
    total = torch.zeros_like(value)
    for coefficient in reversed(coefficients):
        total = (total + coefficient) * value
    return 1 + total


def _before_fold(
    rays: Float[Tensor, "height width 2"], lens: LensDistortion
) -> Bool[Tensor, "height width"]:
    """Where the lens model can be trusted: nearer to the axis than where it turns back.

    Its polynomials were fitted within the photo. Beyond, they may fold what lies outside the
    lens's view back into the photo.
    """
    radius = torch.linalg.vector_norm(rays, dim=-1)
    steps = torch.linspace(0, float(radius.max()), _RADII, dtype=rays.dtype)
    shown = steps * _radial_factor(steps[:, None] ** 2, lens)[:, 0]
    folds = (shown.diff() <= 0).nonzero()
    return radius <= steps[folds[0, 0]] if len(folds) else torch.ones_like(radius, dtype=torch.bool)


def undistort_image(
    image: Float[Tensor, "height width channel"], camera: Cameras, lens: LensDistortion
) -> tuple[Float[Tensor, "height width channel"], Bool[Tensor, "height width"]]:
    """Resample a distorted photo into the pinhole camera that shares its K and size.

    Args:
        image: The photo as captured.
        camera: One pinhole camera.
        lens: What took the photo.

    Returns:
        The picture, and true where it comes from inside the photo.
    """
    pixels, inside = _look_up(camera, lens)
    return sample_image(image, pixels, mode="bicubic").clamp(0, 1), inside


def _look_up(
    camera: Cameras, lens: LensDistortion
) -> tuple[Float[Tensor, "height width 2"], Bool[Tensor, "height width"]]:
    """Where in the photo each pixel of the pinhole camera lies, and whether that is inside."""
    rays = camera_rays(camera)[0, ..., :2]
    K = camera.K[0]
    pixels = distort_points(rays, lens) @ K[:2, :2].mT + K[:2, 2]
    half = 0.5  # a position within half a pixel of the border has only one side to interpolate from
    inside = (
        (pixels[..., 0] >= half)
        & (pixels[..., 0] <= camera.width - half)
        & (pixels[..., 1] >= half)
        & (pixels[..., 1] <= camera.height - half)
        & _before_fold(rays, lens)
    )
    return pixels, inside


def undistort_photos(photos: Photos, cameras: Cameras, lenses: Sequence[LensDistortion]) -> Photos:
    """The photos as pinhole cameras would have taken them, at the same size and K.

    What the lens saw beyond the pinhole's frame is cut off; `valid` loses the border that the lens
    did not see. `to_original` keeps leading to the original's frame, where it is exact but for the
    distortion.
    """
    if not any(lens.bends for lens in lenses):
        return photos
    images, valid = photos.images.clone(), photos.valid.clone()
    for view, lens in enumerate(lenses):
        if not lens.bends:
            continue
        images[view], inside = undistort_image(photos.images[view], cameras[view], lens)
        # The picture's bicubic samples reach one pixel further than these bilinear ones.
        mask = erode(photos.valid[view : view + 1], 1)[0, ..., None].float()
        known = sample_image(mask, _look_up(cameras[view], lens)[0])
        valid[view] = inside & (known[..., 0] > 0.999)
    prior = photos.prior
    if prior is not None:
        prior = replace(prior, distortion=None)
    return replace(photos, images=images, valid=valid, prior=prior)


def radial_lenses(distortion: Float[Tensor, "view 2"]) -> list[LensDistortion]:
    """The lenses of photos whose k1 and k2 are known."""
    return [LensDistortion(radial=(k1, k2)) for k1, k2 in distortion.tolist()]
