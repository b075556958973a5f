"""What every Gaussian rasterizer is."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


class Rasterized(NamedTuple):
    """What a rasterizer returns, per view."""

    colour: Float[Tensor, "view height width 3"]
    """Blended colour over the background."""
    alpha: Float[Tensor, "view height width"]
    """Accumulated opacity in [0, 1)."""
    depth: Float[Tensor, "view height width"]
    """Expected z-depth: sum of weight times z, divided by alpha; 0 where alpha is 0."""


@runtime_checkable
class Rasterizer(Protocol):
    """Draws Gaussians; differentiable in every tensor, `viewmats` and `background` included.

    Shared by all backends: alpha is clamped at 0.999, contributions under 1/255 are skipped, a
    pixel ends once its transmittance falls to 1e-4; projection is the EWA approximation of 3D
    Gaussian Splatting with `eps2d` added to the screen covariance.
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
        """Rasterize.

        Args:
            means: World-space centres.
            quats: Rotations wxyz, normalised inside.
            scales: Standard deviations, linear.
            opacities: In [0, 1].
            colors: Per view, since spherical harmonics are evaluated outside (`ops/sh.py`).
            viewmats: World to camera, OpenCV axes.
            Ks: Intrinsics in pixels, centres at +0.5.
            width: Pixels.
            height: Pixels.
            near: Gaussians with z below this are skipped; world units.
            eps2d: Added to the screen covariance's diagonal, square pixels.
            antialiased: Scale opacity down by the screen area that `eps2d` adds (Mip-Splatting).
            background: Shown where alpha is below 1; None is black.
        """
        ...
