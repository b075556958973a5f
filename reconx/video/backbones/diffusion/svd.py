"""Stable Video Diffusion (Blattmann et al. 2023)."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ....export.pictures import to_pil
from ...base import ClipRequest
from .backbone import DiffusersBackbone, end_keyframes, whole_picture
from .blending import LatentLayout
from .loading import PipelineKind

CHUNK = 4
"""Frames that the VAE takes at once: it needs more memory than the denoiser."""


class SvdBackbone(DiffusersBackbone):
    """Goes on from a first frame; where it goes, point renders in its latents say."""

    kind = PipelineKind(
        name="StableVideoDiffusionPipeline",
        denoiser="unet",
        denoiser_class="UNetSpatioTemporalConditionModel",
    )

    def arguments(self, pipeline: Any, request: ClipRequest) -> Mapping[str, Any]:
        """The first frame."""
        first, _ = end_keyframes(request)
        assert first is not None, "the clip driver begins where a keyframe is"
        return {"image": to_pil(whole_picture(first)), "decode_chunk_size": CHUNK}

    def layout(self, pipeline: Any, request: ClipRequest) -> LatentLayout:
        """A latent frame per frame."""
        return LatentLayout(
            channels=pipeline.vae.config.latent_channels,
            dtype=pipeline.unet.dtype,
            time_stride=1,
            causal=False,
            channels_first=False,
        )

    def encode(
        self, pipeline: Any, video: Float[Tensor, "1 3 frame height width"]
    ) -> Float[Tensor, "1 a b h w"]:
        """Frame by frame, scaled."""
        chunks = video[0].transpose(0, 1).split(CHUNK)
        latents = [pipeline.vae.encode(chunk).latent_dist.mode() for chunk in chunks]
        return torch.cat(latents)[None] * pipeline.vae.config.scaling_factor
