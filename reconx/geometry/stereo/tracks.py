"""Joins matches into tracks: which features of several photos are one point of the world."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .two_view import VerifiedPair


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracks:
    """Observations of points, sorted by track, then photo."""

    photo: Int[np.ndarray, " observation"]
    """Photo of each observation."""
    track: Int[np.ndarray, " observation"]
    """Track of each observation; ids are 0 .. count - 1."""
    pixel: Float[np.ndarray, "observation 2"]
    """Centred pixels."""
    count: int
    """How many tracks there are."""


def build_tracks(pairs: Mapping[tuple[int, int], VerifiedPair]) -> Tracks:
    """Connected components of the match graph.

    A component with two features in one photo holds a false match somewhere, and nothing tells
    where: it is dropped.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    photo, feature, pixel = [], [], []
    for (i, j), pair in pairs.items():
        photo += [np.full(len(pair), i), np.full(len(pair), j)]
        feature += [pair.features[:, 0], pair.features[:, 1]]
        pixel += [pair.first, pair.second]
    ends = np.stack([np.concatenate(photo), np.concatenate(feature)], axis=1)
    nodes, first, node = np.unique(ends, axis=0, return_index=True, return_inverse=True)
    edges = np.split(node.ravel(), np.cumsum([len(part) for part in feature])[:-1])
    start, end = np.concatenate(edges[0::2]), np.concatenate(edges[1::2])
    graph = coo_array((np.ones(len(start)), (start, end)), shape=(len(nodes), len(nodes)))
    _, label = connected_components(graph, directed=False)
    seen = np.unique(np.stack([label, nodes[:, 0]], axis=1), axis=0)
    clean = np.bincount(label) == np.bincount(seen[:, 0])
    kept = np.flatnonzero(clean[label])
    _, track = np.unique(label[kept], return_inverse=True)
    order = np.lexsort((nodes[kept, 0], track))
    kept, track = kept[order], track[order]
    return Tracks(
        photo=nodes[kept, 0],
        track=track,
        pixel=np.concatenate(pixel)[first[kept]],
        count=int(track.max()) + 1 if len(track) else 0,
    )
