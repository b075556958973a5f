"""Draws how time and memory of the alignment grow with the number of pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

SIZE = (900, 420)
MARGIN = 70
INK, GRID, LINE = (40, 44, 52), (222, 226, 232), (31, 119, 180)


def plot_growth(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Two plots side by side: seconds and megabytes over pairs, both from zero."""
    image = Image.new("RGB", SIZE, "white")
    half = SIZE[0] // 2
    _plot(image, 0, rows, "seconds", "seconds (one thread)")
    _plot(image, half, rows, "peak_memory_mb", "peak memory, MB (whole process)")
    image.save(path, optimize=True)


def _plot(
    image: Image.Image, left: int, rows: Sequence[dict[str, Any]], key: str, title: str
) -> None:
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    width, height = SIZE[0] // 2 - 1.5 * MARGIN, SIZE[1] - 2 * MARGIN
    x0, y0 = left + MARGIN, SIZE[1] - MARGIN
    most_x = max(row["pairs"] for row in rows)
    most_y = 1.1 * max(row[key] for row in rows)
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = y0 - share * height
        draw.line([(x0, y), (x0 + width, y)], fill=GRID)
        draw.text((x0 - 8, y), f"{share * most_y:.0f}", INK, font, anchor="rm")
    spots = [(x0 + row["pairs"] / most_x * width, y0 - row[key] / most_y * height) for row in rows]
    draw.line(spots, fill=LINE, width=2)
    for (x, y), row in zip(spots, rows, strict=True):
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=LINE)
        if row["pairs"] > most_x / 10:  # the first labels would overlap
            draw.text((x, y0 + 8), f"{row['pairs']}\n({row['views']})", INK, font, anchor="ma")
    size = "{} x {}".format(*rows[0]["size"])
    draw.text((x0, MARGIN / 3), title, INK, font)
    draw.text((x0 + width, SIZE[1] - 18), f"pairs (photos), {size}", INK, font, anchor="rm")
