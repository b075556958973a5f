"""How much brighter one photo is than the others, told by the points that they share."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...ops.image import luminance
from ...ops.projection import sample_image
from ...types import Photos
from .sparse import SparseReconstruction

MIN_POINTS = 30
"""Points that two photos must share before their brightness is compared."""
USABLE = (0.03, 0.97)
"""Luminance outside was clipped, and tells no exposure."""
UNEVEN_STOPS = 0.5
"""From here on a seam between photos is seen."""


def measure_exposures(photos: Photos, sparse: SparseReconstruction) -> Float[Tensor, " view"]:
    """Stops by which each photo is brighter than the middle one; NaN where nothing tells.

    Pairs of photos are compared by the median over their common points, which shadows, gloss and
    false matches do not move; least squares makes one number per photo of all pairs.

    Args:
        photos: Those that joined, in the reconstruction's order, as loaded.
        sparse: Points and where they were seen.
    """
    views = len(photos)
    light = torch.full((views, len(sparse.points)), torch.nan, dtype=torch.float64)
    light[sparse.observed_view, sparse.observed_point] = _observed_light(photos, sparse)
    rows, stops = [], []
    for i in range(views):
        for j in range(i + 1, views):
            ratio = light[i] - light[j]
            ratio = ratio[ratio.isfinite()]
            if len(ratio) >= MIN_POINTS:
                rows.append(torch.eye(views, dtype=torch.float64)[i] - torch.eye(views)[j])
                stops.append(ratio.median())
    exposures = torch.full((views,), torch.nan)
    if rows:
        system = torch.stack(rows)
        wanted = torch.stack(stops)
        found = torch.from_numpy(np.linalg.lstsq(system.numpy(), wanted.numpy(), rcond=None)[0])
        compared = system.any(dim=0)
        exposures[compared] = (found[compared] - found[compared].median()).float()
    return exposures


def describe_exposures(photos: Photos, exposures: Float[Tensor, " view"]) -> tuple[str, ...]:
    """A warning for each photo whose exposure is its own."""
    return tuple(
        f"{name} is {abs(stops):.1f} stops {'brighter' if stops > 0 else 'darker'} than the other "
        "photos, so that surfaces get colours in between. Photograph with one exposure for all, or "
        "even the photos out before."
        for name, stops in zip(photos.names, exposures.tolist(), strict=True)
        if abs(stops) >= UNEVEN_STOPS
    )


def _observed_light(photos: Photos, sparse: SparseReconstruction) -> Float[Tensor, " observation"]:
    """Stops of linear light at each observation; NaN where the photo is nearly black or white."""
    found = torch.full((len(sparse.observed_view),), torch.nan, dtype=torch.float64)
    for view in range(len(photos)):
        mine = sparse.observed_view == view
        grey = luminance(photos.images[view])[..., None]
        value = sample_image(grey, sparse.observed_pixel[mine])[:, 0].double()
        usable = (value > USABLE[0]) & (value < USABLE[1])
        # sRGB to linear (IEC 61966-2-1); its straight part lies below what is usable.
        stops = torch.log2(((value + 0.055) / 1.055) ** 2.4)
        found[mine] = torch.where(usable, stops, torch.nan)
    return found
