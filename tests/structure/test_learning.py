"""The path from a scene's points to a frozen denoiser's prediction learns."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from toy_denoisers import RULES, WIDTH, Packed

from reconx.render.points import render_scene
from reconx.structure.adapter import TRAINING_GATE, StructureAdapter, attach, sizes_for
from reconx.structure.encoder import EncoderSizes, StructureEncoder
from reconx.structure.points import StructurePoints, choose_points
from reconx.structure.sites import find_sites
from reconx.trajectory.options import PathOptions
from reconx.trajectory.path import make_path
from reconx.types import Scene

STARTS, LENGTH, STEPS, BACKBONE_WIDTH = 4, 3, 200, 48
SIZES = EncoderSizes(width=24, heads=3, octaves=4, points=200, queries=24, point_width=16)


class Sample(NamedTuple):
    """What stands in a part of the clip, seen from its first camera."""

    points: StructurePoints
    latents: Tensor


@pytest.fixture(scope="module")
def samples(plane_scene: Scene) -> list[Sample]:
    """Parts of one clip, each begun at another frame; the mean of all says nothing of any."""
    path = make_path(plane_scene, PathOptions(frames=STARTS + 2 * (LENGTH - 1)))
    colour = render_scene(plane_scene, path.cameras.resized(8, 6)).colour
    pixels = functional.pixel_unshuffle(colour.permute(0, 3, 1, 2), 2).movedim(1, -1)
    parts = torch.stack([pixels[start : start + 2 * LENGTH - 1 : 2] for start in range(STARTS)])
    parts = parts.reshape(STARTS, 1, -1, WIDTH)
    parts = parts - parts.mean(0)
    parts = parts / parts.square().mean().sqrt()
    sizes = {"points": SIZES.points, "queries": SIZES.queries}
    return [
        Sample(choose_points(plane_scene, path.cameras[start], **sizes), parts[start])
        for start in range(STARTS)
    ]


def overfit(samples: list[Sample], *, shuffled: bool) -> float:
    """Mean squared error after training; saying nothing has 1."""
    denoiser = Packed(BACKBONE_WIDTH).requires_grad_(False)
    sites = find_sites(denoiser, RULES)
    torch.manual_seed(1)
    encoder = StructureEncoder(SIZES)
    adapter = StructureAdapter(sizes_for(sites, SIZES.width), gate=TRAINING_GATE)
    optimiser = torch.optim.Adam([*encoder.parameters(), *adapter.parameters()], lr=3e-3)
    noise = 2 * torch.randn(1, samples[0].latents.shape[1], BACKBONE_WIDTH)
    text = torch.randn(1, 3, BACKBONE_WIDTH)
    plain = denoiser(noise, text)[0]

    def loss_of(told: list[int]) -> Tensor:
        losses = []
        for sample, other in zip(samples, told, strict=True):
            with attach(adapter, sites, encoder(samples[other].points)[None]):
                change = denoiser(noise, text)[0] - plain
            losses.append(functional.mse_loss(change[..., :WIDTH], sample.latents))
        return torch.stack(losses).mean()

    own = list(range(STARTS))
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss_of(torch.randperm(STARTS).tolist() if shuffled else own).backward()
        optimiser.step()
    with torch.no_grad():
        return float(loss_of(own))


@pytest.mark.slow
def test_structure_is_learned_and_shuffled_structure_is_not(samples: list[Sample]) -> None:
    assert overfit(samples, shuffled=False) < 0.3
    assert overfit(samples, shuffled=True) > 0.95
