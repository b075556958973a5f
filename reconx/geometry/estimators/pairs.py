"""Which photos are matched with which: ordered pairs that join all photos into one graph."""

from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from ...checks import check_choice, check_range, check_shape
from ...errors import InputError

COMPLETE_UP_TO = 12
"""Photos of which all pairs are matched unless the caller says otherwise."""
PAIRS_PER_PHOTO = 6
"""Ordered pairs per photo where there are more photos than that."""
GRAPHS = ("auto", "complete", "likely", "window", "one-to-all")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairOptions:
    """How pairs are chosen."""

    graph: str = "auto"
    """"complete": every photo with every other. "likely": those that look alike. "window": photos
    that follow each other. "one-to-all": one photo with each other. "auto": complete up to
    `COMPLETE_UP_TO` photos, likely above."""
    window: int = 3
    """How far apart in the given order two photos of a "window" may stand."""
    hub: int = 0
    """The one photo of "one-to-all"."""


def choose_pairs(
    count: int,
    likeness: Shaped[Tensor, "photo photo"] | None = None,
    options: PairOptions | None = None,
) -> list[tuple[int, int]]:
    """Ordered pairs of photos, each in both directions, that join all photos into one graph.

    Args:
        count: Photos.
        likeness: How much two photos have in common, symmetric: cosine of features, or the number
            of shared matches. Needed for "likely", which "auto" means for many photos.
        options: By default "auto".

    Returns:
        (i, j), (j, i), ... in ascending order of the lower and the higher index; of "likely" ones
        at most `PAIRS_PER_PHOTO` per photo.

    Raises:
        InputError: With fewer than two photos, an unknown graph, a window or hub that does not
            exist, or likeness that is needed and absent.
    """
    options = PairOptions() if options is None else options
    check_range("The number of photos", count, 2)
    check_choice("Graph", options.graph, GRAPHS)
    graph = options.graph
    if graph == "auto":
        graph = "complete" if count <= COMPLETE_UP_TO else "likely"
    if graph == "likely":
        edges = _likely_edges(count, likeness)
    elif graph == "window":
        check_range("window", options.window, 1)
        edges = {(i, j) for i, j in _all_edges(count) if j - i <= options.window}
    elif graph == "one-to-all":
        check_range("hub", options.hub, 0, count - 1)
        edges = {(i, j) for i, j in _all_edges(count) if options.hub in (i, j)}
    else:
        edges = _all_edges(count)
    return [pair for i, j in sorted(edges) for pair in ((i, j), (j, i))]


def _all_edges(count: int) -> set[tuple[int, int]]:
    return {(i, j) for i in range(count) for j in range(i + 1, count)}


def _likely_edges(count: int, likeness: Tensor | None) -> set[tuple[int, int]]:
    """A tree of the most alike, then everybody's best partner, second best and so on."""
    if likeness is None:
        raise InputError(
            f"Pairs of {count} photos are chosen by how alike they look, and no likeness was "
            "given. Give it, or choose the graph complete, window or one-to-all."
        )
    check_shape("likeness", likeness, count, count)
    edges = _spanning_tree(likeness)
    others = likeness.double().clone().fill_diagonal_(-torch.inf)
    ranked = others.argsort(dim=1, descending=True, stable=True)
    by_rank = (
        (min(i, j), max(i, j))
        for partners in ranked[:, : count - 1].T.tolist()
        for i, j in enumerate(partners)
    )
    for edge in by_rank:
        if len(edges) >= count * PAIRS_PER_PHOTO // 2:
            break
        edges.add(edge)
    return edges


def _spanning_tree(likeness: Tensor) -> set[tuple[int, int]]:
    """The tree whose edges are most alike (Prim 1957)."""
    best, link = likeness[0].clone(), [0] * len(likeness)
    waiting = set(range(1, len(likeness)))
    edges = set()
    while waiting:
        new = max(sorted(waiting), key=lambda photo: float(best[photo]))
        waiting.remove(new)
        edges.add((min(new, link[new]), max(new, link[new])))
        for photo in waiting:
            if likeness[new, photo] > best[photo]:
                best[photo], link[photo] = likeness[new, photo], new
    return edges
