"""The sample room: floor, walls, window, pictures, rug and light; the furniture has its own file.

Metres, +Z up. The back wall is at y = 2, the side walls at x = -2.7 and 2.7; the side behind the
cameras (y < -4) is open, and a soft light shines in from there. Nothing repeats exactly, and hardly
a hand's breadth is plain: stereo needs texture, and a repeated pattern is matched one period off.
"""

from __future__ import annotations

import math

import bpy
import numpy as np
from mathutils import Matrix
from sample_room_furniture import build_bookshelf, build_plants_and_lamp, build_seats, build_tables
from sample_room_surfaces import (
    BOOKS,
    BRICK,
    CREAM,
    MUSTARD,
    NAVY,
    OAK,
    PINE,
    PLUM,
    RUST,
    SAGE,
    TEAL,
    WALNUT,
    WHITE,
    Parts,
    fractal,
    paint_abstract,
    paint_landscape,
    picture,
    place,
    rgb,
    srgb,
    surface,
    vary,
)


def build_floor_and_ceiling(rng: np.random.Generator) -> None:
    """Lay single boards, each with its own tone and grain, and beams under a boarded ceiling."""
    floor = Parts(rng)
    for row in range(45):
        x, y = -2.7 + 0.06 + row * 0.122, 2.0
        while y > -5.0:
            length = rng.uniform(0.7, 1.9)
            floor.box(
                (0.119, length - 0.003, 0.02), (x, y - length / 2, -0.01), vary(rng, OAK, 0.3)
            )
            y -= length
    floor.box((5.5, 7.2, 0.01), (0, -1.5, -0.03), WALNUT * 0.5)
    floor.build("floor", surface("boards", 6, 0.4, 0.32, (0.35, 6, 6), 1.2), 0.002)
    ceiling = Parts(rng)
    for row in range(44):
        ceiling.box(
            (0.162, 7.2, 0.02), (-2.7 + 0.08 + row * 0.165, -1.5, 2.71), vary(rng, CREAM, 0.12)
        )
    for y in (1.35, 0.1, -2.3):
        ceiling.box((5.5, 0.14, 0.16), (0, y, 2.63), vary(rng, OAK, 0.2))
    ceiling.box((5.5, 7.2, 0.01), (0, -1.5, 2.74), WALNUT)
    ceiling.build("ceiling", surface("whitewash", 5, 0.2, 0.2, (0.4, 6, 6), 1.0), 0.004)


def build_back_wall(rng: np.random.Generator) -> None:
    """Paint a mural of branches, leaves and blossoms above a boarded wainscot."""
    wall = Parts(rng)
    wall.box((5.6, 0.1, 2.8), (0, 2.055, 1.35), rgb("e3d6b8"))
    wall.build("back wall", surface("plaster", 9, 0.18, 0.2, distortion=1.5))
    mural = Parts(rng)
    tones = [SAGE, TEAL, rgb("6f8f5a"), rgb("4f7a68"), rgb("a9a860"), RUST * 0.9, rgb("b8c09a")]
    depth, taken = 2.0045, [(9.0, 9.0)]
    for branch in range(260):
        # The candidate farthest from what is painted already: even cover without a grid.
        trial = rng.uniform((-2.8, 0.7), (2.8, 2.75), (12, 2))
        gaps = np.linalg.norm(trial[:, None] - np.array(taken)[None], axis=-1).min(1)
        x, z = trial[gaps.argmax()]
        heading = rng.uniform(0, 2 * math.pi)
        bend, size, tone = rng.normal() * 0.25, rng.uniform(0.05, 0.14), tones[rng.integers(7)]
        for k in range(rng.integers(6, 13)):
            step = size * 0.42
            stem = Matrix.Translation((x, depth, z)) @ Matrix.Rotation(-heading, 4, "Y")
            stroke = np.array([[[0, 0, edge], [step, 0, edge]] for edge in (-0.003, 0.003)])
            mural.sheet(stroke, WALNUT, where=stem)
            for side in (-1, 1):
                # Each leaf lies a hair in front of the one before: surfaces in one plane would
                # shade each other black.
                depth -= 0.000004
                angle = heading + side * rng.uniform(0.5, 1.0)
                where = Matrix.Translation((x, depth, z)) @ Matrix.Rotation(-angle, 4, "Y")
                where = where @ Matrix.Rotation(math.pi / 2, 4, "X")
                length = size * rng.uniform(0.7, 1.1) * (1 - 0.04 * k)
                mural.leaf(
                    where, length, length * rng.uniform(0.34, 0.5), vary(rng, tone, 0.3), fold=0
                )
            taken.append((x, z))
            x, z = x + step * math.cos(heading), z + step * math.sin(heading)
            heading += bend + rng.normal() * 0.1
        if branch % 3 == 0:
            petals, tone = rng.integers(5, 9), vary(rng, BOOKS[rng.integers(0, 5)], 0.2)
            for k in range(petals):
                depth -= 0.000004
                where = Matrix.Translation((x, depth, z))
                where = where @ Matrix.Rotation(k * 2 * math.pi / petals, 4, "Y")
                where = where @ Matrix.Rotation(math.pi / 2, 4, "X")
                mural.leaf(where, 0.07, 0.04, vary(rng, tone, 0.15), fold=0)
    mural.build("mural", surface("mural paint", 14, 0.22, 0.18), smooth=None)
    trim = Parts(rng)
    x = -2.7
    while x < 2.7:
        width = rng.uniform(0.09, 0.15)
        trim.box(
            (width - 0.004, 0.02, 0.78), (x + width / 2, 1.99, 0.39), vary(rng, TEAL * 1.05, 0.22)
        )
        x += width
    trim.box((5.5, 0.05, 0.05), (0, 1.975, 0.8), vary(rng, OAK))
    trim.build("wainscot", surface("painted boards", 5, 0.25, 0.2, (0.5, 4, 4), 1.0), 0.003)


def build_side_walls(rng: np.random.Generator) -> None:
    """Lay bricks on the left; on the right plaster, a window onto a garden, and curtains."""
    bricks = Parts(rng)
    for row in range(37):
        y = 2.0 - rng.uniform(0, 0.2)
        while y > -5.0:
            length = rng.choice([0.12, 0.24]) + rng.uniform(-0.01, 0.01)
            tone = vary(
                rng,
                [BRICK, RUST, WALNUT * 1.3, CREAM * 0.75][rng.choice(4, p=[0.5, 0.3, 0.1, 0.1])],
                0.35,
            )
            z = 0.036 + row * 0.074
            bricks.box(
                (0.1, length, 0.063), (-2.75 + rng.normal() * 0.002, y - length / 2, z), tone
            )
            y -= length + 0.011
    bricks.build("bricks", surface("brick", 12, 0.3, 0.3, bump=0.6), 0.004)
    wall = Parts(rng)
    wall.box((0.1, 7.2, 2.8), (-2.762, -1.5, 1.35), rgb("b8ab98"))
    low, high, sill, head = -0.75, 0.75, 0.85, 2.2
    for size, at in (
        ((0.1, 2 - high, 2.8), (2.75, (2 + high) / 2, 1.35)),
        ((0.1, low + 5, 2.8), (2.75, (low - 5) / 2, 1.35)),
        ((0.1, high - low, sill), (2.75, 0, sill / 2)),
        ((0.1, high - low, 2.8 - head), (2.75, 0, (2.8 + head) / 2)),
    ):
        wall.box(size, at, rgb("dcb98f"))
    wall.build("plaster walls", surface("limewash", 3.5, 0.3, 0.2, distortion=2.0))
    frame = Parts(rng)
    for z in (sill, (sill + head) / 2 + 0.1, head):
        frame.box((0.07, high - low + 0.08, 0.06), (2.71, 0, z), vary(rng, WHITE, 0.1))
    for y in (low, 0, high):
        frame.box((0.06, 0.06, head - sill), (2.71, y, (sill + head) / 2), vary(rng, WHITE, 0.1))
    frame.box((0.2, high - low + 0.2, 0.03), (2.63, 0, sill - 0.03), PINE)
    frame.box((0.03, 2.7, 0.03), (2.56, 0, 2.36), WALNUT)
    frame.build("window frame", surface("frame paint", 8, 0.2, 0.2, (0.4, 4, 4)), 0.004)
    garden = Parts(rng)
    points = np.array([[[4.4, 3.2, z], [4.4, -3.2, z]] for z in (-0.6, 3.4)])
    garden.sheet(points, WHITE, [[[0, 0, 0], [1, 0, 0]], [[0, 1, 0], [1, 1, 0]]])
    view = paint_landscape(
        rng, ["a9cbe8", "f4f6f4", "9db98f", "7ba36b", "5d8f4f", "86a850", "b5b060"], 600, 960
    )
    garden.build("garden", picture("garden view", view, glow=1.1))
    curtains = Parts(rng)
    for start, width in ((low - 0.42, 0.5), (high - 0.08, 0.5)):
        s, t = np.meshgrid(np.linspace(0, 1, 90), np.linspace(0, 1, 30))
        sway = np.sin(s * 31 + 1.3 * np.sin(t * 2 + start)) * (0.03 + 0.025 * t)
        points = np.stack([2.57 + sway, start + s * width + 0.01 * t, 2.34 - 2.28 * t], axis=-1)
        curtains.sheet(points, WHITE, np.stack([s * 1.3, 2.3 * t, start + 0 * s], axis=-1))
    palette = [CREAM, RUST, MUSTARD, CREAM * 0.9, TEAL, CREAM, PLUM]
    curtains.build("curtains", surface("curtain", 7, 0.15, 0.2, pattern="plaid", palette=palette))


def build_pictures(rng: np.random.Generator) -> None:
    """Hang paintings over the sofa, between the beams, and on the bricks."""
    hills = [
        ["e8b98a", "f6e3c0", "b98fa0", "8a6f96", "5f6a92", "476a6a", "7f8f50"],
        ["9cc4d8", "f2efe2", "c9b27a", "a98a4f", "6f8a58", "4f7358", "c08a4a"],
        ["f0d9a8", "fbf3de", "d98f5a", "b9604a", "8a4a56", "5a4a66", "c9a05a"],
    ]
    shapes = [
        ["efe3cc", "c0603a", "3f7f86", "d9a23c", "3d5576", "8fa37c"],
        ["e6dccb", "8a4f66", "d9a23c", "5c8f5a", "c98a8a", "3f7f86"],
        ["dfe3d8", "3d5576", "c0603a", "b8c09a", "d9a23c", "8a5a3a"],
    ]
    back, left = place((0, 1.985, 0)), place((-2.69, 0, 0), (0, 0, 90))
    hung = [
        (back, 0.02, 1.72, 0.66, 0.86, paint_abstract(rng, shapes[0], 430, 330)),
        (back, 0.86, 1.86, 0.80, 0.60, paint_landscape(rng, hills[0], 300, 400)),
        (back, 0.72, 1.33, 0.44, 0.34, paint_landscape(rng, hills[1], 255, 330)),
        (back, 1.12, 1.30, 0.28, 0.38, paint_abstract(rng, shapes[1], 380, 280)),
        (left, 0.95, 1.72, 0.62, 0.80, paint_abstract(rng, shapes[2], 400, 310)),
        (left, 0.05, 1.78, 0.92, 0.66, paint_landscape(rng, hills[2], 330, 460)),
        (left, -1.0, 1.70, 0.60, 0.72, paint_landscape(rng, hills[1][::-1], 360, 300)),
    ]
    frames = Parts(rng)
    for k, (wall, x, z, width, height, pixels) in enumerate(hung):
        frames.frame = wall @ place((x, 0, z), (rng.normal() * 0.3, 0, 0))
        tone = vary(rng, [WALNUT, OAK, NAVY, MUSTARD, WALNUT][k % 5], 0.2)
        for side in (-1, 1):
            frames.box((0.045, 0.04, height + 0.09), (side * (width / 2 + 0.022), -0.01, 0), tone)
            frames.box((width, 0.04, 0.045), (0, -0.01, side * (height / 2 + 0.022)), tone)
        canvas = Parts(rng, frames.frame)
        u, v = np.meshgrid([0, 1], [0, 1])
        points = np.stack([(u - 0.5) * width, 0 * u - 0.008, (v - 0.5) * height], axis=-1)
        canvas.sheet(points, WHITE, np.stack([u, v, 0 * u], axis=-1))
        canvas.build(f"painting {k}", picture(f"painting {k}", pixels))
    frames.build("frames", surface("frame wood", 9, 0.3, 0.25, (0.3, 5, 5)), 0.004)


def build_rug(rng: np.random.Generator) -> None:
    """Weave a patchwork rug: a rectangle is split again and again, each patch in its own tone."""
    height, width = 460, 660
    codes = "b85a3c d9a84c 3f7f86 e6d8bc 8a4f66 4a6488 9aa878 c98a6a".split()
    tones = [srgb(code) for code in codes]
    image = np.zeros((height, width, 3)) + tones[3]
    rows, columns = np.mgrid[:height, :width]

    def split(top: int, bottom: int, left: int, right: int) -> None:
        long = max(bottom - top, right - left)
        if long > 150 or (long > 54 and rng.uniform() < 0.86):
            share = rng.uniform(0.35, 0.65)
            if bottom - top > right - left:
                cut = round(top + share * (bottom - top))
                split(top, cut, left, right), split(cut, bottom, left, right)
            else:
                cut = round(left + share * (right - left))
                split(top, bottom, left, cut), split(top, bottom, cut, right)
            return
        patch = (slice(top + 2, bottom - 1), slice(left + 2, right - 1))
        a, b = rng.choice(len(tones), 2, replace=False)
        u, v = columns[patch] - (left + right) / 2, rows[patch] - (top + bottom) / 2
        reach = min(bottom - top, right - left) / 2
        radius = np.hypot(u, v)
        marks = (
            abs(u) + abs(v) < reach * 0.7,
            radius < reach * 0.6,
            (u + v) // 7 % 2 == 0,
            u // 6 % 2 == 0,
            radius // (reach * 0.3) % 2 == 0,
        )
        image[patch] = np.where(marks[rng.integers(5)][..., None], tones[a], tones[b])

    split(22, height - 22, 22, width - 22)
    border = (np.minimum(rows, height - rows) < 20) | (np.minimum(columns, width - columns) < 20)
    image[border] = np.where(fractal(rng, height, width, 30, 2)[..., None] > 0, tones[5], tones[0])[
        border
    ]
    image *= (
        1
        + 0.09 * fractal(rng, height, width, 60)[..., None]
        + rng.normal(size=(height, width, 1)) * 0.05
    )
    rug = Parts(rng, place((0.1, 0.0, 0.008), (0, 0, -3)))
    u, v = np.meshgrid(np.linspace(0, 1, 80), np.linspace(0, 1, 60))
    points = np.stack([(u - 0.5) * 3.0, (v - 0.5) * 2.1, 0.004 * np.sin(u * 17 + v * 9)], axis=-1)
    rug.sheet(points, WHITE, np.stack([u, v, 0 * u], axis=-1))
    rug.build("rug", picture("rug", image))


def build_lights() -> None:
    """Light softly from above, from the window and from behind the cameras."""
    for name, at, turn, size, watts, tone in (
        ("ceiling", (0, -0.3, 2.5), (0, 0, 0), (3.6, 3.0), 70, "fff2e0"),
        ("window", (2.5, 0, 1.5), (0, 90, 0), (1.3, 1.3), 45, "eef4ff"),
        ("behind", (0, -4.6, 1.9), (80, 0, 0), (4.5, 2.4), 110, "fff6ea"),
    ):
        lamp = bpy.data.lights.new(name, "AREA")
        lamp.shape, lamp.size, lamp.size_y, lamp.energy = "RECTANGLE", *size, watts
        lamp.color = rgb(tone)
        item = bpy.data.objects.new(name, lamp)
        item.matrix_world = place(at, turn)
        item.visible_camera = False
        bpy.context.scene.collection.objects.link(item)
    world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (*rgb("e8ecf2"), 1)
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.35
    bpy.context.scene.world = world


def build_room(seed: int = 7) -> None:
    """Build everything into the current, empty scene."""
    streams = iter(np.random.default_rng(seed).spawn(20))
    for build in (
        build_floor_and_ceiling,
        build_back_wall,
        build_side_walls,
        build_pictures,
        build_rug,
    ):
        build(next(streams))
    wood, paper, clay = (Parts(next(streams)) for _ in range(3))
    build_bookshelf(next(streams), wood, paper, clay)
    build_seats(next(streams), wood)
    build_tables(next(streams), wood, paper, clay)
    build_plants_and_lamp(next(streams), wood, clay)
    wood.build("wood", surface("wood", 8, 0.45, 0.35, (0.3, 5, 5), 1.0), 0.004)
    paper.build("paper", surface("paper", 16, 0.25, 0.22), 0.002)
    clay.build("clay", surface("clay", 14, 0.28, 0.22))
    build_lights()
