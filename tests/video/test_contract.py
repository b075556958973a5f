"""The contract of all video backbones, kept by warp and by stand-ins for models of every rule."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from backbone_contract import CHECKS, DenoisedLatents, check_known_latents
from jaxtyping import Float
from torch import Tensor

from reconx.ops.image import resize_images
from reconx.progress import Progress, SilentProgress
from reconx.render.edits import edit_renders
from reconx.types import Cameras, Scene
from reconx.video.base import BackboneSpec, Clip, ClipRequest, VideoBackbone
from reconx.video.conditions import make_control_video
from reconx.video.fitting import fit_cameras_to_spec
from reconx.video.latents import blend_latents, known_latents
from reconx.video.registry import make_backbone

TIME, SPACE = 4, 8


class Averages:
    """A model without weights: its VAE averages, and it denoises towards its keyframes."""

    def __init__(self, spec: BackboneSpec) -> None:
        self.spec = spec
        self.latents = torch.zeros(0)

    def fit_cameras(self, cameras: Cameras) -> Cameras:
        return fit_cameras_to_spec(cameras, self.spec)

    def generate_clip(self, request: ClipRequest, progress: Progress) -> Clip:
        assert request.steps is not None
        control = make_control_video(request)
        encoded = encode(control.frames)
        known = known_latents(control.known, time_stride=TIME, space_stride=SPACE)[..., None]
        noise = torch.randn(encoded.shape, generator=torch.Generator().manual_seed(request.seed))
        towards = torch.stack([encode(k.image[None])[0] for k in request.keyframes]).mean(0)
        task = progress.start("Denoising", request.steps)
        x, renders = noise, request.guidance.renders
        for step in range(request.steps):
            level = 1 - (step + 1) / request.steps
            x = torch.lerp(x, towards, 0.3)
            if renders.covers(step, request.steps):
                noised = torch.lerp(encoded, noise, level)
                x = blend_latents(x, noised, known, renders.strength)
            task.update(step + 1, preview=lambda shown=x: shown[0].clamp(0, 1))
        self.latents = x
        frames = x.repeat_interleave(TIME, 0)[TIME - 1 :]
        frames = frames.repeat_interleave(SPACE, 1).repeat_interleave(SPACE, 2)
        return Clip(frames=frames.clamp(0, 1), confidence=None)


def encode(frames: Float[Tensor, "frame height width 3"]) -> Float[Tensor, "latent_frame h w 3"]:
    frames = torch.cat([frames[:1].expand(TIME - 1, -1, -1, -1), frames])
    small = resize_images(frames, frames.shape[2] // SPACE, frames.shape[1] // SPACE)
    return small.unflatten(0, (-1, TIME)).mean(1)


BLENDED = BackboneSpec(
    name="averages",
    factory="",
    frame_rule="4k+1",
    size_multiple=SPACE,
    max_frames=9,
    renders="blended",
    dials=("render_strength", "render_share"),
    default_steps=20,
)
KINDS = {
    "first": BLENDED,
    "first_last": replace(BLENDED, keyframes="first_last", frame_rule="8k+1"),
    "any": replace(BLENDED, keyframes="any", needs_first=False, max_frames=None),
}
MAKERS: dict[str, Callable[[], VideoBackbone]] = {
    "warp": lambda: make_backbone("warp"),
    **{f"averages-{name}": lambda spec=spec: Averages(spec) for name, spec in KINDS.items()},
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", MAKERS)
def test_the_contract_is_kept(
    name: str, check: Callable[[VideoBackbone, Scene], None], plane_scene: Scene
) -> None:
    check(MAKERS[name](), plane_scene)


def test_blending_holds_known_latents(plane_scene: Scene) -> None:
    def denoise(backbone: VideoBackbone, request: ClipRequest) -> DenoisedLatents:
        assert isinstance(backbone, Averages)
        backbone.generate_clip(request, SilentProgress())
        control = make_control_video(request)
        known = known_latents(control.known, time_stride=TIME, space_stride=SPACE)
        return DenoisedLatents(backbone.latents, encode(control.frames), known[..., None])

    check_known_latents(Averages(KINDS["any"]), plane_scene, denoise)


def without_seed(request: ClipRequest) -> ClipRequest:
    return replace(request, seed=0)


def without_keyframes(request: ClipRequest) -> ClipRequest:
    black = [replace(k, image=torch.zeros_like(k.image)) for k in request.keyframes]
    return replace(request, keyframes=tuple(black))


def without_renders(request: ClipRequest) -> ClipRequest:
    hole = torch.ones_like(request.renders.hole)
    return replace(request, renders=edit_renders(request.renders, hole=hole), edited=None)


def whole(request: ClipRequest) -> ClipRequest:
    return request


@pytest.mark.parametrize(
    ("hear", "heard", "caught"),
    [
        (without_seed, True, "check_seed"),
        (without_keyframes, True, "check_keyframes"),
        (without_renders, True, "check_renders"),
        (whole, False, "check_progress"),
        (whole, False, "check_cancel"),
    ],
)
def test_who_ignores_a_part_of_the_request_is_caught(
    hear: Callable[[ClipRequest], ClipRequest], heard: bool, caught: str, plane_scene: Scene
) -> None:
    class Deaf(Averages):
        def generate_clip(self, request: ClipRequest, progress: Progress) -> Clip:
            return super().generate_clip(hear(request), progress if heard else SilentProgress())

    (check,) = (check for check in CHECKS if check.__name__ == caught)
    with pytest.raises(AssertionError):
        check(Deaf(KINDS["any"]), plane_scene)
