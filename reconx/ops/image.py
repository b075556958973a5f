"""Pictures and their masks: resampling, undistortion, morphology."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ..types import Cameras
from .projection import camera_rays, sample_image


def luminance(image: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
    """Rec. 601 grey of an RGB picture."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=image.dtype, device=image.device)
    return image @ weights


def resize_images(
    images: Float[Tensor, "view height width channel"], width: int, height: int
) -> Float[Tensor, "view h w channel"]:
    """Resample with an antialiasing filter, so that shrinking does not flicker between views."""
    planes = functional.interpolate(
        images.permute(0, 3, 1, 2),
        size=(height, width),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )
    return planes.permute(0, 2, 3, 1).contiguous()


def resize_masks(
    masks: Bool[Tensor, "view height width"], width: int, height: int
) -> Bool[Tensor, "view h w"]:
    """Resample; a pixel stays true only where all that it covers is true."""
    return resize_images(masks[..., None].float(), width, height)[..., 0] > 0.999


def distort_points(
    points: Float[Tensor, "*batch 2"], distortion: Float[Tensor, "2"]
) -> Float[Tensor, "*batch 2"]:
    """Apply radial distortion k1, k2 to normalised image coordinates."""
    radius2 = points.square().sum(-1, keepdim=True)
    return points * (1 + distortion[0] * radius2 + distortion[1] * radius2.square())


def undistort_points(
    points: Float[Tensor, "*batch 2"], distortion: Float[Tensor, "2"]
) -> Float[Tensor, "*batch 2"]:
    """Invert `distort_points` by fixed-point iteration; converges for mild lenses."""
    undistorted = points
    for _ in range(20):
        radius2 = undistorted.square().sum(-1, keepdim=True)
        undistorted = points / (1 + distortion[0] * radius2 + distortion[1] * radius2.square())
    return undistorted


def undistort_image(
    image: Float[Tensor, "height width channel"],
    camera: Cameras,
    distortion: Float[Tensor, "2"],
) -> tuple[Float[Tensor, "height width channel"], Bool[Tensor, "height width"]]:
    """Resample a distorted photo into the pinhole camera that shares its K and size.

    Args:
        image: The photo as captured.
        camera: One pinhole camera.
        distortion: Radial k1, k2.

    Returns:
        The picture, and true where it comes from inside the photo.
    """
    rays = camera_rays(camera)[0, ..., :2]
    distorted = distort_points(rays, distortion)
    K = camera.K[0]
    pixels = distorted @ K[:2, :2].mT + K[:2, 2]
    half = 0.5  # a position within half a pixel of the border has only one side to interpolate from
    inside = (
        (pixels[..., 0] >= half)
        & (pixels[..., 0] <= camera.width - half)
        & (pixels[..., 1] >= half)
        & (pixels[..., 1] <= camera.height - half)
    )
    return sample_image(image, pixels, mode="bicubic").clamp(0, 1), inside


def dilate(
    masks: Bool[Tensor, "view height width"], radius: int
) -> Bool[Tensor, "view height width"]:
    """Grow the true pixels by a square of side 2 radius + 1."""
    if radius == 0:
        return masks
    size = 2 * radius + 1
    return functional.max_pool2d(masks.float(), size, stride=1, padding=radius) > 0


def erode(
    masks: Bool[Tensor, "view height width"], radius: int
) -> Bool[Tensor, "view height width"]:
    """Shrink the true pixels by a square of side 2 radius + 1; the border does not erode."""
    return ~dilate(~masks, radius)


def close_gaps(
    masks: Bool[Tensor, "view height width"], radius: int
) -> Bool[Tensor, "view height width"]:
    """Fill false gaps at most 2 radius wide (morphological closing)."""
    return erode(dilate(masks, radius), radius)
