"""Runs of a few steps on a CPU: they learn, go on exactly, and export what a video model reads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from toy_trainable import RULES, ToyTrainable, toy_options

from reconx.errors import InputError
from reconx.structure.adapter import attach
from reconx.structure.model import load_structure_model
from reconx.structure.sites import find_sites
from reconx.training.learner import OPEN_GATE
from reconx.training.options import TrainOptions
from reconx.training.run import TrainingRun

pytest.importorskip("accelerate")

Start = Callable[..., TrainingRun]


class Stopped(Exception):
    """The process is killed."""


class Killer:
    """Ends a run after a step, as a killed process ends: without a word."""

    def __init__(self, step: int) -> None:
        self.step = step

    def start(self, stage: str, total: int) -> "Killer":
        return self

    def update(self, done: int, preview: object = None) -> None:
        if done == self.step:
            raise Stopped


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Filled once, shared by all runs."""
    folder = tmp_path_factory.mktemp("clips") / "cache"
    options = toy_options()
    TrainingRun(options, ToyTrainable(), folder.parent / "run", cache=folder).fill_cache()
    return folder


@pytest.fixture
def start(cache: Path, tmp_path: Path) -> Start:
    def started(name: str, options: TrainOptions, backbone: Any = None) -> TrainingRun:
        run = TrainingRun(
            options, backbone or ToyTrainable(), tmp_path / name, cache=cache, device="cpu"
        )
        run.fill_cache()
        return run

    return started


def losses(folder: Path) -> list[float]:
    lines = (folder / "log.jsonl").read_text("utf-8").splitlines()
    told = [json.loads(line) for line in lines]
    assert [line["step"] for line in told] == list(range(1, len(told) + 1))
    return [line["loss"] for line in told]


def test_twenty_steps_lower_the_loss_and_change_what_the_model_makes(
    start: Start, tmp_path: Path
) -> None:
    options = toy_options(learn={"steps": 20, "rate": 1e-2, "average": 0.0, "batch": 4})
    path = start("run", options).train()
    assert path == tmp_path / "run" / "structure.safetensors"
    told = losses(tmp_path / "run")
    assert sum(told[-5:]) < 0.97 * sum(told[:5])
    model = load_structure_model(path)
    assert model.facts.steps == 20
    assert model.facts.training_data == "procedural"
    with safe_open(path, "pt") as file:
        recipe = json.loads(file.metadata()["recipe"])
    assert recipe["learn"]["rate"] == 1e-2
    assert "root" not in recipe["data"][0]
    beside = json.loads((tmp_path / "run" / "structure.json").read_text("utf-8"))
    assert len(beside["sha256"]["structure.safetensors"]) == 64
    # It is read by the denoiser it was trained for, and does something there.
    denoiser = ToyTrainable().load_denoiser(torch.float32)
    noised, beside = torch.randn(1, 3, 4, 16, 16), torch.randn(1, 14, 4, 16, 16)
    plain = denoiser(noised, beside, torch.tensor([500.0]))
    with attach(model.adapter, find_sites(denoiser, RULES), torch.randn(1, 5, 24)):
        guided = denoiser(noised, beside, torch.tensor([500.0]))
    assert not torch.equal(plain, guided)


@pytest.mark.parametrize("whole", [False, True])
def test_a_killed_run_goes_on_exactly(start: Start, tmp_path: Path, whole: bool) -> None:
    """Same losses and same weights to the bit, from the checkpoint of step 5 on."""
    options = toy_options(learn={"warm_up": 2} if whole else {})
    backbone = ToyTrainable(whole=whole)
    start("straight", options, backbone).train()
    with pytest.raises(Stopped):
        start("killed", options, backbone).train(Killer(8))
    assert len(losses(tmp_path / "killed")) == 8
    assert start("killed", options, backbone).train() is not None
    assert losses(tmp_path / "killed") == losses(tmp_path / "straight")
    names = ["structure"] + ["denoiser"] * whole
    for name in names:
        straight, killed = (
            load_file(tmp_path / run / f"{name}.safetensors") for run in ("straight", "killed")
        )
        assert straight.keys() == killed.keys()
        assert all(torch.equal(straight[key], killed[key]) for key in straight)


def test_sittings_make_one_run(start: Start, tmp_path: Path) -> None:
    options = toy_options()
    assert start("sittings", options).train(stop_after=7) is None
    assert start("sittings", options).train(stop_after=7) is not None
    start("straight", options).train()
    assert losses(tmp_path / "sittings") == losses(tmp_path / "straight")
    kept = sorted(path.name for path in (tmp_path / "sittings" / "checkpoints").iterdir())
    assert kept == ["step-00000010", "step-00000012"]


def test_accumulation_changes_nothing(start: Start, tmp_path: Path) -> None:
    """A batch at once is the batch in parts, up to rounding."""
    for name, at_once in (("parts", 1), ("whole", 2)):
        learn = {"at_once": at_once, "steps": 6, "dropped": 0.4, "backbone_rate": 0.0}
        start(name, toy_options(learn=learn), ToyTrainable(whole=True)).train()
    parts, whole = (torch.tensor(losses(tmp_path / name)) for name in ("parts", "whole"))
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=0)


def test_the_arm_without_structure_learns_none(start: Start, tmp_path: Path) -> None:
    learn = {"steps": 3, "dropped": 1.0, "average": 0.0, "backbone_rate": 1e-2}
    start("run", toy_options(learn=learn), ToyTrainable(whole=True)).train()
    model = load_structure_model(tmp_path / "run" / "structure.safetensors")
    assert all(float(branch.gate) == pytest.approx(OPEN_GATE) for branch in model.adapter.branches)
    plain = ToyTrainable().load_denoiser(torch.float32).state_dict()
    learned = load_file(tmp_path / "run" / "denoiser.safetensors")
    assert learned.keys() == plain.keys()
    assert not torch.equal(learned["out.weight"], plain["out.weight"])


def test_a_sample_is_drawn(start: Start, tmp_path: Path) -> None:
    keep = {"sample": 2, "sample_steps": 2}
    start("run", toy_options(learn={"steps": 2}, keep=keep)).train()
    from PIL import Image

    with Image.open(tmp_path / "run" / "samples" / "step-00000002.gif") as image:
        assert image.size == (32, 16)
        assert image.n_frames == 4


def test_tensorboard_is_told_too(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    keep = {"sample": 2, "sample_steps": 1, "tensorboard": True}
    start("run", toy_options(learn={"steps": 2}, keep=keep)).train()
    (events,) = (tmp_path / "run" / "tensorboard").iterdir()
    assert b"GIF89a" in events.read_bytes()


def test_another_recipe_needs_another_folder(start: Start, tmp_path: Path) -> None:
    start("run", toy_options(learn={"steps": 1}))
    start("run", toy_options(learn={"steps": 2}, keep={"log": 3}))
    with pytest.raises(InputError, match="holds a run with another 'learn'"):
        start("run", toy_options(learn={"rate": 1.0}))


def test_what_cannot_be_trained_is_said_at_once(start: Start, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="batch of 3 clips cannot be shared by 1 processes"):
        start("a", toy_options(learn={"batch": 3, "at_once": 2}))
    with pytest.raises(InputError, match="warm-up of 2 steps .* nothing of the backbone"):
        start("b", toy_options(learn={"warm_up": 2})).train()
    with pytest.raises(InputError, match="share of 1 of clips without structure"):
        start("c", toy_options(learn={"dropped": 1.0})).train()


def test_a_loss_that_is_no_number_ends_the_run(start: Start, tmp_path: Path) -> None:
    options = toy_options()
    start("run", options).train(stop_after=5)
    run = start("run", options, Diverging())
    with pytest.raises(InputError, match="loss of step 6 is nan.*learn.rate .*now 0.003 and"):
        run.train()
    # What was learned before is still there.
    assert start("run", options).train() is not None


class Diverging(ToyTrainable):
    """Predicts no numbers."""

    def denoise(self, *args: Any) -> torch.Tensor:
        return super().denoise(*args) * torch.nan


def test_a_damaged_checkpoint_is_named(start: Start, tmp_path: Path) -> None:
    options = toy_options()
    start("run", options).train(stop_after=1)
    file = tmp_path / "run" / "checkpoints" / "step-00000001" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"step-00000001' is damaged \(weights\.safetensors has"):
        start("run", options).train()
