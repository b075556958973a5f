"""The backbones of diffusers with tiny random weights: conditions, losses, and a run."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_pipelines import PIPELINES, write_pipeline
from toy_trainable import toy_options

from reconx.errors import BackboneMismatch, InputError
from reconx.progress import SilentProgress
from reconx.structure.model import load_structure_model
from reconx.training.base import EncodedClip, TrainableBackbone
from reconx.training.cutting import ClipCutter
from reconx.training.options import ClipOptions, DataOptions, TrainOptions
from reconx.training.registry import TRAINABLE, make_trainable
from reconx.training.run import TrainingRun
from reconx.training.shards import stack_clips
from reconx.video.base import ClipRequest
from reconx.video.registry import BACKBONES

for package in ("diffusers", "accelerate", "transformers", "ftfy"):
    pytest.importorskip(package)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CPU = torch.device("cpu")


def some_quick(*quick: str) -> list[Any]:
    """All backbones; the others repeat in depth what these show."""
    return [
        name if name in quick else pytest.param(name, marks=pytest.mark.slow)
        for name in TRAINABLE
        if name in PIPELINES
    ]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("pipelines")

    def folder(name: str) -> Path:
        if not (root / name).is_dir():
            write_pipeline(name, root / name)
        return root / name

    return folder


def options_for(name: str, folder: Path, **changes: Any) -> TrainOptions:
    spec = BACKBONES["wan-flf2v" if name == "wan-2.2" else name]
    side = max(32, spec.size_multiple)
    clip = ClipOptions(frames=9, width=side, height=side, skip=4, keyframes=1)
    data = (DataOptions(kind="procedural", scenes=2, clips=2),)
    options = toy_options(data=data, clip=clip, **changes)
    return replace(options, backbone=spec.name, model=folder, prompt="a room")


def encode(backbone: TrainableBackbone, options: TrainOptions, number: int = 0) -> EncodedClip:
    cutter = ClipCutter(
        options.data, options.clip, options.cloud, backbone.spec, seed=0, device="cpu"
    )
    return backbone.encode_clip(cutter.cut(number), CPU)


def batched(clips: list[EncodedClip]) -> dict[str, torch.Tensor]:
    return stack_clips([{**clip.conditions, **clip.shared} for clip in clips])


@pytest.mark.parametrize("name", some_quick("wan-flf2v", "ltx", "cogvideox"))
def test_the_denoiser_is_told_what_its_pipeline_tells_it(
    name: str, shelf: Callable[[str], Path]
) -> None:
    """The pipeline's first call, made again from what was kept: the same prediction to the bit."""
    options = options_for(name, shelf(name))
    backbone: Any = make_trainable(options)
    clip = encode(backbone, options)
    json.dumps(clip.settings)
    calls: list[tuple[tuple, dict, Any]] = []
    cutter = ClipCutter(
        options.data, options.clip, options.cloud, backbone.spec, seed=0, device="cpu"
    )
    request: ClipRequest = backbone._request(cutter.cut(0), CPU)
    with backbone.backbone.loaded(CPU, SilentProgress()) as pipeline:
        denoiser = getattr(pipeline, backbone.backbone.kind.denoiser)

    def keep(_: Any, args: tuple, kwargs: dict, made: Any) -> None:
        calls.append((args, kwargs, made[0]))

    handle = denoiser.register_forward_hook(keep, with_kwargs=True)
    backbone.backbone.generate_clip(request, SilentProgress())
    handle.remove()
    args, kwargs, made = calls[0]
    hidden = args[0] if args else kwargs["hidden_states"]
    time = args[1] if args else kwargs["timestep"]
    own = slice(None) if name != "ltx" else slice(hidden.shape[1] - clip.latents.shape[0], None)
    noised = (
        hidden[-1:]
        if name == "ltx"
        else hidden[-1:].narrow(backbone.latent_dim, 0, clip.latents.shape[backbone.latent_dim - 1])
    )
    with torch.no_grad():
        told = backbone.denoise(
            denoiser,
            noised[:, own],
            time.flatten().max()[None].float(),
            batched([clip]),
            clip.settings,
        )
    torch.testing.assert_close(told, made[-1:, own].to(told), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", some_quick("ltx"))
def test_a_batch_is_its_clips_and_latents_are_decoded(
    name: str, shelf: Callable[[str], Path]
) -> None:
    options = options_for(name, shelf(name))
    if name == "ltx":
        options = replace(options, clip=replace(options.clip, keyframes=0))
    backbone = make_trainable(options)
    clips = [encode(backbone, options, number) for number in range(2)]
    assert clips[0].settings == clips[1].settings
    denoiser = backbone.load_denoiser(torch.float32)
    noised = torch.randn(2, *clips[0].latents.shape)
    time = backbone.schedule.levels(torch.tensor([0.3, 0.8])).time
    with torch.no_grad():
        together = backbone.denoise(denoiser, noised, time, batched(clips), clips[0].settings)
        for number, clip in enumerate(clips):
            part = slice(number, number + 1)
            alone = backbone.denoise(
                denoiser, noised[part], time[part], batched([clip]), clip.settings
            )
            torch.testing.assert_close(together[part], alone, atol=1e-4, rtol=1e-4)
    frames = backbone.decode(clips[0].latents, clips[0].settings, CPU)
    assert frames.shape[1:] == (options.clip.height, options.clip.width, 3)
    assert len(frames) >= options.clip.frames


@pytest.mark.parametrize(
    ("name", "lora"),
    [
        ("ltx", 0),
        pytest.param("wan-vace", 0, marks=pytest.mark.slow),
        pytest.param("svd", 2, marks=pytest.mark.slow),
    ],
)
def test_a_run_learns_resumes_and_exports(
    name: str, lora: int, shelf: Callable[[str], Path], tmp_path: Path
) -> None:
    if lora:
        pytest.importorskip("peft")
    learn: Mapping[str, Any] = {"steps": 2, "lora": lora, "checkpointing": True, "batch": 1}
    options = options_for(name, shelf(name), learn=learn, keep={"sample": 2, "sample_steps": 1})
    for _ in range(2):
        run = TrainingRun(options, make_trainable(options), tmp_path / "run", device="cpu")
        run.fill_cache()
        path = run.train(stop_after=1)
    assert path is not None
    model = load_structure_model(path)
    assert model.adapter.sizes.family == BACKBONES[name].structure_family
    gates = [float(branch.gate) for branch in model.adapter.branches]
    assert any(abs(gate - 0.01) > 1e-4 for gate in gates)
    assert (tmp_path / "run" / "lora.safetensors").exists() == bool(lora)


def test_models_that_cannot_be_trained_are_told(shelf: Callable[[str], Path]) -> None:
    with pytest.raises(BackboneMismatch, match="holds two denoisers"):
        make_trainable(options_for("wan-2.2", shelf("wan-2.2")))
    with pytest.raises(InputError, match="Trainable backbone 'warp' is unknown"):
        make_trainable(replace(toy_options(), backbone="warp"))
    with pytest.raises(InputError, match="needs a model folder"):
        make_trainable(replace(toy_options(), backbone="svd"))
