"""The pack's own small model in the trainer: it learns, and exports what its backbone loads."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_trainable import toy_options

from reconx.structure.adapter import Branch
from reconx.structure.model import load_structure_model
from reconx.structure.sites import find_sites
from reconx.training.base import TrainableBackbone
from reconx.training.learner import OPEN_GATE, draw_chance
from reconx.training.options import TrainOptions
from reconx.training.registry import make_trainable
from reconx.training.run import TrainingRun
from reconx.video.backbones.small.network import SITES, SmallSizes
from reconx.video.backbones.small.weights import FILE, load_small_model

pytest.importorskip("accelerate")

SIZES = SmallSizes(patch=4, widths=(24,), heads=2, blocks=1)


def options_for(**learn: float) -> TrainOptions:
    options = toy_options(learn={"steps": 20, "batch": 5, "at_once": 5, "backbone_rate": 3e-3})
    learning = replace(options.learn, **learn)
    return replace(options, backbone="small", small=SIZES, learn=learning)


@torch.no_grad()
def mean_loss(run: TrainingRun) -> float:
    """Of all clips, at the same noise whatever has been learned."""
    with run.bench() as bench:
        batch = run.cache.read(list(range(5)))
        chance = draw_chance(7, 0, range(5), batch.latents.shape[1:], 0.4)
        return bench.learner(batch, run.cache.settings, chance).item()


def test_twenty_steps_lower_the_loss_and_the_file_is_taken(tmp_path: Path) -> None:
    options = options_for()
    run = TrainingRun(options, make_trainable(options), tmp_path, device="cpu")
    run.fill_cache()
    before = mean_loss(run)
    structure = run.train()
    assert structure is not None
    assert mean_loss(run) < 0.9 * before
    denoiser = load_small_model(tmp_path / FILE)
    assert denoiser.sizes == SIZES
    load_structure_model(structure).adapter.check_fit(find_sites(denoiser, SITES))


def test_holes_and_frames_without_renders_count(tmp_path: Path) -> None:
    options = options_for()
    backbone = make_trainable(options)
    assert isinstance(backbone, TrainableBackbone)
    shape = (2, 1, 3, 4, 4)
    keyframes, renders = torch.zeros(2, 4, 3, 4, 4), torch.zeros(2, 5, 3, 4, 4)
    keyframes[:, :, 0] = 1
    renders[1, :4] = 1
    renders[1, 4, :, :2] = 1
    counted = backbone.counted({"keyframes": keyframes, "renders": renders})
    assert counted is not None
    expected = torch.ones(shape, dtype=torch.bool)
    expected[:, :, 0] = False
    expected[1, :, :, :2] = False
    assert torch.equal(counted, expected)


def test_gates_begin_open_and_keys_begin_with_places(tmp_path: Path) -> None:
    options = options_for()
    run = TrainingRun(options, make_trainable(options), tmp_path, device="cpu")
    with run.bench() as bench:
        (branch,) = bench.learner.adapter.branches
        assert isinstance(branch, Branch)
        assert isinstance(branch.to_k, torch.nn.Linear)
        assert branch.gate.item() == OPEN_GATE
        keys = branch.to_k.weight.unflatten(0, (2, -1))[:, :9]
        assert torch.equal(keys[..., 12:21], torch.eye(9).expand(2, 9, 9))
        assert not keys[..., :12].any()
        assert not keys[..., 21:].any()
