"""A training run: from a recipe to a structure model, in as many sittings as it takes."""

import importlib
import importlib.util
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checks import check_range
from ..errors import InputError, MissingDependency
from ..export.atomic import write_text
from ..parts import install_command
from ..progress import Progress, SilentProgress
from .average import WeightAverage
from .base import TrainableBackbone
from .cache import Batch, ClipCache, Worker
from .checkpoint import Checkpoint, CheckpointFolder
from .exporting import MODEL_FILE, export_model
from .journal import Journal
from .learner import DTYPES, Learner, draw_chance, sample_latents
from .options import TrainOptions
from .recipe import recipe_json

logger = logging.getLogger("reconx")


class TrainingRun:
    """One process's part of a run; all processes do the same steps on their share of each batch."""

    def __init__(
        self,
        options: TrainOptions,
        backbone: TrainableBackbone,
        folder: Path,
        *,
        cache: Path | None = None,
        device: str | None = None,
    ) -> None:
        """Open the run's folder; the cache is filled and weights are loaded later.

        Args:
            options: The recipe.
            backbone: Of the recipe.
            folder: Of the run; goes on with what lies there.
            cache: Of encoded clips, which several runs may share; None = in the run's folder.
            device: "cpu" keeps off a GPU that is there; None = what accelerate chooses.

        Raises:
            InputError: If the folder is another recipe's, or processes do not divide the batch.
            MissingDependency: If accelerate is absent.
        """
        self.options, self.backbone, self.folder = options, backbone, folder
        self.accelerator = _make_accelerator(options, device)
        self._places = self._divide()
        self.cache = ClipCache(cache or folder / "cache", options, backbone)
        with self._first():
            _check_recipe(folder, options)
        self._checkpoints = CheckpointFolder(folder / "checkpoints", options.keep.checkpoints)

    @property
    def device(self) -> torch.device:
        """Where this process works."""
        return self.accelerator.device

    def fill_cache(self, progress: Progress | None = None) -> None:
        """Encode what is missing, each process its part, and check all of it."""
        accelerator = self.accelerator
        worker = Worker(rank=accelerator.process_index, count=accelerator.num_processes)
        self.cache.fill(self.device, worker, progress or SilentProgress())
        accelerator.wait_for_everyone()
        self.cache.open()

    def train(
        self, progress: Progress | None = None, *, stop_after: int | None = None
    ) -> Path | None:
        """Learn, from the last checkpoint on, and export the model.

        Args:
            progress: Who is told; may raise to stop.
            stop_after: Steps of this sitting, after which a checkpoint is written; None = all.

        Returns:
            The exported file; None if steps are left.

        Raises:
            InputError: If a file is damaged, or the loss is not finite.
            BackboneMismatch: If the denoiser runs past the structure.
        """
        with self.bench() as bench:
            last = bench.total if stop_after is None else bench.step + stop_after
            task = (progress or SilentProgress()).start("Training", bench.total)
            while bench.step < min(last, bench.total):
                bench.advance()
                task.update(bench.step)
            bench.keep()
            if bench.step < bench.total:
                return None
            if self.accelerator.is_main_process:
                with bench.averaged():
                    export_model(bench.learner, self.options, self.folder, bench.step)
            self.accelerator.wait_for_everyone()
        return self.folder / MODEL_FILE

    @contextmanager
    def bench(self) -> Iterator["_Workbench"]:
        """The weights in memory within the block, as the last checkpoint left them."""
        with ExitStack() as stack:
            bench = _Workbench(self, self._checkpoints, self._places)
            stack.enter_context(bench.learner.attached())
            stack.callback(bench.journal.close)
            yield bench

    def _divide(self) -> list[range]:
        """This process's positions in each batch, as many at once as the recipe says."""
        learn, accelerator = self.options.learn, self.accelerator
        own, rest = divmod(learn.batch, accelerator.num_processes * learn.at_once)
        if rest:
            raise InputError(
                f"A batch of {learn.batch} clips cannot be shared by {accelerator.num_processes} "
                f"processes that take {learn.at_once} at once; expected a multiple of both. Change "
                "learn.batch or learn.at_once."
            )
        start = accelerator.process_index * own * learn.at_once
        return [
            range(start + k * learn.at_once, start + (k + 1) * learn.at_once) for k in range(own)
        ]

    @contextmanager
    def _first(self) -> Iterator[None]:
        """The main process runs the block before the others."""
        with self.accelerator.main_process_first():
            yield


class _Workbench:
    """The weights of a run in memory, and its steps."""

    def __init__(
        self, run: TrainingRun, checkpoints: CheckpointFolder, places: Sequence[range]
    ) -> None:
        self._run, self._options = run, run.options
        self._checkpoints, self._places = checkpoints, places
        self._accelerator, learn = run.accelerator, run.options.learn
        self.total = learn.warm_up + learn.steps
        denoiser = run.backbone.load_denoiser(DTYPES[learn.precision])
        if run.backbone.whole:
            denoiser.float()
        self.learner = Learner(run.backbone, denoiser, run.options).to(run.device)
        self._parameters = self.learner.trained()
        own = [value for name, value in self._parameters.items() if name.startswith("denoiser.")]
        self._dropped = _choose_dropped(run.options, own)
        self._optimiser = torch.optim.AdamW(
            [
                {
                    "params": [
                        *self.learner.encoder.parameters(),
                        *self.learner.adapter.parameters(),
                    ]
                },
                {"params": own},
            ],
            weight_decay=learn.decay,
        )
        checkpoint = checkpoints.load()
        if checkpoint is not None:
            self._load_weights(checkpoint.weights)
        self._wrapped, self._optimiser = run.accelerator.prepare(self.learner, self._optimiser)
        self.average = WeightAverage(self._parameters, learn.average)
        self.step, self._unsaved = 0, False
        self.silent = False
        self.journal = Journal(
            run.folder, tensorboard=run.options.keep.tensorboard and run.accelerator.is_main_process
        )
        if checkpoint is not None:
            self._go_on(checkpoint)

    def averaged(self) -> Any:
        """The averaged weights in the place of the last ones."""
        return self.average.inside(self._parameters)

    def advance(self) -> float:
        """One step of the optimiser; returns its loss, over all processes.

        Raises:
            InputError: If the loss is not finite, before the weights are spoilt by it.
        """
        began, learn = time.perf_counter(), self._options.learn
        self._set_rates()
        losses = []
        for number, positions in enumerate(self._places):
            last = number + 1 == len(self._places)
            with ExitStack() as stack:
                if not last:
                    stack.enter_context(self._accelerator.no_sync(self._wrapped))
                loss = self.loss_of(positions)
                self._accelerator.backward(loss / len(self._places))
            losses.append(loss.detach())
        loss = float(self._accelerator.reduce(torch.stack(losses).mean(), "mean"))
        self._check_loss(loss)
        norm = self._accelerator.clip_grad_norm_(self._parameters.values(), learn.clip_norm)
        self._optimiser.step()
        self._optimiser.zero_grad()
        self.step, self._unsaved = self.step + 1, True
        self.average.update(self._parameters, self.step)
        self._tell(loss, norm, time.perf_counter() - began)
        return loss

    def _check_loss(self, loss: float) -> None:
        # With half precision the gradient scaler leaves such steps out, and tries smaller scales.
        if math.isfinite(loss) or getattr(self._accelerator, "scaler", None) is not None:
            return
        learn = self._options.learn
        raise InputError(
            f"The loss of step {self.step + 1} is {loss}; expected a finite number. Begin in "
            f"another folder with a lower learn.rate or learn.backbone_rate (now {learn.rate} and "
            f"{learn.backbone_rate}), or with learn.precision fp32 (now {learn.precision})."
        )

    def loss_of(self, positions: range) -> Tensor:
        """Loss of some positions of the next step's batch."""
        learn = self._options.learn
        # Layers that drop something at random, such as those of a model of our own.
        torch.manual_seed(learn.seed * 1_000_003 + self.step * 1009 + positions[0])
        batch = self._run.cache.read([self._place(position) for position in positions])
        dropped = 1.0 if self.step < learn.warm_up else self._dropped
        shape = batch.latents.shape[1:]
        chance = draw_chance(learn.seed, self.step, positions, shape, dropped)
        return self._wrapped(batch.to(self._run.device), self._run.cache.settings, chance)

    def keep(self) -> None:
        """Write a checkpoint, unless this step has one."""
        if not self._unsaved:
            return
        if self._accelerator.is_main_process:
            scaler = getattr(self._accelerator, "scaler", None)
            self._checkpoints.save(
                Checkpoint(
                    step=self.step,
                    weights={
                        name: value.detach().cpu() for name, value in self._parameters.items()
                    },
                    average={name: value.cpu() for name, value in self.average.values.items()},
                    optimiser=self._optimiser.state_dict(),
                    scaler={} if scaler is None else scaler.state_dict(),
                )
            )
        self._unsaved = False
        self._accelerator.wait_for_everyone()

    def _go_on(self, checkpoint: Checkpoint) -> None:
        self._optimiser.load_state_dict(dict(checkpoint.optimiser))
        scaler = getattr(self._accelerator, "scaler", None)
        if scaler is not None and checkpoint.scaler:
            scaler.load_state_dict(dict(checkpoint.scaler))
        self.average.load(checkpoint.average)
        self.step = checkpoint.step
        if self._accelerator.is_main_process:
            self.journal.rewind(self.step)
        logger.info("Going on after step %d of %d.", self.step, self.total)

    @torch.no_grad()
    def _load_weights(self, weights: Any) -> None:
        wrong = weights.keys() ^ self._parameters.keys()
        if wrong:
            raise InputError(
                f"The checkpoint in '{self._run.folder}' and the recipe disagree about the weight "
                f"'{sorted(wrong)[0]}'. Choose another folder, or the same recipe."
            )
        for name, value in weights.items():
            self._parameters[name].copy_(value)

    def _set_rates(self) -> None:
        """Constant after a ramp in each stage; no structure is learned while warming up."""
        learn = self._options.learn
        warming = self.step < learn.warm_up
        since = self.step if warming else self.step - learn.warm_up
        ramp = min(1.0, (since + 1) / max(1, learn.ramp))
        structure, own = self._optimiser.param_groups
        structure["lr"] = 0.0 if warming else learn.rate * ramp
        own["lr"] = learn.backbone_rate * ramp

    def _place(self, position: int) -> int:
        """Which clip stands at a position of this step: each once before any comes again."""
        clips, learn = len(self._run.cache), self._options.learn
        turn, place = divmod(self.step * learn.batch + position, clips)
        return int(_shuffle(clips, learn.seed * 1_000_003 + turn)[place])

    def _tell(self, loss: float, norm: Any, seconds: float) -> None:
        keep, main = self._options.keep, self._accelerator.is_main_process
        if self.silent:  # somebody measures
            return
        if main and (self.step % keep.log == 0 or self.step == 1):
            gates = [
                abs(float(value.detach()))
                for name, value in self._parameters.items()
                if name.endswith(".gate")
            ]
            self.journal.log(
                self.step,
                loss=loss,
                gradient=float(norm),
                gate=sum(gates) / len(gates),
                rate=self._optimiser.param_groups[0]["lr"],
                seconds=round(seconds, 4),
            )
        if keep.sample and self.step % keep.sample == 0:
            self._sample()
        if self.step % keep.checkpoint == 0:
            self.keep()

    def _sample(self) -> None:
        """The first clip, as it is and as the averaged weights make it."""
        if self._accelerator.is_main_process:
            cache, device = self._run.cache, self._run.device
            batch: Batch = cache.read([0]).to(device)
            with self.averaged(), self._accelerator.autocast():
                steps, seed = self._options.keep.sample_steps, self._options.learn.seed
                made = sample_latents(self.learner, batch, cache.settings, steps=steps, seed=seed)
            frames = [
                self._run.backbone.decode(latents[0], cache.settings, device)
                for latents in (batch.latents, made)
            ]
            path = self.journal.show(self.step, torch.cat(frames, dim=2))
            logger.info("A sample after %d steps: %s", self.step, path)
        self._accelerator.wait_for_everyone()


@lru_cache(maxsize=2)  # a batch may span the end of one turn and the beginning of the next
def _shuffle(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _make_accelerator(options: TrainOptions, device: str | None) -> Any:
    if importlib.util.find_spec("accelerate") is None:
        raise MissingDependency(
            f"Training needs accelerate. Run: {install_command('pip install accelerate')}"
        )
    accelerate = importlib.import_module("accelerate")
    precision = {"fp32": "no"}.get(options.learn.precision, options.learn.precision)
    # Clips without structure leave encoder and adapter out.
    unused = accelerate.DistributedDataParallelKwargs(find_unused_parameters=True)
    # Processes wait for each other until the last one has encoded its part of the clips.
    patient = accelerate.InitProcessGroupKwargs(timeout=timedelta(days=7))
    try:
        return accelerate.Accelerator(
            mixed_precision=precision, cpu=device == "cpu", kwargs_handlers=[unused, patient]
        )
    except ValueError as error:
        raise InputError(
            f"Precision '{options.learn.precision}' cannot be used here ({error}). Set "
            "learn.precision to fp32."
        ) from error


def _choose_dropped(options: TrainOptions, own: Sequence[Tensor]) -> float:
    """Share of clips without structure: they teach the backbone, if anything of it learns at all.

    A frozen one predicts without structure what it always did, which guidance goes out from.
    """
    learn = options.learn
    if own:
        return learn.dropped
    if learn.warm_up or learn.dropped == 1:
        raise InputError(
            f"A warm-up of {learn.warm_up} steps and a share of {learn.dropped:g} of clips without "
            "structure leave nothing to learn: nothing of the backbone is trained. Set learn.lora, "
            "or learn.warm_up to 0 and learn.dropped below 1."
        )
    if learn.dropped:
        logger.info("The backbone is frozen: every clip has structure, since others teach nothing.")
    return 0.0


def _check_recipe(folder: Path, options: TrainOptions) -> None:
    """Require the recipe that a run was begun with, but for how long and how often."""
    path = folder / "recipe.json"
    told = recipe_json(options)
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(told, indent=1) + "\n")
        return
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        for recipe in (earlier, told):
            recipe["learn"] = {**recipe["learn"], "steps": None}
            recipe["keep"] = recipe["keep"]["shard"]
            recipe["data"] = [{**source, "root": None} for source in recipe["data"]]
            recipe["model"] = recipe["offload"] = recipe["licence"] = None
            recipe["cloud"]["checkpoint"] = None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(f"'{path}' is damaged ({error}). Choose another folder.") from error
    other = [name for name in told if earlier.get(name) != told[name]]
    if other:
        raise InputError(
            f"'{folder}' holds a run with another '{other[0]}': {earlier.get(other[0])}, and not "
            f"{told[other[0]]}. Choose another folder, or the same recipe."
        )
    check_range("Steps", options.learn.steps, 1)
