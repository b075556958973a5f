"""What a user can choose about a fit."""

from dataclasses import dataclass, field
from pathlib import Path

from ...checks import check_choice, check_range
from ..colours import ADAPTED

ROBUST_AFTER = 0.3
"""Share of the steps after which errors tell what moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRates:
    """Adam's first step sizes; all decay alike.

    Places and shapes are learned in each Gaussian's own frame and size, so that one set of rates
    suits any scale, orientation and range of depth.
    """

    means: float = 0.05
    """In standard deviations along each axis: slow along the normal, where Gaussians are flat."""
    rotations: float = 5e-3
    """In half radians about the axes."""
    scales: float = 1.25e-2
    """In natural logarithms."""
    opacities: float = 5e-2
    """In logits."""
    colours: float = 3.75e-2
    """In constant spherical harmonics; higher degrees learn at a twentieth of it."""
    poses: float = 3e-4
    """In radians, and in depths of the scene."""
    adaptation: float = 1e-2
    """Of the colour maps of single pictures, in units of colour."""
    decay: float = 0.3
    """Share of each rate that is left at the last step; the decay is exponential."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How Gaussians are fitted."""

    steps: int = 400
    """Gradient steps, one picture each."""
    max_gaussians: int = 80_000
    """Budget of Gaussians."""
    sh_degree: int = 0
    """Degree of view-dependent colour, 0 to 3. At 3, unseen views change by -0.1 to +0.4 dB; the
    fit takes 1.6 times as long, and files four times the room."""
    coarse_share: float = 0.6
    """Share of the steps, the first ones, that work at half resolution."""
    train_on_generated: bool = False
    """Whether generated frames train, every other step; captured photos always do. Off:
    frames warped from the same geometry changed unseen views by -0.2 to +0.1 dB."""
    refine_poses: bool = True
    """Whether cameras are corrected, photo 0 excepted."""
    depth_weight: float = 0.1
    """Weight of the relative error against measured depth; 0 leaves it out."""
    rasterizer: str = "auto"
    """Registered name of the rasterizer."""
    learning_rates: LearningRates = field(default_factory=LearningRates)
    """Step sizes."""
    confidence_weights: bool = True
    """Whether generated pixels count as far as they are trusted; off, each counts in full."""
    refine_generated_poses: bool = True
    """Whether `refine_poses` goes for the cameras of generated frames too."""
    adapt_colours: str = "all"
    """Which pictures get a colour map of their own, see `ADAPTED`."""
    robust_after: float = 1.0
    """Share of the steps after which pixels that contradict the other pictures are left out, in
    photos too; 1 leaves out none."""
    annealing: float = 0.0
    """How much less frames far from any photo count in the end, see `annealed_weight`."""
    perceptual_weight: float = 0.0
    """Weight of the perceptual term; 0 leaves it out."""
    lpips: Path | None = None
    """File or folder with the weights of LPIPS; None: a term without weights stands in."""
    max_memory_mb: int = 0
    """Memory that the fit may take beyond its input, 1e6 bytes; kept by fewer Gaussians. 0: no
    limit."""
    background: bool = True
    """Whether a layer beside the budget, behind everything, shows where no photo measured."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("Fit steps", self.steps, 1)
        check_range("max_gaussians", self.max_gaussians, 1)
        check_range("sh_degree", self.sh_degree, 0, 3)
        check_range("coarse_share", self.coarse_share, 0, 1)
        check_range("depth_weight", self.depth_weight, 0)
        check_range("robust_after", self.robust_after, 0, 1)
        check_range("annealing", self.annealing, 0)
        check_range("perceptual_weight", self.perceptual_weight, 0)
        check_range("max_memory_mb", self.max_memory_mb, 0)
        check_choice("adapt_colours", self.adapt_colours, ADAPTED)
