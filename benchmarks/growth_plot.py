"""Draws how time and memory grow with the size of a job."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

SIZE = (900, 420)
MARGIN = 70
INK, GRID, LINE = (40, 44, 52), (222, 226, 232), (31, 119, 180)


def plot_growth(
    rows: Sequence[Mapping[str, Any]], path: Path, *, over: str, axis: str, threads: str
) -> None:
    """Two plots side by side, seconds and megabytes, both from zero.

    Args:
        rows: Each with "seconds", "peak_memory_mb" and what they grow with.
        path: Where the picture goes.
        over: Key of what they grow with.
        axis: What that is, for people.
        threads: What the seconds were taken with, for people.
    """
    image = Image.new("RGB", SIZE, "white")
    half = SIZE[0] // 2
    _plot(image, 0, rows, ("seconds", over), f"seconds ({threads})", axis)
    memory = "peak memory, MB (whole process)"
    _plot(image, half, rows, ("peak_memory_mb", over), memory, axis)
    image.save(path, optimize=True)


def _plot(
    image: Image.Image,
    left: int,
    rows: Sequence[Mapping[str, Any]],
    keys: tuple[str, str],
    title: str,
    axis: str,
) -> None:
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    width, height = SIZE[0] // 2 - 1.5 * MARGIN, SIZE[1] - 2 * MARGIN
    x0, y0 = left + MARGIN, SIZE[1] - MARGIN
    values, places = ([row[key] for row in rows] for key in keys)
    most_x, most_y = max(places), 1.1 * max(values)
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = y0 - share * height
        draw.line([(x0, y), (x0 + width, y)], fill=GRID)
        draw.text((x0 - 8, y), f"{share * most_y:.0f}", INK, font, anchor="rm")
    spots = [
        (x0 + place / most_x * width, y0 - value / most_y * height)
        for place, value in zip(places, values, strict=True)
    ]
    draw.line(spots, fill=LINE, width=2)
    for (x, y), place in zip(spots, places, strict=True):
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=LINE)
        if place > most_x / 10:  # the first labels would overlap
            draw.text((x, y0 + 8), str(place), INK, font, anchor="ma")
    draw.text((x0, MARGIN / 3), title, INK, font)
    draw.text((x0 + width, SIZE[1] - 18), axis, INK, font, anchor="rm")
