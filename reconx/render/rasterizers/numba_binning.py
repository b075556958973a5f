"""Compiled sorting of one view's projected Gaussians into the tiles that they touch."""

import numpy as np

from ...compilation import serial

TILE = 16
"""Edge of a tile in pixels."""
SHIFT = 4
"""Bits that a pixel's index has beyond its tile's."""


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
            for row in range(y0 >> SHIFT, ((y1 - 1) >> SHIFT) + 1):
                for column in range(x0 >> SHIFT, ((x1 - 1) >> SHIFT) + 1):
                    starts[row * columns + column + 1] += 1
                    slots[i + 1] += 1
    for tile in range(columns * rows):
        starts[tile + 1] += starts[tile]
    free = starts.copy()
    pairs = np.empty((slots[-1], 2), np.int32)
    for i in order:
        slot = slots[i]
        x0, y0, x1, y1 = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        for row in range(y0 >> SHIFT, ((y1 - 1) >> SHIFT) + 1):
            for column in range(x0 >> SHIFT, ((x1 - 1) >> SHIFT) + 1):
                tile = row * columns + column
                pairs[free[tile], 0], pairs[free[tile], 1] = i, slot
                free[tile] += 1
                slot += 1
    return pairs, starts, slots
