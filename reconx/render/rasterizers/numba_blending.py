"""Compiled tile blending of one view's projected Gaussians, forward and backward.

A Gaussian visits only the blocks of a tile that its ellipse can reach and that have not ended. The
forward pass finds these and leaves them to the backward pass, a bit for each block. Blocks are
drawn one after the other, so that what a block's pixels add up stays in registers.

Both directions go front to back. No two tasks write to one place: a tile writes its own pixels, and
gradients of its own (Gaussian, tile) pairs, which `numba_projection.py` adds up per Gaussian.
"""

import numpy as np
from numba import prange

from ...compilation import f4, merged, parallel
from .numba_binning import TILE
from .numba_blocks import (
    BLOCKS,
    CHUNK,
    HALF,
    LAST_LIGHT,
    LEAST,
    MOST,
    PIXEL_COLUMN,
    PIXEL_ROW,
    falloff,
    gather,
    going_blocks,
    list_visits,
    place,
    plane,
    reached_blocks,
    start_tile,
    stride,
)
from .numba_lanes import bits, folded, highest, kept, load, lowest, store, totals
from .numba_projection import (
    BLUE,
    CONIC_XX,
    CONIC_XY,
    CONIC_YY,
    GREEN,
    OPACITY,
    RECORD,
    RED,
    X,
    Y,
    Z,
)

FORWARD_PLANES, BACKWARD_PLANES = 6, 7


@parallel
def blend(records, boxes, pairs, starts, width, height, background):
    """One view's pictures; Kerbl et al. 2023, eq. 3.

    Returns:
        colour, alpha, depth: As `Rasterized`, without the view.
        reached: Per pair a bit for each block that the Gaussian may have changed; of each tile's
            pairs before its end.
        ends: Per tile its first pair that nobody looked at any more.
    """
    colour, alpha = np.empty((height, width, 3), f4), np.empty((height, width), f4)
    depth = np.empty((height, width), f4)
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    reached, ends = np.empty(len(pairs), np.int32), np.empty(columns * rows, np.int64)
    step = stride(columns * rows)
    for n in prange(columns * rows):
        tile = n * step % (columns * rows)
        left, top = tile % columns * TILE, tile // columns * TILE
        # Planes: transmittance; the sums of weight times r, g, b, z, 1.
        state = np.zeros(BLOCKS * FORWARD_PLANES * 16, f4)
        near, visits = np.empty(CHUNK * RECORD, f4), np.empty(BLOCKS * CHUNK, np.uint8)
        counts = np.empty(BLOCKS, np.int64)
        start_tile(state, FORWARD_PLANES, left, top, width, height)
        first, going = starts[tile], going_blocks(state, FORWARD_PLANES)
        while first < starts[tile + 1] and going != 0:
            count = min(CHUNK, starts[tile + 1] - first)
            gather(records, pairs, first, count, left, top, near)
            for k in range(count):
                box = boxes[pairs[first + k, 0]]
                reached[first + k] = going & reached_blocks(near, k, box, top)
            list_visits(reached, first, count, visits, counts)
            for block in range(BLOCKS):
                _blend_block(near, visits, counts[block], block, state)
            going = going_blocks(state, FORWARD_PLANES)
            first += count
        ends[tile] = first
        for row in range(min(TILE, height - top)):
            for column in range(min(TILE, width - left)):
                pixel = place(row, column, FORWARD_PLANES)
                u, v = np.uint64(left + column), np.uint64(top + row)
                covered, z = state[plane(pixel, 5)], state[plane(pixel, 4)]
                for channel in range(np.uint64(3)):
                    shown = state[plane(pixel, channel + np.uint64(1))]
                    shown += (f4(1) - covered) * background[channel]
                    colour[v, u, channel] = shown
                alpha[v, u] = covered
                depth[v, u] = z / covered if covered > 0 else f4(0)
    return colour, alpha, depth, reached, ends


@merged
def _blend_block(near, visits, listed, block, state):
    """Blend what reaches a block, until all its pixels have ended."""
    column = load(PIXEL_COLUMN, 0) + f4((block & 3) << 2)
    row = load(PIXEL_ROW, 0) + f4(block & ~3)
    upper = np.uint64(block * FORWARD_PLANES * 16)
    lower = upper + HALF
    light0, light1 = load(state, upper), load(state, lower)
    red0, red1 = load(state, plane(upper, 1)), load(state, plane(lower, 1))
    green0, green1 = (
        load(state, plane(upper, 2)),
        load(state, plane(lower, 2)),
    )
    blue0, blue1 = (
        load(state, plane(upper, 3)),
        load(state, plane(lower, 3)),
    )
    z0, z1 = load(state, plane(upper, 4)), load(state, plane(lower, 4))
    total0, total1 = (
        load(state, plane(upper, 5)),
        load(state, plane(lower, 5)),
    )
    own_visits = np.uint64(block * CHUNK)
    for visit in range(np.uint64(listed)):
        base = np.uint64(visits[own_visits + visit]) * np.uint64(RECORD)
        dx, dy = column - near[base + np.uint64(X)], row - near[base + np.uint64(Y)]
        raw0, raw1 = falloff(near, base, dx, dy), falloff(near, base, dx, dy + f4(2))
        weight0 = kept(raw0 >= LEAST, lowest(raw0, MOST)) * light0
        weight1 = kept(raw1 >= LEAST, lowest(raw1, MOST)) * light1
        light0, light1 = light0 - weight0, light1 - weight1
        going0, going1 = light0 > LAST_LIGHT, light1 > LAST_LIGHT
        light0, light1 = kept(going0, light0), kept(going1, light1)
        weight0, weight1 = kept(going0, weight0), kept(going1, weight1)
        red, green = near[base + np.uint64(RED)], near[base + np.uint64(GREEN)]
        blue, z = near[base + np.uint64(BLUE)], near[base + np.uint64(Z)]
        red0, red1 = red0 + weight0 * red, red1 + weight1 * red
        green0, green1 = green0 + weight0 * green, green1 + weight1 * green
        blue0, blue1 = blue0 + weight0 * blue, blue1 + weight1 * blue
        z0, z1 = z0 + weight0 * z, z1 + weight1 * z
        total0, total1 = total0 + weight0, total1 + weight1
        if bits(highest(light0, light1) > f4(0)) == 0:
            break
    store(state, upper, light0)
    store(state, lower, light1)
    store(state, plane(upper, 1), red0)
    store(state, plane(lower, 1), red1)
    store(state, plane(upper, 2), green0)
    store(state, plane(lower, 2), green1)
    store(state, plane(upper, 3), blue0)
    store(state, plane(lower, 3), blue1)
    store(state, plane(upper, 4), z0)
    store(state, plane(lower, 4), z1)
    store(state, plane(upper, 5), total0)
    store(state, plane(lower, 5), total1)


@parallel
def blend_backward(
    records,
    pairs,
    starts,
    reached,
    ends,
    background,
    colour,
    alpha,
    depth,
    grad_colour,
    grad_alpha,
    grad_depth,
):
    """Gradients of the first ten fields of each pair's record, by gradient slot."""
    height, width = alpha.shape
    grad_pairs = np.zeros((len(pairs), Z + 1), f4)
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    step = stride(columns * rows)
    for n in prange(columns * rows):
        tile = n * step % (columns * rows)
        left, top = tile % columns * TILE, tile // columns * TILE
        # Planes: transmittance; what lies behind adds to the loss; dL/d(sums of r, g, b, z, 1).
        state = np.zeros(BLOCKS * BACKWARD_PLANES * 16, f4)
        near, sums = np.empty(CHUNK * RECORD, f4), np.empty(CHUNK * RECORD, f4)
        visits, counts = np.empty(BLOCKS * CHUNK, np.uint8), np.empty(BLOCKS, np.int64)
        start_tile(state, BACKWARD_PLANES, left, top, width, height)
        for row in range(min(TILE, height - top)):
            for column in range(min(TILE, width - left)):
                pixel = place(row, column, BACKWARD_PLANES)
                u, v = np.uint64(left + column), np.uint64(top + row)
                covered = alpha[v, u]
                grad_z = grad_depth[v, u] / covered if covered > 0 else f4(0)
                grad_one = grad_alpha[v, u] - grad_z * depth[v, u]
                # What depth adds through z cancels with what it adds through alpha.
                behind = grad_alpha[v, u] * covered
                for channel in range(np.uint64(3)):
                    grad = grad_colour[v, u, channel]
                    state[plane(pixel, channel + np.uint64(2))] = grad
                    behind += grad * (colour[v, u, channel] - background[channel])
                    grad_one -= grad * background[channel]
                state[plane(pixel, 1)] = behind
                state[plane(pixel, 5)] = grad_z
                state[plane(pixel, 6)] = grad_one
        for first in range(starts[tile], ends[tile], CHUNK):
            count = min(CHUNK, ends[tile] - first)
            gather(records, pairs, first, count, left, top, near)
            sums[: count * RECORD] = 0
            list_visits(reached, first, count, visits, counts)
            for block in range(BLOCKS):
                _pass_block(near, visits, counts[block], block, state, sums)
            for k in range(count):
                _sum_up(near, sums, k, grad_pairs[pairs[first + k, 1]])
    return grad_pairs


@merged
def _pass_block(near, visits, listed, block, state, sums):
    """Pass what reaches a block, until all its pixels have ended, and add to each one's sums.

    With v = dL/dsigma, these are over pixels w g for r, g, b, z, then v, v dx, v dy, v dx^2; and
    v dx dy, v dy^2, by turns in four parts each. The lower rows share dx with the upper ones.
    """
    column = load(PIXEL_COLUMN, 0) + f4((block & 3) << 2)
    row = load(PIXEL_ROW, 0) + f4(block & ~3)
    upper = np.uint64(block * BACKWARD_PLANES * 16)
    lower = upper + HALF
    light0, light1 = load(state, upper), load(state, lower)
    behind0, behind1 = load(state, plane(upper, 1)), load(state, plane(lower, 1))
    own_visits = np.uint64(block * CHUNK)
    for visit in range(np.uint64(listed)):
        base = np.uint64(visits[own_visits + visit]) * np.uint64(RECORD)
        dx, dy = column - near[base + np.uint64(X)], row - near[base + np.uint64(Y)]
        red0, red1 = (
            load(state, plane(upper, 2)),
            load(state, plane(lower, 2)),
        )
        green0, green1 = (
            load(state, plane(upper, 3)),
            load(state, plane(lower, 3)),
        )
        blue0, blue1 = (
            load(state, plane(upper, 4)),
            load(state, plane(lower, 4)),
        )
        z0, z1 = (
            load(state, plane(upper, 5)),
            load(state, plane(lower, 5)),
        )
        red, green = near[base + np.uint64(RED)], near[base + np.uint64(GREEN)]
        blue, z = near[base + np.uint64(BLUE)], near[base + np.uint64(Z)]
        own0 = load(state, plane(upper, 6)) + red0 * red + green0 * green + blue0 * blue + z0 * z
        own1 = load(state, plane(lower, 6)) + red1 * red + green1 * green + blue1 * blue + z1 * z
        weight0, v0, light0, behind0 = _pass_lanes(near, base, dx, dy, light0, behind0, own0)
        weight1, v1, light1, behind1 = _pass_lanes(
            near, base, dx, dy + f4(2), light1, behind1, own1
        )
        v, twice = v0 + v1, v1 + v1
        v_dx, v_dy = v * dx, v * dy + twice
        # v0 dy^2 + v1 (dy + 2)^2
        v_dy2 = v_dy * dy + twice * (dy + f4(2))
        totalled = totals(
            weight0 * red0 + weight1 * red1,
            weight0 * green0 + weight1 * green1,
            weight0 * blue0 + weight1 * blue1,
            weight0 * z0 + weight1 * z1,
            v,
            v_dx,
            v_dy,
            v_dx * dx,
        )
        store(sums, base, load(sums, base) + totalled)
        rest = base + np.uint64(8)
        store(sums, rest, load(sums, rest) + folded(v_dy * dx, v_dy2))
        if bits(highest(light0, light1) > f4(0)) == 0:
            break
    store(state, upper, light0)
    store(state, lower, light1)
    store(state, plane(upper, 1), behind0)
    store(state, plane(lower, 1), behind1)


@merged
def _pass_lanes(near, base, dx, dy, before, behind, own):
    """Pass one Gaussian in eight pixels.

    Returns:
        The Gaussian's weight; dL/dsigma; the light behind it; what lies behind it adds to the loss.
    """
    raw = falloff(near, base, dx, dy)
    seen = raw >= LEAST
    alpha = kept(seen, lowest(raw, MOST))
    weight = alpha * before
    after = before - weight
    going = after > LAST_LIGHT
    weight = kept(going, weight)
    behind = behind - weight * own
    v = raw * (behind / (f4(1) - alpha) - before * own)
    return weight, kept(going & seen & (raw < MOST), v), kept(going, after), behind


@merged
def _sum_up(near, sums, k, grad):
    """Turn one pair's sums into the gradient of its record."""
    base = np.uint64(k) * np.uint64(RECORD)
    xx, xy = near[base + np.uint64(CONIC_XX)], near[base + np.uint64(CONIC_XY)]
    yy = near[base + np.uint64(CONIC_YY)]
    mx, my, mxx = sums[base + np.uint64(5)], sums[base + np.uint64(6)], sums[base + np.uint64(7)]
    mxy, myy = f4(0), f4(0)
    for part in range(8, 16, 2):
        mxy += sums[base + np.uint64(part)]
        myy += sums[base + np.uint64(part + 1)]
    # dx and dy run from the Gaussian to the pixel.
    grad[X], grad[Y] = -(xx * mx + xy * my), -(xy * mx + yy * my)
    grad[CONIC_XX], grad[CONIC_XY], grad[CONIC_YY] = f4(0.5) * mxx, mxy, f4(0.5) * myy
    # dalpha/dopacity = falloff = raw / opacity, and dalpha/dsigma = -raw.
    grad[OPACITY] = -sums[base + np.uint64(4)] / near[base + np.uint64(OPACITY)]
    for feature in range(3):
        grad[RED + feature] = sums[base + np.uint64(feature)]
    grad[Z] = sums[base + np.uint64(3)]
