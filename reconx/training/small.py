"""The pack's own small video model, for the trainer: latents are pixels, and all of it learns."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..progress import SilentProgress
from ..structure.points import measure_radius
from ..structure.sites import Site, find_sites
from ..types import FILLED
from ..video.backbones.small.inputs import (
    CLOUD_POINTS,
    SmallInputs,
    describe_cameras,
    describe_keyframes,
    describe_renders,
)
from ..video.backbones.small.network import SITES, SmallDenoiser
from ..video.backbones.warp import WarpBackbone
from ..video.base import ClipRequest, GuidanceOptions
from ..video.registry import BACKBONES
from .base import EncodedClip, TrainingClip
from .noise import FlowSchedule, NoiseSchedule
from .options import TrainOptions

SHIFT = 20.0
"""Of the noise levels: half of them lie above 0.95, since clips are made in one step or few."""


class SmallTraining:
    """Clips in pixel space: noised frames beside keyframes, renders and rays."""

    whole = True
    schedule: NoiseSchedule = FlowSchedule(shift=SHIFT, times=1.0, prediction="clean")

    def __init__(self, options: TrainOptions) -> None:
        """Take the network's sizes from the recipe."""
        self._sizes, self._seed = options.small, options.learn.seed
        self.spec = replace(BACKBONES["small"], size_multiple=self._sizes.multiple)

    def facts(self) -> Mapping[str, Any]:
        """Encoded clips depend on the radius of their clouds alone."""
        return {"name": "small", "points": CLOUD_POINTS}

    def encode_clip(self, clip: TrainingClip, device: torch.device) -> EncodedClip:
        """Nothing is encoded: latents are the frames in [-1, 1]."""
        frames = clip.frames.permute(3, 0, 1, 2) * 2 - 1
        shown = list(clip.keyframes)
        valid = torch.ones(clip.frames.shape[1:3], dtype=torch.bool)
        keyframes = describe_keyframes(
            clip.frames[shown].unbind(), [valid] * len(shown), shown, len(clip.frames)
        )
        radius = measure_radius(clip.scene, clip.cameras[0], points=CLOUD_POINTS)
        return EncodedClip(
            latents=frames.half(),
            conditions={
                "keyframes": keyframes.half(),
                "renders": _blend_photos(clip).half(),
                "cameras": describe_cameras(clip.cameras, clip.cameras[0], radius),
            },
        )

    def load_denoiser(self, dtype: torch.dtype) -> nn.Module:
        """With random weights from the recipe's seed."""
        torch.manual_seed(self._seed)
        return SmallDenoiser(self._sizes).to(dtype)

    def find_sites(self, denoiser: nn.Module) -> Sequence[Site]:
        """Every attention to keyframes."""
        return find_sites(denoiser, SITES)

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
        """What neither a keyframe nor a render of seen points shows."""
        return (conditions["keyframes"][:, 3:] == 0) & (conditions["renders"][:, 4:] == 0)

    def decode(
        self,
        latents: Float[Tensor, "3 frame height width"],
        settings: Mapping[str, Any],
        device: torch.device,
    ) -> Float[Tensor, "frame height width 3"]:
        """From [-1, 1] to [0, 1]."""
        return (latents.permute(1, 2, 3, 0) / 2 + 0.5).clamp(0, 1).float().cpu()


def _blend_photos(clip: TrainingClip) -> Float[Tensor, "5 frame height width"]:
    """What `warp` makes of the photos behind the clip's scene; nothing where none is shown."""
    if not clip.shows_renders:
        return torch.zeros(5, *clip.frames.shape[:3])
    request = ClipRequest(
        cameras=clip.cameras,
        keyframes=(),
        renders=clip.renders(),
        scene=clip.scene,
        guidance=GuidanceOptions(),
    )
    blended = WarpBackbone(BACKBONES["warp"]).generate_clip(request, SilentProgress())
    assert blended.confidence is not None, "warp knows where its pixels came from"
    seen = blended.confidence > FILLED
    return describe_renders(blended.frames, torch.ones_like(seen), seen)
