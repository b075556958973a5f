"""The shortest way through all captured cameras (travelling salesman, open or closed)."""

import itertools

from jaxtyping import Float
from torch import Tensor

EXACT = 10
"""Up to this many cameras the order is optimal; its cost grows as n^2 2^n."""


def order_cameras(distance: Float[Tensor, "view view"], *, loop: bool) -> list[int]:
    """Visit every camera once so that neighbours are close.

    Exact by dynamic programming (Held and Karp 1962) up to `EXACT` cameras; beyond, the best
    greedy walk, improved by reversing stretches (2-opt) until none helps.

    Args:
        distance: Symmetric, >= 0.
        loop: Whether the way back from the last to the first counts.

    Returns:
        Camera indices; an open way starts at the end with the lower index, a loop at camera 0.
    """
    table = distance.tolist()
    order = _optimal(table, loop) if len(table) <= EXACT else _improved(table, loop)
    if loop:
        start = order.index(0)
        order = order[start:] + order[:start]
        # Of the two directions, the one whose second camera has the lower index.
        return order if order[1] <= order[-1] else [0, *order[:0:-1]]
    return order if order[0] <= order[-1] else order[::-1]


def _length(order: list[int], table: list[list[float]], loop: bool) -> float:
    legs = itertools.pairwise([*order, order[0]] if loop else order)
    return sum(table[a][b] for a, b in legs)


def _optimal(table: list[list[float]], loop: bool) -> list[int]:
    count = len(table)
    starts = range(1) if loop else range(count)
    # (cameras seen as bits, last camera) -> (length, order); ties fall to the lower index.
    best = {(1 << i, i): (0.0, [i]) for i in starts}
    for _ in range(count - 1):
        longer: dict[tuple[int, int], tuple[float, list[int]]] = {}
        for (seen, last), (length, order) in best.items():
            for step in range(count):
                if seen >> step & 1:
                    continue
                candidate = (length + table[last][step], [*order, step])
                key = (seen | 1 << step, step)
                if key not in longer or candidate < longer[key]:
                    longer[key] = candidate
        best = longer
    return min((_length(order, table, loop), order) for _, order in best.values())[1]


def _improved(table: list[list[float]], loop: bool) -> list[int]:
    count = len(table)
    walks = [_greedy(table, start) for start in range(count)]
    order = min(walks, key=lambda walk: _length(walk, table, loop))
    length = _length(order, table, loop)
    improved = True
    while improved:
        improved = False
        for i, j in itertools.combinations(range(count + 1), 2):
            candidate = order[:i] + order[i:j][::-1] + order[j:]
            shorter = _length(candidate, table, loop)
            # The margin keeps rounding from turning a tie round for ever.
            if shorter < length * (1 - 1e-9):
                order, length, improved = candidate, shorter, True
    return order


def _greedy(table: list[list[float]], start: int) -> list[int]:
    order, left = [start], set(range(len(table))) - {start}
    while left:
        nearest = min(left, key=lambda i: (table[order[-1]][i], i))
        order.append(nearest)
        left.remove(nearest)
    return order
