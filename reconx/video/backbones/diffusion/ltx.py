"""LTX-Video (HaCohen et al. 2024): keyframes anywhere, and renders token by token."""

import importlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...base import ClipRequest
from ...conditions import make_control_video
from ...latents import known_latents
from .backbone import DiffusersBackbone, whole_picture
from .blending import RenderBlend
from .loading import PipelineKind
from .previews import KnownPictures

FRAME_RATE = 24
"""Frames per second that the model takes the clip for."""
DECODE_TIMESTEP, DECODE_NOISE = 0.05, 0.025
"""For VAEs that denoise while they decode (0.9.1 and later), as published with them."""


class KnownTokens(NamedTuple):
    """Point renders, in the order of the denoiser's tokens."""

    latents: Float[Tensor, "1 token channel"]
    """Encoded."""
    strength: Float[Tensor, "1 token"]
    """How strongly each token is known."""
    frames: Float[Tensor, "frame height width 3"]
    """What they show."""


class LtxBackbone(DiffusersBackbone):
    """The model's own conditioning on images covers whole frames; its tokens can do more.

    Each token carries its own noise level, so the tokens that stand for known pixels alone begin
    clean and stay so, and the others are denoised around them.
    """

    kind = PipelineKind(
        name="LTXConditionPipeline",
        denoiser="transformer",
        denoiser_class="LTXVideoTransformer3DModel",
    )

    def pipeline_class(self) -> Any:
        """The pipeline, taking known tokens."""
        return _token_pipeline()

    def arguments(self, pipeline: Any, request: ClipRequest) -> Mapping[str, Any]:
        """Photos as conditions at their index, renders as known tokens."""
        condition = importlib.import_module(
            "diffusers.pipelines.ltx.pipeline_ltx_condition"
        ).LTXVideoCondition
        pipeline.known_tokens = self._known_tokens(pipeline, request)
        return {
            "conditions": [
                condition(
                    image=whole_picture(keyframe).permute(2, 0, 1)[None],
                    frame_index=keyframe.index,
                    strength=float(request.guidance.keyframes.strength),
                )
                for keyframe in request.keyframes
            ],
            "frame_rate": FRAME_RATE,
            # Noise on what is known would let it drift.
            "image_cond_noise_scale": 0.0,
            "decode_timestep": DECODE_TIMESTEP,
            "decode_noise_scale": DECODE_NOISE,
        }

    def encode(
        self, pipeline: Any, video: Float[Tensor, "1 3 frame height width"]
    ) -> Float[Tensor, "1 token channel"]:
        """Normalised, in the order of the denoiser's tokens."""
        vae = pipeline.vae
        latents = vae.encode(video).latent_dist.mode()
        latents = pipeline._normalize_latents(latents, vae.latents_mean, vae.latents_std)
        return pipeline._pack_latents(latents, *_patch(pipeline))

    def plain_latents(
        self, pipeline: Any, request: ClipRequest, latents: Tensor
    ) -> Float[Tensor, "channel latent_frame h w"]:
        """Unpacked, without the tokens that stand for photos beside the clip."""
        time, space = (
            pipeline.vae_temporal_compression_ratio,
            pipeline.vae_spatial_compression_ratio,
        )
        cameras, own = request.cameras, pipeline.known_tokens.latents.shape[1]
        return pipeline._unpack_latents(
            latents[:, -own:],
            (len(cameras) - 1) // time + 1,
            cameras.height // space,
            cameras.width // space,
            pipeline.transformer_spatial_patch_size,
            pipeline.transformer_temporal_patch_size,
        )[0]

    def known_pictures(
        self, pipeline: Any, request: ClipRequest, blend: RenderBlend | None
    ) -> KnownPictures:
        """The renders."""
        known = pipeline.known_tokens
        latents = self.plain_latents(pipeline, request, known.latents)
        return KnownPictures(latents, known.frames)

    def _known_tokens(self, pipeline: Any, request: ClipRequest) -> KnownTokens:
        # Photos have conditions and strengths of their own.
        video = make_control_video(replace(request, keyframes=()))
        pictures = (video.frames * 2 - 1).permute(3, 0, 1, 2)[None]
        with torch.no_grad():
            tokens = self.encode(pipeline, pictures.to(request.device, pipeline.vae.dtype))
        known = known_latents(
            video.known,
            time_stride=pipeline.vae_temporal_compression_ratio,
            space_stride=pipeline.vae_spatial_compression_ratio,
        )
        strength = known[None, None].to(tokens) * request.guidance.renders.strength
        return KnownTokens(
            tokens, pipeline._pack_latents(strength, *_patch(pipeline)).amin(-1), video.frames
        )


def _patch(pipeline: Any) -> tuple[int, int]:
    """Latents that a token stands for, in space and in time."""
    return pipeline.transformer_spatial_patch_size, pipeline.transformer_temporal_patch_size


@cache
def _token_pipeline() -> Any:
    """LTXConditionPipeline with known tokens; a class is made where its base can be imported."""
    base = importlib.import_module("diffusers").LTXConditionPipeline

    class TokenPipeline(base):
        known_tokens: KnownTokens | None = None

        def maybe_free_model_hooks(self) -> None:
            """Called when a clip ends, however it ends."""
            super().maybe_free_model_hooks()
            self.known_tokens = None

        def prepare_latents(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
            latents, mask, coordinates, extra = super().prepare_latents(*args, **kwargs)
            assert self.known_tokens is not None, "given with the other arguments"
            clean, strength = (part.to(latents) for part in self.known_tokens[:2])
            if mask is None:  # without any condition
                mask = torch.zeros_like(latents[..., 0])
            stronger = strength > mask[:, extra:]
            strength = torch.where(stronger, strength, mask[:, extra:])
            weight = torch.where(stronger, strength, 0)[..., None]
            latents[:, extra:] = torch.lerp(latents[:, extra:], clean, weight)
            return latents, torch.cat([mask[:, :extra], strength], dim=1), coordinates, extra

    return TokenPipeline
