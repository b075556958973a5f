"""What the ablation of structure tokens found: as JSON, as a figure and as a page."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Clips = Float[Tensor, "scene 3 frame height width"]
"""In [-1, 1]."""
RESAMPLES = 10_000
"""Of the bootstrap."""
DIFFERENCES = (
    ("no tokens", "cross-fade"),
    ("true tokens", "no tokens"),
    ("another room's tokens", "no tokens"),
)
BASELINE = 1.0
"""dB over a cross-fade that the arm without tokens is expected to reach."""
SHOWN = 6
"""Scenes in the figure."""
SCALE = 3
"""Pixels of the figure per pixel of a frame."""
INK, GRID = (40, 44, 52), (222, 226, 232)
LINES = {"no tokens": (214, 120, 40), "true tokens": (31, 119, 180)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the arms made of unseen rooms."""

    frames: Mapping[str, Clips]
    """By arm, and "truth" and "cross-fade"; without keyframes."""
    rooms: int
    """That the arms have learned from."""
    steps: int
    """That each arm has learned for."""
    losses: Mapping[str, Sequence[tuple[int, float]]]
    """Steps and losses of each arm while learning."""

    def scores(self) -> dict[str, Float[np.ndarray, " scene"]]:
        """PSNR of each scene, of all its frames together."""
        truth = self.frames["truth"]
        return {
            name: _psnr(made.clamp(-1, 1), truth)
            for name, made in self.frames.items()
            if name != "truth"
        }


def _psnr(made: Clips, truth: Clips) -> Float[np.ndarray, " scene"]:
    error = ((made - truth) / 2).square().flatten(1).mean(1)
    return (-10 * error.log10()).double().numpy()


def interval(values: Float[np.ndarray, " scene"]) -> dict[str, float]:
    """Mean over scenes, and the middle 95 % of the means of bootstrap samples."""
    chosen = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[chosen].mean(1), (0.025, 0.975))
    return {"mean": round(values.mean(), 3), "low": round(low, 3), "high": round(high, 3)}


def write_report(comparison: Comparison, results: Path, docs: Path) -> None:
    """Write the JSON file, the figure and the page; print the table."""
    scores = comparison.scores()
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    report = {
        "date": date,
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "torch": torch.__version__,
        "rooms": comparison.rooms,
        "steps": comparison.steps,
        "scenes": len(scores["cross-fade"]),
        "psnr": {name: interval(values) for name, values in scores.items()},
        "differences": {
            f"{name} - {other}": interval(scores[name] - scores[other])
            for name, other in DIFFERENCES
        },
        "per_scene": {name: [round(v, 2) for v in values] for name, values in scores.items()},
        "losses": {name: [list(pair) for pair in line] for name, line in comparison.losses.items()},
    }
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"structure-ablation-{date}.json"
    path.write_text(json.dumps(report) + "\n", encoding="utf-8")
    docs.mkdir(parents=True, exist_ok=True)
    draw_figure(comparison, docs / "structure-ablation.png")
    page = docs / "structure-ablation.md"
    page.write_text(describe(report, path.name), encoding="utf-8")
    print(_table(report))
    print(f"written to {path} and {page}")


def describe(report: Mapping[str, Any], file: str) -> str:
    """The page.

    Args:
        report: As in the JSON file.
        file: Name of that.
    """
    table, verdict = _table(report), _judge(report["differences"])
    return PAGE.format(table=table, verdict=verdict, file=file, **report)


def _judge(differences: Mapping[str, Mapping[str, float]]) -> str:
    """What was expected before, and whether it came so."""
    baseline, true, other = differences.values()
    expected = {
        f"without tokens the model beats a cross-fade by {BASELINE:g} dB; with a weaker one the "
        "rest would prove little": baseline["mean"] >= BASELINE,
        "the interval of what true tokens add lies above 0": true["low"] > 0,
        "another room's tokens are worse than none": other["high"] < 0,
    }
    return "\n".join(f"- {'Met' if met else 'Not met'}: {text}." for text, met in expected.items())


def _table(report: Mapping[str, Any]) -> str:
    rows = ["| | mean | 95 % interval |", "|---|---|---|"]
    for part, unit in (("psnr", "dB"), ("differences", "dB")):
        for name, found in report[part].items():
            sign = "+" if part == "differences" else ""
            rows.append(
                f"| {name} | {found['mean']:{sign}.2f} {unit} | "
                f"{found['low']:{sign}.2f} to {found['high']:{sign}.2f} |"
            )
    return "\n".join(rows)


def draw_figure(comparison: Comparison, path: Path) -> None:
    """The middle frame of some scenes by every arm, beside the losses while learning."""
    names = list(comparison.frames)
    middle = comparison.frames["truth"].shape[2] // 2
    rows = [
        torch.cat([clip[scene, :, middle] for scene in range(SHOWN)], 2)
        for clip in comparison.frames.values()
    ]
    pictures = (torch.cat(rows, 1).permute(1, 2, 0).clamp(-1, 1) * 127.5 + 127.5).byte().numpy()
    height, width = (SCALE * side for side in pictures.shape[:2])
    side, left = height // len(names), 170
    figure = Image.new("RGB", (left + width + 20 + height, height), "white")
    shown = Image.fromarray(pictures).resize((width, height), Image.Resampling.NEAREST)
    figure.paste(shown, (left, 0))
    draw, font = ImageDraw.Draw(figure), ImageFont.load_default(14)
    for row, name in enumerate(names):
        draw.text((left - 10, row * side + side // 2), name, INK, font, anchor="rm")
    _draw_losses(draw, comparison.losses, (left + width + 70, 30, height - 90, height - 80))
    figure.save(path, optimize=True)


def _draw_losses(
    draw: ImageDraw.ImageDraw,
    losses: Mapping[str, Sequence[tuple[int, float]]],
    box: tuple[int, int, int, int],
) -> None:
    """Losses as medians over a twentieth of the steps, from zero."""
    x0, y0, width, height = box
    font = ImageFont.load_default(14)
    lines = {name: _smooth(line) for name, line in losses.items()}
    most = 1.1 * max(loss for line in lines.values() for _, loss in line)
    last = max(step for line in losses.values() for step, _ in line)
    for share in (0, 0.5, 1):
        y = y0 + height * (1 - share)
        draw.line([(x0, y), (x0 + width, y)], fill=GRID)
        draw.text((x0 - 6, y), f"{share * most:.3f}", INK, font, anchor="rm")
    for number, (name, line) in enumerate(lines.items()):
        spots = [(x0 + step / last * width, y0 + height * (1 - loss / most)) for step, loss in line]
        draw.line(spots, fill=LINES[name], width=2)
        draw.text((x0 + 10, y0 + height - 40 + 18 * number), name, LINES[name], font)
    draw.text((x0 + width, y0 + height + 8), f"{last} steps", INK, font, anchor="ra")
    draw.text((x0, y0 - 24), "loss while learning", INK, font)


def _smooth(line: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    parts = np.array_split(np.array(line), min(20, len(line)))
    return [(float(part[:, 0].mean()), float(np.median(part[:, 1]))) for part in parts]


PAGE = """# Do structure tokens help?

The paper's ablation on a machine without a GPU. Two small video models learn alike, for {steps}
steps of 4 clips on {rooms} procedural rooms with real occlusion, 8 frames of 32 x 32 pixels. Both
are shown the first and the last frame and every frame's rays, and no point renders. One also reads
structure tokens: 256 tokens of the points of these two frames, as their first camera sees them.
Then both make {scenes} rooms that neither has seen, in one step from noise; one of them a second
time with the tokens of another room. PSNR of the frames between the two that were shown:

{table}

Intervals are of the mean over rooms, by 10,000 bootstrap samples. Differences are taken room by
room. What was expected before:

{verdict}

PSNR is kind to blur, and what the arm without tokens cannot tell it blurs: that is how it beats a
cross-fade, which shows everything twice.

![Middle frames of unseen rooms by each arm, and both losses](structure-ablation.png)

Made by `python benchmarks/structure_ablation.py --steps {steps}`, which goes on where it was
stopped; with more `--steps`, from here. The numbers of every room and both curves lie in
`benchmarks/results/{file}`.
"""
