import pytest
import torch

from reconx.errors import InputError
from reconx.video.latents import blend_latents, known_latents


def test_one_unknown_pixel_makes_its_latent_unknown_and_no_other() -> None:
    known = torch.ones(9, 16, 24, dtype=torch.bool)
    known[0, 3, 3] = known[4, 8, 23] = known[5, 0, 8] = False
    latents = known_latents(known, time_stride=4, space_stride=8)
    assert latents.shape == (3, 2, 3)
    assert (~latents).nonzero().tolist() == [[0, 0, 0], [1, 1, 2], [2, 0, 1]]


def test_without_causality_groups_begin_at_the_start() -> None:
    known = torch.ones(8, 8, 8, dtype=torch.bool)
    known[3] = False
    latents = known_latents(known, time_stride=4, space_stride=8, causal=False)
    assert latents.flatten().tolist() == [False, True]


def test_images_and_models_without_strides_are_the_plain_case() -> None:
    known = torch.rand(5, 6, 7, generator=torch.Generator().manual_seed(0)) > 0.5
    assert torch.equal(known_latents(known, time_stride=1, space_stride=1), known)
    assert torch.equal(known_latents(known, time_stride=1, space_stride=1, causal=False), known)


@pytest.mark.parametrize(("frames", "width"), [(8, 16), (9, 20)])
def test_clips_that_do_not_fall_into_latents_are_refused(frames: int, width: int) -> None:
    with pytest.raises(InputError, match=rf"{frames} frames of {width} x 16 .* 4k\+1 frames"):
        known_latents(
            torch.ones(frames, 16, width, dtype=torch.bool), time_stride=4, space_stride=8
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_known_latents_are_exact_and_others_untouched(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    latents, noised = torch.randn(2, 1, 4, 3, 2, 2, generator=generator).to(dtype)
    known = torch.rand(3, 2, 2, generator=generator) > 0.5
    blended = blend_latents(latents, noised, known)
    assert torch.equal(blended[:, :, known], noised[:, :, known])
    assert torch.equal(blended[:, :, ~known], latents[:, :, ~known])
    half = blend_latents(latents, noised, known, 0.5)
    assert torch.allclose(half[:, :, known], ((latents + noised) / 2)[:, :, known], atol=0.02)
    assert torch.equal(blend_latents(latents, noised, known, 0), latents)
