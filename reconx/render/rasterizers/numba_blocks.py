"""Compiled parts that both directions of blending share: tiles, their blocks, and who visits them.

A tile is 16 x 16 pixels in 16 blocks of 4 x 4; a block's pixels are two `Lanes`, the upper and the
lower two rows. A tile's state lies in one flat array, block after block, plane after plane.
"""

import math

import numpy as np

from ...compilation import f4, merged
from .compose import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN
from .numba_binning import TILE
from .numba_lanes import bits, highest, load, lowest, lowest_bit, root, store
from .numba_projection import (
    CONIC_XX,
    CONIC_XY,
    CONIC_YY,
    HEIGHT2,
    OPACITY,
    PEAK,
    REACH,
    RECORD,
    SLOPE,
    WIDTH2,
    X,
    Y,
)

BLOCKS = 16
HALF, PLANE = np.uint64(8), np.uint64(16)
"""Where a plane's lower rows, and the next plane, begin in a block's state."""
CHUNK = 256
"""Gaussians of a tile that are handled at once: their records stay in the nearest cache."""
SPAN_MARGIN = f4(0.01)
"""Pixels by which a covered span is widened, so that rounding never drops a pixel."""

PIXEL_COLUMN = np.array([0, 1, 2, 3, 0, 1, 2, 3], f4)
PIXEL_ROW = np.array([0, 0, 0, 0, 1, 1, 1, 1], f4)
"""Of a block's upper eight pixels, from its first."""
BLOCK_COLUMN, BLOCK_ROW = f4(4) * PIXEL_COLUMN, f4(4) * PIXEL_ROW
"""Of a tile's upper eight blocks, in pixels from its first."""

LEAST, MOST, LAST_LIGHT = f4(ALPHA_MIN), f4(ALPHA_MAX), f4(TRANSMITTANCE_MIN)
SIGMA_MAX = f4(6)
"""Beyond -log(1/255) = 5.54, and small enough for `_exp_minus`."""


@merged
def _exp_minus(sigma):
    """exp(-sigma) for sigma in [0, 6], relative error 2e-6.

    Minimax polynomial of exp(-sigma / 8), squared three times.
    """
    t = sigma * f4(0.125)
    p = t * f4(9.83026852e-04) + f4(-7.96703854e-03)
    p = t * (t * p + f4(4.14979310e-02)) + f4(-1.66626574e-01)
    p = t * (t * (t * p + f4(4.99995548e-01)) + f4(-9.99999832e-01)) + f4(1)
    p = p * p
    p = p * p
    return p * p


@merged
def stride(tiles):
    """Step with which a walk around all tiles meets each one once, far from the one before.

    Threads take equal parts of the walk, and a picture is often crowded at one end and empty at
    the other. The golden ratio spreads any part of it most evenly.
    """
    step = np.int64(0.618 * tiles) + 1
    while math.gcd(step, tiles) != 1:
        step += 1
    return step


@merged
def plane(base, plane):
    """Where the state of eight of a block's pixels begins in one of its planes."""
    return base + np.uint64(plane) * PLANE


@merged
def place(row, column, planes):
    """Index of a pixel's value in the first of a block's planes."""
    block = (row >> 2) * 4 + (column >> 2)
    return np.uint64(block * planes * 16 + (row & 3) * 4 + (column & 3))


@merged
def start_tile(state, planes, left, top, width, height):
    """Set the transmittance, the first plane: 1 inside the image, 0 (ended) outside."""
    for row in range(min(TILE, height - top)):
        for column in range(min(TILE, width - left)):
            state[place(row, column, planes)] = 1


@merged
def going_blocks(state, planes):
    """A bit for each block that has a pixel that has not ended."""
    going = np.int32(0)
    for block in range(BLOCKS):
        base = np.uint64(block * planes * 16)
        most = highest(load(state, base), load(state, base + HALF))
        going |= np.int32(bits(most > f4(0)) != 0) << block
    return going


@merged
def _reached_half(near, base, first_row, end_row, row):
    """A bit for each of the eight blocks from a row on that the ellipse reaches.

    The right edge is a concave function of dy with its top at PEAK, and the left its mirror image,
    so each band of four rows has its outermost point nearest to the peak.
    """
    peak, reach = near[base + np.uint64(PEAK)], near[base + np.uint64(REACH)]
    slope, x = near[base + np.uint64(SLOPE)], near[base + np.uint64(X)]
    width2, height2 = near[base + np.uint64(WIDTH2)], near[base + np.uint64(HEIGHT2)]
    rows, columns = load(BLOCK_ROW, 0) + row, load(BLOCK_COLUMN, 0)
    dy0 = rows - near[base + np.uint64(Y)]
    dy1 = dy0 + f4(3)
    upper = lowest(highest(dy0, peak), dy1)
    right = upper * slope + root(highest(reach - upper * upper * height2, f4(0)) * width2)
    lower = lowest(highest(dy0, -peak), dy1)
    left = lower * slope - root(highest(reach - lower * lower * height2, f4(0)) * width2)
    across = (columns - (x - f4(3) - SPAN_MARGIN) >= left) & (right >= columns - (x + SPAN_MARGIN))
    return bits(across & (rows > first_row - f4(4)) & (rows < end_row))


@merged
def reached_blocks(near, k, box, top):
    """A bit for each of the tile's blocks that the ellipse of the k-th copied record reaches."""
    base = np.uint64(k) * np.uint64(RECORD)
    first_row, end_row = f4(box[1] - top), f4(box[3] - top)
    upper = _reached_half(near, base, first_row, end_row, f4(0))
    return upper | _reached_half(near, base, first_row, end_row, f4(8)) << 8


@merged
def gather(records, pairs, first, count, left, top, near):
    """Copy the records of a tile's pairs from `first` on, X and Y from the first pixel's centre."""
    for k in range(count):
        source = np.uint64(pairs[first + k, 0]) * np.uint64(RECORD)
        base = np.uint64(k) * np.uint64(RECORD)
        store(near, base, load(records, source))
        store(near, base + np.uint64(8), load(records, source + np.uint64(8)))
        near[base + np.uint64(X)] -= f4(left) + f4(0.5)
        near[base + np.uint64(Y)] -= f4(top) + f4(0.5)


@merged
def list_visits(reached, first, count, visits, counts):
    """List for each block, `CHUNK` places apart, which of the pairs from `first` on reach it."""
    counts[:] = 0
    for k in range(count):
        blocks = reached[first + k]
        while blocks:
            block = np.uint64(lowest_bit(blocks))
            blocks &= blocks - 1
            visits[block * np.uint64(CHUNK) + np.uint64(counts[block])] = k
            counts[block] += 1


@merged
def falloff(near, base, dx, dy):
    """Opacity times exp(-sigma), sigma being half the squared distance in standard deviations."""
    half = f4(0.5)
    across = dx * (half * near[base + np.uint64(CONIC_XX)]) + dy * near[base + np.uint64(CONIC_XY)]
    sigma = across * dx + dy * dy * (half * near[base + np.uint64(CONIC_YY)])
    bounded = lowest(highest(sigma, f4(0)), SIGMA_MAX)
    return _exp_minus(bounded) * near[base + np.uint64(OPACITY)]
