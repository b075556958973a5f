"""Pictures of the nodes of the structure condition."""

from __future__ import annotations

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from reconx.export.plan import PANEL, PATH_COLOUR
from reconx.ops.projection import inside_image, project_points
from reconx.structure.adapter import AdapterSizes, StructureAdapter
from reconx.structure.encoder import EncoderSizes
from reconx.structure.points import StructurePoints, choose_points
from reconx.types import Cameras

from .frames import draw_shares
from .room import SampleRoom
from .tiles import BRIGHT, FONT, GAP, LINE, QUIET, WIDTH, Tile, lay_out

ADAPTERS: dict[str, AdapterSizes] = {
    name: AdapterSizes(family=family, widths=widths, token_width=EncoderSizes().width)
    for name, family, widths in (
        ("SVD", "svd", (*(320, 640, 1280) * 5, 1280)),
        ("Wan 1.3B", "wan", (1536,) * 30),
        ("LTX 2B", "ltx", (2048,) * 28),
        ("Wan 2.2 5B", "wan", (3072,) * 30),
        ("CogVideoX 5B", "cogvideox", (3072,) * 42),
        ("Wan 14B", "wan", (5120,) * 40),
    )
}
"""Of published video models."""


def draw_load_structure_model(room: SampleRoom) -> Image.Image:
    """A bar per model: the weights of its adapter."""
    page = Image.new("RGB", (WIDTH, len(ADAPTERS) * 2 * LINE + 2 * GAP), PANEL)
    draw = ImageDraw.Draw(page)
    counts = {name: _count_weights(sizes) / 1e6 for name, sizes in ADAPTERS.items()}
    unit = (WIDTH - 2 * GAP) / max(counts.values())
    for row, (name, millions) in enumerate(counts.items()):
        top = GAP + 2 * row * LINE
        draw.text((GAP, top), name, BRIGHT, FONT)
        draw.text((WIDTH - GAP, top), f"{millions:.0f} million", QUIET, FONT, anchor="ra")
        bar = (GAP, top + LINE, GAP + unit * millions, top + 1.7 * LINE)
        draw.rectangle(bar, fill=PATH_COLOUR)
    return page


def draw_encode_structure(room: SampleRoom) -> Image.Image:
    """The points that the encoder is given, as the reference camera sees them, and its queries."""
    sizes, camera = EncoderSizes(), room.scene.cameras[0]
    points = choose_points(room.scene, camera, points=sizes.points, queries=sizes.queries)
    all_points = torch.arange(len(points.positions))
    return lay_out(
        [
            Tile(_dots(points, all_points, camera, 1), f"thinned: {len(all_points)}"),
            Tile(_dots(points, points.queries, camera, 2), f"tokens: {len(points.queries)}"),
        ],
    )


def draw_apply_structure(room: SampleRoom) -> Image.Image:
    """For how many of the denoising steps structure guides."""
    return draw_shares(((0.0, 1.0), (0.0, 0.6), (0.3, 1.0)), WIDTH)


def _count_weights(sizes: AdapterSizes) -> int:
    with torch.device("meta"):
        return sum(weight.numel() for weight in StructureAdapter(sizes).parameters())


def _dots(points: StructurePoints, shown: Tensor, camera: Cameras, radius: int) -> Image.Image:
    page = Image.new("RGB", (camera.width, camera.height), PANEL)
    draw = ImageDraw.Draw(page)
    pixels, depth = project_points(points.seen[shown], torch.eye(4), camera.K[0])
    inside = inside_image(pixels, camera.width, camera.height) & (depth > 0)
    for (x, y), colour in zip(
        pixels[inside].tolist(), _bytes(points.colours[shown][inside]), strict=True
    ):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return page


def _bytes(colours: Float[Tensor, "point 3"]) -> list[tuple[int, ...]]:
    return [tuple(colour) for colour in (colours * 255).round().int().tolist()]
