"""Rasterizer in plain torch: every device and dtype; in float64 the reference of the others.

Projection is left to autograd. Blending is one autograd function with its own backward, which
recomputes the weights instead of keeping them: memory is bounded by a chunk's size, not by the
number of (Gaussian, pixel) pairs. Within a tile the exponent is a matrix product,
sigma = basis(pixel) @ coefficients(Gaussian), and so are the moments that its backward needs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...ops.projection import world_to_camera
from ...ops.quaternion import quaternion_to_matrix
from .base import Rasterized
from .compose import (
    ALPHA_MAX,
    ALPHA_MIN,
    CLAMP_MARGIN,
    TRANSMITTANCE_MIN,
    check_scene,
    finish_pictures,
)

TILE = 8
"""Tile edge in pixels."""
LAYER = 256
"""Gaussians of one tile that are blended at once."""
CPU_CHUNK, GPU_CHUNK = 1_000_000, 16_000_000
"""(Gaussian, pixel) pairs that are blended at once. A GPU takes longer to start kernels than to
blend a million: on an H100, 16 are 7 times as fast, for 0.9 GB more."""


class TorchTileRasterizer:
    """The `Rasterizer` protocol in plain torch.

    Deterministic on the CPU. On CUDA the sums of the backward pass depend on the order of
    additions unless `torch.use_deterministic_algorithms(True)` is set.
    """

    def __call__(
        self,
        means: Float[Tensor, "n 3"],
        quats: Float[Tensor, "n 4"],
        scales: Float[Tensor, "n 3"],
        opacities: Float[Tensor, " n"],
        colors: Float[Tensor, "view n 3"],
        viewmats: Float[Tensor, "view 4 4"],
        Ks: Float[Tensor, "view 3 3"],
        width: int,
        height: int,
        *,
        near: float = 0.01,
        eps2d: float = 0.3,
        antialiased: bool = False,
        background: Float[Tensor, "3"] | None = None,
    ) -> Rasterized:
        """Rasterize; see `Rasterizer`.

        Raises:
            InputError: If the tensors do not fit together.
        """
        check_scene(
            means,
            quats,
            scales,
            opacities,
            colors,
            viewmats,
            Ks,
            width,
            height,
            eps2d,
            background,
        )
        axes = quaternion_to_matrix(quats) * scales[:, None, :]
        pictures = [means.new_zeros(0, height, width, 5)]
        for viewmat, K, colour in zip(viewmats, Ks, colors, strict=True):
            flat = _project(means, axes, opacities, viewmat, K, width, height, near, eps2d)
            opacity = flat.opacities if antialiased else opacities
            bins = _bin(flat, opacity.detach(), width, height)
            features = torch.cat([colour, flat.z[:, None], torch.ones_like(colour[:, :1])], dim=1)
            tiles: Tensor = _Blend.apply(flat.means, flat.conics, opacity, features, bins)  # pyright: ignore[reportAssignmentType]
            pictures.append(_from_tiles(tiles, bins)[None, :height, :width])
        return finish_pictures(torch.cat(pictures), background)


class _Flat(NamedTuple):
    """Gaussians on the screen; rows that are not visible hold finite placeholders."""

    means: Float[Tensor, "n 2"]
    conics: Float[Tensor, "n 3"]
    """Inverse screen covariance: xx, xy, yy."""
    z: Float[Tensor, " n"]
    opacities: Float[Tensor, " n"]
    """Scaled down by the screen area that `eps2d` adds (Mip-Splatting, eq. 9)."""
    variances: Float[Tensor, "n 2"]
    """Diagonal of the screen covariance, square pixels."""
    visible: Bool[Tensor, " n"]


def _project(
    means: Float[Tensor, "n 3"],
    axes: Float[Tensor, "n 3 3"],
    opacities: Float[Tensor, " n"],
    viewmat: Float[Tensor, "4 4"],
    K: Float[Tensor, "3 3"],
    width: int,
    height: int,
    near: float,
    eps2d: float,
) -> _Flat:
    """EWA projection (Zwicker et al. 2001) of Gaussians whose scaled axes are `axes`' columns."""
    local = world_to_camera(means, viewmat)
    in_front = local[:, 2] >= near
    z = torch.where(in_front, local[:, 2], 1)
    slopes = local[:, :2] / z[:, None]
    focal, centre = torch.stack([K[0, 0], K[1, 1]]), K[:2, 2]
    with torch.no_grad():
        size = focal.new_tensor([width, height])
        low = (-centre - CLAMP_MARGIN * size) / focal
        high = (size - centre + CLAMP_MARGIN * size) / focal
    # Far outside the image the linearisation explodes; like gsplat, take it at the margin there.
    clamped = torch.minimum(torch.maximum(slopes, low), high)
    rotated = viewmat[:3, :3] @ axes
    rows = (focal / z[:, None])[..., None] * (rotated[:, :2] - clamped[..., None] * rotated[:, 2:])
    variances = rows.square().sum(-1) + eps2d
    covariance = (rows[:, 0] * rows[:, 1]).sum(-1)
    # det(B B^T) = |b0 x b1|^2 (Lagrange): no cancellation, unlike xx * yy - xy * xy.
    area = torch.linalg.vector_norm(torch.linalg.cross(rows[:, 0], rows[:, 1]), dim=-1)
    determinant = area.square() + eps2d * (variances.sum(-1) - eps2d)
    visible = in_front & (determinant > 0)
    determinant = torch.where(visible, determinant, 1)
    conics = torch.stack([variances[:, 1], -covariance, variances[:, 0]], dim=-1)
    return _Flat(
        means=slopes * focal + centre,
        conics=conics / determinant[:, None],
        z=z,
        opacities=opacities * area / determinant.sqrt(),
        variances=variances,
        visible=visible,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bins:
    """Which Gaussians each tile sees, near to far."""

    gaussians: Int[Tensor, " pair"]
    """Indices, tile after tile."""
    counts: Int[Tensor, " tile"]
    """Pairs of each tile."""
    columns: int
    rows: int

    def groups(self) -> Iterator[Int[Tensor, " tile"]]:
        """Tiles of similar counts, as many as fit into one chunk; empty tiles are left out."""
        chunk = CPU_CHUNK if self.counts.device.type == "cpu" else GPU_CHUNK
        counts, order = torch.sort(self.counts, descending=True, stable=True)
        lengths = counts.tolist()
        first = 0
        while first < len(lengths) and lengths[first] > 0:
            depth = min(lengths[first], LAYER)
            last = first + max(1, chunk // (depth * TILE * TILE))
            group = order[first:last]
            yield group[counts[first:last] > 0]
            first = last

    def layers(self, tiles: Int[Tensor, " tile"]) -> Iterator[tuple[Tensor, Tensor]]:
        """(Gaussian index, whether there is one) per tile and slot, near to far."""
        counts = self.counts[tiles, None]
        starts = (self.counts.cumsum(0) - self.counts)[tiles, None]
        longest = int(counts.max())
        for first in range(0, longest, LAYER):
            slots = torch.arange(first, min(first + LAYER, longest), device=counts.device)
            pairs = (starts + slots).clamp_max(len(self.gaussians) - 1)
            yield self.gaussians[pairs], slots < counts


@torch.no_grad()
def _bin(flat: _Flat, opacities: Float[Tensor, " n"], width: int, height: int) -> _Bins:
    """Sort Gaussians into the tiles in which they can reach alpha 1/255."""
    # o exp(-r^2 / 2) = 1/255 bounds r, in standard deviations of the screen Gaussian.
    reach = (2 * torch.log(opacities / ALPHA_MIN).clamp_min(0))[:, None]
    extent = torch.sqrt(reach * flat.variances)
    size = extent.new_tensor([width, height])
    low = (flat.means - extent - 0.5).ceil().clamp_min(0).minimum(size)
    high = ((flat.means + extent - 0.5).floor() + 1).clamp_min(0).minimum(size)
    visible = flat.visible & (high > low).all(-1) & (opacities >= ALPHA_MIN)
    first = (low / TILE).floor().long()
    spans = ((high - 1) / TILE).floor().long() - first + 1
    counts = torch.where(visible, spans.prod(-1), 0)

    columns, rows = -(-width // TILE), -(-height // TILE)
    order = torch.argsort(flat.z, stable=True)
    counts = counts[order]
    gaussians = torch.repeat_interleave(order, counts)
    begins = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    nth = torch.arange(len(gaussians), device=gaussians.device) - begins
    across = spans[gaussians, 0]
    row = first[gaussians, 1] + torch.div(nth, across, rounding_mode="floor")
    tile = row * columns + first[gaussians, 0] + nth % across
    tile, by_tile = torch.sort(tile, stable=True)
    return _Bins(
        gaussians=gaussians[by_tile],
        counts=torch.bincount(tile, minlength=columns * rows),
        columns=columns,
        rows=rows,
    )


def _from_tiles(tiles: Float[Tensor, "tile pixel c"], bins: _Bins) -> Float[Tensor, "h w c"]:
    image = tiles.view(bins.rows, bins.columns, TILE, TILE, -1).transpose(1, 2)
    return image.reshape(bins.rows * TILE, bins.columns * TILE, -1)


class _Layer(NamedTuple):
    """What a layer of Gaussians does in each tile; x, y run from the tile's centre."""

    basis: Float[Tensor, "pixel 6"]
    x: Float[Tensor, "tile slot"]
    y: Float[Tensor, "tile slot"]
    conic: tuple[Tensor, Tensor, Tensor]
    falloff: Float[Tensor, "tile pixel slot"]
    """exp(-sigma)."""
    raw: Float[Tensor, "tile pixel slot"]
    """Opacity times falloff, before clamp and threshold."""
    alpha: Float[Tensor, "tile pixel slot"]
    before: Float[Tensor, "tile pixel slot"]
    """Transmittance in front of each Gaussian."""
    weight: Float[Tensor, "tile pixel slot"]
    left: Float[Tensor, "tile pixel"]
    """Transmittance behind the layer; 0 where the pixel has ended."""


def _blend_layer(
    means: Tensor,
    conics: Tensor,
    opacities: Tensor,
    bins: _Bins,
    tiles: Int[Tensor, " tile"],
    layer: tuple[Tensor, Tensor],
    left: Float[Tensor, "tile pixel"],
) -> _Layer:
    gaussians, present = layer
    half = TILE / 2
    column, row = tiles % bins.columns, torch.div(tiles, bins.columns, rounding_mode="floor")
    x = means[gaussians, 0] - (column * TILE + half)[:, None]
    y = means[gaussians, 1] - (row * TILE + half)[:, None]
    xx, xy, yy = conics[gaussians].unbind(-1)
    steps = torch.arange(TILE, device=means.device, dtype=means.dtype) + 0.5 - half
    v, u = (grid.flatten() for grid in torch.meshgrid(steps, steps, indexing="ij"))
    basis = torch.stack([torch.ones_like(u), u, v, u * u, u * v, v * v], dim=-1)
    at_centre = 0.5 * (xx * x * x + yy * y * y) + xy * x * y
    slope = (-(xx * x + xy * y), -(xy * x + yy * y))
    coefficients = torch.stack([at_centre, *slope, 0.5 * xx, xy, 0.5 * yy], dim=1)
    # In place where nobody needs the old values: half the time goes into touching memory.
    falloff = (basis @ coefficients).clamp_min_(0).neg_().exp_()
    raw = falloff * (opacities[gaussians] * present)[:, None]
    alpha = raw.clamp_max(ALPHA_MAX).masked_fill_(raw < ALPHA_MIN, 0)
    after = torch.cumprod(1 - alpha, dim=-1).mul_(left[..., None])
    ended = after <= TRANSMITTANCE_MIN
    before = torch.cat([left[..., None], after[..., :-1]], dim=-1)
    alpha.masked_fill_(ended, 0)
    return _Layer(
        basis=basis,
        x=x,
        y=y,
        conic=(xx, xy, yy),
        falloff=falloff,
        raw=raw,
        alpha=alpha,
        before=before,
        weight=alpha * before,
        left=after[..., -1].masked_fill(ended[..., -1], 0),
    )


class _Blend(torch.autograd.Function):
    """Front-to-back alpha blending (Kerbl et al. 2023, eq. 3), all tiles of one view."""

    @staticmethod
    def forward(
        ctx: Any, means: Tensor, conics: Tensor, opacities: Tensor, features: Tensor, bins: _Bins
    ) -> Tensor:
        blended = means.new_zeros(len(bins.counts), TILE * TILE, features.shape[1])
        for tiles in bins.groups():
            left = means.new_ones(len(tiles), TILE * TILE)
            total = blended[tiles]
            for layer in bins.layers(tiles):
                part = _blend_layer(means, conics, opacities, bins, tiles, layer, left)
                total += part.weight @ features[layer[0]]
                left = part.left
            blended[tiles] = total
        ctx.bins = bins
        ctx.save_for_backward(means, conics, opacities, features, blended)
        return blended

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor | None, ...]:
        bins: _Bins = ctx.bins
        means, conics, opacities, features, blended = ctx.saved_tensors
        grads = tuple(torch.zeros_like(t) for t in (means, conics, opacities, features))
        for tiles in bins.groups():
            left = means.new_ones(len(tiles), TILE * TILE)
            grad_tiles = grad[tiles]
            # What the Gaussians behind the current one add to the loss: total minus prefix.
            behind = (blended[tiles] * grad_tiles).sum(-1, keepdim=True)
            for layer in bins.layers(tiles):
                part = _blend_layer(means, conics, opacities, bins, tiles, layer, left)
                seen = features[layer[0]]
                own = grad_tiles @ seen.mT
                rest = behind - torch.cumsum(part.weight * own, dim=-1)
                active = (part.alpha > 0) & (part.raw < ALPHA_MAX)
                grad_alpha = (part.before * own - rest / (1 - part.alpha)) * active
                _scatter(grads, layer, part, grad_alpha, part.weight.mT @ grad_tiles)
                left, behind = part.left, rest[..., -1:]
        return (*grads, None)


def _scatter(
    grads: tuple[Tensor, ...],
    layer: tuple[Tensor, Tensor],
    part: _Layer,
    grad_alpha: Float[Tensor, "tile pixel slot"],
    grad_features: Float[Tensor, "tile slot c"],
) -> None:
    """Turn gradients of alpha into those of the Gaussians and add them up."""
    (gaussians, present), (xx, xy, yy) = layer, part.conic
    x, y = part.x, part.y
    # dL/dsigma enters the Gaussian's gradients only through its moments up to second order.
    moments = (-grad_alpha * part.raw).mT @ part.basis
    m0, mx, my, mxx, mxy, myy = moments.unbind(-1)
    dx, dy = x * m0 - mx, y * m0 - my
    grad_means = torch.stack([xx * dx + xy * dy, xy * dx + yy * dy], dim=-1)
    grad_conics = torch.stack(
        [
            0.5 * (x * x * m0 - 2 * x * mx + mxx),
            x * y * m0 - y * mx - x * my + mxy,
            0.5 * (y * y * m0 - 2 * y * my + myy),
        ],
        dim=-1,
    )
    grad_opacities = (grad_alpha * part.falloff).sum(1) * present
    parts = (grad_means, grad_conics, grad_opacities, grad_features)
    for total, addition in zip(grads, parts, strict=True):
        total.index_add_(0, gaussians.flatten(), addition.flatten(0, 1))
