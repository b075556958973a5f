"""Masks over loaded photos."""

import pytest
import torch

from reconx.errors import InputError
from reconx.photos.loading import photos_from_images
from reconx.photos.masking import mask_photos
from reconx.types import Photos


@pytest.fixture(scope="module")
def photos() -> Photos:
    """One of 40 x 30 pixels and one of 20 x 30, padded."""
    images = [torch.rand(30, 40, 3), torch.rand(30, 20, 3)]
    return photos_from_images(images)


def left_half(*shape: int) -> torch.Tensor:
    masks = torch.zeros(shape, dtype=torch.bool)
    masks[..., : shape[-1] // 2] = True
    return masks


def test_white_is_used_and_padding_stays_out(photos):
    masked = mask_photos(photos, torch.stack([left_half(30, 40), ~left_half(30, 40) | True]))
    assert torch.equal(masked.valid[0], left_half(30, 40))
    assert torch.equal(masked.valid[1], photos.valid[1])
    assert masked.images is photos.images


def test_one_mask_of_another_size_serves_all(photos):
    masked = mask_photos(photos, left_half(1, 60, 80))
    # A pixel that only half lies under white is left out.
    assert masked.valid[:, :, :19].all()
    assert not masked.valid[:, :, 20:].any()


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (left_half(3, 30, 40), "3 masks were given for 2 photos; expected one per photo"),
        (left_half(2, 64, 64), "masks are 64 x 64 pixels and the photos 40 x 30"),
        (~left_half(1, 30, 40), "mask of photo photo-2 leaves no pixel .* Invert the mask"),
    ],
)
def test_masks_that_do_not_fit_are_said(photos, masks, words):
    with pytest.raises(InputError, match=words):
        mask_photos(photos, masks)
