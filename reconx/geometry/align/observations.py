"""What the alignment keeps of the pairs that stream by, and the samples it solves with.

Owns the form in which pointmaps are kept. All but the last step needs a few thousand pixels of each
photo; dense depths need every pixel of every map under the final cameras, which are known only when
the stream has ended. So the maps are kept, at half precision: 8 bytes a pixel, 300 MB for 96 pairs
of 512 x 384. Rounding (0.03 % of a coordinate) lies far below a network's noise.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float16, Int
from torch import Tensor

from ...checks import check_shape
from ...errors import InputError
from ...types import PairPointmaps


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactMap:
    """One photo's pointmap in one pair."""

    pair: int
    """Which pair, in the order of the stream."""
    points: Float16[Tensor, "3 pixel"]
    """In the frame of the pair's first camera and in units of `Observations.unit`; 0 where not
    finite."""
    weight: Float16[Tensor, " pixel"]
    """log(confidence), as in DUSt3R's own aligner; 0 where the point is not finite."""
    evidence: float
    """Mean weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """All pairs of one alignment."""

    edges: tuple[tuple[int, int], ...]
    """(i, j) of each pair."""
    unit: Float[Tensor, " pair"]
    """Length in the pair's own units by which its maps were divided: near their mean distance from
    the camera, so that half precision suffices whatever the units, and a power of two, so that the
    division rounds nothing."""
    maps: tuple[tuple[CompactMap, CompactMap], ...]
    """The maps of photos i and j of each pair."""
    width: int
    """Pixels of a row."""
    height: int
    """Rows."""

    def maps_of(self, view: int) -> list[CompactMap]:
        """All maps of one photo, in the order of the stream."""
        return [
            one
            for edge, both in zip(self.edges, self.maps, strict=True)
            for photo, one in zip(edge, both, strict=True)
            if photo == view
        ]


def keep_pairs(pairs: Iterable[PairPointmaps], names: Sequence[str]) -> Observations:
    """Read the stream to its end.

    Raises:
        InputError: If there is no pair, one repeats or names a photo that does not exist, or maps
            differ in size or have confidences below 1.
    """
    edges, units, maps = [], [], []
    size: tuple[int, ...] | None = None
    for pair in pairs:
        edge = (pair.i, pair.j)
        if pair.i == pair.j or not all(0 <= photo < len(names) for photo in edge):
            raise InputError(
                f"A pair of pointmaps speaks of photos {edge}; expected two different ones of the "
                f"{len(names)} photos, counted from 0."
            )
        label = f"{names[pair.i]} -> {names[pair.j]}"
        if edge in edges:
            raise InputError(f"The pair {label} was given twice; expected each ordered pair once.")
        size = size or tuple(pair.confidence_i.shape)
        _check_pair(pair, label, size)
        unit = 2.0 ** round(math.log2(_mean_distance(pair, label)))
        edges.append(edge)
        units.append(unit)
        maps.append(
            (
                _compact(len(maps), pair.points_i, pair.confidence_i, unit),
                _compact(len(maps), pair.points_j, pair.confidence_j, unit),
            )
        )
    if size is None:
        raise InputError("There are no pairs to align; expected at least one pair of photos.")
    return Observations(
        edges=tuple(edges),
        unit=torch.tensor(units, dtype=torch.float64),
        maps=tuple(maps),
        height=size[0],
        width=size[1],
    )


def _check_pair(pair: PairPointmaps, label: str, size: tuple[int, ...]) -> None:
    for role in ("i", "j"):
        points, confidence = getattr(pair, f"points_{role}"), getattr(pair, f"confidence_{role}")
        check_shape(f"The confidence_{role} of pair {label}", confidence, *size)
        check_shape(f"The points_{role} of pair {label}", points, *size, 3)
        if not bool((confidence >= 1).all()):
            raise InputError(
                f"The confidence_{role} of pair {label} falls to {float(confidence.min()):g}; "
                "expected values of at least 1, where 1 means no evidence."
            )


def _mean_distance(pair: PairPointmaps, label: str) -> float:
    """Mean distance from the camera of the first photo's points that have evidence."""
    known = pair.confidence_i > 1
    distance = torch.linalg.vector_norm(pair.points_i, dim=-1)[known]
    mean = float(distance[distance.isfinite()].mean())
    if not mean > 0:  # NaN where there is none
        raise InputError(
            f"The pointmap of {label} says nothing: no finite point of the first photo has a "
            "confidence over 1. Leave this pair out."
        )
    return mean


def _compact(
    pair: int,
    points: Float[Tensor, "height width 3"],
    confidence: Float[Tensor, "height width"],
    unit: float,
) -> CompactMap:
    small = (points.reshape(-1, 3).mT / unit).half()
    weight = confidence.reshape(-1).log()
    # One sum tells whether all are finite, many times faster than looking at each.
    if not math.isfinite(float(small.sum(dtype=torch.float32))):
        finite = small.isfinite().all(0)
        small = torch.where(finite, small, 0)
        weight = torch.where(finite, weight, 0)
    return CompactMap(pair=pair, points=small, weight=weight.half(), evidence=float(weight.mean()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The observations at a few pixels of each photo, the same in all of its maps.

    A map is one *observation* of its photo: pair e gives the observations 2e (of i) and 2e + 1.
    """

    pixels: Float[Tensor, "view sample 2"]
    """(x, y), pixel centres at +0.5."""
    points: Float[Tensor, "observation sample 3"]
    """As in `CompactMap.points`."""
    weights: Float[Tensor, "observation sample"]
    """Share of each point in the objective: the sum of weight times distance over all of them
    estimates its value."""
    view: Int[Tensor, " observation"]
    """Photo of each observation."""

    @property
    def pair(self) -> Int[Tensor, " observation"]:
        """Pair of each observation."""
        return torch.arange(len(self.view)) // 2


def draw_samples(observations: Observations, views: int, count: int, seed: int) -> Samples:
    """Choose `count` pixels per photo among those with evidence, spread evenly over the photo."""
    generator = torch.Generator().manual_seed(seed)
    total = observations.width * observations.height
    edges = observations.edges
    points: list[Tensor] = [torch.empty(0)] * (2 * len(edges))
    weights = list(points)
    chosen = torch.empty(views, count, dtype=torch.long)
    for view in range(views):
        roles = [(e, edge.index(view)) for e, edge in enumerate(edges) if view in edge]
        maps = [observations.maps[e][role] for e, role in roles]
        seen = maps[0].weight > 0
        for one in maps[1:]:
            seen |= one.weight > 0
        known = seen.nonzero()[:, 0]
        # One random pixel of each of `count` equal stretches of the raster scan: a photo's errors
        # are smooth, and even samples know them better than independent ones.
        place = (torch.arange(count) + torch.rand(count, generator=generator)) * len(known) / count
        index = known[place.long().clamp_max(len(known) - 1)]
        chosen[view] = index
        share = len(known) / (count * total * len(edges))
        for (e, role), one in zip(roles, maps, strict=True):
            points[2 * e + role] = one.points[:, index].mT.float()
            weights[2 * e + role] = one.weight[index].float() * share
    pixels = torch.stack([chosen % observations.width, chosen // observations.width], dim=-1)
    return Samples(
        pixels=pixels + 0.5,
        points=torch.stack(points),
        weights=torch.stack(weights),
        view=torch.tensor(edges).reshape(-1),
    )
