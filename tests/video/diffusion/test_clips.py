"""What every pipeline of diffusers keeps, with tiny random weights: the contract and more."""

import gc
import logging
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import backbone_contract
import psutil
import pytest
import torch
from backbone_contract import (
    CHECKS,
    DenoisedLatents,
    Recorder,
    check_known_latents,
    generate,
    path_for,
    request_for,
)
from torch import Tensor

from reconx.errors import BackboneMismatch
from reconx.progress import Preview, SilentProgress
from reconx.trajectory.options import CameraPath
from reconx.types import Scene
from reconx.video.backbones.diffusion import backbone as backbone_module
from reconx.video.backbones.diffusion.svd import CHUNK
from reconx.video.base import ClipRequest, GuidanceOptions, Guide, Keyframe, VideoBackbone
from reconx.video.conditions import make_control_video
from reconx.video.guidance import check_guidance
from reconx.video.latents import known_latents
from reconx.video.sample import sample_views

# diffusers 0.42 gives numpy tensors in the way of numpy 1.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Build = Callable[..., VideoBackbone]
STRIDES = {"wan-flf2v": (4, 8), "ltx": (8, 32), "cogvideox": (4, 8), "svd": (1, 8)}
"""Frames and pixels per latent of those that hold known latents."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(
    name: str,
    check: Callable[[VideoBackbone, Scene], None],
    build: Build,
    plane_scene: Scene,
) -> None:
    check(build(name), plane_scene)


@pytest.mark.parametrize("name", STRIDES)
def test_known_latents_are_kept(
    name: str, build: Build, plane_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "ltx":  # a latent of 32 x 32 pixels needs a large picture to be known as a whole
        monkeypatch.setattr(backbone_contract, "SIZE", (192, 144))
    check_known_latents(build(name), plane_scene, denoise)


def denoise(backbone: VideoBackbone, request: ClipRequest) -> DenoisedLatents:
    """The latents that a clip's frames are decoded from, and what the VAE makes of the renders."""
    name = backbone.spec.name
    # LTX takes photos by conditions of their own.
    shown = replace(request, keyframes=()) if name == "ltx" else request
    video = make_control_video(shown)
    pictures = (video.frames * 2 - 1).permute(3, 0, 1, 2)[None]
    with backbone._holder.on(torch.device("cpu"), SilentProgress()) as pipeline, torch.no_grad():
        # In the same portions: kernels round otherwise for others, on two threads by 6e-5.
        portions = pictures[0].transpose(0, 1).split(CHUNK) if name == "svd" else [pictures]
        encoded = torch.cat([pipeline.vae.encode(part).latent_dist.mode() for part in portions])
        latents = decoded(pipeline.vae, lambda: generate(backbone, request))
    time_stride, space_stride = STRIDES[name]
    known = known_latents(
        video.known, time_stride=time_stride, space_stride=space_stride, causal=name != "svd"
    )
    if name == "ltx":
        known[0] = False
    return DenoisedLatents(
        latents=latents,
        encoded=encoded,
        known=known[:, None] if name == "svd" else known[None, None],
    )


def decoded(vae: torch.nn.Module, make: Callable[[], object]) -> Tensor:
    """What a VAE is given to decode meanwhile."""
    plain, seen = vae.decode, []

    def recording(latents: Tensor, *rest: object, **options: object) -> object:
        seen.append(latents.clone())
        return plain(latents, *rest, **options)

    vae.decode = recording
    try:
        make()
    finally:
        del vae.decode
    return torch.cat(seen)


def test_padding_of_a_photo_is_not_shown(name: str, build: Build, plane_scene: Scene) -> None:
    backbone = build(name)
    off = check_guidance(backbone.spec, GuidanceOptions(renders=Guide(strength=0)))
    request = request_for(backbone, plane_scene, guidance=off)

    def framed(keyframe: Keyframe, grey: float) -> Keyframe:
        valid = keyframe.valid.clone()
        valid[:, :20] = False
        image = keyframe.image.masked_fill(~valid[..., None], grey)
        return replace(keyframe, valid=valid, image=image)

    black, white = (
        replace(request, keyframes=tuple(framed(each, grey) for each in request.keyframes))
        for grey in (0.0, 1.0)
    )
    assert torch.equal(generate(backbone, black).frames, generate(backbone, white).frames)


def test_a_path_of_one_photo_is_that_photo(name: str, build: Build, plane_scene: Scene) -> None:
    path = CameraPath(cameras=plane_scene.cameras[1], photo_index=torch.tensor([1]))
    views = sample_views(build(name), plane_scene, path, steps=1)
    assert torch.equal(views.frames[0], plane_scene.photos.images[1])


def test_loading_is_told_once(build: Build, plane_scene: Scene) -> None:
    backbone = build("ltx")
    request = request_for(backbone, plane_scene)
    stages = []
    for _ in range(2):
        recorder = Recorder()
        generate(backbone, request, recorder)
        stages += [stage for stage, _ in recorder.stages]
    assert stages == ["Loading the video model", "Denoising", "Denoising"]


class Looker(Recorder):
    """Looks at each preview of the denoising."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[Tensor] = []

    def update(self, done: int, preview: Preview | None = None) -> None:
        if preview is not None:
            self.pictures.append(preview())


def test_steps_can_be_looked_at(
    name: str, build: Build, plane_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "ltx":  # four latents of 32 x 32 pixels tell no colours
        monkeypatch.setattr(backbone_contract, "SIZE", (192, 144))
    backbone = build(name)
    request = request_for(backbone, plane_scene)
    looker = Looker()
    looked_at, plain = (generate(backbone, request, who) for who in (looker, None))
    assert len(looker.pictures) == backbone_contract.STEPS
    stride = 32 if name == "ltx" else 8
    size = (request.cameras.height // stride, request.cameras.width // stride)
    for picture in looker.pictures:
        assert picture.shape == (*size, 3)
        assert picture.min() >= 0
        assert picture.max() <= 1
    assert not torch.equal(looker.pictures[0], looker.pictures[-1])
    assert torch.equal(looked_at.frames, plain.frames)


def test_a_step_nobody_looks_at_makes_no_picture(
    name: str, build: Build, plane_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a picture was made for nobody")

    monkeypatch.setattr(backbone_module, "picture_latents", refuse)
    backbone = build(name)
    backbone.generate_clip(request_for(backbone, plane_scene), SilentProgress())


@pytest.mark.parametrize("name", ["ltx", "wan-vace"])
def test_what_previews_need_goes_with_the_clip(name: str, build: Build, plane_scene: Scene) -> None:
    backbone = build(name)
    generate(backbone, request_for(backbone, plane_scene))
    pipeline = backbone._holder._pipeline
    kept = {"ltx": "known_tokens", "wan-vace": "known_pictures"}[name]
    assert getattr(pipeline, kept) is None


def test_vace_sees_grey_where_it_shall_paint(build: Build, plane_scene: Scene) -> None:
    backbone = build("wan-vace")
    weak = check_guidance(backbone.spec, GuidanceOptions(renders=Guide(strength=0.7)))
    request = request_for(backbone, plane_scene, guidance=weak)
    hole = request.renders.hole.clone()
    hole[:, :, :32], hole[:, :, 32:] = True, False
    request = replace(request, renders=replace(request.renders, hole=hole))
    given = backbone.arguments(None, request)
    video, generated = given["video"][0].permute(0, 2, 3, 1), given["mask"][0, :, 0].bool()
    assert (video[generated] == 0.5).all()
    assert given["conditioning_scale"] == 0.7
    photo = request.keyframes[1]
    assert not generated[photo.index].any()
    assert torch.equal(video[photo.index], photo.image)
    assert generated[2, :, :32].all()
    assert not generated[2, :, 36:].any()


def test_cogvideox_1_5_denoises_pairs_of_latent_frames(
    build: Build, shelf: Callable[[str], Path], plane_scene: Scene
) -> None:
    check_known_latents(build("cogvideox", shelf("cogvideox-1.5")), plane_scene, denoise)


def test_learned_positions_know_one_size(
    build: Build,
    copy: Callable[..., Path],
    plane_scene: Scene,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = copy("cogvideox", transformer={"use_learned_positional_embeddings": True})
    with caplog.at_level(logging.INFO, logger="reconx"):
        fitted = build("cogvideox", folder).fit_cameras(plane_scene.cameras)
    assert (fitted.width, fitted.height) == (64, 48)
    assert "make 64 x 48 pixels alone" in caplog.text


def test_weights_may_lie_in_one_file(
    build: Build, copy: Callable[..., Path], plane_scene: Scene
) -> None:
    whole = build("wan-vace")
    folder = copy("wan-vace")
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    apart = build("wan-vace", folder, weights=weights.rename(folder.parent / "vace.safetensors"))
    request = request_for(whole, plane_scene)
    assert torch.equal(generate(whole, request).frames, generate(apart, request).frames)


def test_weights_are_given_back(
    build: Build,
    plane_scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = build("ltx"), build("wan-vace")
    generate(first, request_for(first, plane_scene))
    held = weakref.ref(first._holder._pipeline.transformer)
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=1000))
    with caplog.at_level(logging.INFO, logger="reconx"):
        generate(second, request_for(second, plane_scene))
    assert held() is None
    assert "Dropping ltx from memory" in caplog.text
    held = weakref.ref(second._holder._pipeline.transformer)
    del second
    gc.collect()
    assert held() is None


def test_twenty_clips_more_take_no_memory(build: Build, plane_scene: Scene) -> None:
    backbone = build("ltx")
    request = request_for(backbone, plane_scene)
    for _ in range(2):
        generate(backbone, request)
    before = psutil.Process().memory_info().rss
    for _ in range(20):
        generate(backbone, request)
    assert psutil.Process().memory_info().rss - before < 50e6


def test_too_strong_a_guide_is_refused(build: Build, plane_scene: Scene) -> None:
    guidance = GuidanceOptions(renders=Guide(strength=1.5))
    backbone = build("ltx")
    with pytest.raises(BackboneMismatch, match="cannot follow renders at a strength of 1.5"):
        sample_views(
            backbone, plane_scene, path_for(backbone, plane_scene), steps=1, guidance=guidance
        )
