"""Which photos are linked by pairs, and in what order a tree start places them."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from ...errors import AlignmentFailed, InputError
from .observations import Observations


def check_links(observations: Observations, names: Sequence[str]) -> None:
    """Require that pairs link all photos, and that each photo is the first one of a pair.

    Raises:
        AlignmentFailed: If the pairs fall into parts; the text names each part's photos.
        InputError: If a photo's points are never given in its own camera's frame.
    """
    first, second = np.array(observations.edges).T
    ones = np.ones(len(first))
    graph = sparse.coo_matrix((ones, (first, second)), (len(names), len(names)))
    count, part = csgraph.connected_components(graph, directed=False)
    if count > 1:
        parts = [
            "(" + ", ".join(name for name, p in zip(names, part, strict=True) if p == k) + ")"
            for k in range(count)
        ]
        raise AlignmentFailed(
            f"The pairs link the {len(names)} photos into {count} separate parts: "
            f"{' and '.join(parts)}. Expected one. Add pairs or photos in between, or leave a part "
            "out."
        )
    alone = sorted(set(range(len(names))) - set(first.tolist()))
    if alone:
        raise InputError(
            f"{', '.join(names[view] for view in alone)} is never the first photo of a pair, and "
            "only there its points stand in its own camera's frame. Give each pair in both "
            "directions."
        )


def pair_scores(observations: Observations) -> list[float]:
    """How sure the network is of each pair: the product of both maps' mean weights."""
    return [a.evidence * b.evidence for a, b in observations.maps]


def grow_tree(
    edges: Sequence[tuple[int, int]], scores: Sequence[float]
) -> Iterator[tuple[int, int, int]]:
    """Order the pairs of a maximum spanning tree so that each one places one more photo (Prim).

    Yields:
        (pair, index in the pair of the placed photo, of the new photo). The best pair's first photo
        counts as placed before anything else.
    """
    order = sorted(range(len(edges)), key=lambda e: -scores[e])
    placed = {edges[order[0]][0]}
    count = len({view for edge in edges for view in edge})
    while len(placed) < count:
        for e in order:
            i, j = edges[e]
            if (i in placed) != (j in placed):
                old = 0 if i in placed else 1
                yield e, old, 1 - old
                placed |= {i, j}
                break
