"""Noise levels: every way of predicting speaks of the same clean latents and noise."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from reconx.errors import BackboneMismatch
from reconx.training.noise import (
    ContinuousSchedule,
    FlowSchedule,
    NoiseSchedule,
    TableSchedule,
    add_noise,
    part_prediction,
    read_schedule,
    target_of,
)

KEPT = torch.linspace(0.999, 0.01, 50).square()
SCHEDULES = [
    FlowSchedule(shift=3.0),
    TableSchedule(kept=KEPT, prediction="noise"),
    TableSchedule(kept=KEPT, prediction="v"),
    TableSchedule(kept=KEPT, prediction="clean"),
    ContinuousSchedule(),
]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_right_prediction_leads_back(schedule: NoiseSchedule) -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 3, 4, 5, generator=generator).double()
    levels = schedule.levels(torch.tensor([0.2, 0.5, 0.9]))
    noised = add_noise(clean, noise, levels)
    target = target_of(schedule.prediction, clean, noise, levels)
    found = part_prediction(schedule.prediction, target, noised, levels)
    torch.testing.assert_close(found, (clean, noise), atol=1e-5, rtol=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_levels_rise_from_clean_to_noise(schedule: NoiseSchedule) -> None:
    levels = schedule.levels(torch.linspace(0, 1, 20))
    assert (levels.noise.diff() >= 0).all()
    assert (levels.signal.diff() <= 0).all()
    assert (levels.time.diff() >= 0).all()
    assert levels.noise[0] < 0.1
    assert levels.noise[-1] > 0.98


def test_the_objectives_by_hand() -> None:
    flow = FlowSchedule(shift=3.0).levels(torch.tensor([0.5]))
    assert [float(part) for part in flow] == pytest.approx([750.0, 0.25, 0.75])
    table = TableSchedule(kept=torch.tensor([0.81, 0.36]), prediction="v")
    levels = table.levels(torch.tensor([0.49, 0.5]))
    torch.testing.assert_close(levels.time, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(levels.signal, torch.tensor([0.9, 0.6]))
    target = target_of("v", torch.tensor([[2.0], [2.0]]), torch.tensor([[1.0], [1.0]]), levels)
    torch.testing.assert_close(target[1], torch.tensor([0.6 * 1 - 0.8 * 2]))
    median = ContinuousSchedule().levels(torch.tensor([0.5]))
    assert float(median.time) == pytest.approx(0.7 / 4)
    assert float(median.noise / median.signal) == pytest.approx(2.71828**0.7, rel=1e-4)


class Scheduler(SimpleNamespace):
    """As diffusers has them."""


def test_schedulers_of_diffusers_are_read() -> None:
    flow: dict[str, Any] = {"prediction_type": "flow_prediction", "num_train_timesteps": 1000}
    read = read_schedule(Scheduler(config=flow | {"flow_shift": 3.0}))
    assert read == FlowSchedule(shift=3.0)
    table = Scheduler(config={"prediction_type": "v_prediction"}, alphas_cumprod=KEPT)
    assert read_schedule(table).prediction == "v"
    continuous = {"prediction_type": "v_prediction", "timestep_type": "continuous"}
    assert isinstance(read_schedule(Scheduler(config=continuous)), ContinuousSchedule)
    with pytest.raises(BackboneMismatch, match="Scheduler that predicts 'score' is not known"):
        read_schedule(Scheduler(config={"prediction_type": "score"}))


def test_our_levels_are_those_of_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    clean, noise = torch.randn(1, 8), torch.randn(1, 8)
    scheduler = diffusers.CogVideoXDDIMScheduler(prediction_type="v_prediction")
    schedule = read_schedule(scheduler)
    levels = schedule.levels(torch.tensor([0.4]))
    step = levels.time.long()
    torch.testing.assert_close(
        add_noise(clean, noise, levels), scheduler.add_noise(clean, noise, step)
    )
    torch.testing.assert_close(
        target_of("v", clean, noise, levels), scheduler.get_velocity(clean, noise, step)
    )
