"""Photos from a video: the sharpest frame of each stretch, never the whole video in memory."""

import logging
import weakref

import pytest
import torch

from reconx.errors import InputError
from reconx.ops.image import resize_images
from reconx.photos.loading import PhotoOptions
from reconx.photos.video import choose_sharpest, measure_sharpness, photos_from_video


def frame(seed: int, blur: int = 1) -> torch.Tensor:
    """A picture of its own content, blurred over so many pixels."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 24, 32, 3, generator=generator)
    return resize_images(resize_images(image, 32 // blur, 24 // blur), 32, 24)[0]


def test_blur_lowers_sharpness_at_every_size():
    image = torch.rand(1, 750, 1000, 3, generator=torch.Generator().manual_seed(0))
    levels = [measure_sharpness(resize_images(image, w, w * 3 // 4)[0]) for w in (1000, 640)]
    assert levels[0] == pytest.approx(levels[1], rel=0.2)
    assert measure_sharpness(frame(0)) > 2 * measure_sharpness(frame(0, blur=2))
    assert measure_sharpness(torch.full((24, 32, 3), 0.5)) == pytest.approx(0)


@pytest.mark.parametrize("total", [10, 8, 30], ids=["as told", "more than told", "fewer than told"])
def test_the_sharpest_of_each_stretch_is_taken(total):
    sharp = {1, 4, 9}
    frames = [frame(index, blur=1 if index in sharp else 4) for index in range(10)]
    chosen = list(choose_sharpest(iter(frames), total, 3))
    expected = {10: [1, 4, 9], 8: [1, 4, 9], 30: [1]}[total]
    assert [index for index, _ in chosen] == expected
    assert all(torch.equal(image, frames[index]) for index, image in chosen)


def test_only_a_few_frames_are_alive_at_once():
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = 0

    def film():
        nonlocal most
        for index in range(60):
            image = frame(index % 7)
            alive.add(image)
            most = max(most, len(alive))
            yield image

    indices = [index for index, _ in choose_sharpest(film(), 60, 4)]
    assert len(indices) == 4
    assert most <= 4


def test_photos_know_their_frames_size_and_lens():
    frames = (frame(index) for index in range(12))
    photos = photos_from_video(frames, 12, 4, options=PhotoOptions(max_size=16, focal_px=30.0))
    assert photos.images.shape == (4, 12, 16, 3)
    assert all(name.startswith("frame-0000") for name in photos.names)
    assert photos.original_sizes == ((32, 24),) * 4
    torch.testing.assert_close(photos.prior.K[:, 0, 0], torch.full((4,), 15.0))


def test_a_video_that_ends_early_gives_what_it_has(caplog):
    with caplog.at_level(logging.WARNING, "reconx"):
        photos = photos_from_video((frame(index) for index in range(6)), 12, 4)
    assert len(photos) == 2
    assert "2 photos were taken of the 4 wanted" in caplog.text


@pytest.mark.parametrize(
    ("total", "count", "words"),
    [
        (9, 1, "Number of photos is 1; expected at least 2"),
        (3, 4, "The video has 3 frames; expected at least the 4 photos wanted"),
        (90, 2, "Only 1 frame could be read of a video that should have 90"),
    ],
)
def test_videos_that_cannot_be_used_are_said(total, count, words):
    with pytest.raises(InputError, match=words):
        photos_from_video((frame(index) for index in range(9)), total, count)
