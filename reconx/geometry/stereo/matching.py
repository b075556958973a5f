"""Which photos to compare, and which of their features look alike. Owns no geometry."""

import itertools

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .features import Features
from .retrieval import likely_partners

RATIO = 0.85
"""Lowe's ratio of nearest to second nearest distance."""
ALL_PAIRS_UP_TO = 12
"""Photos; above this only likely pairs are compared, so that the work grows with N, not N^2."""
NEIGHBOURS = 8
"""Likely partners per photo above `ALL_PAIRS_UP_TO`."""
CANDIDATES = 2 * NEIGHBOURS
"""Photos that look most alike, among which the neighbours are found."""
SKETCH_FEATURES = 400
"""Largest features of a photo, by which likely partners are found."""
_CHUNK = 1024


def choose_pairs(features: list[Features]) -> list[tuple[int, int]]:
    """Pairs of photos worth matching in full.

    Up to `ALL_PAIRS_UP_TO` photos: all. Above: per photo the `NEIGHBOURS` with which its largest
    features match best (a large feature is seen from far away and in a small copy), among the
    `CANDIDATES` that look most like it; and the maximum spanning tree of those counts, which keeps
    the graph connected.
    """
    count = len(features)
    if count <= ALL_PAIRS_UP_TO:
        return list(itertools.combinations(range(count), 2))
    sketches = [part.descriptors[:SKETCH_FEATURES] for part in features]
    votes = np.zeros((count, count))
    likely = likely_partners(sketches, CANDIDATES)
    pairs = {(min(i, j), max(i, j)) for i, row in enumerate(likely.tolist()) for j in row}
    for i, j in pairs:
        votes[i, j] = votes[j, i] = len(match_descriptors(sketches[i], sketches[j]))
    chosen = set(_spanning_tree(votes))
    for i in range(count):
        partners = np.argsort(-votes[i], kind="stable")
        partners = [j for j in partners if j != i and votes[i, j] > 0][:NEIGHBOURS]
        chosen.update((min(i, int(j)), max(i, int(j))) for j in partners)
    return sorted(chosen)


def match_descriptors(
    first: Float[Tensor, "n 128"], second: Float[Tensor, "m 128"]
) -> Int[np.ndarray, "match 2"]:
    """Find mutual nearest neighbours that pass the ratio test.

    Args:
        first: Unit descriptors.
        second: Unit descriptors.

    Returns:
        Index pairs, ascending in the first.
    """
    if min(len(first), len(second)) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    nearest, distance, second_distance = _two_nearest(first, second)
    passed = torch.nonzero(distance < RATIO * second_distance)[:, 0]
    # Only what passed needs the way back, which saves most of a second product.
    back, _, _ = _two_nearest(second[nearest[passed]], first)
    passed = passed[back == passed]
    return torch.stack([passed, nearest[passed]], dim=1).numpy()


def _two_nearest(
    first: Float[Tensor, "n 128"], second: Float[Tensor, "m 128"]
) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Nearest neighbour of each descriptor, its distance and that of the second nearest."""
    nearest = torch.empty(len(first), dtype=torch.long)
    similarity = torch.empty(2, len(first))
    for start in range(0, len(first), _CHUNK):  # the whole matrix would take 256 MB
        part = slice(start, start + _CHUNK)
        block = first[part] @ second.mT
        similarity[0, part], nearest[part] = block.max(dim=1)
        block.scatter_(1, nearest[part, None], -1.0)
        similarity[1, part] = block.amax(dim=1)
    distance = (2 - 2 * similarity).clamp_min(0).sqrt()
    return nearest, distance[0], distance[1]


def _spanning_tree(votes: Float[np.ndarray, "photo photo"]) -> list[tuple[int, int]]:
    """Maximum spanning tree (Prim); photos without any vote still get one edge."""
    count = len(votes)
    strength = votes[0].copy()
    parent = np.zeros(count, dtype=np.int64)
    joined = np.zeros(count, dtype=bool)
    joined[0] = True
    edges = []
    for _ in range(count - 1):
        new = int(np.where(joined, -1.0, strength).argmax())
        edges.append((min(new, int(parent[new])), max(new, int(parent[new]))))
        joined[new] = True
        closer = votes[new] > strength
        strength = np.where(closer, votes[new], strength)
        parent = np.where(closer, new, parent)
    return edges
