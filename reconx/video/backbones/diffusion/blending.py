"""Point renders held in the latents of a model that was not trained to take them."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ....types import Cameras
from ...base import Guide
from ...latents import blend_latents, known_latents


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentLayout:
    """How a pipeline's latents lie."""

    channels: int
    """Channels of a latent."""
    dtype: torch.dtype
    """In which the pipeline denoises."""
    time_stride: int = 4
    """Frames per latent frame."""
    space_stride: int = 8
    """Pixels per latent along each side."""
    causal: bool = True
    """Whether the first latent frame stands for the first frame alone."""
    channels_first: bool = True
    """Batch, channels, frames, or else batch, frames, channels; then height and width."""
    padding: int = 0
    """Latent frames before the clip's own that the pipeline drops in the end."""

    def shape(self, cameras: Cameras) -> tuple[int, ...]:
        """Shape of a clip's latents."""
        frames = self.padding + (len(cameras) - 1) // self.time_stride + 1
        first = (self.channels, frames) if self.channels_first else (frames, self.channels)
        height, width = cameras.height // self.space_stride, cameras.width // self.space_stride
        return (1, *first, height, width)

    def padded(self, latents: Float[Tensor, "1 a b h w"]) -> Float[Tensor, "1 c d h w"]:
        """A clip's own latents with the padding before them."""
        time_dim = 2 if self.channels_first else 1
        before = latents.narrow(time_dim, 0, 1).expand(
            *(self.padding if dim == time_dim else -1 for dim in range(latents.ndim))
        )
        return torch.cat([before, latents], dim=time_dim)

    def plain(self, latents: Float[Tensor, "1 a b h w"]) -> Float[Tensor, "channel frame h w"]:
        """A clip's own latents, without the padding before them."""
        channels_first = latents[0] if self.channels_first else latents[0].transpose(0, 1)
        return channels_first[:, self.padding :]

    def mask(self, known: Bool[Tensor, "frame height width"]) -> Bool[Tensor, "1 a b h w"]:
        """Which latents stand for known pixels alone; broadcasts to the latents."""
        mask = known_latents(
            known,
            time_stride=self.time_stride,
            space_stride=self.space_stride,
            causal=self.causal,
        )
        mask = torch.cat([mask.new_zeros(self.padding, *mask.shape[1:]), mask])
        return mask[None, None] if self.channels_first else mask[None, :, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderBlend:
    """Puts what is known back into the latents after each denoising step."""

    clean: Float[Tensor, "*shape"]
    """Latents of the renders, without noise."""
    frames: Float[Tensor, "frame height width 3"]
    """The renders."""
    noise: Float[Tensor, "*shape"]
    """The noise that the clip began from: the known latents' way from noise to picture is then the
    one that the sampler begins."""
    known: Bool[Tensor, "..."]
    """Broadcasts to the latents."""
    guide: Guide
    """Strength, and share of the steps."""
    steps: int
    """Denoising steps in all."""

    def apply(
        self, scheduler: Any, step: int, latents: Float[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape"]:
        """The latents after a step, counted from 0, with what is known at their noise level."""
        if not self.guide.covers(step, self.steps):
            return latents
        if hasattr(scheduler, "last_sample"):
            # UniPC would correct the blended sample from the one before it, and so undo the blend.
            scheduler.last_sample = None
        clean, noise = self.clean.to(latents), self.noise.to(latents)
        noised = _at_next_step(scheduler, step, clean, noise)
        return blend_latents(latents, noised.to(latents), self.known, self.guide.strength)


def _at_next_step(
    scheduler: Any, step: int, clean: Float[Tensor, "*shape"], noise: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    following = scheduler.timesteps[step + 1 : step + 2]
    if len(following) == 0:
        return clean
    if hasattr(scheduler, "scale_noise"):  # flow matching
        return scheduler.scale_noise(clean, following, noise)
    return scheduler.add_noise(clean, noise, following)
