"""The path from a scene's points to a frozen denoiser's prediction learns."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from toy_denoisers import RULES, Packed

from reconx.render.points import render_scene
from reconx.structure.adapter import TRAINING_GATE, StructureAdapter, attach, sizes_for
from reconx.structure.encoder import EncoderSizes, StructureEncoder
from reconx.structure.points import StructurePoints, choose_points
from reconx.structure.sites import DIFFUSERS_RULES, Site, find_sites
from reconx.trajectory.options import PathOptions
from reconx.trajectory.path import make_path
from reconx.types import Scene

STARTS, LENGTH, STEPS = 4, 3, 200
SIZES = EncoderSizes(width=24, heads=3, octaves=4, points=200, queries=24, point_width=16)
CHANNELS = 12


class Sample(NamedTuple):
    """What stands in a part of the clip, seen from its first camera."""

    points: StructurePoints
    latents: Float[Tensor, "1 channel frame height width"]


class Backbone(NamedTuple):
    """A frozen denoiser that is asked the same thing again and again."""

    sites: list[Site]
    predict: Callable[[], Float[Tensor, "1 channel frame height width"]]


@pytest.fixture(scope="module")
def samples(plane_scene: Scene) -> list[Sample]:
    """Parts of one clip, each begun at another frame; the mean of all says nothing of any."""
    path = make_path(plane_scene, PathOptions(frames=STARTS + 2 * (LENGTH - 1)))
    colour = render_scene(plane_scene, path.cameras.resized(16, 8)).colour
    latents = functional.pixel_unshuffle(colour.permute(0, 3, 1, 2), 2).transpose(0, 1)
    parts = torch.stack([latents[:, start : start + 2 * LENGTH - 1 : 2] for start in range(STARTS)])
    parts = parts - parts.mean(0)
    parts = parts / parts.square().mean().sqrt()
    sizes = {"points": SIZES.points, "queries": SIZES.queries}
    return [
        Sample(choose_points(plane_scene, path.cameras[start], **sizes), parts[start][None])
        for start in range(STARTS)
    ]


def toy() -> Backbone:
    """Two attentions; the first channels of its tokens are the latents."""
    denoiser = Packed(48).requires_grad_(False)
    torch.manual_seed(2)
    noise, text = 2 * torch.randn(1, LENGTH * 4 * 8, 48), torch.randn(1, 3, 48)

    def predict() -> Tensor:
        tokens = denoiser(noise, text)[0][..., :CHANNELS]
        return tokens.mT.unflatten(-1, (LENGTH, 4, 8))

    return Backbone(find_sites(denoiser, RULES), predict)


def tiny_wan() -> Backbone:
    """Wan with random weights, at its first step: the latents are noise."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    denoiser = diffusers.WanTransformer3DModel(
        num_attention_heads=4,
        attention_head_dim=24,
        num_layers=2,
        ffn_dim=64,
        text_dim=32,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        rope_max_seq_len=32,
    ).requires_grad_(False)
    torch.manual_seed(2)
    noise, text = torch.randn(1, CHANNELS, LENGTH, 4, 8), torch.randn(1, 8, 32)
    time = torch.tensor([999])
    return Backbone(
        find_sites(denoiser, DIFFUSERS_RULES),
        lambda: denoiser(noise, time, text, return_dict=False)[0],
    )


def overfit(samples: list[Sample], backbone: Backbone, *, shuffled: bool) -> float:
    """Mean squared error after training; saying nothing has 1."""
    torch.manual_seed(1)
    encoder = StructureEncoder(SIZES)
    adapter = StructureAdapter(sizes_for(backbone.sites, SIZES.width), gate=TRAINING_GATE)
    optimiser = torch.optim.Adam([*encoder.parameters(), *adapter.parameters()], lr=5e-3)
    plain = backbone.predict()

    def loss_of(told: list[int]) -> Tensor:
        losses = []
        for sample, other in zip(samples, told, strict=True):
            with attach(adapter, backbone.sites, encoder(samples[other].points)[None]):
                change = backbone.predict() - plain
            losses.append(functional.mse_loss(change, sample.latents))
        return torch.stack(losses).mean()

    own = list(range(STARTS))
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss_of(torch.randperm(STARTS).tolist() if shuffled else own).backward()
        optimiser.step()
    with torch.no_grad():
        return float(loss_of(own))


@pytest.mark.slow
@pytest.mark.parametrize("make", [toy, tiny_wan])
def test_structure_is_learned_and_shuffled_structure_is_not(
    make: Callable[[], Backbone], samples: list[Sample]
) -> None:
    backbone = make()
    assert overfit(samples, backbone, shuffled=False) < 0.85
    assert overfit(samples, backbone, shuffled=True) > 0.95
