"""Compiled tile blending of one view's projected Gaussians, forward and backward.

A tile is 16 x 16 pixels, held as 32 segments of 8: half a row, one vector register. Segment s is
row s % 16 of the left (s < 16) or right half. All state of a tile lies in one flat array, so that
the compiler sees one base pointer and vectorises without checks for aliasing; indices are
unsigned, so that it need not allow for negative ones.

Both directions go front to back. No two tasks write to one place: a tile writes its own pixels, and
gradients of its own (Gaussian, tile) pairs, which `numba_projection.py` adds up per Gaussian.
"""

import math

import numpy as np
from numba import njit, prange

from .compose import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN
from .numba_projection import (
    BLUE,
    CONIC_XX,
    CONIC_XY,
    CONIC_YY,
    GREEN,
    HEIGHT2,
    OPACITY,
    OPTIONS,
    REACH,
    RED,
    SLOPE,
    WIDTH2,
    X,
    Y,
    Z,
    f4,
)

TILE = 16
LANES = np.uint64(8)
SEGMENTS = 2 * TILE
PLANE = np.uint64(TILE * TILE)
CHECK = 32
"""Gaussians between two looks at which segments have ended."""
SPAN_MARGIN = f4(0.01)
"""Pixels by which a row's covered span is widened, so that rounding never drops a pixel."""

LEAST, MOST, LAST_LIGHT = f4(ALPHA_MIN), f4(ALPHA_MAX), f4(TRANSMITTANCE_MIN)
SIGMA_MAX = f4(6)
"""Beyond -log(1/255) = 5.54, and small enough for `_exp_minus`."""


@njit(inline="always")
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


@njit(**OPTIONS)
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


@njit(**OPTIONS)
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


@njit(inline="always")
def _start_tile(state, left, top, width, height):
    """Set the transmittance, the state's first plane: 1 inside the image, 0 (ended) outside."""
    for row in range(min(TILE, height - top)):
        for column in range(min(TILE, width - left)):
            state[_place(row, column)] = 1


@njit(inline="always")
def _place(row, column):
    return np.uint64(((column >> 3) * TILE + row) * 8 + (column & 7))


@njit(inline="always")
def _mark_going(state, going):
    """Note which segments have a pixel that has not ended; return whether any has."""
    any_going = False
    for segment in range(SEGMENTS):
        most = f4(0)
        for lane in range(LANES):
            most = max(most, state[np.uint64(segment) * LANES + lane])
        going[segment] = most > 0
        any_going |= most > 0
    return any_going


@njit(parallel=True, **OPTIONS)
def blend(records, boxes, pairs, starts, width, height):
    """Per pixel the sums of weight times (r, g, b, z, 1); Kerbl et al. 2023, eq. 3."""
    blended = np.empty((height, width, 5), f4)
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for tile in prange(columns * rows):
        left, top = tile % columns * TILE, tile // columns * TILE
        state = np.zeros(6 * PLANE, f4)
        going = np.zeros(SEGMENTS, np.bool_)
        _start_tile(state, left, top, width, height)
        for pair in range(starts[tile], starts[tile + 1]):
            if (pair - starts[tile]) % CHECK == 0 and not _mark_going(state, going):
                break
            i = pairs[pair, 0]
            _blend_gaussian(records[i], boxes[i], left, top, going, state)
        for row in range(min(TILE, height - top)):
            for column in range(min(TILE, width - left)):
                place = _place(row, column)
                for feature in range(5):
                    value = state[np.uint64(feature + 1) * PLANE + place]
                    blended[top + row, left + column, feature] = value
    return blended


@njit(inline="always")
def _blend_gaussian(record, box, left, top, going, state):
    x = record[X] - (f4(left) + f4(0.5))
    xx, xy, yy = f4(0.5) * record[CONIC_XX], record[CONIC_XY], f4(0.5) * record[CONIC_YY]
    opacity, red, green, blue, z = (
        record[OPACITY],
        record[RED],
        record[GREEN],
        record[BLUE],
        record[Z],
    )
    for row in range(max(box[1] - top, 0), min(box[3] - top, TILE)):
        dy = f4(top + row) + f4(0.5) - record[Y]
        middle = x + record[SLOPE] * dy
        room = max(record[REACH] - dy * dy * record[HEIGHT2], f4(0))
        half = math.sqrt(room * record[WIDTH2]) + SPAN_MARGIN
        linear, constant = xy * dy, yy * dy * dy
        for side in range(2):
            first = f4(side * 8)
            segment = side * TILE + row
            if not going[segment] or middle + half < first or middle - half > first + f4(7):
                continue
            base = np.uint64(segment) * LANES
            for lane in range(LANES):
                dx = first + f4(np.int32(lane)) - x
                sigma = (xx * dx + linear) * dx + constant
                raw = opacity * _exp_minus(min(max(sigma, f4(0)), SIGMA_MAX))
                alpha = min(raw, MOST) if raw >= LEAST else f4(0)
                place = base + lane
                before = state[place]
                weight = alpha * before
                after = before - weight
                weight = weight if after > LAST_LIGHT else f4(0)
                state[place] = after if after > LAST_LIGHT else f4(0)
                state[np.uint64(1) * PLANE + place] += weight * red
                state[np.uint64(2) * PLANE + place] += weight * green
                state[np.uint64(3) * PLANE + place] += weight * blue
                state[np.uint64(4) * PLANE + place] += weight * z
                state[np.uint64(5) * PLANE + place] += weight


@njit(parallel=True, **OPTIONS)
def blend_backward(records, boxes, pairs, starts, blended, grad_blended):
    """Gradients of the first ten fields of each pair's record, by gradient slot."""
    height, width = blended.shape[0], blended.shape[1]
    grad_pairs = np.zeros((len(pairs), Z + 1), f4)
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for tile in prange(columns * rows):
        left, top = tile % columns * TILE, tile // columns * TILE
        # Planes: transmittance; what lies behind adds to the loss; dL/d(r, g, b, z, 1).
        # After them, per column of the tile: seven sums over the rows of one Gaussian.
        state = np.zeros(7 * PLANE + np.uint64(7 * TILE), f4)
        going = np.zeros(SEGMENTS, np.bool_)
        _start_tile(state, left, top, width, height)
        for row in range(min(TILE, height - top)):
            for column in range(min(TILE, width - left)):
                place = _place(row, column)
                behind = f4(0)
                for feature in range(5):
                    grad = grad_blended[top + row, left + column, feature]
                    behind += grad * blended[top + row, left + column, feature]
                    state[np.uint64(feature + 2) * PLANE + place] = grad
                state[PLANE + place] = behind
        for pair in range(starts[tile], starts[tile + 1]):
            if (pair - starts[tile]) % CHECK == 0 and not _mark_going(state, going):
                break
            i, slot = pairs[pair, 0], pairs[pair, 1]
            if _sum_columns(records[i], boxes[i], left, top, going, state):
                _sum_lanes(records[i], f4(left), state, grad_pairs[slot])
    return grad_pairs


@njit(inline="always")
def _sum_columns(record, box, left, top, going, state):
    """Pass one Gaussian; leave its column sums in the state and tell whether there are any.

    dx is the same all along a column, so three moments in dy per column hold all six moments:
    columns hold sums of w g for r, g, b, z, then of v, v dy and v dy^2, v = dL/dsigma.
    """
    x = record[X] - (f4(left) + f4(0.5))
    xx, xy, yy = f4(0.5) * record[CONIC_XX], record[CONIC_XY], f4(0.5) * record[CONIC_YY]
    opacity, red, green, blue, z = (
        record[OPACITY],
        record[RED],
        record[GREEN],
        record[BLUE],
        record[Z],
    )
    sums = np.uint64(7) * PLANE
    for lane in range(np.uint64(7 * TILE)):
        state[sums + lane] = f4(0)
    touched = False
    for row in range(max(box[1] - top, 0), min(box[3] - top, TILE)):
        dy = f4(top + row) + f4(0.5) - record[Y]
        middle = x + record[SLOPE] * dy
        room = max(record[REACH] - dy * dy * record[HEIGHT2], f4(0))
        half = math.sqrt(room * record[WIDTH2]) + SPAN_MARGIN
        linear, constant = xy * dy, yy * dy * dy
        for side in range(2):
            first = f4(side * 8)
            segment = side * TILE + row
            if not going[segment] or middle + half < first or middle - half > first + f4(7):
                continue
            touched = True
            base, column = np.uint64(segment) * LANES, sums + np.uint64(side * 8)
            for lane in range(LANES):
                dx = first + f4(np.int32(lane)) - x
                sigma = (xx * dx + linear) * dx + constant
                raw = opacity * _exp_minus(min(max(sigma, f4(0)), SIGMA_MAX))
                alpha = min(raw, MOST) if raw >= LEAST else f4(0)
                place = base + lane
                before = state[place]
                weight = alpha * before
                after = before - weight
                going_on = after > LAST_LIGHT
                weight = weight if going_on else f4(0)
                state[place] = after if going_on else f4(0)
                grad_red = state[np.uint64(2) * PLANE + place]
                grad_green = state[np.uint64(3) * PLANE + place]
                grad_blue = state[np.uint64(4) * PLANE + place]
                grad_z = state[np.uint64(5) * PLANE + place]
                own = state[np.uint64(6) * PLANE + place] + z * grad_z
                own += red * grad_red + green * grad_green + blue * grad_blue
                behind = state[PLANE + place] - weight * own
                state[PLANE + place] = behind
                slope = raw * (behind / (f4(1) - alpha) - before * own)
                slope = slope if going_on and raw >= LEAST and raw < MOST else f4(0)
                state[column + lane] += weight * grad_red
                state[column + np.uint64(16) + lane] += weight * grad_green
                state[column + np.uint64(32) + lane] += weight * grad_blue
                state[column + np.uint64(48) + lane] += weight * grad_z
                state[column + np.uint64(64) + lane] += slope
                state[column + np.uint64(80) + lane] += slope * dy
                state[column + np.uint64(96) + lane] += slope * dy * dy
    return touched


@njit(inline="always")
def _sum_lanes(record, left, state, grad):
    """Turn column sums into the gradient of one pair's record."""
    x = record[X] - (left + f4(0.5))
    sums = np.uint64(7) * PLANE
    red, green, blue, z = f4(0), f4(0), f4(0), f4(0)
    m0, mx, my, mxx, mxy, myy = f4(0), f4(0), f4(0), f4(0), f4(0), f4(0)
    for lane in range(np.uint64(TILE)):
        dx = f4(np.int32(lane)) - x
        red += state[sums + lane]
        green += state[sums + np.uint64(16) + lane]
        blue += state[sums + np.uint64(32) + lane]
        z += state[sums + np.uint64(48) + lane]
        column, column_y = state[sums + np.uint64(64) + lane], state[sums + np.uint64(80) + lane]
        m0 += column
        mx += column * dx
        mxx += column * dx * dx
        my += column_y
        mxy += column_y * dx
        myy += state[sums + np.uint64(96) + lane]
    grad[X] = -(record[CONIC_XX] * mx + record[CONIC_XY] * my)
    grad[Y] = -(record[CONIC_XY] * mx + record[CONIC_YY] * my)
    grad[CONIC_XX], grad[CONIC_XY], grad[CONIC_YY] = f4(0.5) * mxx, mxy, f4(0.5) * myy
    # dalpha/dopacity = falloff = raw / opacity, and dalpha/dsigma = -raw.
    grad[OPACITY] = -m0 / record[OPACITY]
    grad[RED], grad[GREEN], grad[BLUE], grad[Z] = red, green, blue, z
