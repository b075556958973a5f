"""Align a stream of pairs: the one function that callers need, its options and its result."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ...checks import check_range
from ...progress import Progress, SilentProgress
from ...types import CameraPrior, Cameras, PairPointmaps
from .cleaning import clean_confidence
from .dense import fuse_view
from .graph import check_links, pair_scores
from .observations import draw_samples, keep_pairs
from .solve import solve
from .start import start_from_tree
from .variables import Known, Variables, complete_prior

BASE_SCALE = 0.5
"""Geometric mean of the pair scales where no prior gives the world's scale: DUSt3R's choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentOptions:
    """How pairs are aligned."""

    shared_focal: bool = False
    """One focal length for all photos whose K is not given: same camera, zoom and resizing."""
    aspect: int | float = 1.0
    """fy / fx of photos whose K is not given: other than 1 where resizing has stretched them."""
    samples: int = 2000
    """Pixels per photo that cameras are solved from."""
    max_steps: int = 30
    """Steps of the solver at most; it stops when the objective settles, mostly after 6 to 12."""
    tolerance: float = 0.03
    """Share of its depth by which a point may stand before another photo's surface unharmed."""
    seed: int = 0
    """Of the samples."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_range("The aspect of pixels", self.aspect, 0.1, 10)
        check_range("The number of samples per photo", self.samples, 100)
        check_range("The number of steps", self.max_steps, 1)
        check_range("The tolerance of depths", self.tolerance, 1e-6, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Cameras and depths of all photos in one world."""

    cameras: Cameras
    """At the pointmaps' resolution. View 0 is the identity unless the prior gives poses."""
    depth: Float[Tensor, "view height width"]
    """z-depth; NaN where no pair saw anything."""
    confidence: Float[Tensor, "view height width"]
    """>= 1: the best of a photo's pairs, less what other photos contradict; 1 without depth."""
    loss: float
    """DUSt3R's objective: mean over pairs and pixels of the sum over both maps of
    log(confidence) times distance, with `BASE_SCALE` or in the given poses' units."""
    pairs: tuple[tuple[int, int], ...]
    """The pairs that were aligned."""
    pair_scales: Float[Tensor, " pair"]
    """World units per unit of each pair's pointmaps."""


def align_pairs(
    pairs: Iterable[PairPointmaps],
    names: Sequence[str],
    *,
    prior: CameraPrior | None = None,
    options: AlignmentOptions | None = None,
    progress: Progress | None = None,
) -> Alignment:
    """Bring pairwise pointmaps into one world (DUSt3R's global alignment, arXiv 2312.14132, eq. 5).

    Robust start along a tree of pairs, second-order steps over pair similarities, poses and focal
    lengths with every depth eliminated, dense depths, and a check of them against each other.

    Args:
        pairs: Read once, from first to last. All maps of one size, each pair in both directions;
            confidence 1 where a photo is padded.
        names: Of all photos, for messages.
        prior: Of the cameras at the pointmaps' resolution. Given poses and focal lengths are held
            fixed, a focal length with a sigma is a soft constraint.
        options: None for the usual ones.
        progress: Who is told once the stream has ended.

    Raises:
        InputError: If a pair or the prior does not fit the rest.
        AlignmentFailed: If the pairs fall into parts, or do not determine a world.
    """
    options, progress = options or AlignmentOptions(), progress or SilentProgress()
    observations = keep_pairs(pairs, names)
    check_links(observations, names)
    width, height = observations.width, observations.height
    known = complete_prior(prior, len(names), width, height, options.aspect)
    samples = draw_samples(observations, len(names), options.samples, options.seed)
    start = start_from_tree(samples, observations.edges, pair_scores(observations), known)
    if options.shared_focal:
        start = _one_focal(start, known)
    task = progress.start("Align pairs", options.max_steps)
    variables = solve(
        samples,
        known,
        start,
        shared_focal=options.shared_focal,
        max_steps=options.max_steps,
        report=task.update,
    )
    task.update(options.max_steps)
    variables = _settle_world(variables, known, observations.unit)
    cameras = known.cameras(variables)
    task = progress.start("Fuse depths", len(names))
    views = []
    for view in range(len(names)):
        task.update(view)
        views.append(fuse_view(observations, cameras, variables, view))
    task.update(len(names))
    depth = torch.stack([view.depth for view in views])
    confidence = torch.stack([view.confidence for view in views])
    linked = {frozenset(edge) for edge in observations.edges}
    judges = [(i, j) for edge in sorted(map(sorted, linked)) for i, j in (edge, edge[::-1])]
    return Alignment(
        cameras=cameras,
        depth=depth,
        confidence=clean_confidence(depth, confidence, cameras, judges, options.tolerance),
        loss=sum(view.loss for view in views) / (len(observations.edges) * depth[0].numel()),
        pairs=observations.edges,
        pair_scales=(variables.pair_scale / observations.unit).float(),
    )


def _one_focal(variables: Variables, known: Known) -> Variables:
    """The solver scales shared focal lengths alike, so they must start as one."""
    free = known.focal_sigma > 0
    focal = variables.focal.clone()
    focal[free] = focal[free].log().mean().exp()
    return replace(variables, focal=focal)


def _settle_world(variables: Variables, known: Known, unit: Float[Tensor, " pair"]) -> Variables:
    """Give the world the scale and the origin that nothing has decided on."""
    if known.fixes_scale:
        return variables
    scale = BASE_SCALE / math.exp(float((variables.pair_scale / unit).log().mean()))
    if known.pose.any():
        # Scaling about the given centre leaves it where it is.
        center = variables.center[int(known.pose.nonzero()[0, 0])]
        turn, shift = torch.eye(3, dtype=torch.float64), (1 - scale) * center
    else:
        turn = variables.rotation[0].mT
        shift = -scale * turn @ variables.center[0]
    return variables.transformed(scale, turn, shift)
