"""Wan 2.1 and 2.2: from a first to a last frame, and VACE with point renders.

Wan: open and advanced large-scale video generative models (Wan Team 2025); VACE: all-in-one video
creation and editing (Jiang et al. 2025).
"""

import importlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ....errors import BackboneMismatch
from ....export.pictures import to_pil
from ...base import ClipRequest
from ...conditions import make_control_video
from .backbone import DiffusersBackbone, end_keyframes, whole_picture
from .blending import LatentLayout, RenderBlend
from .loading import PipelineKind
from .previews import KnownPictures


class WanFirstLastBackbone(DiffusersBackbone):
    """Wan I2V weights that take a last frame: 2.1 FLF2V, 2.2 I2V-A14B."""

    kind = PipelineKind(
        name="WanImageToVideoPipeline",
        denoiser="transformer",
        denoiser_class="WanTransformer3DModel",
        full_precision=("vae", "image_encoder"),
    )
    passes = "in_turn"

    def check_model(self) -> None:
        """Refuse Wan weights that take no image, or no last one."""
        config = self.folder.config("transformer")
        takes_image = config["in_channels"] > config["out_channels"]
        # TI2V 5B would leave the last frame out without a word; 2.1 I2V has no place for its CLIP
        # embedding.
        takes_last = not self.folder.settings.get("expand_timesteps", False) and (
            config.get("image_dim") is None or config.get("pos_embed_seq_len") is not None
        )
        if not (takes_image and takes_last):
            raise BackboneMismatch(
                f"Wan weights in '{self.folder.path}' take no last frame; backbone "
                f"'{self.spec.name}' needs those that do, such as Wan2.1-FLF2V-14B-720P-diffusers "
                "or Wan2.2-I2V-A14B-Diffusers."
            )

    def check_request(self, request: ClipRequest) -> None:
        """Refuse a clip with an open end where the weights need both."""
        needs_both = self.folder.config("transformer").get("pos_embed_seq_len") is not None
        if needs_both and None in end_keyframes(request):
            raise BackboneMismatch(
                f"Wan weights in '{self.folder.path}' need a photo at both ends of a clip, and a "
                f"clip of {len(request.cameras)} frames has one at one end only. Choose a path "
                "between photos with fewer frames, Wan 2.2 weights, or wan-vace."
            )

    def arguments(self, pipeline: Any, request: ClipRequest) -> Mapping[str, Any]:
        """The two ends, as pictures of 8 bit: the pipeline's CLIP processor takes no others."""
        first, last = end_keyframes(request)
        assert first is not None, "the clip driver begins where a keyframe is"
        return {
            "image": to_pil(whole_picture(first)),
            "last_image": None if last is None else to_pil(whole_picture(last)),
        }

    def layout(self, pipeline: Any, request: ClipRequest) -> LatentLayout:
        """Denoises in single precision whatever the weights have."""
        return LatentLayout(channels=pipeline.vae.config.z_dim, dtype=torch.float32)

    def encode(
        self, pipeline: Any, video: Float[Tensor, "1 3 frame height width"]
    ) -> Float[Tensor, "1 a b h w"]:
        """Normalised per channel."""
        return _encode(pipeline.vae, video)


class WanVaceBackbone(DiffusersBackbone):
    """Wan VACE: renders and photos as one video, with a mask of what is to be made up."""

    kind = PipelineKind(
        name="WanVACEPipeline",
        denoiser="transformer",
        denoiser_class="WanVACETransformer3DModel",
        full_precision=("vae",),
    )
    passes = "in_turn"
    strongest = 2.0

    def pipeline_class(self) -> Any:
        """The pipeline, keeping what it encodes."""
        return _keeping_pipeline()

    def known_pictures(
        self, pipeline: Any, request: ClipRequest, blend: RenderBlend | None
    ) -> KnownPictures:
        """The control video, grey where it has holes."""
        return pipeline.known_pictures

    def encode(
        self, pipeline: Any, video: Float[Tensor, "1 3 frame height width"]
    ) -> Float[Tensor, "1 a b h w"]:
        """Normalised per channel."""
        return _encode(pipeline.vae, video)

    def arguments(self, pipeline: Any, request: ClipRequest) -> Mapping[str, Any]:
        """Photos lie in the video at their index; the strength of renders is that of all of it."""
        renders, strength = request.renders, request.guidance.renders.strength
        if strength == 0:
            renders = replace(renders, hole=torch.ones_like(renders.hole))
        video = make_control_video(replace(request, renders=renders))
        generate = ~video.known[None, :, None].expand(-1, -1, 3, -1, -1)
        return {
            "video": video.frames.permute(0, 3, 1, 2)[None],
            "mask": generate.float(),
            "conditioning_scale": float(strength or 1),
        }


def _encode(
    vae: Any, video: Float[Tensor, "1 3 frame height width"]
) -> Float[Tensor, "1 channel latent_frame h w"]:
    latents = vae.encode(video).latent_dist.mode()
    mean, std = (
        torch.tensor(values).view(1, -1, 1, 1, 1).to(latents)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return (latents - mean) / std


@cache
def _keeping_pipeline() -> Any:
    """WanVACEPipeline that keeps its control video while it makes a clip."""
    base = importlib.import_module("diffusers").WanVACEPipeline

    class KeepingPipeline(base):
        known_pictures: KnownPictures | None = None

        def prepare_video_latents(self, video: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            latents = super().prepare_video_latents(video, *args, **kwargs)
            frames = video[0].permute(1, 2, 3, 0) / 2 + 0.5
            # What is known comes first, and what is made up behind it.
            self.known_pictures = KnownPictures(latents[0, : self.vae.config.z_dim], frames)
            return latents

        def maybe_free_model_hooks(self) -> None:
            """Called when a clip ends, however it ends."""
            super().maybe_free_model_hooks()
            self.known_pictures = None

    return KeepingPipeline
