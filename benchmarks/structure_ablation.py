"""Whether structure tokens help a video model: arms with and without them, trained alike.

Run from the repository's root: `python benchmarks/structure_ablation.py`. No weights
and no data are needed: the pack's small model learns on procedural rooms, 8 frames of 32 x 32
pixels. All arms see the first and the last frame and every frame's rays, and no point renders; one
also sees tokens of the two frames' points. They are compared on rooms that neither has seen, and
the arm with tokens also with those of another room. The same command goes on where it was stopped.

Writes a table as JSON, a figure, and `docs/structure-ablation.md`.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import torch
from structure_ablation_report import Clips, Comparison, write_report

from reconx.progress import SilentProgress
from reconx.structure.encoder import EncoderSizes
from reconx.training.cache import Batch, ClipCache, Worker
from reconx.training.learner import sample_latents
from reconx.training.options import (
    ClipOptions,
    CloudOptions,
    DataOptions,
    KeepOptions,
    LearnOptions,
    TrainOptions,
)
from reconx.training.registry import make_trainable
from reconx.training.run import TrainingRun
from reconx.video.backbones.small.network import SmallSizes

FRAMES, SIDE = 8, 32
ROOMS = 2048
"""To learn from, numbered from 0."""
PATH_FRAMES = 8
"""Of a room's path, 20 to 69 degrees around the room; a clip is all of it."""
FIRST_UNSEEN = 1_000_000
"""Number of the first room to test on."""
TURN = 100
"""Steps of one arm before it is the other's turn, so that both have as many wherever it stops."""
AT_ONCE = 8
"""Scenes that are evaluated at once."""
ARMS = {"no tokens": 1.0, "true tokens": 0.0}
"""Share of clips without tokens."""


def recipe(arm: str, steps: int) -> TrainOptions:
    """All arms are alike but for the share of clips without tokens."""
    return TrainOptions(
        backbone="small",
        data=(DataOptions(kind="procedural", scenes=ROOMS, clips=ROOMS, frames=PATH_FRAMES),),
        clip=ClipOptions(frames=FRAMES, width=SIDE, height=SIDE, skip=1, keyframes=0),
        cloud=CloudOptions(views=2, size=SIDE),
        encoder=EncoderSizes(
            width=64,
            heads=4,
            octaves=5,
            points=1024,
            queries=256,
            point_width=32,
            self_blocks=0,
        ),
        small=SmallSizes(widths=(32, 64), heads=2, blocks=1),
        learn=LearnOptions(
            steps=steps,
            rate=2e-3,
            backbone_rate=2e-3,
            batch=4,
            at_once=4,
            dropped=ARMS[arm],
            average=0.995,
            precision="fp32",
            checkpointing=False,
        ),
        keep=KeepOptions(checkpoint=TURN, log=20, sample=0, shard=64),
        licence="Apache-2.0",
    )


def open_run(arm: str, folder: Path, steps: int, device: str | None) -> TrainingRun:
    """An arm's run; both share one cache of clips."""
    options = recipe(arm, steps)
    place = folder / arm.replace(" ", "-")
    cache = folder / "cache"
    return TrainingRun(options, make_trainable(options), place, cache=cache, device=device)


def train(arms: list[str], folder: Path, steps: int, device: str | None) -> None:
    """Train the arms in turns, from where they are to `steps`."""
    runs = [open_run(arm, folder, steps, device) for arm in arms]
    for run in runs:
        run.fill_cache()
    unfinished = list(runs)
    while unfinished:
        unfinished = [run for run in unfinished if run.train(stop_after=TURN) is None]
        print(", ".join(f"{run.folder.name}: step {_step(run)}" for run in runs), flush=True)


def _step(run: TrainingRun) -> int:
    line = (run.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    return json.loads(line)["step"]


def open_scenes(folder: Path, count: int) -> ClipCache:
    """Clips of rooms that no arm has learned from."""
    options = recipe("true tokens", 1)
    data = DataOptions(
        kind="procedural", scenes=count, clips=count, first=FIRST_UNSEEN, frames=PATH_FRAMES
    )
    options = replace(options, data=(data,))
    cache = ClipCache(folder / f"unseen-{count}", options, make_trainable(options))
    cache.fill(torch.device("cpu"), Worker(), SilentProgress())
    cache.open()
    return cache


def make_frames(
    run: TrainingRun, scenes: ClipCache, *, structure: bool, shift: int = 0
) -> tuple[Clips, int]:
    """What an arm makes of all scenes in one step, with averaged weights.

    Args:
        run: The arm's.
        scenes: Unseen ones.
        structure: Whether it is given tokens.
        shift: They are those of the scene that lies so many farther on.

    Returns:
        The frames in [-1, 1], and the steps that the arm has learned for.
    """
    count, made = len(scenes), []
    with run.bench() as bench, bench.averaged():
        for first in range(0, count, AT_ONCE):
            own = list(range(first, min(first + AT_ONCE, count)))
            batch = scenes.read(own)
            told = scenes.read([(scene + shift) % count for scene in own]).points
            made.append(
                sample_latents(
                    bench.learner,
                    Batch(batch.latents, batch.conditions, told).to(run.device),
                    scenes.settings,
                    steps=1,
                    seed=0,
                    structure=structure,
                ).cpu()
            )
        return torch.cat(made), bench.step


def compare(folder: Path, steps: int, count: int, device: str | None) -> Comparison:
    """All arms on unseen rooms."""
    scenes = open_scenes(folder, count)
    truth = scenes.read(list(range(len(scenes)))).latents.float()
    share = torch.linspace(0, 1, FRAMES).view(-1, 1, 1)
    frames = {"truth": truth, "cross-fade": torch.lerp(truth[:, :, :1], truth[:, :, -1:], share)}
    runs = {arm: open_run(arm, folder, steps, device) for arm in ARMS}
    for run in runs.values():
        run.fill_cache()
    frames["no tokens"], learned = make_frames(runs["no tokens"], scenes, structure=False)
    frames["true tokens"], also = make_frames(runs["true tokens"], scenes, structure=True)
    frames["another room's tokens"], _ = make_frames(
        runs["true tokens"], scenes, structure=True, shift=1
    )
    if learned != also:
        raise SystemExit(
            f"One arm has learned for {learned} steps and the other for {also}: train both as long."
        )
    losses = {arm: read_losses(run.folder / "log.jsonl") for arm, run in runs.items()}
    between = {name: clip[:, :, 1:-1] for name, clip in frames.items()}
    return Comparison(frames=between, rooms=ROOMS, steps=learned, losses=losses)


def read_losses(path: Path) -> list[tuple[int, float]]:
    """Steps and losses of a run's log."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def main() -> None:
    """Train what is left, compare, and write everything down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6000, help="of each arm")
    parser.add_argument("--scenes", type=int, default=128, help="to test on")
    parser.add_argument("--folder", type=Path, default=Path("out/structure-ablation"))
    parser.add_argument("--only", choices=list(ARMS), help="train one arm, and compare nothing")
    parser.add_argument("--as-it-is", action="store_true", help="compare without training on")
    parser.add_argument("--device", help='"cpu" keeps off a GPU that is there')
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    if not options.as_it_is:
        arms = [options.only] if options.only else list(ARMS)
        train(arms, options.folder, options.steps, options.device)
    if options.only is None:
        comparison = compare(options.folder, options.steps, options.scenes, options.device)
        write_report(comparison, options.results, options.docs)


if __name__ == "__main__":
    main()
