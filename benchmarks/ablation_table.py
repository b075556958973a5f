"""The ablation's table and figure: what each option gains on the defaults."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

Rows = Sequence[Mapping[str, Any]]
DEFAULTS = "defaults"
MEANINGS = {
    "photos": "Photos alone",
    "warped": "Photos, and frames warped from them",
    "spoilt": "Photos, and other photos that are spoilt",
}
INK, GRID, GAIN, LOSS = (40, 44, 52), (222, 226, 232), (44, 140, 80), (196, 64, 56)
WIDTH, ROW, LEFT, HALF = 900, 22, 260, 260
MOST = 0.75
"""dB at the ends of the axis; longer bars are cut."""


def gains(rows: Rows, kind: str, arm: str, measure: str, scene: str | None = None) -> list[float]:
    """Differences to the defaults of the same scene and seed."""
    base = {_place(row): row for row in rows if (row["kind"], row["arm"]) == (kind, DEFAULTS)}
    return [
        row[measure] - base[_place(row)][measure]
        for row in rows
        if (row["kind"], row["arm"]) == (kind, arm)
        and scene in (None, row["scene"])
        and _place(row) in base
    ]


def write_table(rows: Rows, setting: Mapping[str, int], path: Path) -> None:
    """Markdown: the defaults' scores, then each option's gain per scene and over all."""
    lines = [
        "# What each option of the fit is worth",
        "",
        f"By `benchmarks/ablation.py`: {setting['size']} pixels, {setting['steps']} steps, "
        f"{setting['gaussians']} Gaussians, {len({row['seed'] for row in rows})} seeds; two photos "
        "without their cameras go in. PSNR in dB on unseen views, over whole pictures, after "
        "refinement of each unseen camera. Each row changes one option of the defaults; the "
        "spread is the standard deviation over scenes and seeds of the difference.",
    ]
    for kind in (kind for kind in MEANINGS if any(row["kind"] == kind for row in rows)):
        scenes = list(dict.fromkeys(row["scene"] for row in rows if row["kind"] == kind))
        lines += [
            "",
            f"## {MEANINGS[kind]}",
            "",
            f"| option | {' | '.join(scenes)} | mean | SSIM |",
        ]
        lines.append("|---" * (len(scenes) + 3) + "|")
        arms = list(dict.fromkeys(row["arm"] for row in rows if row["kind"] == kind))
        lines += [_line(rows, kind, arm, scenes) for arm in arms]
    path.write_text("\n".join([*lines, "", "![Gains](ablation.png)", ""]), encoding="utf-8")


def draw_gains(rows: Rows, path: Path) -> None:
    """Bars of the mean gain of each option, with a dot per scene and seed."""
    bars = list(dict.fromkeys((row["kind"], row["arm"]) for row in rows))
    kinds = [kind for kind in MEANINGS if any(bar[0] == kind for bar in bars)]
    lines = len(bars) + len(kinds)
    image = Image.new("RGB", (WIDTH, (lines + 2) * ROW), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    y = ROW // 2
    for step in (-0.5, -0.25, 0.0, 0.25, 0.5):
        x = _x(step)
        draw.line((x, ROW, x, image.height - ROW), fill=GRID if step else INK)
        draw.text((x, image.height - ROW), f"{step:+g} dB", INK, font, anchor="ma")
    for kind in kinds:
        draw.text((8, y), MEANINGS[kind], INK, ImageFont.load_default(15))
        y += ROW
        for arm in (arm for of, arm in bars if of == kind and arm != DEFAULTS):
            if not (found := gains(rows, kind, arm, "psnr")):
                continue
            mean = statistics.fmean(found)
            draw.text((LEFT - 8, y), arm, INK, font, anchor="ra")
            ends = sorted((_x(0), _x(mean)))
            draw.rectangle((ends[0], y + 2, ends[1], y + ROW - 6), GAIN if mean > 0 else LOSS)
            for value in found:
                x = _x(value)
                draw.ellipse((x - 2, y + 6, x + 2, y + 10), INK)
            y += ROW
    image.save(path, optimize=True)


def _x(gain: float) -> float:
    return LEFT + HALF + HALF * max(-MOST, min(MOST, gain)) / MOST


def _place(row: Mapping[str, Any]) -> tuple[str, int]:
    return row["scene"], row["seed"]


def _line(rows: Rows, kind: str, arm: str, scenes: Sequence[str]) -> str:
    if arm == DEFAULTS:
        of = [row for row in rows if (row["kind"], row["arm"]) == (kind, arm)]
        values = [
            statistics.fmean(row["psnr"] for row in of if row["scene"] == scene) for scene in scenes
        ]
        ssim = statistics.fmean(row["ssim"] for row in of)
        cells = [f"{value:.2f}" for value in (*values, statistics.fmean(values))]
        return f"| {arm} | {' | '.join(cells)} | {ssim:.3f} |"
    cells = [
        f"{statistics.fmean(found):+.2f}"
        if (found := gains(rows, kind, arm, "psnr", scene))
        else ""
        for scene in scenes
    ]
    found = gains(rows, kind, arm, "psnr")
    spread = statistics.stdev(found) if len(found) > 1 else 0.0
    ssim = statistics.fmean(gains(rows, kind, arm, "ssim"))
    mean = f"{statistics.fmean(found):+.2f} (spread {spread:.2f})"
    return f"| {arm} | {' | '.join(cells)} | {mean} | {ssim:+.3f} |"
