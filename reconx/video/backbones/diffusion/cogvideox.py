"""CogVideoX image-to-video, 1.0 and 1.5 (Yang et al. 2024)."""

import logging
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ....errors import BackboneMismatch
from ....export.pictures import to_pil
from ....types import Cameras
from ...base import ClipRequest
from .backbone import DiffusersBackbone, end_keyframes, whole_picture
from .blending import LatentLayout
from .loading import PipelineKind

logger = logging.getLogger("reconx")


class CogVideoXBackbone(DiffusersBackbone):
    """Goes on from a first frame; where it goes, point renders in its latents say."""

    kind = PipelineKind(
        name="CogVideoXImageToVideoPipeline",
        denoiser="transformer",
        denoiser_class="CogVideoXTransformer3DModel",
    )

    def check_model(self) -> None:
        """Refuse the text-to-video weights of the family."""
        config = self.folder.config("transformer")
        if config["in_channels"] != 2 * config["out_channels"]:
            raise BackboneMismatch(
                f"CogVideoX weights in '{self.folder.path}' take no image; backbone "
                f"'{self.spec.name}' needs those that do, such as CogVideoX-5b-I2V or "
                "CogVideoX1.5-5B-I2V."
            )

    def fit_cameras(self, cameras: Cameras) -> Cameras:
        """Legal counts and sizes; weights with learned positions (5b-I2V) know one size alone."""
        fitted = super().fit_cameras(cameras)
        config = self.folder.config("transformer")
        if not config.get("use_learned_positional_embeddings"):
            return fitted
        size = (config["sample_width"] * 8, config["sample_height"] * 8)
        if size != (fitted.width, fitted.height):
            logger.info(
                "CogVideoX weights in '%s' make %d x %d pixels alone: the path's %d x %d are "
                "stretched to that.",
                *(self.folder.path.name, *size, cameras.width, cameras.height),
            )
        return fitted.resized(*size)

    def arguments(self, pipeline: Any, request: ClipRequest) -> Mapping[str, Any]:
        """The first frame."""
        first, _ = end_keyframes(request)
        assert first is not None, "the clip driver begins where a keyframe is"
        return {"image": to_pil(whole_picture(first))}

    def layout(self, pipeline: Any, request: ClipRequest) -> LatentLayout:
        """1.5 denoises pairs of latent frames, and puts one in front of an odd count."""
        config = pipeline.transformer.config
        frames = (len(request.cameras) - 1) // pipeline.vae_scale_factor_temporal + 1
        return LatentLayout(
            channels=config.in_channels // 2,
            dtype=pipeline.transformer.dtype,
            channels_first=False,
            padding=-frames % (config.patch_size_t or 1),
        )

    def encode(
        self, pipeline: Any, video: Float[Tensor, "1 3 frame height width"]
    ) -> Float[Tensor, "1 a b h w"]:
        """Scaled, frames before channels."""
        latents = pipeline.vae.encode(video).latent_dist.mode().transpose(1, 2)
        return latents * pipeline.vae_scaling_factor_image
