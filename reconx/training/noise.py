"""Noise levels and what a denoiser predicts at them: one form for every scheduler.

`x_t = signal x + noise e` with clean latents x and unit noise e. Flow matching (Lipman et al.
2023), noise and v-prediction (Ho et al. 2020; Salimans and Ho 2022) and the continuous levels of
EDM (Karras et al. 2022), as Stable Video Diffusion has them, differ only in how levels are spread,
what the denoiser is told of them, and what it predicts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import BackboneMismatch

Prediction = Literal["flow", "noise", "v", "clean"]
"""e - x; e; signal e - noise x; x."""


class NoiseLevels(NamedTuple):
    """One level per clip of a batch."""

    time: Float[Tensor, " clip"]
    """As the denoiser is told."""
    signal: Float[Tensor, " clip"]
    """Factor of the clean latents."""
    noise: Float[Tensor, " clip"]
    """Factor of the noise."""

    def to(self, device: torch.device | str) -> "NoiseLevels":
        """The same on a device."""
        return NoiseLevels(*(part.to(device) for part in self))


@runtime_checkable
class NoiseSchedule(Protocol):
    """How a model's noise levels are spread."""

    @property
    def prediction(self) -> Prediction:
        """What the model predicts."""
        ...

    def levels(self, share: Float[Tensor, " clip"]) -> NoiseLevels:
        """Levels by their place in the training distribution: 0 has least noise, 1 most."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSchedule:
    """On the straight line from clean to noise."""

    shift: float = 1.0
    """Above 1: more noise on the average, as large pictures need (Esser et al. 2024)."""
    times: float = 1000.0
    """What the denoiser is told at full noise."""
    prediction: Prediction = "flow"

    def levels(self, share: Float[Tensor, " clip"]) -> NoiseLevels:
        """Uniform before the shift."""
        noise = self.shift * share / (1 + (self.shift - 1) * share)
        return NoiseLevels(noise * self.times, 1 - noise, noise)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSchedule:
    """Discrete steps, variance preserving."""

    kept: Float[Tensor, " step"]
    """Share of the signal's variance that is left at each step (the cumulated alphas)."""
    prediction: Prediction

    def levels(self, share: Float[Tensor, " clip"]) -> NoiseLevels:
        """Each step as often as any other."""
        step = (share * len(self.kept)).long().clamp(max=len(self.kept) - 1)
        kept = self.kept.to(share)[step]
        return NoiseLevels(step.to(share), kept.sqrt(), (1 - kept).sqrt())


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuousSchedule:
    """Log-normal ratios of noise to signal, variance preserving (Karras et al. 2022, table 1)."""

    mean: float = 0.7
    """Of the ratio's logarithm; Blattmann et al. 2023, appendix D.2, as is the next."""
    deviation: float = 1.6
    """Likewise."""
    prediction: Prediction = "v"

    def levels(self, share: Float[Tensor, " clip"]) -> NoiseLevels:
        """By the normal distribution's quantiles, of which the outermost are infinite."""
        inner = share.clamp(1e-4, 1 - 1e-4)
        log_ratio = self.mean + self.deviation * torch.special.ndtri(inner)
        ratio = log_ratio.exp()
        total = (1 + ratio.square()).sqrt()
        return NoiseLevels(log_ratio / 4, 1 / total, ratio / total)


def add_noise(
    clean: Float[Tensor, "clip ..."], noise: Float[Tensor, "clip ..."], levels: NoiseLevels
) -> Float[Tensor, "clip ..."]:
    """Clean latents at their noise levels."""
    signal, amount = _like(clean, levels)
    return signal * clean + amount * noise


def target_of(
    prediction: Prediction,
    clean: Float[Tensor, "clip ..."],
    noise: Float[Tensor, "clip ..."],
    levels: NoiseLevels,
) -> Float[Tensor, "clip ..."]:
    """What the denoiser should predict."""
    signal, amount = _like(clean, levels)
    if prediction == "flow":
        return noise - clean
    if prediction == "v":
        return signal * noise - amount * clean
    return noise if prediction == "noise" else clean


def part_prediction(
    prediction: Prediction,
    predicted: Float[Tensor, "clip ..."],
    noised: Float[Tensor, "clip ..."],
    levels: NoiseLevels,
) -> tuple[Float[Tensor, "clip ..."], Float[Tensor, "clip ..."]]:
    """Clean latents and noise that a prediction speaks of; the inverse of `target_of`."""
    signal, amount = _like(noised, levels)
    if prediction == "flow":
        return noised - amount * predicted, noised + signal * predicted
    if prediction == "v":
        return signal * noised - amount * predicted, amount * noised + signal * predicted
    tiny = torch.finfo(noised.dtype).tiny
    if prediction == "noise":
        return (noised - amount * predicted) / signal.clamp(min=tiny), predicted
    return predicted, (noised - signal * predicted) / amount.clamp(min=tiny)


def read_schedule(scheduler: Any) -> NoiseSchedule:
    """The levels of a scheduler of diffusers.

    Raises:
        BackboneMismatch: If it is of a kind that is not known.
    """
    config: Mapping[str, Any] = scheduler.config
    told = config.get("prediction_type", "epsilon")
    if type(scheduler).__name__.startswith("FlowMatch") or told == "flow_prediction":
        # A shift that depends on the picture's size is left at its base.
        shift = config.get("shift", config.get("flow_shift", 1.0)) or 1.0
        return FlowSchedule(shift=float(shift), times=float(config["num_train_timesteps"]))
    names: Mapping[str, Prediction] = {"epsilon": "noise", "v_prediction": "v", "sample": "clean"}
    if told in names and config.get("timestep_type") == "continuous":
        return ContinuousSchedule(prediction=names[told])
    kept = getattr(scheduler, "alphas_cumprod", None)
    if told in names and kept is not None:
        return TableSchedule(kept=kept.float(), prediction=names[told])
    raise BackboneMismatch(
        f"Noise of a {type(scheduler).__name__} that predicts '{told}' is not known to the "
        "trainer; expected flow matching, or a table of alphas. Choose another model."
    )


def _like(latents: Float[Tensor, "clip ..."], levels: NoiseLevels) -> tuple[Tensor, Tensor]:
    """Both factors, to be multiplied with the latents."""
    shape = (-1, *[1] * (latents.ndim - 1))
    return levels.signal.to(latents).view(shape), levels.noise.to(latents).view(shape)
