"""The structure condition in every pipeline of diffusers, with tiny random weights."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from backbone_contract import STEPS, generate, request_for
from structure_contract import STRUCTURE_CHECKS, StructureFor, bent, make_frames
from tiny_structure import tiny_structure

from reconx.errors import BackboneMismatch
from reconx.progress import SilentProgress
from reconx.structure.adapter import TRAINING_GATE, attach
from reconx.structure.model import StructureModel
from reconx.structure.points import choose_points
from reconx.structure.sites import DIFFUSERS_RULES, SiteRule, find_sites
from reconx.types import Scene
from reconx.video.backbones.diffusion.structure import StructureInPipeline
from reconx.video.base import VideoBackbone

# diffusers 0.42 gives numpy tensors in the way of numpy 1.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Build = Callable[..., VideoBackbone]


def denoiser_of(backbone: Any) -> torch.nn.Module:
    with backbone._holder.on(torch.device("cpu"), SilentProgress()) as pipeline:
        return getattr(pipeline, backbone.kind.denoiser)


def structure_for(backbone: VideoBackbone, gate: float) -> StructureModel:
    sites = find_sites(denoiser_of(backbone), DIFFUSERS_RULES)
    return tiny_structure(backbone.spec.structure_family, [s.width for s in sites], gate=gate)


@pytest.mark.parametrize("check", STRUCTURE_CHECKS, ids=lambda check: check.__name__)
def test_contract(
    name: str,
    check: Callable[[VideoBackbone, Scene, StructureFor], None],
    build: Build,
    plane_scene: Scene,
) -> None:
    check(build(name), plane_scene, structure_for)


def test_a_video_of_pairs_of_latent_frames(
    build: Build, shelf: Callable[[str], Any], plane_scene: Scene
) -> None:
    backbone = build("cogvideox", shelf("cogvideox-1.5"))
    structure = structure_for(backbone, 1.0)
    assert not torch.equal(
        make_frames(backbone, plane_scene, structure), make_frames(backbone, plane_scene)
    )


def first_calls(
    backbone: VideoBackbone, scene: Scene, structure: StructureModel | None
) -> list[tuple[tuple[Any, ...], dict[str, Any], torch.Tensor]]:
    """What the denoiser was told and answered in the first step."""
    denoiser, calls = denoiser_of(backbone), []
    handle = denoiser.register_forward_hook(
        lambda _, args, kwargs, made: calls.append((args, kwargs, made[0].clone())),
        with_kwargs=True,
    )
    condition = structure and structure.condition(scene, scene.cameras[0])
    generate(backbone, request_for(backbone, scene, structure=condition))
    handle.remove()
    return calls[: len(calls) // 3]


def test_what_is_asked_without_the_prompt_is_untouched(
    name: str, build: Build, plane_scene: Scene
) -> None:
    backbone = build(name)
    plain = first_calls(backbone, plane_scene, None)
    guided = first_calls(backbone, plane_scene, structure_for(backbone, 1.0))
    if len(plain) == 1:  # as one batch, the prompt second
        (before,), (after,) = ([call[2] for call in calls] for calls in (plain, guided))
        with_prompt, without = (before[1], after[1]), (before[0], after[0])
    else:
        with_prompt, without = ([calls[i][2] for calls in (plain, guided)] for i in (0, 1))
    assert torch.equal(*without)
    assert not torch.equal(*with_prompt)


def test_every_step_asks_with_structure_once(
    name: str, build: Build, plane_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = build(name)
    structure = structure_for(backbone, 1.0)
    asked, plain = [], StructureInPipeline._rows

    def recorded(*args: Any) -> Any:
        asked.append(plain(*args))
        return asked[-1]

    monkeypatch.setattr(StructureInPipeline, "_rows", recorded)
    make_frames(backbone, plane_scene, structure)
    each = [(False, True)] if backbone.passes == "batched" else [(True,), (False,)]
    assert asked == each * STEPS


def test_a_forward_that_offloading_puts_back_does_no_harm(build: Build, plane_scene: Scene) -> None:
    """Group offload with streams replaces `forward`, and in the first pass puts it back."""
    backbone = build("wan-vace")
    structure = structure_for(backbone, 1.0)
    expected = make_frames(backbone, plane_scene, structure)
    denoiser = denoiser_of(backbone)
    own = denoiser.forward

    def first_pass(*args: Any, **kwargs: Any) -> Any:
        denoiser.forward = own
        return own(*args, **kwargs)

    denoiser.forward = first_pass
    assert torch.equal(make_frames(backbone, plane_scene, structure), expected)


def test_gradients_reach_encoder_and_adapter_alone(
    name: str, build: Build, plane_scene: Scene
) -> None:
    backbone = build(name)
    structure = structure_for(backbone, TRAINING_GATE)
    args, kwargs, _ = first_calls(backbone, plane_scene, None)[0]
    denoiser = denoiser_of(backbone).requires_grad_(False)
    sizes = structure.encoder.sizes
    points = choose_points(
        plane_scene, plane_scene.cameras[0], points=sizes.points, queries=sizes.queries
    )
    sites = find_sites(denoiser, DIFFUSERS_RULES)
    with attach(structure.adapter, sites, structure.encoder(points)[None]):
        prediction = denoiser(*args, **kwargs)[0]
    torch.manual_seed(0)
    (prediction * torch.randn_like(prediction)).sum().backward()
    idle = [
        name
        for name, weight in structure.named_parameters()
        if weight.grad is None or not weight.grad.any()
    ]
    assert not idle
    assert all(weight.grad is None for weight in denoiser.parameters())


def test_an_adapter_of_another_size_is_refused_before_denoising(
    build: Build, plane_scene: Scene
) -> None:
    with pytest.raises(BackboneMismatch, match=r"for a wan with attentions 3 of 24 channels"):
        make_frames(build("wan-vace"), plane_scene, tiny_structure("wan", (24, 24, 24)))


def test_a_compiled_denoiser_is_refused(build: Build, plane_scene: Scene) -> None:
    backbone = build("wan-vace")
    structure = structure_for(backbone, 1.0)
    denoiser_of(backbone).compile(backend="eager")
    with pytest.raises(BackboneMismatch, match="was compiled"):
        make_frames(backbone, plane_scene, structure)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda denoiser: denoiser.fuse_qkv_projections(),
        lambda denoiser: denoiser.bfloat16(),
        lambda denoiser: denoiser.enable_gradient_checkpointing(),
    ],
    ids=["fused", "bf16", "checkpointed"],
)
def test_other_states_of_a_denoiser(
    spoil: Callable[[Any], None], build: Build, plane_scene: Scene
) -> None:
    backbone = build("wan-vace")
    structure = structure_for(backbone, 1.0)
    spoil(denoiser_of(backbone))
    own, other = (
        make_frames(backbone, plane_scene, structure, encoded=scene)
        for scene in (plane_scene, bent(plane_scene))
    )
    assert not torch.equal(own, make_frames(backbone, plane_scene))
    assert not torch.equal(own, other)


@pytest.mark.usefixtures("cpu_apart")
@pytest.mark.parametrize("offload", ["none", "model", "group"])
def test_offloaded_denoisers_read_structure(offload: str, build: Build, plane_scene: Scene) -> None:
    room: list[float] = []
    structure = structure_for(build("wan-vace"), 1.0)
    backbone = build("wan-vace", offload=offload, make_room=room.append)
    made = make_frames(backbone, plane_scene, structure)
    without = make_frames(backbone, plane_scene)
    weights = sum(weight.numel() for weight in structure.adapter.parameters())
    assert room[0] - room[1] == pytest.approx(4 * weights / 1e6)
    expected = make_frames(build("wan-vace"), plane_scene, structure)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-4)
    assert (made - without).abs().max() > 0.01


def test_a_denoiser_with_lora_reads_structure(build: Build, plane_scene: Scene) -> None:
    peft = pytest.importorskip("peft")
    backbone = build("wan-vace")
    structure = structure_for(backbone, 1.0)
    plain, guided = (make_frames(backbone, plane_scene, given) for given in (None, structure))
    targets = ["to_q", "to_k", "to_v", "to_out.0"]
    lora = peft.LoraConfig(r=4, target_modules=targets, init_lora_weights=False)
    torch.manual_seed(0)
    denoiser_of(backbone).add_adapter(lora)
    lora_alone, both = (make_frames(backbone, plane_scene, given) for given in (None, structure))
    seen = [plain, guided, lora_alone, both]
    assert not any(torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])


PUBLIC: dict[str, tuple[str, dict[str, Any], int, float]] = {
    "svd": ("UNetSpatioTemporalConditionModel", {"num_attention_heads": (5, 10, 20, 20)}, 16, 19),
    "wan-1.3b": (
        "WanTransformer3DModel",
        {"num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960},
        30,
        71,
    ),
    "wan-14b": (
        "WanTransformer3DModel",
        {"num_attention_heads": 40, "num_layers": 40, "ffn_dim": 13824},
        40,
        315,
    ),
    "wan-2.2-5b": (
        "WanTransformer3DModel",
        {"num_attention_heads": 24, "num_layers": 30, "ffn_dim": 14336, "in_channels": 48},
        30,
        142,
    ),
    "ltx-2b": ("LTXVideoTransformer3DModel", {}, 28, 88),
    "cogvideox-5b": (
        "CogVideoXTransformer3DModel",
        {"num_attention_heads": 48, "num_layers": 42},
        42,
        198,
    ),
    "hunyuan-1.5": ("HunyuanVideo15Transformer3DModel", {}, 54, 170),
}
"""Class, what of the published configuration differs from its defaults, blocks with an attention
for structure, and millions of adapter parameters at a token width of 768."""


@pytest.mark.parametrize("model", PUBLIC)
def test_public_architectures(model: str) -> None:
    diffusers = pytest.importorskip("diffusers")
    kind, config, blocks, millions = PUBLIC[model]
    with torch.device("meta"):
        denoiser = getattr(diffusers, kind)(**config)
    sites = find_sites(denoiser, DIFFUSERS_RULES)
    assert len(sites) == blocks
    with torch.device("meta"):
        adapter = tiny_structure(
            "any", [s.width for s in sites], token_width=768, width=768
        ).adapter
    count = sum(weight.numel() for weight in adapter.parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.02)


def test_every_denoiser_of_a_backbone_has_a_rule(name: str) -> None:
    from reconx.parts import load_part
    from reconx.video.registry import BACKBONES

    pytest.importorskip("diffusers")
    backbone = load_part("Video backbone", BACKBONES, name, {})
    rule = DIFFUSERS_RULES[backbone.kind.denoiser_class]
    assert isinstance(rule, SiteRule)
    assert rule.family == BACKBONES[name].structure_family
