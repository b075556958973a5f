"""Gaussians that nobody sees, put where there is something to see.

After *3D Gaussian Splatting as Markov Chain Monte Carlo* (Kheradmand et al., NeurIPS 2024): no
Gaussian is split or pruned, so their number stays. Plain torch, any device.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

DEAD = 0.005
"""Opacity at and below which a Gaussian is worth more elsewhere."""
MOST_COPIES = 51
"""Gaussians that may come to stand in one place."""
NOISE = 1.0
"""Noise of nearly transparent Gaussians, in steps of their means; others feel none."""
_STEEPNESS = 100.0


def choose_sources(
    opacities: Float[Tensor, " n"], generator: torch.Generator
) -> tuple[Int[Tensor, " dead"], Int[Tensor, " dead"]]:
    """Which Gaussians are dead, and beside which living one each shall stand.

    Args:
        opacities: In [0, 1].
        generator: On the CPU; draws sources in proportion to their opacity.

    Returns:
        Indices of the dead and of their sources; both empty if none is dead or none lives.
    """
    dead = (opacities <= DEAD).cpu()
    chances = torch.where(dead, 0.0, opacities.detach().cpu())
    places = dead.nonzero()[:, 0]
    if not dead.any() or dead.all():
        return places[:0], places[:0]
    sources = torch.multinomial(chances, len(places), replacement=True, generator=generator)
    # A source that came up too often keeps its first copies; the other dead stay where they are.
    order = torch.argsort(sources, stable=True)
    rank = torch.empty_like(order)
    first = torch.searchsorted(sources[order], sources[order])
    rank[order] = torch.arange(len(order)) - first
    kept = rank < MOST_COPIES - 1
    return places[kept], sources[kept]


def share_among(
    opacities: Float[Tensor, " n"], scales: Float[Tensor, "n 3"], copies: Int[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
    """Opacity and scales of each of `copies` Gaussians that together look like one (eq. 9).

    `1 - (1 - o')^N = o` keeps the opacity of the centre; the scales shrink so that the integral
    along a ray stays. The paper's double sum over binomials is a single one by the hockey-stick
    identity.

    Args:
        opacities: Of the one, in (0, 1).
        scales: Of the one.
        copies: How many will stand there, 1 to `MOST_COPIES`.
    """
    # The terms alternate and are large: double precision, which not every device has.
    opacity, count = opacities.detach().cpu().double(), copies.cpu().double()
    opacity = opacity.clamp(max=1 - 1e-6)
    each = -torch.expm1(torch.log1p(-opacity) / count)
    k = torch.arange(1, MOST_COPIES + 1, dtype=torch.float64)
    n, k = count[:, None], k[None]
    inside = k <= n
    logs = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma((n - k).clamp_min(0) + 1)
    terms = torch.exp(logs + k * each.log()[:, None]) * torch.where(k % 2 == 1, 1.0, -1.0)
    total = torch.where(inside, terms / k.sqrt(), 0.0).sum(1)
    shrink = (opacity / total).to(scales)
    return each.to(opacities), scales * shrink[:, None]


def offset_noise(
    opacities: Float[Tensor, " n"], rate: float, generator: torch.Generator
) -> Float[Tensor, "n 3"]:
    """Random steps of means, in each Gaussian's own axes and standard deviations (eq. 8).

    Args:
        opacities: In [0, 1]; from some `DEAD` times ten on, nothing moves.
        rate: Learning rate of the means.
        generator: On the CPU.
    """
    noise = torch.randn(len(opacities), 3, generator=generator).to(opacities)
    gate = torch.sigmoid(_STEEPNESS * (DEAD - opacities))
    return NOISE * rate * gate[:, None] * noise
