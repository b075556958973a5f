"""What keeps Gaussians from growing where no picture asks for it."""

from jaxtyping import Float
from torch import Tensor


def shape_penalty(
    opacities: Float[Tensor, " n"], growth: Float[Tensor, "n 3"], opacity: float, scale: float
) -> Float[Tensor, ""]:
    """Opacities and sizes of all Gaussians, weighted: what nobody needs shall fade and shrink.

    After 3D Gaussian Splatting as Markov Chain Monte Carlo (Kheradmand et al. 2024, eq. 10), whose
    sizes are in units of the scene; here they are shares of the size that each was placed with.

    Args:
        opacities: In [0, 1].
        growth: Standard deviation along each axis over the one it started with.
        opacity: Weight of the mean opacity.
        scale: Weight of the mean growth.
    """
    return opacity * opacities.mean() + scale * growth.mean()
