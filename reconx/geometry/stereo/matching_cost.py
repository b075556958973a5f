"""How well a slanted plane at a pixel explains the other views: bilateral ZNCC and reprojection."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ...ops.projection import pixel_centres
from .matcher import (
    CONTRAST,
    GEOMETRIC_LIMIT_PX,
    GEOMETRIC_WEIGHT,
    NEARNESS_PX,
    NOISE_VARIANCE,
    RADIUS,
    RIVAL_PX,
    UNSEEN_COST,
    StereoView,
    make_warp,
)

_PIXELS_PER_CHUNK = 16384  # keeps the samples of a chunk in a CPU's cache: twice as fast as at once


class MatchingCost:
    """Judges planes at every pixel of one reference view. Lower is better; 0 is perfect."""

    def __init__(self, reference: StereoView, sources: list[StereoView]) -> None:
        """Prepare the reference's windows and the warps to the sources."""
        device = reference.grey.device
        self.sources = sources
        self.warps = [make_warp(reference, source) for source in sources]
        self.backs = [make_warp(source, reference) for source in sources]
        height, width = reference.grey.shape
        self.pixels = pixel_centres(width, height, device=device).reshape(-1, 2)
        steps = torch.arange(-RADIUS, RADIUS + 1, 2, dtype=torch.float32, device=device)
        self._offsets = torch.cartesian_prod(steps, steps)
        self._basis = functional.pad(self._offsets, (1, 0), value=1.0)
        self._weight, self._detail, self._variance = self._prepare_windows(reference)

    def __call__(
        self,
        planes: Float[Tensor, "3 pixel"],
        source_inverse_depths: list[Float[Tensor, "h w"]] | None = None,
    ) -> Float[Tensor, " pixel"]:
        """Mean cost of the best half of the sources: the others may be occluded.

        Args:
            planes: Inverse depth at each pixel and its slopes.
            source_inverse_depths: If given, a hypothesis also pays for not meeting, in a source's
                own depth map, a point that leads back to its pixel (Schoenberger et al. 2016).
        """
        costs = 1 - self.correlations(planes)
        if source_inverse_depths is not None:
            errors, _ = self.round_trips(planes[0], source_inverse_depths)
            costs += errors.clamp(max=GEOMETRIC_LIMIT_PX) * (GEOMETRIC_WEIGHT / GEOMETRIC_LIMIT_PX)
        costs = torch.where(costs.isnan(), UNSEEN_COST, costs)
        best = math.ceil(len(costs) / 2)
        if best == 1:
            return costs.amin(dim=0)
        return costs.sort(dim=0).values[:best].mean(dim=0)

    def correlations(self, planes: Float[Tensor, "3 pixel"]) -> Float[Tensor, "source pixel"]:
        """Bilateral ZNCC with each source, in [-1, 1]; NaN where it cannot be seen there."""
        chunk = _PIXELS_PER_CHUNK if planes.device.type == "cpu" else planes.shape[1]
        parts = [
            torch.stack(
                [
                    self._correlate(s, slice(k, k + chunk), planes[:, k : k + chunk])
                    for s in range(len(self.sources))
                ]
            )
            for k in range(0, planes.shape[1], chunk)
        ]
        return torch.cat(parts, dim=1)

    def margins(
        self, planes: Float[Tensor, "3 pixel"], correlations: Float[Tensor, "source pixel"]
    ) -> Float[Tensor, "source pixel"]:
        """By how much planes correlate better than those `RIVAL_PX` nearer and farther."""
        margins = []
        for source, (warp, own) in enumerate(zip(self.warps, correlations, strict=True)):
            offset = RIVAL_PX / warp.motion(*warp(self.pixels, planes[0])).clamp_min(1e-12)
            rivals = [
                self.correlations(torch.cat([planes[:1] + sign * offset, planes[1:]]))[source]
                for sign in (1, -1)
            ]
            best = torch.stack(rivals).nan_to_num(nan=-1.0).amax(0)  # unseen: no rival
            margins.append(own - best)
        return torch.stack(margins)

    def round_trips(
        self, inverse_depth: Float[Tensor, " pixel"], sources: list[Float[Tensor, "h w"]]
    ) -> tuple[Float[Tensor, "source pixel"], Float[Tensor, "source pixel"]]:
        """How far each pixel lands from itself after a trip to a source and back.

        The way back starts from the source's own depth.

        Returns:
            The distance in pixels and the relative difference in depth; NaN where unseen.
        """
        misses, differences = [], []
        for warp, back, other in zip(self.warps, self.backs, sources, strict=True):
            there, ratio = warp(self.pixels, inverse_depth)
            size = torch.tensor([other.shape[1], other.shape[0]], device=other.device)
            grid = (2 * there / size - 1)[None, None]
            found = functional.grid_sample(
                other[None, None], grid, mode="nearest", padding_mode="border", align_corners=False
            )[0, 0, 0]
            home, ratio_home = back(there, found)
            seen = ((there >= 0) & (there < size)).all(-1) & (ratio > 1e-6) & (ratio_home > 1e-6)
            miss = (home - self.pixels).norm(dim=-1)
            difference = (ratio_home / found * inverse_depth - 1).abs()
            misses.append(torch.where(seen, miss, torch.nan))
            differences.append(torch.where(seen, difference, torch.nan))
        return torch.stack(misses), torch.stack(differences)

    def _prepare_windows(
        self, reference: StereoView
    ) -> tuple[
        Float[Tensor, "sample pixel"], Float[Tensor, "sample pixel"], Float[Tensor, " pixel"]
    ]:
        """Normalised bilateral weights, weighted deviations from the mean, and the variance.

        Invalid pixels have no weight; where the centre is invalid the variance is NaN, and so is
        then every correlation.
        """
        height, width = reference.grey.shape
        grey, image = reference.grey, reference.image
        samples, weights = [], []
        grey_padded = functional.pad(grey[None, None], (RADIUS,) * 4, mode="replicate")[0, 0]
        padded = functional.pad(image.permute(2, 0, 1)[None], (RADIUS,) * 4, mode="replicate")[0]
        for x, y in self._offsets.long().tolist():
            rows = slice(RADIUS + y, RADIUS + y + height)
            columns = slice(RADIUS + x, RADIUS + x + width)
            contrast = (padded[:, rows, columns].permute(1, 2, 0) - image).abs().mean(-1)
            near = math.exp(-(x * x + y * y) / (2 * NEARNESS_PX**2))
            sample = grey_padded[rows, columns]
            known = sample.isfinite()
            weights.append((torch.exp(-contrast / CONTRAST) * near * known).flatten())
            samples.append(torch.where(known, sample, 0).flatten())
        weight, sample = torch.stack(weights), torch.stack(samples)
        weight /= weight.sum(0).clamp_min(1e-9)
        deviation = sample - (weight * sample).sum(0)
        variance = (weight * deviation.square()).sum(0)
        variance = torch.where(grey.flatten().isfinite(), variance, torch.nan)
        return weight, weight * deviation, variance

    def _correlate(
        self, source: int, chunk: slice, planes: Float[Tensor, "3 p"]
    ) -> Float[Tensor, " p"]:
        """ZNCC with one source of some pixels, whose windows are warped to first order."""
        warp, view = self.warps[source], self.sources[source]
        height, width = view.grey.shape
        there, ratio = warp(self.pixels[chunk], planes[0])
        safe = ratio.clamp_min(1e-6)
        size = torch.tensor([width, height], dtype=torch.float32, device=planes.device)
        # d(pixel there) / d(pixel here) along the plane: the quotient rule on the warp.
        rows = [2 * there / size - 1]
        for axis in range(2):
            slope = warp.matrix[:, axis] + planes[1 + axis, :, None] * warp.shift
            rows.append((slope[:, :2] - there * slope[:, 2:]) / safe[:, None] * (2 / size))
        grid = (self._basis @ torch.stack(rows).flatten(1)).view(1, len(self._basis), -1, 2)
        sample = functional.grid_sample(
            view.grey[None, None],
            grid,
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )[0, 0]
        weighted = self._weight[:, chunk] * sample
        mean = weighted.sum(0)
        variance = ((weighted * sample).sum(0) - mean.square()).clamp_min(0)
        covariance = (self._detail[:, chunk] * sample).sum(0)
        scale = (self._variance[chunk] + NOISE_VARIANCE) * (variance + NOISE_VARIANCE)
        seen = ((there >= 0) & (there < size)).all(-1) & (ratio > 1e-6)
        return torch.where(seen, covariance * scale.rsqrt(), torch.nan)
