"""A tiny video model in pixel space that can be trained: no package, no weights, no VAE.

Sees noised frames, keyframes, renders with their holes, and rays per frame; each patch then asks a
learned context, which is where structure enters.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from toy_denoisers import Attention

from reconx.ops.pluecker import pluecker_rays
from reconx.ops.se3 import invert_pose
from reconx.structure.encoder import EncoderSizes
from reconx.structure.sites import Site, SiteRule, find_sites
from reconx.training.base import EncodedClip, TrainableBackbone, TrainingClip
from reconx.training.noise import FlowSchedule, NoiseSchedule
from reconx.training.options import (
    ClipOptions,
    CloudOptions,
    DataOptions,
    KeepOptions,
    LearnOptions,
    TrainOptions,
)
from reconx.types import Cameras
from reconx.video.base import BackboneSpec

PATCH, WIDTH = 4, 24
BESIDE = 4 + 4 + 6
"""Channels beside the noised frames: keyframes, renders, rays."""
RULES = {
    "ToyVideoDenoiser": SiteRule(
        family="toy-pixels", modules=(r"^blocks\.\d+$",), query="norm_q", out="to_out.0"
    )
}
SPEC = BackboneSpec(
    name="toy", factory="none", keyframes="any", renders="native", structure_family="toy-pixels"
)


class ToyVideoDenoiser(nn.Module):
    """Patches of single frames, two attentions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear((3 + BESIDE) * PATCH**2 + 1, WIDTH)
        self.blocks = nn.ModuleList(Attention("packed", WIDTH) for _ in range(2))
        self.context = nn.Parameter(torch.randn(3, WIDTH))
        self.out = nn.Linear(WIDTH, 3 * PATCH**2)

    def forward(
        self, noised: Float[Tensor, "clip 3 frame h w"], beside: Tensor, time: Tensor
    ) -> Float[Tensor, "clip 3 frame h w"]:
        clips, _, frames, height, width = noised.shape
        planes = torch.cat([noised, beside], 1).transpose(1, 2).flatten(0, 1)
        patches = nn.functional.pixel_unshuffle(planes, PATCH).flatten(2).mT
        tokens = patches.reshape(clips, -1, patches.shape[-1])
        told = (time / 1000)[:, None, None].expand(*tokens.shape[:2], 1).to(tokens)
        hidden = self.embed(torch.cat([tokens, told], -1))
        context = self.context.expand(clips, -1, -1)
        for block in self.blocks:
            hidden = hidden + block(hidden, encoder_hidden_states=context)
        planes = self.out(hidden).reshape(clips * frames, -1, 3 * PATCH**2).mT
        planes = planes.unflatten(2, (height // PATCH, width // PATCH))
        made = nn.functional.pixel_shuffle(planes, PATCH)
        return made.unflatten(0, (clips, frames)).transpose(1, 2)


class ToyTrainable:
    """The whole of what the trainer needs, in pixel space."""

    spec = SPEC
    schedule: NoiseSchedule = FlowSchedule()

    def __init__(self, *, whole: bool = False) -> None:
        self.whole = whole

    def facts(self) -> Mapping[str, Any]:
        return {"name": "toy"}

    def encode_clip(self, clip: TrainingClip, device: torch.device) -> EncodedClip:
        frames = clip.frames.permute(3, 0, 1, 2) * 2 - 1
        shown = torch.zeros(1, *frames.shape[1:])
        shown[:, list(clip.keyframes)] = 1
        renders = clip.renders()
        drawn = torch.cat([renders.colour * 2 - 1, renders.hole[..., None]], -1)
        beside = torch.cat([frames * shown, shown, drawn.permute(3, 0, 1, 2), _rays(clip.cameras)])
        return EncodedClip(
            latents=frames, conditions={"beside": beside.half()}, shared={"scale": torch.ones(1)}
        )

    def load_denoiser(self, dtype: torch.dtype) -> nn.Module:
        torch.manual_seed(0)
        return ToyVideoDenoiser().to(dtype)

    def find_sites(self, denoiser: nn.Module) -> Sequence[Site]:
        return find_sites(denoiser, RULES)

    def denoise(
        self,
        denoiser: nn.Module,
        noised: Tensor,
        time: Tensor,
        conditions: Mapping[str, Tensor],
        settings: Mapping[str, Any],
    ) -> Tensor:
        assert conditions["scale"].shape == (len(noised), 1)
        return denoiser(noised, conditions["beside"].to(noised), time)

    def counted(self, conditions: Mapping[str, Tensor]) -> Tensor:
        """Keyframes are known."""
        return conditions["beside"][:, 3:4] == 0

    def decode(self, latents: Tensor, settings: Mapping[str, Any], device: torch.device) -> Tensor:
        return (latents.permute(1, 2, 3, 0) / 2 + 0.5).clamp(0, 1).float().cpu()


def _rays(cameras: Cameras) -> Float[Tensor, "6 frame h w"]:
    """As the first camera sees them."""
    first = invert_pose(cameras.camera_to_world[:1])
    poses = first @ cameras.camera_to_world
    relative = Cameras(
        camera_to_world=poses, K=cameras.K, width=cameras.width, height=cameras.height
    )
    return pluecker_rays(relative).permute(3, 0, 1, 2)


def toy_options(**changes: Any) -> TrainOptions:
    """Five clips of 16 x 16, a batch of two; keywords replace whole groups of options."""
    learn = {"steps": 12, "rate": 3e-3, "ramp": 1, "batch": 2, "average": 0.9, "precision": "fp32"}
    keep = {"checkpoint": 5, "log": 1, "sample": 0, "shard": 2}
    groups = {
        "data": (DataOptions(kind="procedural", scenes=5, clips=5),),
        "clip": ClipOptions(frames=4, width=16, height=16, skip=8, keyframes=1, renders=0.5),
        "cloud": CloudOptions(views=2, size=16),
        "encoder": EncoderSizes(
            width=24, heads=3, octaves=4, points=120, queries=12, point_width=16, self_blocks=1
        ),
        "learn": LearnOptions(**learn | changes.pop("learn", {})),
        "keep": KeepOptions(**keep | changes.pop("keep", {})),
    }
    return TrainOptions(backbone="toy", **groups | changes)


def make_toy(options: TrainOptions) -> TrainableBackbone:
    """As the registry calls it; a warm-up or an arm without structure trains all of it."""
    return ToyTrainable(whole=options.learn.warm_up > 0 or options.learn.dropped == 1)
