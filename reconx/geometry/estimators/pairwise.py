"""What every pairwise model is, and how its pointmaps stream to whoever aligns them.

A pairwise model reads each photo once and then says of two photos where their points lie. Owns no
choice of pairs (`pairs.py`) and no alignment.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import InputError
from ...ops.photos import fit_size, resize_photos
from ...progress import Progress
from ...types import PairPointmaps, Photos

MEMORY_MB = 4000.0
"""What a batch may take on the model's device, beside the model and the photos' features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoFeatures:
    """What a model keeps of each photo it has read, on the model's device."""

    tokens: Float[Tensor, "photo token channel"]
    """One per patch, row by row."""
    rows: int
    """Patches from top to bottom."""
    columns: int
    """Patches from left to right."""

    def __len__(self) -> int:
        """Count the photos."""
        return len(self.tokens)

    def __getitem__(self, index: Sequence[int]) -> "PhotoFeatures":
        """Select photos."""
        return replace(self, tokens=self.tokens[list(index)])


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedPairs:
    """What a model says of a batch of pairs; fields as in `PairPointmaps`, on the CPU."""

    points_i: Float[Tensor, "pair height width 3"]
    points_j: Float[Tensor, "pair height width 3"]
    confidence_i: Float[Tensor, "pair height width"]
    confidence_j: Float[Tensor, "pair height width"]


@runtime_checkable
class PairwiseModel(Protocol):
    """DUSt3R and its kin."""

    long_side: int
    """Long side in pixels of the photos on which the model was trained."""
    multiple: int
    """Both sides of a photo are multiples of it."""

    def encode(self, images: Float[Tensor, "photo height width 3"]) -> PhotoFeatures:
        """Read photos: sRGB in [0, 1]."""
        ...

    def decode(self, first: PhotoFeatures, second: PhotoFeatures) -> DecodedPairs:
        """Point of each pixel of both photos of each pair, in the first photo's camera.

        Entry (row, column) belongs to the photo's pixel whose centre is (column + 0.5, row + 0.5).
        """
        ...

    def batch_megabytes(self, width: int, height: int) -> float:
        """Memory that one more pair of a batch takes, 1e6 bytes; reading a photo takes less."""
        ...


def fit_photos(model: PairwiseModel, photos: Photos, long_side: int | None = None) -> Photos:
    """Photos as a model reads them: never enlarged, each side rounded to the model's multiple.

    Rounding stretches by at most half a multiple; K and `to_original` follow, so pixels that were
    square may no longer be. All pixel centres lie at +0.5 before and after.

    Args:
        model: Who will read them.
        photos: At any resolution.
        long_side: In pixels; by default that of the model's training.
    """
    long_side = model.long_side if long_side is None else long_side
    return resize_photos(photos, *fit_size(photos.width, photos.height, long_side, model.multiple))


def encode_photos(
    model: PairwiseModel, photos: Photos, progress: Progress, memory_mb: int | float = MEMORY_MB
) -> PhotoFeatures:
    """Read every photo once.

    Args:
        model: Who reads.
        photos: As `fit_photos` makes them.
        progress: Told after every batch; may raise to cancel.
        memory_mb: What a batch may take.

    Raises:
        InputError: If the photos' sides are no multiples of the model's.
    """
    if photos.width % model.multiple or photos.height % model.multiple:
        raise InputError(
            f"Photos of {photos.width} x {photos.height} pixels cannot be read: both sides must be "
            f"multiples of {model.multiple}. Resize them with fit_photos."
        )
    size = _batch_size(model, photos, memory_mb)
    task = progress.start("reading photos", len(photos))
    parts = []
    for start in range(0, len(photos), size):
        parts.append(model.encode(photos.images[start : start + size]))
        task.update(min(start + size, len(photos)))
    return replace(parts[0], tokens=torch.cat([part.tokens for part in parts]))


def photo_likeness(features: PhotoFeatures) -> Float[Tensor, "photo photo"]:
    """How alike photos look: cosine of their mean tokens, in [-1, 1]."""
    means = torch.nn.functional.normalize(features.tokens.float().mean(1), dim=-1)
    return (means @ means.mT).cpu()


def pair_pointmaps(
    model: PairwiseModel,
    photos: Photos,
    features: PhotoFeatures,
    pairs: Sequence[tuple[int, int]],
    progress: Progress,
    *,
    memory_mb: int | float = MEMORY_MB,
) -> Iterator[PairPointmaps]:
    """Pointmaps of ordered pairs, one batch at a time; nothing is kept of those handed out.

    Args:
        model: Who decodes.
        photos: As `fit_photos` makes them. Where they are not valid, confidence is 1.
        features: Of all of them, from `encode_photos`.
        pairs: Indices of photos (i, j): the frame is camera i's.
        progress: Told after every pair; may raise to cancel. On a CPU one pair takes seconds, so a
            face that wants to cancel sooner runs all under `run_interruptibly`.
        memory_mb: What a batch may take on the model's device.

    Yields:
        Pairs in the given order, at the photos' size.

    Raises:
        InputError: If a point is not finite, as half precision may bring about.
    """
    size = _batch_size(model, photos, memory_mb)
    task = progress.start("matching pairs", len(pairs))
    for start in range(0, len(pairs), size):
        batch = pairs[start : start + size]
        decoded = model.decode(features[[i for i, _ in batch]], features[[j for _, j in batch]])
        for place, (i, j) in enumerate(batch):
            pair = PairPointmaps(
                i=i,
                j=j,
                points_i=decoded.points_i[place],
                points_j=decoded.points_j[place],
                confidence_i=decoded.confidence_i[place].where(photos.valid[i], 1.0),
                confidence_j=decoded.confidence_j[place].where(photos.valid[j], 1.0),
            )
            _check_finite(pair, photos)
            yield pair
            task.update(start + place + 1)


def _batch_size(model: PairwiseModel, photos: Photos, memory_mb: int | float) -> int:
    return max(1, int(memory_mb / model.batch_megabytes(photos.width, photos.height)))


def _check_finite(pair: PairPointmaps, photos: Photos) -> None:
    # Sums carry every NaN and infinity on, and cost a fraction of looking at each number.
    parts = (pair.points_i, pair.points_j, pair.confidence_i, pair.confidence_j)
    if not all(bool(part.sum(dtype=torch.float64).isfinite()) for part in parts):
        raise InputError(
            f"The model gave points that are not finite for '{photos.names[pair.i]}' and "
            f"'{photos.names[pair.j]}'. Load it with dtype bfloat16 or float32 instead of float16."
        )
