"""Resampling of photos together with everything that is tied to their pixels."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..types import CameraPrior, Photos
from .image import resize_images, resize_masks


def fit_size(width: int, height: int, long_side: int, multiple: int = 1) -> tuple[int, int]:
    """The largest (width, height) of about the same shape whose long side is at most `long_side`.

    Never larger than the input; each side a multiple of `multiple`, rounded to the nearest.
    """
    factor = min(1.0, long_side / max(width, height))

    def fitted(side: int) -> int:
        return max(multiple, round(side * factor / multiple) * multiple)

    return fitted(width), fitted(height)


def resize_photos(photos: Photos, width: int, height: int) -> Photos:
    """The same photos at another size; prior K and the way back to the originals stay true."""
    if (width, height) == (photos.width, photos.height):
        return photos
    factors = torch.tensor([width / photos.width, height / photos.height, 1.0])
    prior = photos.prior
    if prior is not None and prior.K is not None:
        prior = replace(prior, K=prior.K * factors[:, None])
    return replace(
        photos,
        images=resize_images(photos.images, width, height).clamp(0, 1),
        valid=resize_masks(photos.valid, width, height),
        prior=prior,
        to_original=photos.to_original / factors,
    )


def crop_photos(photos: Photos, width: int, height: int) -> Photos:
    """The middle of the photos in another shape: scaled until they just cover it, then cut."""
    factor = max(width / photos.width, height / photos.height)
    scaled = resize_photos(photos, round(photos.width * factor), round(photos.height * factor))
    left, top = (scaled.width - width) // 2, (scaled.height - height) // 2
    cut = (slice(None), slice(top, top + height), slice(left, left + width))
    shift = torch.eye(3)
    shift[:2, 2] = torch.tensor([left, top])
    prior = scaled.prior
    if prior is not None and prior.K is not None:
        prior = replace(prior, K=torch.linalg.inv(shift) @ prior.K)
    return replace(
        scaled,
        images=scaled.images[cut],
        valid=scaled.valid[cut],
        prior=prior,
        to_original=scaled.to_original @ shift,
    )


def with_known_cameras(
    photos: Photos, K: Float[Tensor, "view 3 3"], camera_to_world: Float[Tensor, "view 4 4"]
) -> Photos:
    """The same photos, undistorted, with cameras that are known exactly.

    Args:
        photos: The pictures.
        K: Intrinsics at their resolution.
        camera_to_world: Poses in any world.
    """
    prior = CameraPrior(
        K=K,
        focal_sigma=torch.zeros(len(photos)),
        distortion=torch.zeros(len(photos), 2),
        camera_to_world=camera_to_world,
    )
    return replace(photos, prior=prior)


def select_photos(photos: Photos, index: list[int]) -> Photos:
    """Some of the photos, in the given order."""
    prior = photos.prior
    if prior is not None:
        parts = {name: getattr(prior, name) for name in CameraPrior.__dataclass_fields__}
        prior = CameraPrior(
            **{name: None if part is None else part[index] for name, part in parts.items()}
        )
    return replace(
        photos,
        images=photos.images[index],
        valid=photos.valid[index],
        names=tuple(photos.names[i] for i in index),
        prior=prior,
        original_sizes=tuple(photos.original_sizes[i] for i in index),
        to_original=photos.to_original[index],
    )
