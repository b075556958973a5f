"""The backbones of diffusers, for the trainer.

How a pipeline turns text and pictures into what its denoiser is told differs from family to family.
None of that is written again here: the pipeline itself is asked for a clip, and stopped at the
first call of its denoiser. What it was about to tell the denoiser is what the trainer keeps, so a
model is trained with exactly what it is told when it makes clips.
"""

import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import BackboneMismatch
from ..progress import SilentProgress
from ..structure.sites import DIFFUSERS_RULES, Site, find_sites
from ..video.backbones.diffusion.backbone import DiffusersBackbone
from ..video.backbones.diffusion.ltx import DECODE_NOISE, DECODE_TIMESTEP
from ..video.base import ClipRequest, GuidanceOptions, Guide, Keyframe
from ..video.guidance import check_guidance
from ..video.model_options import PROMPT, ModelOptions
from ..video.registry import make_backbone
from .base import EncodedClip, TrainingClip
from .noise import NoiseSchedule, read_schedule
from .options import TrainOptions

_EMBEDDED = {"encoder_hidden_states", "encoder_hidden_states_image", "control_hidden_states"}
"""What may be kept in another precision than the denoiser has."""
_BATCHED, _FOLDED, _ALONE = "one per clip", "several per clip", "the same for a batch"


class DiffusersTraining:
    """A denoiser of diffusers whose conditions are what its pipeline makes of them."""

    whole = False
    latent_dim: ClassVar[int] = 1
    """Dimension of a batch's channels, along which some conditions follow the latents."""
    shared: ClassVar[tuple[str, ...]] = ("encoder_hidden_states",)
    """What the denoiser is told of the prompt."""
    alone: ClassVar[tuple[str, ...]] = ()
    """What has no batch dimension."""

    def __init__(self, options: TrainOptions) -> None:
        """Look through the files; the first clip loads them.

        Raises:
            InputError: If the recipe names no model folder, or a file is damaged.
            BackboneMismatch: If the model has two denoisers.
        """
        prompt = options.prompt or PROMPT
        model = None
        if options.model is not None:
            model = ModelOptions(folder=options.model, offload=options.offload, prompt=prompt)
        backbone = make_backbone(options.backbone, model)
        assert isinstance(backbone, DiffusersBackbone), "the registry pairs them"
        self.backbone, self.spec, self._prompt = backbone, backbone.spec, prompt
        if f"{backbone.kind.denoiser}_2" in backbone.folder.components:
            raise BackboneMismatch(
                f"'{backbone.folder.path}' holds two denoisers, one for much noise and one for "
                "little, and the trainer knows models with one. Choose Wan 2.1."
            )
        self.schedule: NoiseSchedule = read_schedule(backbone.read_scheduler())

    def facts(self) -> Mapping[str, Any]:
        """Name and sizes of the model, and the prompt."""
        folder = self.backbone.folder
        return {
            "name": self.spec.name,
            "model": folder.path.name,
            "values": dict(folder.values),
            "prompt": self._prompt if self.spec.prompt else None,
        }

    def encode_clip(self, clip: TrainingClip, device: torch.device) -> EncodedClip:
        """By the pipeline's own VAE and encoders.

        Raises:
            BackboneMismatch: If these weights cannot make such a clip.
        """
        request = self._request(clip, device)
        video = (clip.frames * 2 - 1).permute(3, 0, 1, 2)[None]
        with self.backbone.loaded(device, SilentProgress()) as pipeline, torch.no_grad():
            latents = self.encode_frames(pipeline, request, video.to(device, pipeline.vae.dtype))
            told_more = self.more_settings(pipeline, request)
            denoiser = getattr(pipeline, self.backbone.kind.denoiser)
        with _listening(denoiser) as heard, suppress(_Heard):
            self.backbone.generate_clip(request, SilentProgress())
        told = dict(heard)
        first = next(iter(told))
        conditions = self.part_hidden(told.pop(first), told.pop("timestep"), latents)
        named, layouts, plain = _flatten(told, conditions.pop("batch"), self.alone)
        shared = {
            name: value
            for name, value in named.items()
            if name in self.shared or layouts[name] == _ALONE
        }
        own = {name: value for name, value in named.items() if name not in shared}
        return EncodedClip(
            latents=latents[0],
            conditions={**conditions, **own},
            shared=shared,
            settings={"first": first, "layouts": layouts, "plain": plain, **told_more},
        )

    def encode_frames(
        self, pipeline: Any, request: ClipRequest, video: Float[Tensor, "1 3 frame height width"]
    ) -> Float[Tensor, "1 ..."]:
        """A clip's frames in [-1, 1] as the denoiser takes them."""
        latents = self.backbone.encode(pipeline, video)
        layout = self.backbone.layout(pipeline, request)
        return latents if layout is None else layout.padded(latents)

    def part_hidden(
        self, hidden: Tensor, time: Tensor, latents: Float[Tensor, "1 ..."]
    ) -> dict[str, Any]:
        """What stands beside the latents in the denoiser's input, and the size of its batch."""
        channels = latents.shape[self.latent_dim]
        rest = hidden.shape[self.latent_dim] - channels
        beside = hidden[-1:].narrow(self.latent_dim, channels, rest)[0]
        return {"batch": len(hidden)} | ({"beside": beside} if rest else {})

    def more_settings(self, pipeline: Any, request: ClipRequest) -> Mapping[str, Any]:
        """What decoding must know beside, in JSON's types."""
        return {}

    def load_denoiser(self, dtype: torch.dtype) -> nn.Module:
        """The network alone; the rest of the pipeline leaves memory."""
        self.backbone.release()
        return self.backbone.read_component(self.backbone.kind.denoiser, dtype)

    def find_sites(self, denoiser: nn.Module) -> Sequence[Site]:
        """As where the pack makes clips."""
        return find_sites(denoiser, DIFFUSERS_RULES)

    def denoise(
        self,
        denoiser: nn.Module,
        noised: Float[Tensor, "clip ..."],
        time: Float[Tensor, " clip"],
        conditions: Mapping[str, Tensor],
        settings: Mapping[str, Any],
    ) -> Float[Tensor, "clip ..."]:
        """As the pipeline would, at any noise level."""
        parts = [noised.to(_dtype(denoiser))]
        if "beside" in conditions:
            parts.append(conditions["beside"].to(parts[0]))
        hidden = torch.cat(parts, self.latent_dim)
        return self.ask(denoiser, hidden, time, conditions, settings)

    def ask(
        self,
        denoiser: nn.Module,
        hidden: Tensor,
        time: Tensor,
        conditions: Mapping[str, Tensor],
        settings: Mapping[str, Any],
    ) -> Tensor:
        """Call the denoiser with all that its pipeline told it."""
        told = _restore(conditions, settings["layouts"])
        for name in _EMBEDDED & told.keys():
            told[name] = told[name].to(hidden)
        told |= {**settings["plain"], settings["first"]: hidden, "timestep": time}
        return denoiser(**{**told, "return_dict": False})[0]

    def counted(self, conditions: Mapping[str, Tensor]) -> Bool[Tensor, "clip ..."] | None:
        """All latents."""
        return None

    @torch.no_grad()
    def decode(
        self, latents: Float[Tensor, "*shape"], settings: Mapping[str, Any], device: torch.device
    ) -> Float[Tensor, "frame height width 3"]:
        """By the VAE alone, loaded for the occasion."""
        vae = self.backbone.read_component("vae", torch.float32).to(device)
        video = self.decode_frames(vae, latents[None].to(device, torch.float32), settings)
        return (video[0].permute(1, 2, 3, 0) / 2 + 0.5).clamp(0, 1).float().cpu()

    def decode_frames(
        self, vae: Any, latents: Float[Tensor, "1 ..."], settings: Mapping[str, Any]
    ) -> Float[Tensor, "1 3 frame height width"]:
        """Latents as a video in [-1, 1]."""
        raise NotImplementedError

    def _request(self, clip: TrainingClip, device: torch.device) -> ClipRequest:
        keyframes = tuple(
            Keyframe(
                image=clip.frames[frame],
                valid=torch.ones(clip.frames.shape[1:3], dtype=torch.bool),
                index=frame,
                photo_index=number,
            )
            for number, frame in enumerate(clip.keyframes)
        )
        guidance = GuidanceOptions(
            text_strength=1.0 if self.spec.prompt else None,
            renders=Guide(strength=float(clip.shows_renders)),
        )
        return ClipRequest(
            cameras=clip.cameras,
            keyframes=keyframes,
            renders=clip.renders(),
            scene=clip.scene,
            steps=2,
            guidance=check_guidance(self.spec, guidance),
            device=str(device),
        )


class WanTraining(DiffusersTraining):
    """Wan from a first to a last frame, and VACE."""

    alone = ("control_hidden_states_scale",)

    def decode_frames(
        self, vae: Any, latents: Float[Tensor, "1 ..."], settings: Mapping[str, Any]
    ) -> Float[Tensor, "1 3 frame height width"]:
        """Undo the normalisation."""
        mean, std = (
            torch.tensor(values).view(1, -1, 1, 1, 1).to(latents)
            for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        return vae.decode(latents * std + mean, return_dict=False)[0]


class CogVideoXTraining(DiffusersTraining):
    """CogVideoX image-to-video: frames before channels."""

    latent_dim = 2
    alone = ("image_rotary_emb",)

    def decode_frames(
        self, vae: Any, latents: Float[Tensor, "1 ..."], settings: Mapping[str, Any]
    ) -> Float[Tensor, "1 3 frame height width"]:
        """Undo the scale; what was padded in front is shown too."""
        scale = vae.config.scaling_factor
        if getattr(vae.config, "invert_scale_latents", False):
            scale = 1 / scale
        return vae.decode(latents.transpose(1, 2) / scale).sample


class SvdTraining(DiffusersTraining):
    """Stable Video Diffusion: no prompt, frames before channels."""

    latent_dim = 2
    shared = ()

    def decode_frames(
        self, vae: Any, latents: Float[Tensor, "1 ..."], settings: Mapping[str, Any]
    ) -> Float[Tensor, "1 3 frame height width"]:
        """All frames at once."""
        frames = latents[0] / vae.config.scaling_factor
        return vae.decode(frames, num_frames=len(frames)).sample.transpose(0, 1)[None]


class LtxTraining(DiffusersTraining):
    """LTX-Video: each token has a noise level of its own, and keyframes are tokens that have none.

    Keyframes behind the first stand in front of the clip's own tokens.
    """

    shared = ("encoder_hidden_states", "encoder_attention_mask")

    def part_hidden(
        self, hidden: Tensor, time: Tensor, latents: Float[Tensor, "1 ..."]
    ) -> dict[str, Any]:
        """Which tokens are known, and what they are."""
        # At full noise the pipeline tells each token what noise is left to it.
        known = 1 - time[-1].float().expand(hidden.shape[1]) / _LTX_TIMES
        clean = torch.where(known[:, None] > 0, hidden[-1], 0)
        free = known[-latents.shape[1] :, None] == 0
        return {"batch": len(hidden), "known": known, "clean": clean, "free": free}

    def more_settings(self, pipeline: Any, request: ClipRequest) -> Mapping[str, Any]:
        """Latent frames, rows and columns of a clip, and what a token stands for."""
        time, space = (
            pipeline.vae_temporal_compression_ratio,
            pipeline.vae_spatial_compression_ratio,
        )
        cameras = request.cameras
        return {
            "grid": [
                (len(cameras) - 1) // time + 1,
                cameras.height // space,
                cameras.width // space,
            ],
            "patch": [
                pipeline.transformer_spatial_patch_size,
                pipeline.transformer_temporal_patch_size,
            ],
        }

    def denoise(
        self,
        denoiser: nn.Module,
        noised: Float[Tensor, "clip ..."],
        time: Float[Tensor, " clip"],
        conditions: Mapping[str, Tensor],
        settings: Mapping[str, Any],
    ) -> Float[Tensor, "clip ..."]:
        """Known tokens as they are, the others noised."""
        known, clean = conditions["known"], conditions["clean"].to(noised)
        extra = known.shape[1] - noised.shape[1]
        own = torch.where(known[:, extra:, None] > 0, clean[:, extra:], noised)
        hidden = torch.cat([clean[:, :extra], own], 1).to(_dtype(denoiser))
        times = torch.minimum(time[:, None], (1 - known) * _LTX_TIMES)
        return self.ask(denoiser, hidden, times, conditions, settings)[:, extra:]

    def counted(self, conditions: Mapping[str, Tensor]) -> Bool[Tensor, "clip token 1"] | None:
        """What is not known."""
        return conditions["free"]

    def decode_frames(
        self, vae: Any, latents: Float[Tensor, "1 ..."], settings: Mapping[str, Any]
    ) -> Float[Tensor, "1 3 frame height width"]:
        """Undo packing and normalisation; some VAEs finish the denoising."""
        pipeline = importlib.import_module("diffusers").LTXConditionPipeline
        plain = pipeline._unpack_latents(latents, *settings["grid"], *settings["patch"])
        scale = vae.config.scaling_factor
        plain = pipeline._denormalize_latents(plain, vae.latents_mean, vae.latents_std, scale)
        if not vae.config.timestep_conditioning:
            return vae.decode(plain, return_dict=False)[0]
        noise = torch.randn(plain.shape, generator=torch.Generator().manual_seed(0)).to(plain)
        plain = torch.lerp(plain, noise, DECODE_NOISE)
        return vae.decode(plain, plain.new_tensor([DECODE_TIMESTEP]), return_dict=False)[0]


_LTX_TIMES = 1000.0
"""What LTX's pipeline tells at full noise."""


def _dtype(denoiser: nn.Module) -> torch.dtype:
    return next(value.dtype for value in denoiser.parameters())


class _Heard(Exception):
    """Ends a pipeline when its denoiser has been told enough."""


@contextmanager
def _listening(denoiser: nn.Module) -> Iterator[dict[str, Any]]:
    """Stop a denoiser before its next call, and keep what it was called with, by name."""
    heard: dict[str, Any] = {}

    def stop(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        bound = inspect.signature(type(module).forward).bind(module, *args, **kwargs)
        heard.update(list(bound.arguments.items())[1:])
        raise _Heard

    handle = denoiser.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        yield heard
    finally:
        handle.remove()


def _flatten(
    told: Mapping[str, Any], batch: int, alone: Sequence[str]
) -> tuple[dict[str, Tensor], dict[str, str], dict[str, Any]]:
    """Tensors by name, without the batch; how each lay; and what is no tensor."""
    named: dict[str, Tensor] = {}
    layouts: dict[str, str] = {}
    plain: dict[str, Any] = {}
    for name, value in told.items():
        parts = {name: value}
        if isinstance(value, tuple):
            parts = {f"{name}.{number}": part for number, part in enumerate(value)}
        for key, part in parts.items():
            if not isinstance(part, Tensor):
                plain[key] = part
            elif name in alone:
                named[key], layouts[key] = part, _ALONE
            elif len(part) == batch:
                named[key], layouts[key] = part[-1], _BATCHED
            else:
                named[key], layouts[key] = part, _FOLDED
    return named, layouts, plain


def _restore(conditions: Mapping[str, Tensor], layouts: Mapping[str, str]) -> dict[str, Any]:
    """The arguments that `_flatten` took apart, for a batch of clips."""
    told: dict[str, Any] = {}
    for key, layout in layouts.items():
        value = conditions[key]
        if layout == _ALONE:
            value = value[0]
        elif layout == _FOLDED:
            value = value.flatten(0, 1)
        name, dot, _ = key.partition(".")
        told[name] = (*told.get(name, ()), value) if dot else value
    return told
