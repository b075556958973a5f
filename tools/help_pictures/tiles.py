"""Captioned tiles in rows, as the help pages' pictures are made of.

ComfyUI shows a page in a side bar, at first 242 pixels wide: hence few, large tiles and large
letters.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from reconx.export.pictures import to_pil
from reconx.export.sheet import BACKGROUND

WIDTH = 600
"""Of a picture in pixels."""
GAP = 8
HALF = (WIDTH - 3 * GAP) // 2
"""Width of one of two tiles."""
TEXT, LINE = 21, 28
"""Size of letters, and from one line to the next, in pixels."""
BRIGHT, QUIET = (236, 236, 238), (170, 173, 180)
FONT = ImageFont.load_default(TEXT)


class Tile(NamedTuple):
    """A picture and what stands below it."""

    picture: Tensor | Image.Image
    """(height width 3) in [0, 1], or finished."""
    caption: str


def lay_out(*rows: Sequence[Tile]) -> Image.Image:
    """Tiles in rows as wide as the picture; the tiles of a row share its width.

    Raises:
        ValueError: If a caption is wider than its tile.
    """
    drawn = [_draw_row(row) for row in rows]
    height = sum(row.height for row in drawn) + GAP * (len(rows) + 1)
    page = Image.new("RGB", (WIDTH, height), BACKGROUND)
    top = GAP
    for row in drawn:
        page.paste(row, (0, top))
        top += row.height + GAP
    return page


def write_text(text: str, width: int = WIDTH) -> Image.Image:
    """Text on the page's ground; long lines are wrapped, and what is indented is quieter."""
    lines = [part for line in text.splitlines() for part in _wrapped(line, width - 2 * GAP)]
    page = Image.new("RGB", (width, LINE * len(lines) + 2 * GAP), BACKGROUND)
    draw = ImageDraw.Draw(page)
    for row, line in enumerate(lines):
        colour = QUIET if line.startswith(" ") else BRIGHT
        draw.text((GAP, GAP + row * LINE), line, colour, FONT)
    return page


def as_picture(picture: Tensor | Image.Image) -> Image.Image:
    """A picture of either kind as RGB; what has one channel is grey."""
    if isinstance(picture, Tensor):
        picture = to_pil(picture)
    return picture.convert("RGB")


def _wrapped(line: str, width: int) -> list[str]:
    """The line in parts of as many letters as fit."""
    letters = len(line) + 1
    while True:
        parts = textwrap.wrap(line, letters, subsequent_indent="    ") or [""]
        if max(FONT.getlength(part) for part in parts) <= width:
            return parts
        letters -= 1


def _draw_row(tiles: Sequence[Tile]) -> Image.Image:
    pitch = (WIDTH - GAP) / len(tiles)
    width = round(pitch - GAP)
    pictures = [_scaled(as_picture(tile.picture), width) for tile in tiles]
    height = max(picture.height for picture in pictures)
    row = Image.new("RGB", (WIDTH, height + LINE), BACKGROUND)
    draw = ImageDraw.Draw(row)
    for index, (tile, picture) in enumerate(zip(tiles, pictures, strict=True)):
        if FONT.getlength(tile.caption) > width:
            raise ValueError(f"'{tile.caption}' is wider than {width} pixels")
        left = GAP + round(index * pitch)
        row.paste(picture, (left, 0))
        draw.text((left, height + LINE), tile.caption, QUIET, FONT, anchor="ld")
    return row


def _scaled(picture: Image.Image, width: int) -> Image.Image:
    height = round(picture.height * width / picture.width)
    return picture.resize((width, height), Image.Resampling.LANCZOS)
