"""Pictures of latents, where the answer is known."""

import torch
from jaxtyping import Float
from torch import Tensor

from reconx.video.backbones.diffusion.previews import KnownPictures, picture_latents

STRIDE, BLOCK, CHANNELS = 4, 8, 6


def encode(
    frames: Float[Tensor, "frame height width 3"], weights: Float[Tensor, "channel 3"]
) -> Float[Tensor, "channel latent_frame h w"]:
    """A VAE whose latents are a linear map of one frame in `STRIDE`."""
    latents = frames[::STRIDE, ::BLOCK, ::BLOCK] @ weights.T + torch.arange(CHANNELS)
    return latents.permute(3, 0, 1, 2)


def blocks(generator: torch.Generator) -> Float[Tensor, "frame height width 3"]:
    """Nine frames of blocks of one colour each."""
    colours = torch.rand(9, 5, 7, 3, generator=generator)
    return colours.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)


def test_colours_are_learned_from_what_is_known() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(CHANNELS, 3, generator=generator)
    known, shown = blocks(generator), blocks(generator)
    picture = picture_latents(encode(shown, weights), KnownPictures(encode(known, weights), known))
    assert picture.shape == (5, 7, 3)
    assert (picture - shown[4, ::BLOCK, ::BLOCK]).abs().max() < 1e-3
