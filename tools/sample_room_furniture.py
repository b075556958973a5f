"""What stands in the sample room: shelf and books, seats, tables, plants and a lamp."""

from __future__ import annotations

import math

import numpy as np
from sample_room_surfaces import (
    BOOKS,
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
    place,
    rgb,
    surface,
    vary,
)


def add_pot(clay: Parts, at: tuple, radius: float, height: float, rng: np.random.Generator) -> None:
    """Turn a vase with a random belly and neck."""
    belly, neck = rng.uniform(0.85, 1.0), rng.uniform(0.35, 0.7)
    shares = [
        (0.6, 0),
        (0.9 * belly, 0.2),
        (belly, 0.45),
        (0.8 * belly, 0.7),
        (neck, 0.88),
        (neck + 0.1, 1),
    ]
    rings = np.array([(0, 0), *shares, (neck, 0.97), (0, 0.8)]) * (radius, height)
    t = np.linspace(0, len(rings) - 1, 40)
    profile = np.stack([np.interp(t, range(len(rings)), rings[:, k]) for k in (0, 1)], axis=1)
    clay.lathe(profile, at, vary(rng, BOOKS[rng.integers(11)], 0.3))


def build_bookshelf(rng: np.random.Generator, wood: Parts, paper: Parts, clay: Parts) -> None:
    """Fill a tall shelf with books, standing, leaning and lying, and a few pots."""
    wood.frame = paper.frame = clay.frame = place((-1.72, 1.76, 0))
    width, height, depth = 1.3, 2.2, 0.34
    for side in (-1, 1):
        wood.box((0.03, depth, height), (side * width / 2, 0, height / 2), vary(rng, WALNUT, 0.1))
    wood.box((width, 0.015, height), (0, depth / 2, height / 2), vary(rng, WALNUT * 0.9, 0.1))
    levels = [0.06, 0.45, 0.80, 1.15, 1.50, 1.85, 2.19]
    for z in levels:
        wood.box((width - 0.03, depth, 0.028), (0, 0, z), vary(rng, WALNUT * 1.1, 0.15))
    for level, z in enumerate(levels[:-1]):
        room, x = levels[level + 1] - z - 0.04, -width / 2 + 0.025
        while x < width / 2 - 0.07:
            kind = rng.uniform()
            if kind < 0.08 and x < width / 2 - 0.3:
                top = z + 0.014
                for _ in range(rng.integers(3, 6)):
                    thick, tone = rng.uniform(0.02, 0.045), vary(rng, BOOKS[rng.integers(11)], 0.3)
                    if top + thick > z + room:
                        break
                    paper.box(
                        (0.24, 0.19, thick),
                        (x + 0.13, -0.05, top + thick / 2),
                        tone,
                        (0, 0, rng.normal() * 4),
                    )
                    top += thick
                x += 0.28
            elif kind < 0.14 and x < width / 2 - 0.2:
                add_pot(clay, (x + 0.08, -0.04, z + 0.014), 0.065, min(room - 0.04, 0.22), rng)
                x += 0.17
            else:
                thick, tall = rng.uniform(0.018, 0.05), rng.uniform(0.62, 0.97) * room
                deep, tone = rng.uniform(0.17, 0.25), vary(rng, BOOKS[rng.integers(11)], 0.35)
                lean = max(rng.normal() - 1.2, 0) * 6
                x += thick / 2 + 0.5 * tall * math.sin(math.radians(lean))
                front = -depth / 2 + 0.03 + rng.uniform(0, 0.04)
                at = (x, front + deep / 2, z + 0.014 + tall / 2)
                paper.box((thick, deep, tall), at, tone, (0, -lean, 0))
                band = vary(rng, BOOKS[rng.integers(11)], 0.3)
                for share in rng.uniform(-0.42, 0.42, rng.integers(1, 4)):
                    size = (thick + 0.001, 0.002, tall * rng.uniform(0.03, 0.14))
                    slide = share * tall * math.sin(math.radians(-lean))
                    paper.box(
                        size, (x + slide, front - 0.001, at[2] + share * tall), band, (0, -lean, 0)
                    )
                x += thick / 2 + 0.5 * tall * math.sin(math.radians(lean)) + 0.002
    for x, radius in ((-0.4, 0.09), (0.1, 0.07), (0.42, 0.11)):
        add_pot(clay, (x, 0, 2.205), radius, radius * 2.4, rng)


def build_seats(rng: np.random.Generator, wood: Parts) -> None:
    """Place the sofa with its cushions and throw, an armchair, a pouf and a wooden chair."""
    sofa = Parts(rng, place((0.5, 1.42, 0)))
    chair = Parts(rng, place((1.45, -0.35, 0), (0, 0, -118)))
    sofa.soft((2.1, 0.9, 0.3), (0, 0, 0.27), NAVY * 1.5, power=10)
    sofa.soft((2.1, 0.24, 0.85), (0, 0.36, 0.48), NAVY * 1.5, (-8, 0, 0), 8)
    for side in (-1, 1):
        sofa.soft((0.24, 0.92, 0.62), (side * 1.0, -0.02, 0.34), NAVY * 1.4, power=8)
        sofa.soft((0.88, 0.74, 0.17), (side * 0.44, -0.08, 0.47), NAVY * 1.7, power=8)
        sofa.soft((0.86, 0.2, 0.46), (side * 0.44, 0.22, 0.72), NAVY * 1.6, (-12, 0, 0), 5)
    weave = [rgb("5f86a0"), rgb("4a6c8a"), rgb("86a8b4"), rgb("3f5f7e"), rgb("6f93a8")]
    sofa.build(
        "sofa",
        surface("sofa cloth", 26, 0.3, 0.3, pattern="blotches", palette=weave, bump=0.5),
    )
    chair.soft((0.78, 0.78, 0.4), (0, 0, 0.23), RUST, power=8)
    chair.soft((0.74, 0.2, 0.8), (0, 0.33, 0.62), RUST, (-14, 0, 0), 6)
    for side in (-1, 1):
        chair.soft((0.16, 0.76, 0.58), (side * 0.38, 0, 0.34), RUST, power=6)
    chair.soft((0.56, 0.6, 0.14), (0, -0.06, 0.47), RUST, power=5)
    palette = [RUST, MUSTARD, rgb("d98a5a"), CREAM, rgb("a84a38"), rgb("e0a878"), PLUM]
    chair.build("armchair", surface("mosaic cloth", 9, 0.2, 0.25, pattern="cells", palette=palette))
    cushions = [
        ("plaid", [MUSTARD, CREAM, RUST, MUSTARD * 0.8, TEAL], (-0.68, 1.33, 0.72), (62, 6, -14)),
        ("cells", [TEAL, CREAM, SAGE, NAVY, WHITE], (-0.28, 1.27, 0.70), (58, -5, 8)),
        ("stripes", [CREAM, PLUM, WHITE, RUST, CREAM, NAVY], (0.45, 1.27, 0.70), (60, 8, -6)),
        (
            "blotches",
            [SAGE, MUSTARD, CREAM, rgb("5c8f5a"), WHITE],
            (0.83, 1.33, 0.72),
            (64, -7, 16),
        ),
    ]
    for k, (pattern, palette, at, turn) in enumerate(cushions):
        cushion = Parts(rng, place((at[0] + 0.42, at[1], at[2]), turn))
        cushion.soft((0.46, 0.44, 0.2), (0, 0, 0), CREAM, power=9, pillow=0.95)
        cloth = surface(f"cushion {k}", 12, 0.15, 0.25, pattern=pattern, palette=palette)
        cushion.build(f"cushion {k}", cloth, smooth=180)
    throw = Parts(rng, place((1.5, 1.4, 0)))
    s, t = np.meshgrid(np.linspace(-1, 1, 60), np.linspace(-1, 1, 40))
    fold = np.sin(t * 7 + s) * 0.008
    across, along = 0.135 * np.tanh(s * 3.2) + fold, t * 0.26 - 0.1 + 0.02 * s
    up = 0.665 - 0.36 * np.clip(np.abs(s) - 0.3, 0, 1) + 0.004 * np.sin(t * 19)
    points = np.stack([across, along, up], axis=-1)
    throw.sheet(points, CREAM, np.stack([s * 0.5, t * 0.3, 0 * s], axis=-1))
    palette = [CREAM, TEAL, WHITE, MUSTARD, CREAM, RUST, NAVY]
    throw.build("throw", surface("throw", 10, 0.15, 0.3, pattern="plaid", palette=palette))
    pouf = Parts(rng)
    pouf.soft((0.5, 0.5, 0.36), (-0.98, 0.62, 0.2), CREAM, (0, 0, 20), power=3.2)
    palette = [TEAL, CREAM, MUSTARD, WHITE, RUST, SAGE]
    pouf.build("pouf", surface("pouf", 7, 0.2, 0.3, pattern="cells", palette=palette), smooth=180)
    wood.frame = place((-1.35, -0.75, 0), (0, 0, 145))
    for x in (-0.2, 0.2):
        wood.box((0.04, 0.04, 0.45), (x, -0.2, 0.225), vary(rng, OAK))
        wood.box((0.04, 0.04, 0.95), (x, 0.2, 0.475), vary(rng, OAK))
        wood.box((0.03, 0.4, 0.03), (x, 0, 0.2), vary(rng, OAK))
    for k in range(5):
        wood.box((0.088, 0.46, 0.03), (-0.18 + 0.09 * k, 0, 0.455), vary(rng, OAK, 0.3))
    for z in (0.6, 0.74, 0.88):
        wood.box(
            (0.4, 0.022, 0.085),
            (0, 0.2, z),
            vary(rng, [RUST, MUSTARD, TEAL][round((z - 0.6) / 0.14)], 0.2),
        )


def build_tables(rng: np.random.Generator, wood: Parts, paper: Parts, clay: Parts) -> None:
    """Set the coffee table, the sideboard with a globe, boxes, and books on the floor."""
    wood.frame = paper.frame = clay.frame = place((0.05, 0.05, 0), (0, 0, 6))
    for k in range(6):
        wood.box((1.2, 0.108, 0.035), (0, -0.275 + 0.11 * k, 0.42), vary(rng, PINE * 0.85, 0.3))
    for x in (-0.52, 0.52):
        for y in (-0.25, 0.25):
            wood.box((0.06, 0.06, 0.41), (x, y, 0.205), vary(rng, WALNUT))
    wood.box((1.08, 0.5, 0.02), (0, 0, 0.14), vary(rng, PINE * 0.8))
    stacks = [
        (-0.38, 0.05, 0.437, 4),
        (0.25, -0.12, 0.437, 2),
        (0.3, 0.05, 0.15, 3),
        (-0.25, 0, 0.15, 5),
    ]
    for x, y, top, count in stacks:
        for _ in range(count):
            thick = rng.uniform(0.02, 0.04)
            size = (rng.uniform(0.2, 0.28), rng.uniform(0.15, 0.2), thick)
            at = (x + rng.normal() * 0.01, y + rng.normal() * 0.01, top + thick / 2)
            paper.box(size, at, vary(rng, BOOKS[rng.integers(11)], 0.3), (0, 0, rng.normal() * 12))
            top += thick
    add_pot(clay, (0.02, 0.12, 0.437), 0.075, 0.24, rng)
    bowl = [(0, 0), (0.06, 0), (0.1, 0.03), (0.15, 0.08), (0.145, 0.085), (0.09, 0.04), (0, 0.02)]
    clay.lathe(bowl, (0.42, 0.12, 0.437), TEAL * 1.2)
    for k in range(7):
        angle, tone = k * 2.4, [RUST, MUSTARD, rgb("9db04a"), rgb("c8483a")][k % 4]
        at = (0.42 + 0.065 * math.cos(angle), 0.12 + 0.065 * math.sin(angle), 0.52 + 0.03 * (k % 2))
        clay.soft((0.08, 0.08, 0.075), at, vary(rng, tone), power=2)
    for x, y in ((-0.12, -0.18), (0.05, -0.2)):
        clay.lathe(
            [(0, 0), (0.036, 0), (0.042, 0.09), (0.038, 0.09), (0.034, 0.01)],
            (x, y, 0.437),
            vary(rng, RUST),
        )
    wood.frame = paper.frame = clay.frame = place((-2.45, 0.1, 0), (0, 0, 90))
    wood.box((1.7, 0.42, 0.04), (0, 0, 0.8), vary(rng, PINE * 0.8))
    wood.box((1.66, 0.38, 0.66), (0, 0.01, 0.45), vary(rng, WALNUT, 0.1))
    for k in range(4):
        for z in (0.62, 0.3):
            wood.box(
                (0.385, 0.02, 0.29),
                (-0.6 + 0.4 * k, -0.195, z),
                vary(rng, [TEAL, OAK, SAGE, MUSTARD][(k + (z > 0.5)) % 4], 0.2),
            )
            clay.soft((0.04, 0.04, 0.04), (-0.6 + 0.4 * k, -0.22, z), WHITE, power=2)
    for x, size, tone in ((-0.62, 0.26, RUST), (-0.28, 0.2, MUSTARD), (0.05, 0.24, SAGE)):
        paper.box(
            (size, 0.24, size * 0.6),
            (x, 0, 0.82 + size * 0.3),
            vary(rng, tone),
            (0, 0, rng.normal() * 8),
        )
    paper.box((0.18, 0.18, 0.1), (-0.6, 0, 0.82 + 0.206), vary(rng, CREAM), (0, 0, 20))
    clay.lathe([(0, 0), (0.11, 0), (0.1, 0.02), (0.02, 0.04), (0.016, 0.1)], (0.5, 0, 0.82), WALNUT)
    wood.frame = paper.frame = clay.frame = place((0, 0, 0))
    for x, y, size, tone in (
        (2.3, -0.1, 0.42, OAK),
        (2.25, 0.4, 0.34, SAGE),
        (-2.2, -1.5, 0.4, MUSTARD),
    ):
        paper.box(
            (size, size * 1.1, size * 0.8),
            (x, y, size * 0.4),
            vary(rng, tone),
            (0, 0, rng.uniform(-20, 20)),
        )
    paper.box((0.26, 0.3, 0.2), (2.3, -0.1, 0.44), vary(rng, RUST), (0, 0, 25))
    globe = Parts(rng, place((-2.45, 0.6, 1.08), (15, 10, 0)))
    globe.soft((0.34, 0.34, 0.34), (0, 0, 0), WHITE, power=2, steps=24)
    seas = [
        rgb("5f9ab0"),
        rgb("4f86a8"),
        rgb("7fb0bc"),
        rgb("c9b27a"),
        rgb("8fa868"),
        rgb("b98a58"),
    ]
    globe.build(
        "globe",
        surface("globe", 5, 0.12, 0.2, pattern="blotches", palette=seas),
        smooth=180,
    )


def build_plants_and_lamp(rng: np.random.Generator, wood: Parts, clay: Parts) -> None:
    """Grow a tall plant by the window and small ones; stand a lamp beside the sofa."""
    wood.frame = clay.frame = place((0, 0, 0))
    leaves, shade = Parts(rng), Parts(rng)
    for at, count, reach, size in (
        ((2.15, 1.5, 0.42), 46, 1.35, 0.36),
        ((-2.45, -0.35, 0.98), 26, 0.3, 0.17),
        ((0.07, 0.17, 0.64), 30, 0.3, 0.15),
        ((-1.3, 1.76, 2.42), 22, 0.2, 0.15),
    ):
        for k in range(count):
            share = (k + 0.5) / count
            where = place(at) @ place(
                (0, 0, reach * share),
                (rng.normal() * 12, -50 * share + 22 + rng.normal() * 12, 137.5 * k),
            )
            length = size * rng.uniform(0.75, 1.15) * (1 - 0.35 * share)
            tone = vary(
                rng,
                [rgb("5c8f4a"), rgb("7aa85a"), rgb("4a7f56"), rgb("9ab060")][rng.integers(4)],
                0.3,
            )
            leaves.leaf(where @ place((0.05 * size, 0, 0)), length, length * 0.42, tone, 0.35, 0.25)
        wood.lathe([(0.012, -0.1), (0.01, reach)], at, WALNUT, segments=10)
    leaves.build("leaves", surface("leaf", 16, 0.3, 0.25, (0.6, 3, 1)))
    basket = [
        (0, 0),
        (0.17, 0),
        (0.22, 0.2),
        (0.2, 0.4),
        (0.21, 0.42),
        (0.18, 0.42),
        (0.17, 0.36),
        (0, 0.36),
    ]
    wood.lathe(basket, (2.15, 1.5, 0), OAK)
    clay.lathe(
        [(0, 0), (0.07, 0), (0.1, 0.16), (0.09, 0.16), (0, 0.14)], (-2.45, -0.35, 0.82), RUST * 1.1
    )
    clay.lathe(
        [(0, 0), (0.15, 0), (0.15, 0.02), (0.02, 0.04), (0.014, 1.5)], (-0.82, 1.72, 0), WALNUT
    )
    shade.lathe([(0.21, 1.36), (0.13, 1.68)], (-0.82, 1.72, 0), rgb("f2cf94"))
    shade.build(
        "lampshade",
        surface(
            "lampshade",
            14,
            0.2,
            0.2,
            glow=0.75,
            pattern="blotches",
            palette=[rgb("f2cf94"), rgb("e8b46c"), rgb("f6e0b4"), rgb("d99a58")],
        ),
    )
