"""How weights are run: precision, offloading, two experts.

Without a GPU the CPU stands in for one, so that every mode is set up, runs and is taken down; that
all tensors meet on the GPU only a GPU can show.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from backbone_contract import CHECKS, generate, request_for
from cuda import needs_cuda

from reconx.types import Scene
from reconx.video.backbones.diffusion import loading
from reconx.video.base import VideoBackbone

# diffusers 0.42 gives numpy tensors in the way of numpy 1.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Build = Callable[..., VideoBackbone]
FULL = {"wan-vace": {"vae"}, "wan-flf2v": {"vae", "image_encoder"}}
"""Parts that stay in single precision."""


def modules(backbone: VideoBackbone) -> dict[str, torch.nn.Module]:
    """The parts of the pipeline that hold weights."""
    components = backbone._holder._pipeline.components
    return {name: part for name, part in components.items() if isinstance(part, torch.nn.Module)}


HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(backbone: VideoBackbone, whole: VideoBackbone, scene: Scene) -> None:
    """Half precision computes in half precision, and nearly the same frames."""
    request = request_for(whole, scene)
    half, full = (generate(each, request).frames for each in (backbone, whole))
    assert 0 < (half - full).abs().mean() < 0.02
    for name, part in modules(backbone).items():
        single = name in FULL.get(backbone.spec.name, ())
        expected = torch.float32 if single else HALVES[backbone.options.dtype]
        assert part.dtype == expected, name


def test_bf16(name: str, build: Build, plane_scene: Scene) -> None:
    check_precision(build(name, dtype="bf16"), build(name), plane_scene)


@pytest.mark.parametrize("name", ["ltx", "wan-vace"])
def test_fp16(name: str, build: Build, plane_scene: Scene) -> None:
    check_precision(build(name, dtype="fp16"), build(name), plane_scene)


def hooked(module: torch.nn.Module, mode: str) -> bool:
    """Whether somebody brings a part's weights to the device when it is called."""
    if mode == "model":
        return hasattr(module, "_hf_hook")
    return any(
        "group_offloading" in part._diffusers_hook.hooks
        for part in module.modules()
        if hasattr(part, "_diffusers_hook")
    )


@pytest.mark.usefixtures("cpu_apart")
@pytest.mark.parametrize("offload", ["none", "model", "group"])
def test_offloading_changes_nothing(
    name: str, offload: str, build: Build, plane_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    room: list[float] = []
    backbone = build(name, offload=offload, make_room=room.append)
    request = request_for(backbone, plane_scene)
    first, second = (generate(backbone, request).frames for _ in range(2))
    for mode in ("model", "group"):
        assert all(hooked(part, mode) == (mode == offload) for part in modules(backbone).values())
    megabytes = backbone._holder._megabytes().values()
    needed = {"none": sum(megabytes), "model": max(megabytes), "group": loading.GROUP_MB}
    assert room == [needed[offload] + loading.ACTIVATIONS_MB] * 2
    monkeypatch.undo()
    assert torch.equal(first, second)
    # Weights that were moved lie elsewhere, and some kernels round otherwise there: by 2e-5 in Wan.
    plain = generate(build(name), request).frames
    torch.testing.assert_close(first, plain, rtol=0, atol=1e-4)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_two_experts_keep_the_contract(
    check: Callable[[VideoBackbone, Scene], None],
    build: Build,
    shelf: Callable[[str], Path],
    plane_scene: Scene,
) -> None:
    check(build("wan-flf2v", shelf("wan-2.2")), plane_scene)


def test_two_experts_share_the_steps(
    build: Build, shelf: Callable[[str], Path], plane_scene: Scene
) -> None:
    backbone = build("wan-flf2v", shelf("wan-2.2"))
    request = request_for(backbone, plane_scene, steps=10)
    generate(backbone, request)
    calls: list[str] = []

    def called(name: str) -> Callable[..., None]:
        return lambda *_: calls.append(name)

    experts: dict[str, Any] = modules(backbone)
    for name in ("transformer", "transformer_2"):
        experts[name].register_forward_hook(called(name))
    generate(backbone, request)
    # The scheduler's shift of 3 passes 0.9 between the third step and the fourth of ten; each is
    # taken with the prompt and without.
    assert calls == ["transformer"] * 6 + ["transformer_2"] * 14


@needs_cuda
@pytest.mark.parametrize("offload", ["none", "model", "group"])
def test_on_cuda_frames_are_those_of_the_cpu_and_no_weights_stay_there(
    name: str, offload: str, build: Build, plane_scene: Scene
) -> None:
    request = request_for(build(name), plane_scene)
    expected = generate(build(name), request).frames
    backbone = build(name, offload=offload, dtype="fp32")
    found = generate(backbone, replace(request, device="cuda")).frames
    assert (found - expected).abs().mean() < 0.01
    for part in modules(backbone).values():
        assert all(tensor.device.type == "cpu" for tensor in part.parameters())
