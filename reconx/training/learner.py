"""What is trained: encoder and adapter beside a denoiser, and the loss of a batch of clips."""

import importlib
import importlib.util
import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import BackboneMismatch, MissingDependency
from ..parts import install_command
from ..structure.adapter import (
    TRAINING_GATE,
    Reading,
    StructureAdapter,
    attach,
    check_used,
    read_places,
    sizes_for,
)
from ..structure.encoder import StructureEncoder
from .base import TrainableBackbone
from .cache import Batch
from .noise import NoiseLevels, add_noise, part_prediction, target_of
from .options import TrainOptions

logger = logging.getLogger("reconx")

OPEN_GATE = 1.0
"""Gate at which a backbone that is trained whole begins."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Chance(NamedTuple):
    """Everything random about a batch."""

    noise: Float[Tensor, "clip ..."]
    """Unit."""
    share: Float[Tensor, " clip"]
    """Place of each clip's noise level in the training distribution."""
    rows: tuple[bool, ...]
    """Which clips read structure."""


def draw_chance(
    seed: int, step: int, positions: Sequence[int], shape: Sequence[int], dropped: float
) -> Chance:
    """By step and by a clip's position in the batch alone.

    So it does not matter how many processes share a batch, and a run that goes on from a
    checkpoint sees what it would have seen.
    """
    noises, shares, rows = [], [], []
    for position in positions:
        dice = random.Random(f"reconx-step-1/{seed}/{step}/{position}")
        generator = torch.Generator().manual_seed(dice.getrandbits(62))
        noises.append(torch.randn(*shape, generator=generator))
        shares.append(dice.random())
        rows.append(dice.random() >= dropped)
    return Chance(torch.stack(noises), torch.tensor(shares), tuple(rows))


class Learner(nn.Module):
    """Encoder, adapter and denoiser; a forward pass is a batch's loss."""

    def __init__(
        self, backbone: TrainableBackbone, denoiser: nn.Module, options: TrainOptions
    ) -> None:
        """Build encoder and adapter with random weights from the recipe's seed.

        Raises:
            BackboneMismatch: If structure cannot enter the denoiser.
            MissingDependency: If LoRA is asked for and peft is absent.
        """
        super().__init__()
        self._backbone = backbone
        denoiser.requires_grad_(backbone.whole)
        denoiser.train(backbone.whole)
        torch.manual_seed(options.learn.seed)
        if options.learn.lora:
            _add_lora(denoiser, backbone, options.learn.lora)
        self.denoiser = denoiser
        self._sites = list(backbone.find_sites(denoiser))
        self.encoder = StructureEncoder(options.encoder)
        sizes = sizes_for(self._sites, options.encoder.width, options.rank)
        # What is trained whole has no behaviour that an open gate could spoil.
        gate = OPEN_GATE if backbone.whole else TRAINING_GATE
        self.adapter = StructureAdapter(sizes, gate=gate)
        read_places(self.adapter, self._sites)
        if options.learn.checkpointing:
            _checkpoint_activations(denoiser)
        self._reading: Reading | None = None

    def trained(self) -> dict[str, nn.Parameter]:
        """Parameters that learn, by name."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Let the denoiser read structure within the block, backward passes included.

        Where activations are computed again on the way back, hooks must still be there then.
        """
        width = self.adapter.sizes.token_width
        with attach(self.adapter, self._sites, torch.zeros(1, 1, width), rows=()) as reading:
            reading.own = True
            self._reading = reading
            try:
                yield
            finally:
                self._reading = None

    def forward(self, batch: Batch, settings: dict[str, Any], chance: Chance) -> Float[Tensor, ""]:
        """Mean squared error of the prediction over what counts, each clip weighing the same.

        Raises:
            BackboneMismatch: If the denoiser ran past the structure.
        """
        levels = self._backbone.schedule.levels(chance.share).to(batch.latents.device)
        clean = batch.latents.float()
        noise = chance.noise.to(clean)
        noised = add_noise(clean, noise, levels)
        predicted = self.predict(noised, levels, batch, settings, chance.rows)
        target = target_of(self._backbone.schedule.prediction, clean, noise, levels)
        error = (predicted.float() - target).square()
        counted = self._backbone.counted(batch.conditions)
        if counted is None:
            return error.mean()
        weight = counted.expand_as(error).to(error)
        total, count = (part.flatten(1).sum(1) for part in (error * weight, weight))
        return (total / count.clamp(min=1)).mean()

    def predict(
        self,
        noised: Float[Tensor, "clip ..."],
        levels: NoiseLevels,
        batch: Batch,
        settings: dict[str, Any],
        rows: Sequence[bool],
    ) -> Float[Tensor, "clip ..."]:
        """What the denoiser makes of noised clips, some of them with structure."""
        reading = self._reading
        assert reading is not None, "called within `attached`"
        reading.rows, reading.used = tuple(rows), False
        if any(rows):
            reading.tokens = self._encode(batch, rows)
        predicted = self._backbone.denoise(
            self.denoiser, noised, levels.time, batch.conditions, settings
        )
        if any(rows):
            check_used(reading)
        if predicted.shape != noised.shape:
            raise BackboneMismatch(
                f"Backbone '{self._backbone.spec.name}' predicts {tuple(predicted.shape)} of "
                f"latents of {tuple(noised.shape)}; expected the same shape."
            )
        return predicted

    def _encode(self, batch: Batch, rows: Sequence[bool]) -> Float[Tensor, "clip token channel"]:
        """Tokens of the clips that read them; nothing is read of the others' zeros."""
        tokens = {
            clip: self.encoder(batch.points[clip]) for clip, reads in enumerate(rows) if reads
        }
        none = torch.zeros_like(next(iter(tokens.values())))
        return torch.stack([tokens.get(clip, none) for clip in range(len(rows))])


@torch.no_grad()
def sample_latents(
    learner: Learner,
    batch: Batch,
    settings: dict[str, Any],
    *,
    steps: int,
    seed: int,
    structure: bool = True,
) -> Float[Tensor, "clip ..."]:
    """Denoise clips from noise, deterministically (DDIM, Song et al. 2021; Euler for flows)."""
    schedule = learner._backbone.schedule
    device, count = batch.latents.device, len(batch.latents)
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(batch.latents.shape, generator=generator).to(device)
    clean = latents
    shares = torch.linspace(1, 0, steps + 1)[:-1]
    for number, share in enumerate(shares):
        levels = schedule.levels(share.expand(count)).to(device)
        rows = (structure,) * count
        predicted = learner.predict(latents, levels, batch, settings, rows).float()
        clean, noise = part_prediction(schedule.prediction, predicted, latents, levels)
        if number + 1 < steps:
            following = schedule.levels(shares[number + 1].expand(count)).to(device)
            latents = add_noise(clean, noise, following)
    return clean


def _add_lora(denoiser: nn.Module, backbone: TrainableBackbone, rank: int) -> None:
    """Low-rank layers (Hu et al. 2021) beside every projection of the attentions that read."""
    if backbone.whole:
        raise BackboneMismatch(
            f"Backbone '{backbone.spec.name}' is trained whole; expected learn.lora 0 for it."
        )
    if importlib.util.find_spec("peft") is None:
        raise MissingDependency(
            f"LoRA layers need peft. Run: {install_command('pip install peft')}, or set "
            "learn.lora to 0."
        )
    peft = importlib.import_module("peft")
    targets = [
        f"{site.name}.{name}"
        for site in backbone.find_sites(denoiser)
        for name, module in site.attention.named_modules()
        if isinstance(module, nn.Linear)
    ]
    config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=targets)
    peft.inject_adapter_in_model(config, denoiser)
    for name, value in denoiser.named_parameters():
        if value.requires_grad_("lora_" in name).requires_grad:
            value.data = value.data.float()


def _checkpoint_activations(denoiser: nn.Module) -> None:
    enable = getattr(denoiser, "enable_gradient_checkpointing", None)
    if enable is None:
        logger.info("A %s cannot compute activations again; all are kept.", type(denoiser).__name__)
        return
    enable()
