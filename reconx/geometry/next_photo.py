"""What to photograph next: where the overlap of the photos is weakest, and what would mend it.

Says only what was measured: which photos hang together by little, stand too close or too far apart,
and which parts of a photo no other one shows.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ..types import ALL_WELL, NextPhoto, Overlap, Scene

NEIGHBOURS = 4
"""Photos told of for each photo: those that share most with it."""
MOST = 3
"""Photos suggested at once: the next look at the overlap tells more."""
WEAK_SHARE = 0.5
"""Photos that share less hang together by little."""
NARROW_DEGREES, WIDE_DEGREES = 5.0, 35.0
"""Between neighbours: below, depth is uncertain; above, surfaces look too different to match."""
LONE_SHARE = 0.6
"""A part of a photo of which more is shown by no other is worth a photo of its own."""
LEAST_SHARE = 0.05
"""Photos that share less are no neighbours; a third of a photo with less points is none."""


def suggest_photos(scene: Scene, overlap: Overlap) -> tuple[NextPhoto, ...]:
    """At most `MOST` photos that would help, the most needed first; none where all is well.

    What holds the photos together comes first, then their depth, then what only one of them shows.
    """
    links = _between_photos(scene, overlap)
    return tuple([*links, *_beside_narrow(scene, overlap), *_of_lone_parts(scene, overlap)][:MOST])


def describe_overlap(scene: Scene, overlap: Overlap) -> str:
    """What each photo shares with its neighbours, then what to photograph next, a line each."""
    names = scene.photos.names
    lines = []
    for photo, name in enumerate(names):
        neighbours = [
            f"{names[other]} {100 * float(overlap.mutual[photo, other]):.0f} % "
            f"at {float(overlap.angle_degrees[photo, other]):.0f} degrees"
            for other in neighbours_of(overlap, photo)[:NEIGHBOURS]
        ]
        lines.append(f"{name} shares with {', '.join(neighbours) or 'no other'}")
    suggested = [photo.text for photo in suggest_photos(scene, overlap)]
    return "\n".join(lines + ["What to photograph next:", *(suggested or [ALL_WELL])])


def strongest_links(overlap: Overlap) -> tuple[tuple[int, int], ...]:
    """The pairs that hold the photos together best, the weakest of them first.

    The spanning tree of greatest mutual overlap (Prim 1957): no other way between the photos has a
    stronger weakest link. Pairs that share nothing are left out.
    """
    mutual = overlap.mutual
    joined, links = [0], []
    while len(joined) < len(mutual):
        left = [view for view in range(len(mutual)) if view not in joined]
        best = int(mutual[joined][:, left].argmax())
        i, j = joined[best // len(left)], left[best % len(left)]
        joined.append(j)
        if mutual[i, j] > 0:
            links.append((min(i, j), max(i, j)))
    return tuple(sorted(links, key=lambda link: float(mutual[link])))


def neighbours_of(overlap: Overlap, photo: int) -> tuple[int, ...]:
    """The photos that share something with one, the one that shares most first."""
    shares = overlap.mutual[photo].clone()
    shares[photo] = 0
    order = shares.argsort(descending=True, stable=True)
    return tuple(int(other) for other in order if shares[other] >= LEAST_SHARE)


def _between_photos(scene: Scene, overlap: Overlap) -> list[NextPhoto]:
    """One photo halfway along each link that is weak or wide."""
    found = []
    for link in strongest_links(overlap):
        share, angle = float(overlap.mutual[link]), float(overlap.angle_degrees[link])
        if share >= WEAK_SHARE and angle <= WIDE_DEGREES:
            continue
        first, second = (scene.photos.names[view] for view in link)
        text = (
            f"Between {first} and {second}, which share {100 * share:.0f} % of what they show and "
            f"stand {angle:.0f} degrees apart: take one more from halfway, {angle / 2:.0f} degrees "
            "to the side of either."
        )
        center = _halfway(scene, overlap, link)
        found.append(NextPhoto(photos=(first, second), center=center, text=text))
    return found


def _halfway(scene: Scene, overlap: Overlap, link: tuple[int, int]) -> Float[Tensor, "3"]:
    """The place between two cameras that is as far from what both show as they are."""
    middle = overlap.middle[link]
    offsets = scene.cameras.centers[list(link)] - middle
    direction = functional.normalize(functional.normalize(offsets, dim=1).sum(dim=0), dim=0)
    return middle + direction * offsets.norm(dim=1).mean()


def _beside_narrow(scene: Scene, overlap: Overlap) -> list[NextPhoto]:
    """One photo beside each that no neighbour sees from enough to the side."""
    found = []
    for photo, name in enumerate(scene.photos.names):
        neighbours = list(neighbours_of(overlap, photo))
        widest = float(overlap.angle_degrees[photo, neighbours].max()) if neighbours else math.nan
        if not widest < NARROW_DEGREES:
            continue
        text = (
            f"Beside {name}, whose depth is uncertain as its neighbours stand at most "
            f"{widest:.1f} degrees apart from it: take one more of the same, "
            f"{NARROW_DEGREES:.0f} to {WIDE_DEGREES:.0f} degrees to the side."
        )
        found.append(NextPhoto(photos=(name,), center=None, text=text))
    return found


def _of_lone_parts(scene: Scene, overlap: Overlap) -> list[NextPhoto]:
    """One photo of what only one photo shows, for each that has such a part, largest first."""
    found = []
    for photo, name in enumerate(scene.photos.names):
        parts, lone = _lone_thirds(overlap, photo)
        if not parts:
            continue
        text = (
            f"Beside {name}, of whose {' and '.join(parts)} third{'s' if len(parts) > 1 else ''} "
            f"no other photo shows {100 * lone:.0f} %, so that nothing confirms its depth: take "
            "one more with that in view, a step to the side."
        )
        found.append((lone * len(parts), NextPhoto(photos=(name,), center=None, text=text)))
    return [photo for _, photo in sorted(found, key=lambda item: -item[0])]


def _lone_thirds(overlap: Overlap, photo: int) -> tuple[list[str], float]:
    """Which thirds of a photo no other one shows, and how much of them."""
    witnesses = overlap.witnesses[photo]
    columns = (witnesses > 0).any(dim=0).nonzero()[:, 0]
    names, lone, total = [], 0, 0
    for name, part in zip(("left", "middle", "right"), torch.tensor_split(columns, 3), strict=True):
        shown = int((witnesses[:, part] > 0).sum())
        alone = int((witnesses[:, part] == 1).sum())
        if shown > LEAST_SHARE * witnesses.numel() and alone > LONE_SHARE * shown:
            names, lone, total = [*names, name], lone + alone, total + shown
    return names, lone / max(1, total)
