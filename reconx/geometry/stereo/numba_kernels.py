"""Compiled PatchMatch of one view: a visit judges all of a pixel's hypotheses at once.

A window's 25 samples are the lanes of vectorised loops, padded to 32 because LLVM does not
vectorise shorter loops that need a check for aliasing; all of a row's floats lie in one flat array
for the same reason. Planes change on one colour of a chessboard at a time and hear only of the
other one, so rows may share the work in any way without changing the result.
"""

import math

import numpy as np
from numba import prange

from ...compilation import f4, inlined, parallel
from .matcher import (
    ALIKE_PX,
    CONTRAST,
    GEOMETRIC_LIMIT_PX,
    GEOMETRIC_WEIGHT,
    NEARNESS_PX,
    NOISE_VARIANCE,
    RADIUS,
    REACHES,
    RIVAL_PX,
    SLOPE_SHARE,
    TRIES_PER_ROUND,
    UNSEEN_COST,
)

SAMPLES, LANES = 25, 32
# Where the parts of a row's floats begin.
OX, OY, NEAR, WEIGHT, DETAIL, U, V, A, B, C, D = (LANES * part for part in range(11))
VARIANCE = 11 * LANES
COSTS = VARIANCE + 1
NAN, INF = f4(np.nan), f4(np.inf)
NOISE, UNSEEN = f4(NOISE_VARIANCE), f4(UNSEEN_COST)
MISS_MOST, MISS_COST = f4(GEOMETRIC_LIMIT_PX), f4(GEOMETRIC_WEIGHT / GEOMETRIC_LIMIT_PX)
ALIKE, SLOPES, RIVAL = f4(ALIKE_PX), f4(SLOPE_SHARE), f4(RIVAL_PX)
LEAST_RATIO = f4(1e-6)
PER_CONTRAST = f4(1 / (3 * CONTRAST))
DIRECTIONS = TRIES_PER_ROUND - 1
SPREAD = f4(math.sqrt(3))
"""Uniform numbers in [-1, 1] times this have variance 1."""


@inlined
def _new_row(sources):
    """A row's floats, with the window's samples and their nearness, and its indices."""
    row = np.zeros(COSTS + sources, f4)
    for k in range(SAMPLES):
        x, y = f4(2 * (k % 5) - RADIUS), f4(2 * (k // 5) - RADIUS)
        row[OX + k], row[OY + k] = x, y
        row[NEAR + k] = math.exp(-(x * x + y * y) / f4(2 * NEARNESS_PX * NEARNESS_PX))
    return row, np.zeros(LANES, np.int32)


@inlined
def _open_window(row, grey, image, x, y):
    """Weights, weighted deviations from the mean, and variance of the window around a pixel.

    Invalid pixels have no weight; where the middle is invalid the variance is NaN, and so is then
    every correlation. exp(-t) is taken as (1 - t/64 + (t/64)^2 / 2)^64, which vectorises.
    """
    height, width = grey.shape
    red, green, blue = image[y, x, 0], image[y, x, 1], image[y, x, 2]
    for k in range(SAMPLES):
        column = min(max(x + 2 * (k % 5) - RADIUS, 0), width - 1)
        line = min(max(y + 2 * (k // 5) - RADIUS, 0), height - 1)
        row[A + k] = grey[line, column]
        row[B + k] = image[line, column, 0]
        row[C + k] = image[line, column, 1]
        row[D + k] = image[line, column, 2]
    total, mean, variance = f4(0), f4(0), f4(0)
    for k in range(LANES):
        contrast = abs(row[B + k] - red) + abs(row[C + k] - green) + abs(row[D + k] - blue)
        t = min(contrast * PER_CONTRAST, f4(32)) * f4(1 / 64)
        decay = f4(1) - t + f4(0.5) * t * t
        decay *= decay
        decay *= decay
        decay *= decay
        decay *= decay
        decay *= decay
        decay *= decay
        known = row[A + k] == row[A + k]
        weight = row[NEAR + k] * decay if known else f4(0)
        sample = row[A + k] if known else f4(0)
        row[WEIGHT + k], row[A + k] = weight, sample
        total += weight
        mean += weight * sample
    share = f4(1) / max(total, f4(1e-9))
    mean *= share
    for k in range(LANES):
        weight, deviation = row[WEIGHT + k] * share, row[A + k] - mean
        row[WEIGHT + k], row[DETAIL + k] = weight, weight * deviation
        variance += weight * deviation * deviation
    row[VARIANCE] = variance if grey[y, x] == grey[y, x] else NAN


@inlined
def _correlate(row, index, pixels, width, height, warp, x, y, value, slope_x, slope_y):
    """Bilateral ZNCC of the open window with a source, by the warp to first order.

    Returns:
        The correlation, NaN where it cannot be seen; the source's pixel; the ratio of depths.
    """
    ratio = warp[2, 0] * x + warp[2, 1] * y + warp[2, 2] + warp[2, 3] * value
    scale = f4(1) / max(ratio, LEAST_RATIO)
    px = (warp[0, 0] * x + warp[0, 1] * y + warp[0, 2] + warp[0, 3] * value) * scale
    py = (warp[1, 0] * x + warp[1, 1] * y + warp[1, 2] + warp[1, 3] * value) * scale
    correlation = NAN
    if ratio > LEAST_RATIO and px >= 0 and py >= 0 and px < width and py < height:
        # d(pixel there) / d(pixel here) along the plane: the quotient rule on the warp.
        zx, zy = warp[2, 0] + slope_x * warp[2, 3], warp[2, 1] + slope_y * warp[2, 3]
        xx = (warp[0, 0] + slope_x * warp[0, 3] - px * zx) * scale
        xy = (warp[0, 1] + slope_y * warp[0, 3] - px * zy) * scale
        yx = (warp[1, 0] + slope_x * warp[1, 3] - py * zx) * scale
        yy = (warp[1, 1] + slope_y * warp[1, 3] - py * zy) * scale
        left, top = px - f4(0.5), py - f4(0.5)
        right, bottom, stride = f4(width - 1.001), f4(height - 1.001), np.int32(width)
        for k in range(LANES):
            u = min(max(left + xx * row[OX + k] + xy * row[OY + k], f4(0)), right)
            v = min(max(top + yx * row[OX + k] + yy * row[OY + k], f4(0)), bottom)
            column, line = np.int32(u), np.int32(v)
            row[U + k], row[V + k] = u - f4(column), v - f4(line)
            index[k] = line * stride + column
        below = np.uint64(width)
        for k in range(SAMPLES):
            at = np.uint64(np.uint32(index[k]))
            row[A + k], row[B + k] = pixels[at], pixels[at + np.uint64(1)]
            at += below
            row[C + k], row[D + k] = pixels[at], pixels[at + np.uint64(1)]
        mean, square, covariance = f4(0), f4(0), f4(0)
        for k in range(LANES):
            upper = row[A + k] + row[U + k] * (row[B + k] - row[A + k])
            lower = row[C + k] + row[U + k] * (row[D + k] - row[C + k])
            sample = upper + row[V + k] * (lower - upper)
            weighted = row[WEIGHT + k] * sample
            mean += weighted
            square += weighted * sample
            covariance += row[DETAIL + k] * sample
        variance = max(square - mean * mean, f4(0))
        correlation = covariance / math.sqrt((row[VARIANCE] + NOISE) * (variance + NOISE))
    return correlation, px, py, ratio


@inlined
def _return(back, other, px, py, x, y):
    """From a source's pixel by the source's own inverse depth back to the reference.

    Returns:
        How far from (x, y) that ends, NaN behind the camera; the ratio of depths; the inverse depth
        found.
    """
    found = other[int(py), int(px)]
    ratio = back[2, 0] * px + back[2, 1] * py + back[2, 2] + back[2, 3] * found
    dx = (back[0, 0] * px + back[0, 1] * py + back[0, 2] + back[0, 3] * found) / ratio - x
    dy = (back[1, 0] * px + back[1, 1] * py + back[1, 2] + back[1, 3] * found) / ratio - y
    miss = math.sqrt(dx * dx + dy * dy) if ratio > LEAST_RATIO else NAN
    return miss, ratio, found


@inlined
def _judge(row, index, task, x, y, value, slope_x, slope_y):
    """Mean cost of the best half of the sources, in the open window."""
    grey, _, greys, warps, backs, others = task
    height, width = grey.shape
    sources = len(greys)
    for s in range(sources):
        correlation, px, py, _ = _correlate(
            row, index, greys[s], width, height, warps[s], x, y, value, slope_x, slope_y
        )
        cost = f4(1) - correlation
        if len(others) > 0 and cost == cost:
            miss, _, _ = _return(backs[s], others[s], px, py, x, y)
            cost += min(miss, MISS_MOST) * MISS_COST if miss == miss else NAN
        cost = cost if cost == cost else UNSEEN
        place = s
        while place > 0 and row[COSTS + place - 1] > cost:
            row[COSTS + place] = row[COSTS + place - 1]
            place -= 1
        row[COSTS + place] = cost
    best = (sources + 1) // 2
    total = f4(0)
    for place in range(best):
        total += row[COSTS + place]
    return total / f4(best)


@parallel
def sweep(task, planes, cost, low, high, steps):
    """Set the planes' costs, then try planes of one depth through the whole range.

    Args:
        task: The view's luminance (h w) and colour (h w 3); its sources' luminance (source h*w),
            warps and warps back (source 3 4); their inverse depths (source h w), or none of them.
        planes: h w 3; changed.
        cost: h w; written.
        low: Least inverse depth.
        high: Greatest inverse depth.
        steps: Planes to try.
    """
    grey, image, greys, _, _, _ = task
    height, width = grey.shape
    for line in prange(height):
        j = np.int64(line)
        row, index = _new_row(len(greys))
        for i in range(width):
            _open_window(row, grey, image, i, j)
            least = INF
            for k in range(-1, steps):
                value, slope_x, slope_y = planes[j, i, 0], planes[j, i, 1], planes[j, i, 2]
                if k >= 0:
                    value = low + (high - low) * (f4(k) / f4(steps - 1))
                    slope_x, slope_y = f4(0), f4(0)
                tried = _judge(row, index, task, f4(i + 0.5), f4(j + 0.5), value, slope_x, slope_y)
                if tried < least:
                    least = tried
                    planes[j, i, 0], planes[j, i, 1], planes[j, i, 2] = value, slope_x, slope_y
            cost[j, i] = least


@inlined
def _best_along(planes, cost, i, j, direction):
    """The plane that one direction recommends, carried on to pixel (i, j)."""
    height, width = cost.shape
    sign = 1 - 2 * (direction & 1)
    least, column, line = INF, i, j
    for reach in REACHES:
        c = i + sign * reach if direction < 2 else i
        r = j if direction < 2 else j + sign * reach
        if c >= 0 and r >= 0 and c < width and r < height and cost[r, c] < least:
            least, column, line = cost[r, c], c, r
    slope_x, slope_y = planes[line, column, 1], planes[line, column, 2]
    value = planes[line, column, 0] + slope_x * f4(i - column) + slope_y * f4(j - line)
    return value, slope_x, slope_y


@inlined
def _mean_around(planes, i, j, value, slope_x, slope_y, alike):
    """Mean of a plane and those of the other colour in 5 x 5 pixels that continue it."""
    height, width, _ = planes.shape
    total, total_x, total_y, count = value, slope_x, slope_y, f4(1)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            c, r = i + dx, j + dy
            if (dx + dy) & 1 and c >= 0 and r >= 0 and c < width and r < height:
                x, y = planes[r, c, 1], planes[r, c, 2]
                heard = planes[r, c, 0] - x * f4(dx) - y * f4(dy)
                if abs(heard - value) < alike:
                    total += heard
                    total_x += x
                    total_y += y
                    count += f4(1)
    share = f4(1) / count
    return total * share, total_x * share, total_y * share


@inlined
def _scramble(key):
    """A 32-bit number that looks like chance (Wellons' lowbias32)."""
    key = np.uint32(key)
    key ^= key >> np.uint32(16)
    key = np.uint32(key * np.uint32(0x7FEB352D))
    key ^= key >> np.uint32(15)
    key = np.uint32(key * np.uint32(0x846CA68B))
    return np.uint32(key ^ (key >> np.uint32(16)))


@inlined
def _chance(key):
    """A uniform number in [-1, 1) of the key alone, whichever thread asks."""
    return f4(_scramble(key) >> np.uint32(8)) * f4(2.0**-23) - f4(1)


@parallel
def visit(task, planes, cost, low, high, step, sigmas, seed, colour):
    """Let every pixel of one colour try its neighbours' planes, their mean, and random changes.

    Args:
        task: As in `sweep`.
        planes: h w 3; changed.
        cost: Of the planes; changed.
        low: Least inverse depth.
        high: Greatest inverse depth.
        step: Inverse depth of a pixel of parallax.
        sigmas: Standard deviations of the random changes, in pixels of parallax.
        seed: Of the random changes.
        colour: 0 or 1, of the chessboard.
    """
    grey, image, greys, _, _, _ = task
    height, width = grey.shape
    for line in prange(height):
        j = np.int64(line)
        row, index = _new_row(len(greys))
        for i in range((j + colour) & 1, width, 2):
            if grey[j, i] != grey[j, i]:
                continue
            _open_window(row, grey, image, i, j)
            least = cost[j, i]
            for k in range(TRIES_PER_ROUND + len(sigmas)):
                value, slope_x, slope_y = planes[j, i, 0], planes[j, i, 1], planes[j, i, 2]
                if k < DIRECTIONS:
                    value, slope_x, slope_y = _best_along(planes, cost, i, j, k)
                elif k == DIRECTIONS:
                    value, slope_x, slope_y = _mean_around(
                        planes, i, j, value, slope_x, slope_y, ALIKE * step
                    )
                else:
                    key = _scramble(np.uint32(seed) + np.uint32(j * width + i))
                    key += np.uint32(3 * k)
                    spread = sigmas[k - TRIES_PER_ROUND] * step * SPREAD
                    value += spread * _chance(key)
                    slope_x += spread * SLOPES * _chance(key + np.uint32(1))
                    slope_y += spread * SLOPES * _chance(key + np.uint32(2))
                value = min(max(value, low), high)
                tried = _judge(row, index, task, f4(i + 0.5), f4(j + 0.5), value, slope_x, slope_y)
                if tried < least:
                    least = tried
                    planes[j, i, 0], planes[j, i, 1], planes[j, i, 2] = value, slope_x, slope_y
            cost[j, i] = least


@parallel
def inspect(task, planes, evidence):
    """Fill in what `Evidence` holds: 4 source h w, in the order of its fields."""
    grey, image, greys, warps, backs, others = task
    height, width = grey.shape
    for line in prange(height):
        j = np.int64(line)
        row, index = _new_row(len(greys))
        for i in range(width):
            _open_window(row, grey, image, i, j)
            x, y = f4(i + 0.5), f4(j + 0.5)
            value, slope_x, slope_y = planes[j, i, 0], planes[j, i, 1], planes[j, i, 2]
            for s in range(len(greys)):
                warp = warps[s]
                offset, found, rival = f4(0), NAN, f4(-1)
                for k in range(3):
                    tried, px, py, ratio = _correlate(
                        row, index, greys[s], width, height, warp, x, y,
                        value + f4((k == 1) - (k == 2)) * offset, slope_x, slope_y,
                    )  # fmt: skip
                    if k > 0:
                        rival = max(rival, tried) if tried == tried else rival
                        continue
                    found = tried
                    scale = f4(1) / max(ratio, LEAST_RATIO)
                    mx = (warp[0, 3] - px * warp[2, 3]) * scale
                    my = (warp[1, 3] - py * warp[2, 3]) * scale
                    offset = RIVAL / max(math.sqrt(mx * mx + my * my), f4(1e-12))
                    miss, home, other = NAN, NAN, NAN
                    if ratio > LEAST_RATIO and px >= 0 and py >= 0 and px < width and py < height:
                        miss, home, other = _return(backs[s], others[s], px, py, x, y)
                    evidence[2, s, j, i] = miss
                    evidence[3, s, j, i] = abs(home / other * value - f4(1))
                evidence[0, s, j, i] = found
                evidence[1, s, j, i] = found - rival
