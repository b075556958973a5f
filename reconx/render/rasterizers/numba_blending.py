"""Compiled tile blending of one view's projected Gaussians, forward and backward.

A tile is 16 x 16 pixels in 16 blocks of 4 x 4; a block's pixels are the lanes of one vectorised
loop, and a Gaussian visits only the blocks that its ellipse can reach. All state of a tile lies in
one flat array, so that the compiler sees one base pointer; indices are unsigned, so that it need
not allow for negative ones. (The loop has 16 rounds on purpose: LLVM does not vectorise a shorter
one that needs a check for aliasing.)

Both directions go front to back. No two tasks write to one place: a tile writes its own pixels, and
gradients of its own (Gaussian, tile) pairs, which `numba_projection.py` adds up per Gaussian.
"""

import math

import numpy as np
from numba import prange

from ...compilation import f4, inlined, parallel, serial
from .compose import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN
from .numba_projection import (
    BLUE,
    CONIC_XX,
    CONIC_XY,
    CONIC_YY,
    GREEN,
    HEIGHT2,
    OPACITY,
    PEAK,
    REACH,
    RED,
    SLOPE,
    WIDTH2,
    X,
    Y,
    Z,
)

TILE = 16
LANES = np.uint64(16)
BLOCKS = 16
ROW_SHIFT, IN_ROW = np.uint64(2), np.uint64(3)
CHECK = 32
"""Gaussians between two looks at which blocks have ended."""
SPAN_MARGIN = f4(0.01)
"""Pixels by which a covered span is widened, so that rounding never drops a pixel."""

LEAST, MOST, LAST_LIGHT = f4(ALPHA_MIN), f4(ALPHA_MAX), f4(TRANSMITTANCE_MIN)
SIGMA_MAX = f4(6)
"""Beyond -log(1/255) = 5.54, and small enough for `_exp_minus`."""


@inlined
def _exp_minus(sigma):
    """exp(-sigma) for sigma in [0, 6], relative error 2e-6; unlike a library call it vectorises.

    Minimax polynomial of exp(-sigma / 8), squared three times.
    """
    t = sigma * f4(0.125)
    p = f4(-7.96703854e-03) + t * f4(9.83026852e-04)
    p = f4(-1.66626574e-01) + t * (f4(4.14979310e-02) + t * p)
    p = f4(1) + t * (f4(-9.99999832e-01) + t * (f4(4.99995548e-01) + t * p))
    p = p * p
    p = p * p
    return p * p


@serial
def sort_by_depth(depths, boxes):
    """Indices of the visible Gaussians from near to far; equal depths keep their order.

    Positive floats sort like their bits; three counting passes of 11 bits each.
    """
    count = 0
    order = np.empty(len(boxes), np.int32)
    for i in range(len(boxes)):
        if boxes[i, 2] > boxes[i, 0]:
            order[count] = i
            count += 1
    order = order[:count]
    keys = depths[order].view(np.uint32)
    for shift in (0, 11, 22):
        places = np.zeros(2049, np.int64)
        for i in range(count):
            places[((keys[i] >> np.uint32(shift)) & np.uint32(2047)) + 1] += 1
        for digit in range(2048):
            places[digit + 1] += places[digit]
        sorted_order, sorted_keys = np.empty_like(order), np.empty_like(keys)
        for i in range(count):
            digit = (keys[i] >> np.uint32(shift)) & np.uint32(2047)
            sorted_order[places[digit]], sorted_keys[places[digit]] = order[i], keys[i]
            places[digit] += 1
        order, keys = sorted_order, sorted_keys
    return order


@serial
def bin_to_tiles(boxes, order, columns, rows):
    """Which Gaussians each tile sees, near to far.

    Returns:
        pairs: (Gaussian, gradient slot) tile after tile; a Gaussian's slots follow each other.
        starts: Tile t's pairs are starts[t] to starts[t + 1].
        slots: Gaussian i's slots are slots[i] to slots[i + 1].
    """
    starts = np.zeros(columns * rows + 1, np.int64)
    slots = np.zeros(len(boxes) + 1, np.int64)
    for i in range(len(boxes)):
        x0, y0, x1, y1 = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        slots[i + 1] = slots[i]
        if x1 > x0:
            for row in range(y0 // TILE, (y1 - 1) // TILE + 1):
                for column in range(x0 // TILE, (x1 - 1) // TILE + 1):
                    starts[row * columns + column + 1] += 1
                    slots[i + 1] += 1
    for tile in range(columns * rows):
        starts[tile + 1] += starts[tile]
    free = starts.copy()
    pairs = np.empty((slots[-1], 2), np.int32)
    for i in order:
        slot = slots[i]
        x0, y0, x1, y1 = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        for row in range(y0 // TILE, (y1 - 1) // TILE + 1):
            for column in range(x0 // TILE, (x1 - 1) // TILE + 1):
                tile = row * columns + column
                pairs[free[tile], 0], pairs[free[tile], 1] = i, slot
                free[tile] += 1
                slot += 1
    return pairs, starts, slots


@inlined
def _start_tile(state, planes, left, top, width, height):
    """Set the transmittance, the first plane: 1 inside the image, 0 (ended) outside."""
    for row in range(min(TILE, height - top)):
        for column in range(min(TILE, width - left)):
            state[_place(row, column, planes)] = 1


@inlined
def _place(row, column, planes):
    """Index of a pixel's value in the first of a block's planes."""
    block = (row >> 2) * 4 + (column >> 2)
    return np.uint64(block * planes * 16 + (row & 3) * 4 + (column & 3))


@inlined
def _mark_going(state, planes, going):
    """Note which blocks have a pixel that has not ended; return whether any has."""
    any_going = False
    for block in range(BLOCKS):
        most = f4(0)
        for lane in range(LANES):
            most = max(most, state[np.uint64(block * planes * 16) + lane])
        going[block] = most > 0
        any_going |= most > 0
    return any_going


@inlined
def _list_blocks(record, box, left, top, going, reached, blocks):
    """Fill `blocks` with the going blocks that the ellipse reaches; return how many.

    The right edge is a concave function of dy with its top at PEAK, and the left its mirror image,
    so each band of four rows has its outermost point nearest to the peak. All blocks are tested at
    once and listed without a branch: a wrongly predicted one costs more than the test.
    """
    x, y = record[X] - (f4(left) + f4(0.5)), record[Y] - (f4(top) + f4(0.5))
    peak, reach, slope = record[PEAK], record[REACH], record[SLOPE]
    width2, height2 = record[WIDTH2], record[HEIGHT2]
    first_row, end_row = box[1] - top, box[3] - top
    for block in range(np.uint64(BLOCKS)):
        row, column = np.int32(block & ~IN_ROW), np.int32((block & IN_ROW) << ROW_SHIFT)
        dy0 = f4(row) - y
        dy1 = dy0 + f4(3)
        upper = min(max(peak, dy0), dy1)
        right = slope * upper + math.sqrt(max(reach - upper * upper * height2, f4(0)) * width2)
        lower = min(max(-peak, dy0), dy1)
        left_edge = slope * lower - math.sqrt(max(reach - lower * lower * height2, f4(0)) * width2)
        inside = (f4(column + 3) + SPAN_MARGIN >= x + left_edge) & (
            x + right + SPAN_MARGIN >= f4(column)
        )
        inside = inside & (row + 4 > first_row) & (row < end_row)
        reached[block] = np.int32(inside)
    count = 0
    for block in range(BLOCKS):
        blocks[count] = block
        count += reached[block] & np.int32(going[block])
    return count


@parallel
def blend(records, boxes, pairs, starts, width, height):
    """Per pixel the sums of weight times (r, g, b, z, 1); Kerbl et al. 2023, eq. 3."""
    blended = np.empty((height, width, 5), f4)
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for tile in prange(columns * rows):
        left, top = tile % columns * TILE, tile // columns * TILE
        # Planes: transmittance; the sums of weight times r, g, b, z, 1.
        state = np.zeros(BLOCKS * 6 * 16, f4)
        going, reached = np.zeros(BLOCKS, np.bool_), np.zeros(BLOCKS, np.int32)
        blocks = np.zeros(BLOCKS + 1, np.int64)
        _start_tile(state, 6, left, top, width, height)
        for pair in range(starts[tile], starts[tile + 1]):
            if (pair - starts[tile]) % CHECK == 0 and not _mark_going(state, 6, going):
                break
            i = pairs[pair, 0]
            count = _list_blocks(records[i], boxes[i], left, top, going, reached, blocks)
            _blend_gaussian(records[i], left, top, blocks, count, state)
        for row in range(min(TILE, height - top)):
            for column in range(min(TILE, width - left)):
                place = _place(row, column, 6)
                for feature in range(5):
                    value = state[place + np.uint64(feature + 1) * LANES]
                    blended[top + row, left + column, feature] = value
    return blended


@inlined
def _blend_gaussian(record, left, top, blocks, count, state):
    x, y = record[X] - (f4(left) + f4(0.5)), record[Y] - (f4(top) + f4(0.5))
    xx, xy, yy = f4(0.5) * record[CONIC_XX], record[CONIC_XY], f4(0.5) * record[CONIC_YY]
    opacity, red, green, blue, z = (
        record[OPACITY],
        record[RED],
        record[GREEN],
        record[BLUE],
        record[Z],
    )
    for entry in range(count):
        block = blocks[entry]
        base = np.uint64(block) * np.uint64(6 * 16)
        dx0, dy0 = f4((block & 3) << 2) - x, f4(block & ~3) - y
        for lane in range(LANES):
            dx, dy = dx0 + f4(np.int32(lane & IN_ROW)), dy0 + f4(np.int32(lane >> ROW_SHIFT))
            sigma = (xx * dx + xy * dy) * dx + yy * dy * dy
            raw = opacity * _exp_minus(min(max(sigma, f4(0)), SIGMA_MAX))
            alpha = min(raw, MOST) if raw >= LEAST else f4(0)
            place = base + lane
            before = state[place]
            weight = alpha * before
            after = before - weight
            weight = weight if after > LAST_LIGHT else f4(0)
            state[place] = after if after > LAST_LIGHT else f4(0)
            state[place + np.uint64(1) * LANES] += weight * red
            state[place + np.uint64(2) * LANES] += weight * green
            state[place + np.uint64(3) * LANES] += weight * blue
            state[place + np.uint64(4) * LANES] += weight * z
            state[place + np.uint64(5) * LANES] += weight


@parallel
def blend_backward(records, boxes, pairs, starts, blended, grad_blended):
    """Gradients of the first ten fields of each pair's record, by gradient slot."""
    height, width = blended.shape[0], blended.shape[1]
    grad_pairs = np.zeros((len(pairs), Z + 1), f4)
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for tile in prange(columns * rows):
        left, top = tile % columns * TILE, tile // columns * TILE
        # Planes: transmittance; what lies behind adds to the loss; dL/d(r, g, b, z, 1).
        state = np.zeros(BLOCKS * 7 * 16, f4)
        # Ten sums per lane over the blocks of one Gaussian.
        sums = np.zeros(np.uint64(10) * LANES, f4)
        going, reached = np.zeros(BLOCKS, np.bool_), np.zeros(BLOCKS, np.int32)
        blocks = np.zeros(BLOCKS + 1, np.int64)
        _start_tile(state, 7, left, top, width, height)
        for row in range(min(TILE, height - top)):
            for column in range(min(TILE, width - left)):
                place = _place(row, column, 7)
                behind = f4(0)
                for feature in range(5):
                    grad = grad_blended[top + row, left + column, feature]
                    behind += grad * blended[top + row, left + column, feature]
                    state[place + np.uint64(feature + 2) * LANES] = grad
                state[place + LANES] = behind
        for pair in range(starts[tile], starts[tile + 1]):
            if (pair - starts[tile]) % CHECK == 0 and not _mark_going(state, 7, going):
                break
            i, slot = pairs[pair, 0], pairs[pair, 1]
            count = _list_blocks(records[i], boxes[i], left, top, going, reached, blocks)
            if count:
                _pass_gaussian(records[i], left, top, blocks, count, state, sums)
                _sum_lanes(records[i], sums, grad_pairs[slot])
    return grad_pairs


@inlined
def _pass_gaussian(record, left, top, blocks, count, state, sums):
    """Pass one Gaussian; leave ten sums per lane in `sums`.

    They are w g for r, g, b, z, then v, v dx, v dy, v dx^2, v dx dy, v dy^2 with v = dL/dsigma.
    """
    x, y = record[X] - (f4(left) + f4(0.5)), record[Y] - (f4(top) + f4(0.5))
    xx, xy, yy = f4(0.5) * record[CONIC_XX], record[CONIC_XY], f4(0.5) * record[CONIC_YY]
    opacity, red, green, blue, z = (
        record[OPACITY],
        record[RED],
        record[GREEN],
        record[BLUE],
        record[Z],
    )
    for lane in range(np.uint64(10) * LANES):
        sums[lane] = f4(0)
    for entry in range(count):
        block = blocks[entry]
        base = np.uint64(block) * np.uint64(7 * 16)
        dx0, dy0 = f4((block & 3) << 2) - x, f4(block & ~3) - y
        for lane in range(LANES):
            dx, dy = dx0 + f4(np.int32(lane & IN_ROW)), dy0 + f4(np.int32(lane >> ROW_SHIFT))
            sigma = (xx * dx + xy * dy) * dx + yy * dy * dy
            raw = opacity * _exp_minus(min(max(sigma, f4(0)), SIGMA_MAX))
            alpha = min(raw, MOST) if raw >= LEAST else f4(0)
            place = base + lane
            before = state[place]
            weight = alpha * before
            after = before - weight
            alpha = alpha if after > LAST_LIGHT else f4(0)
            weight = weight if after > LAST_LIGHT else f4(0)
            state[place] = after if after > LAST_LIGHT else f4(0)
            grad_red = state[place + np.uint64(2) * LANES]
            grad_green = state[place + np.uint64(3) * LANES]
            grad_blue = state[place + np.uint64(4) * LANES]
            grad_z = state[place + np.uint64(5) * LANES]
            own = state[place + np.uint64(6) * LANES] + z * grad_z
            own += red * grad_red + green * grad_green + blue * grad_blue
            behind = state[place + LANES] - weight * own
            state[place + LANES] = behind
            slope = raw * (behind / (f4(1) - alpha) - before * own)
            slope = slope if alpha > f4(0) else f4(0)
            slope = slope if raw < MOST else f4(0)
            slope_x, slope_y = slope * dx, slope * dy
            sums[lane] += weight * grad_red
            sums[np.uint64(16) + lane] += weight * grad_green
            sums[np.uint64(32) + lane] += weight * grad_blue
            sums[np.uint64(48) + lane] += weight * grad_z
            sums[np.uint64(64) + lane] += slope
            sums[np.uint64(80) + lane] += slope_x
            sums[np.uint64(96) + lane] += slope_y
            sums[np.uint64(112) + lane] += slope_x * dx
            sums[np.uint64(128) + lane] += slope_x * dy
            sums[np.uint64(144) + lane] += slope_y * dy


@inlined
def _sum_lanes(record, sums, grad):
    """Turn the sums per lane into the gradient of one pair's record."""
    red, green, blue, z = f4(0), f4(0), f4(0), f4(0)
    m0, mx, my, mxx, mxy, myy = f4(0), f4(0), f4(0), f4(0), f4(0), f4(0)
    for lane in range(LANES):
        red += sums[lane]
        green += sums[np.uint64(16) + lane]
        blue += sums[np.uint64(32) + lane]
        z += sums[np.uint64(48) + lane]
        m0 += sums[np.uint64(64) + lane]
        mx += sums[np.uint64(80) + lane]
        my += sums[np.uint64(96) + lane]
        mxx += sums[np.uint64(112) + lane]
        mxy += sums[np.uint64(128) + lane]
        myy += sums[np.uint64(144) + lane]
    grad[X] = -(record[CONIC_XX] * mx + record[CONIC_XY] * my)
    grad[Y] = -(record[CONIC_XY] * mx + record[CONIC_YY] * my)
    grad[CONIC_XX], grad[CONIC_XY], grad[CONIC_YY] = f4(0.5) * mxx, mxy, f4(0.5) * myy
    # dalpha/dopacity = falloff = raw / opacity, and dalpha/dsigma = -raw.
    grad[OPACITY] = -m0 / record[OPACITY]
    grad[RED], grad[GREEN], grad[BLUE], grad[Z] = red, green, blue, z
