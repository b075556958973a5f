"""Captioned pictures in rows under headings: a page that explains itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..errors import InputError
from .pictures import to_pil

BACKGROUND = (22, 23, 26)
SHEET_WIDTH = 1600
MARGIN, GAP = 32, 12

_TITLE, _HEADING, _CAPTION = 30, 20, 15
"""Font sizes in pixels."""
_TEXT, _QUIET = (236, 236, 238), (160, 163, 170)
_LINE = 1.5
"""Height of a line of text per font size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One picture and a line below it."""

    picture: Float[Tensor, "height width 3"]
    """In [0, 1]; scaled to fit its place."""
    caption: str
    """Cut off where it is wider than its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Rows of tiles under a heading."""

    heading: str
    """One line."""
    rows: Sequence[Sequence[Tile]]
    """Each at most as long as `columns`."""
    columns: int
    """Tiles that share the sheet's width."""
    tile_height: int
    """Most pixels that a picture is high."""

    @property
    def tile_width(self) -> int:
        """Pixels that a picture is wide at most."""
        return (SHEET_WIDTH - 2 * MARGIN - (self.columns - 1) * GAP) // self.columns


def draw_sheet(title: str, sections: Sequence[Section]) -> Float[Tensor, "height width 3"]:
    """Draw sections below each other, on a dark page of fixed width.

    Raises:
        InputError: If a row is longer than its section's columns.
    """
    blocks = [_text_line(title, _TITLE)]
    for section in sections:
        blocks.append(_text_line(section.heading, _HEADING, space_above=GAP))
        blocks += [_draw_row(section, row) for row in section.rows]
    height = 2 * MARGIN + sum(block.height for block in blocks) + GAP * (len(blocks) - 1)
    page = Image.new("RGB", (SHEET_WIDTH, height), BACKGROUND)
    top = MARGIN
    for block in blocks:
        page.paste(block, (MARGIN, top))
        top += block.height + GAP
    return torch.from_numpy(np.array(page)).float() / 255


def _draw_row(section: Section, row: Sequence[Tile]) -> Image.Image:
    """Pictures side by side, each as large as its place, with their captions."""
    if len(row) > section.columns:
        raise InputError(
            f"A row of '{section.heading}' has {len(row)} tiles; expected at most "
            f"{section.columns}."
        )
    pictures = [_fit(to_pil(tile.picture), section) for tile in row]
    caption_height = round(_CAPTION * _LINE)
    image_height = max(picture.height for picture in pictures)
    block = Image.new("RGB", (SHEET_WIDTH - 2 * MARGIN, image_height + caption_height), BACKGROUND)
    draw = ImageDraw.Draw(block)
    # Narrow pictures stand close together, but leave their captions room.
    pitch = max(max(picture.width for picture in pictures), min(section.tile_width, 220)) + GAP
    font = ImageFont.load_default(_CAPTION)
    for index, (tile, picture) in enumerate(zip(row, pictures, strict=True)):
        left = index * pitch
        block.paste(picture, (left, 0))
        caption = _shorten(tile.caption, font, pitch - GAP)
        draw.text((left, image_height + caption_height), caption, _QUIET, font, anchor="ld")
    return block


def _fit(picture: Image.Image, section: Section) -> Image.Image:
    factor = min(section.tile_width / picture.width, section.tile_height / picture.height)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _text_line(text: str, size: int, *, space_above: int = 0) -> Image.Image:
    height = space_above + round(size * _LINE)
    block = Image.new("RGB", (SHEET_WIDTH - 2 * MARGIN, height), BACKGROUND)
    font = ImageFont.load_default(size)
    text = _shorten(text, font, block.width)
    ImageDraw.Draw(block).text((0, height), text, _TEXT, font, anchor="ld")
    return block


def _shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, or as much of it as fits with three dots."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
