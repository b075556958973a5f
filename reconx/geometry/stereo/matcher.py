"""What dense stereo asks of whoever finds and judges planes, and who can.

A plane is an inverse depth that is affine in the pixel: value, slope in x, slope in y (per pixel).
Every plane of 3D space has this form, and a homography carries it into another view. Both matchers
share this file's constants, so that they mean the same by a cost.
"""

import logging
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ...ops.projection import pixel_centres
from ...parts import PartSpec, load_part
from ...types import Cameras

logger = logging.getLogger("reconx")

RADIUS = 4
"""Half the window's side in pixels; every second pixel is sampled: 5 x 5 samples."""
NEARNESS_PX = 0.9 * RADIUS
"""Standard deviation of a sample's weight over its distance from the window's middle."""
CONTRAST = 0.03
"""A sample's weight falls to 1/e per this difference in colour, so that a window ends at an edge:
with 0.08 surfaces grew over what lies behind them, and twice as many depths were wrong."""
NOISE_VARIANCE = 2e-5
"""Of the luminance, in [0, 1] squared. Keeps ZNCC from praising windows that show only noise."""
UNSEEN_COST = 1.0
"""Cost of a hypothesis that a source cannot judge: that of uncorrelated windows."""
GEOMETRIC_WEIGHT = 0.15
"""Cost of a reprojection error of `GEOMETRIC_LIMIT_PX` or more."""
GEOMETRIC_LIMIT_PX = 2.0
RIVAL_PX = 4.0
"""How far along the epipolar line the rivals of a match lie."""
REACHES = (1, 3, 5, 9)
"""A pixel hears, in each of four directions, of the best plane among these distances away. Odd, so
that on a chessboard all of them have the other colour."""
ALIKE_PX = 1.5
"""Planes this close, in pixels of parallax, belong to one surface and are averaged."""
SLOPE_SHARE = 0.5 / RADIUS
"""Slopes vary by this share of the value, so that the window's rim moves half as far."""
TRIES_PER_ROUND = 5
"""Planes that every pixel tries in a round, one from each direction and the average; then follows
one per sigma."""
LEAST_SWEEP_STEPS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StereoView:
    """One undistorted view at one resolution, on the device of the work."""

    camera: Cameras
    """One pinhole camera."""
    grey: Float[Tensor, "h w"]
    """Luminance; NaN where invalid, so that no window that touches such a pixel is evidence."""
    image: Float[Tensor, "h w 3"]
    """Colour, for the bilateral weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthRange:
    """Where the surfaces of one view lie."""

    low: float
    """Least inverse depth."""
    high: float
    """Greatest inverse depth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Some rounds of PatchMatch on one level; between phases the views exchange their depths."""

    level: int
    """The images are 2**level times smaller than given."""
    rounds: int
    sigmas: tuple[float, ...]
    """Of the random changes, in pixels of parallax."""
    sweep: int = 0
    """Most planes of one depth, through the whole range, that every pixel tries first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What each source says of planes."""

    correlation: Float[Tensor, "source h w"]
    """Bilateral ZNCC, in [-1, 1]; NaN where a source cannot see it."""
    margin: Float[Tensor, "source h w"]
    """Correlation minus that of the better rival, `RIVAL_PX` nearer or farther; NaN as before."""
    miss: Float[Tensor, "source h w"]
    """Pixels by which the way to the source and, from its own depth, back misses; NaN if unseen."""
    difference: Float[Tensor, "source h w"]
    """Relative difference between that point's depth and the plane's; NaN where unseen."""


@runtime_checkable
class Matcher(Protocol):
    """Finds and judges the planes of one view on one level."""

    def cost(
        self, planes: Float[Tensor, "3 h w"], others: list[Float[Tensor, "h w"]] | None = None
    ) -> Float[Tensor, "h w"]:
        """Mean cost of the best half of the sources: the others may be occluded. 0 is perfect.

        Args:
            planes: Inverse depth at each pixel and its slopes.
            others: Inverse depths of the sources. If given, a plane also pays for not meeting, in
                a source's own depth map, a point that leads back to its pixel (Schoenberger et al.
                2016).
        """
        ...

    def improve(
        self,
        planes: Float[Tensor, "3 h w"],
        others: list[Float[Tensor, "h w"]] | None,
        phase: Phase,
        seed: int,
    ) -> Float[Tensor, "3 h w"]:
        """Planes whose cost is nowhere higher; the same for the same seed on one machine.

        Args:
            planes: Where to begin.
            others: As in `cost`.
            phase: How much to try.
            seed: Of the random changes.
        """
        ...

    def inspect(
        self, planes: Float[Tensor, "3 h w"], others: list[Float[Tensor, "h w"]]
    ) -> Evidence:
        """Tell what each source says, given the sources' inverse depths."""
        ...


MATCHERS: dict[str, PartSpec] = {
    "torch": PartSpec(
        name="torch",
        factory=".geometry.stereo.patchmatch:TorchMatcher",
        summary="Plain torch; any device.",
    ),
    "numba": PartSpec(
        name="numba",
        factory=".geometry.stereo.numba_matcher:NumbaMatcher",
        requires=("numba",),
        install="pip install numba",
        summary="Compiled for this computer's processor on first use; the fast one on the CPU.",
    ),
}
"""Each is made from a view, its sources and the `DepthRange` to keep inverse depths inside."""


def choose_matcher(device: torch.device | str) -> str:
    """Name of the matcher for a device: numba on the CPU where it is installed, else torch."""
    if torch.device(device).type != "cpu":
        return "torch"
    spec = MATCHERS["numba"]
    if spec.missing():
        logger.info("numba is absent, so torch matches photos, much slower (%s).", spec.install)
        return "torch"
    return "numba"


def make_matcher(
    name: str, view: StereoView, sources: list[StereoView], limits: DepthRange
) -> Matcher:
    """Build a matcher of `MATCHERS`."""
    return load_part("Matcher", MATCHERS, name, {})(view, sources, limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warp:
    """From a pixel and its inverse depth in a reference view to a source's pixel.

    `pixel_homogeneous = matrix @ (x, y, 1) + shift * inverse_depth`; the third component is the
    source's depth in units of the reference's.
    """

    matrix: Float[Tensor, "3 3"]
    shift: Float[Tensor, "3"]

    def __call__(
        self, pixels: Float[Tensor, "*batch 2"], inverse_depth: Float[Tensor, "*batch"]
    ) -> tuple[Float[Tensor, "*batch 2"], Float[Tensor, "*batch"]]:
        """Source pixels (meaningless unless in front) and the ratio source / reference depth."""
        warped = functional.pad(pixels, (0, 1), value=1.0) @ self.matrix.mT
        warped = warped + inverse_depth[..., None] * self.shift
        ratio = warped[..., 2]
        return warped[..., :2] / ratio.clamp_min(1e-6)[..., None], ratio

    def motion(
        self, there: Float[Tensor, "*batch 2"], ratio: Float[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch"]:
        """How many pixels the places that a call gave move per unit of inverse depth."""
        slope = (self.shift[:2] - there * self.shift[2]) / ratio.clamp_min(1e-6)[..., None]
        return slope.norm(dim=-1)


def make_warp(reference: StereoView, source: StereoView) -> Warp:
    """The warp between two views, computed in double precision; on the reference's device."""
    relative = source.camera.viewmats[0].double() @ reference.camera.camera_to_world[0].double()
    K = source.camera.K[0].double()
    matrix = K @ relative[:3, :3] @ torch.linalg.inv(reference.camera.K[0].double())
    device = reference.grey.device
    return Warp(matrix=matrix.float().to(device), shift=(K @ relative[:3, 3]).float().to(device))


def pixel_step(view: StereoView, warps: list[Warp], limits: DepthRange) -> float:
    """Inverse depth that moves a match by about one pixel: the median in the best source."""
    height, width = view.grey.shape
    pixels = pixel_centres(width, height, device=view.grey.device).reshape(-1, 2)
    middle = torch.full(pixels.shape[:1], (limits.low + limits.high) / 2, device=pixels.device)
    motions = [float(warp.motion(*warp(pixels, middle)).median()) for warp in warps]
    return 1 / max(motions)


def sweep_steps(limits: DepthRange, step: float, most: int) -> int:
    """How many planes a sweep through the range tries."""
    return max(LEAST_SWEEP_STEPS, min(most, round((limits.high - limits.low) / step)))
