"""The pack's own small video model, for the trainer: pixels are its latents, and all of it learns."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..structure.points import measure_radius
from ..structure.sites import Site, SiteRule, find_sites
from ..video.backbones.small.inputs import (
    SmallInputs,
    describe_cameras,
    describe_keyframes,
    describe_renders,
)
from ..video.backbones.small.network import SmallDenoiser
from ..video.base import BackboneSpec
from .base import EncodedClip, TrainingClip
from .noise import FlowSchedule, NoiseSchedule
from .options import TrainOptions

RULES = {
    "SmallDenoiser": SiteRule(
        family="small", modules=(r"^(down|middle|up).*attention$",), query="norm_q", out="to_out"
    )
}


class SmallTraining:
    """Clips in pixel space: noised frames beside keyframes, renders and rays."""

    whole = True
    schedule: NoiseSchedule = FlowSchedule(times=1.0, prediction="clean")

    def __init__(self, options: TrainOptions) -> None:
        """Take the network's sizes from the recipe."""
        self._sizes, self._points = options.small, options.encoder.points
        self._seed = options.learn.seed
        self.spec = BackboneSpec(
            name="small",
            factory="none",
            size_multiple=self._sizes.multiple,
            keyframes="any",
            renders="native",
            structure_family="small",
        )

    def facts(self) -> Mapping[str, Any]:
        """Encoded clips depend on the radius of their clouds alone."""
        return {"name": "small", "points": self._points}

    def encode_clip(self, clip: TrainingClip, device: torch.device) -> EncodedClip:
        """Nothing is encoded: latents are the frames in [-1, 1]."""
        frames = clip.frames.permute(3, 0, 1, 2) * 2 - 1
        shown = list(clip.keyframes)
        valid = torch.ones(clip.frames.shape[1:3], dtype=torch.bool)
        keyframes = describe_keyframes(
            clip.frames[shown].unbind(), [valid] * len(shown), shown, len(clip.frames)
        )
        radius = measure_radius(clip.scene, clip.cameras[0], points=self._points)
        return EncodedClip(
            latents=frames.half(),
            conditions={
                "keyframes": keyframes.half(),
                "renders": describe_renders(clip.renders()).half(),
                "cameras": describe_cameras(clip.cameras, radius),
            },
        )

    def load_denoiser(self, dtype: torch.dtype) -> nn.Module:
        """With random weights from the recipe's seed."""
        torch.manual_seed(self._seed)
        return SmallDenoiser(self._sizes).to(dtype)

    def find_sites(self, denoiser: nn.Module) -> Sequence[Site]:
        """Every attention to keyframes."""
        return find_sites(denoiser, RULES)

    def denoise(
        self,
        denoiser: nn.Module,
        noised: Float[Tensor, "clip 3 frame height width"],
        time: Float[Tensor, " clip"],
        conditions: Mapping[str, Tensor],
        settings: Mapping[str, Any],
    ) -> Float[Tensor, "clip 3 frame height width"]:
        """Clean frames."""
        inputs = SmallInputs(
            keyframes=conditions["keyframes"].to(noised),
            renders=conditions["renders"].to(noised),
            cameras=conditions["cameras"].to(noised),
        )
        return denoiser(noised, time, inputs)

    def counted(
        self, conditions: Mapping[str, Tensor]
    ) -> Bool[Tensor, "clip 1 frame height width"]:
        """What no keyframe shows."""
        return conditions["keyframes"][:, 3:] == 0

    def decode(
        self,
        latents: Float[Tensor, "3 frame height width"],
        settings: Mapping[str, Any],
        device: torch.device,
    ) -> Float[Tensor, "frame height width 3"]:
        """From [-1, 1] to [0, 1]."""
        return (latents.permute(1, 2, 3, 0) / 2 + 0.5).clamp(0, 1).float().cpu()
