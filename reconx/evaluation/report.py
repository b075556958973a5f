"""An evaluation as one JSON file and one page of pictures."""

import dataclasses
import datetime
import json
import os
import platform
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from ..export.atomic import write_text
from ..export.pictures import write_picture
from ..export.sheet import Section, Tile, draw_sheet
from ..pipeline import versions
from .scores import Evaluation, Row

_SCORES = ("psnr", "ssim", "covered", "psnr_covered", "psnr_unrefined", "lpips")


def save_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write `evaluation.json` and `evaluation.png` into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "evaluation.json", json.dumps(_as_document(evaluation), indent=1) + "\n")
    write_picture(folder / "evaluation.png", _draw(evaluation))


def _as_document(evaluation: Evaluation) -> dict[str, object]:
    usage = evaluation.usage
    return {
        "scene": evaluation.scene,
        "split": evaluation.split,
        "context": evaluation.context,
        "unregistered": evaluation.unregistered,
        "cameras": dataclasses.asdict(evaluation.cameras),
        "depth": evaluation.depth and dataclasses.asdict(evaluation.depth),
        "rows": {
            row.name: {
                "meaning": row.meaning,
                "mean": {name: round(row.mean(name), 4) for name in _told(row)},
                "targets": {
                    target.photo: {name: round(getattr(target, name), 4) for name in _told(row)}
                    for target in row.scores
                },
            }
            for row in evaluation.rows
        },
        "seconds": {name: round(stage.seconds, 2) for name, stage in usage.items()},
        "peak_memory_mb": {name: round(stage.peak_memory_mb) for name, stage in usage.items()},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "date": datetime.date.today().isoformat(),
        "versions": versions(),
    }


def _told(row: Row) -> list[str]:
    """Scores that the row has."""
    return [name for name in _SCORES if all(getattr(it, name) is not None for it in row.scores)]


def _draw(evaluation: Evaluation) -> Float[Tensor, "height width 3"]:
    """A row per held-out photo: the photo, then what each way shows."""
    rows = [
        [Tile(picture=photo, caption=scores[0].photo)]
        + [
            Tile(
                picture=score.picture, caption=f"{row.name}: {score.psnr:.2f} dB, {score.ssim:.3f}"
            )
            for row, score in zip(evaluation.rows, scores, strict=True)
        ]
        for photo, *scores in zip(
            evaluation.targets, *(row.scores for row in evaluation.rows), strict=True
        )
    ]
    heading, *_ = evaluation.summary().splitlines()
    columns = 1 + len(evaluation.rows)
    sections = [Section(heading=heading, rows=rows, columns=columns, tile_height=220)]
    return draw_sheet(f"Evaluation: {evaluation.scene}, split {evaluation.split}", sections)
