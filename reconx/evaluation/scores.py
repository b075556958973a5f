"""What an evaluation finds: errors of cameras and depth, scores of unseen views."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from jaxtyping import Float
from torch import Tensor

from ..progress import StageUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetScore:
    """How one held-out photo was met."""

    photo: str
    """File name."""
    psnr: float
    """dB over all pixels; Gaussians: after refinement of the camera, where that is asked for."""
    ssim: float
    """Mean over all pixels."""
    covered: float
    """Share of pixels in which the row shows a surface, not only the guess behind all."""
    psnr_covered: float
    """dB over those pixels."""
    psnr_unrefined: float
    """dB with the camera as the alignment gave it."""
    picture: Float[Tensor, "height width 3"]
    """What was shown."""
    lpips: float | None = None
    """Distance of the whole picture, where a network was given to measure it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way to show unseen views."""

    name: str
    """For instance "fit"."""
    meaning: str
    """One line for people."""
    scores: tuple[TargetScore, ...]
    """One per target."""

    def mean(self, score: str) -> float:
        """Mean of a score over the targets; NaN without targets, or without that score."""
        values = [
            value for value in (getattr(it, score) for it in self.scores) if value is not None
        ]
        return fmean(values) if values else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraErrors:
    """Estimated cameras against true ones, over the context photos."""

    rotation_degrees: float
    """Largest error of a relative rotation between two photos."""
    direction_degrees: float
    """Largest error of the direction from one photo to another."""
    focal: float
    """Mean relative error of the focal length, signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthErrors:
    """Measured depth against true depth, after the cameras' alignment."""

    median: float
    """Median relative error over measured pixels."""
    beyond_two_percent: float
    """Share of measured pixels that are off by more than 2 %."""
    measured: float
    """Share of all pixels that were measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One split of one scene."""

    scene: str
    """Folder name."""
    split: str
    """Split name."""
    context: tuple[str, ...]
    """Photos that went in."""
    unregistered: tuple[str, ...]
    """Context photos that joined nothing."""
    cameras: CameraErrors
    """Of the photos that joined."""
    depth: DepthErrors | None
    """None where the folder has no true depth."""
    rows: tuple[Row, ...]
    """The first is the product's result; the others stand for comparison."""
    targets: tuple[Float[Tensor, "height width 3"], ...]
    """The held-out photos."""
    usage: Mapping[str, StageUsage]
    """Seconds and peak memory per stage of the reconstruction."""

    def summary(self) -> str:
        """A few lines for a terminal."""
        errors = self.cameras
        lines = [
            f"{self.scene} / {self.split}: {len(self.context) - len(self.unregistered)} of "
            f"{len(self.context)} photos, rotation {errors.rotation_degrees:.2f} deg, direction "
            f"{errors.direction_degrees:.2f} deg, focal {100 * errors.focal:+.1f} %",
        ]
        if self.depth is not None:
            lines.append(
                f"depth: median error {100 * self.depth.median:.2f} %, "
                f"{100 * self.depth.beyond_two_percent:.1f} % beyond 2 %, "
                f"{100 * self.depth.measured:.0f} % measured"
            )
        lines += [
            f"{row.name:>10}: {row.mean('psnr'):5.2f} dB, SSIM {row.mean('ssim'):.3f}, covered "
            f"{100 * row.mean('covered'):3.0f} % ({row.mean('psnr_covered'):5.2f} dB), unrefined "
            f"{row.mean('psnr_unrefined'):5.2f} dB"
            + ("" if math.isnan(row.mean("lpips")) else f", LPIPS {row.mean('lpips'):.3f}")
            for row in self.rows
        ]
        seconds = sum(stage.seconds for stage in self.usage.values())
        peak = max(stage.peak_memory_mb for stage in self.usage.values())
        return "\n".join([*lines, f"{seconds:.0f} s, {peak:.0f} MB"])
