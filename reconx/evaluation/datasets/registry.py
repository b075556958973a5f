"""The datasets by name, and what the paper reports on them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...datasets.base import Dataset
from ...datasets.chunks import ChunkFolder
from ...datasets.nerfstudio import NerfstudioFolders


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A line of the paper's tables (arXiv 2408.16767)."""

    method: str
    """Which, and in what setting."""
    psnr: float
    """dB."""
    ssim: float | None = None
    """None where the paper gives none."""
    lpips: float | None = None
    """None where the paper gives none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """How a dataset is read and scored."""

    title: str
    """For people."""
    open: Callable[[Path], Dataset]
    """Opens its folder."""
    square: bool
    """Whether its middle square is scored, as pixelSplat does; else the whole picture."""
    size: int
    """Long side in pixels at which it is scored."""
    reported: tuple[Reported, ...]
    """For comparison."""


DATASETS: Mapping[str, DatasetSpec] = {
    "re10k": DatasetSpec(
        title="RealEstate10K",
        open=ChunkFolder,
        square=True,
        size=256,
        reported=(
            Reported(method="ReconX, easy", psnr=28.31, ssim=0.912, lpips=0.088),
            Reported(method="MVSplat, easy", psnr=26.39, ssim=0.839, lpips=0.128),
            Reported(method="ReconX, hard", psnr=23.70, ssim=0.867, lpips=0.143),
            Reported(method="MVSplat, hard", psnr=19.97, ssim=0.732, lpips=0.245),
        ),
    ),
    "acid": DatasetSpec(
        title="ACID",
        open=ChunkFolder,
        square=True,
        size=256,
        reported=(
            Reported(method="ReconX, easy", psnr=28.84, ssim=0.891, lpips=0.101),
            Reported(method="MVSplat, easy", psnr=28.25, ssim=0.843, lpips=0.144),
            Reported(method="ReconX, hard", psnr=24.53, ssim=0.847, lpips=0.083),
            Reported(method="pixelSplat, hard", psnr=16.83, ssim=0.476, lpips=0.494),
        ),
    ),
    "dl3dv": DatasetSpec(
        title="DL3DV",
        open=NerfstudioFolders,
        square=False,
        size=512,
        reported=(
            Reported(method="ReconX, 2 views", psnr=13.60),
            Reported(method="ReconX, 3 views", psnr=14.97),
            Reported(method="ReconX, 6 views", psnr=17.45),
            Reported(method="ReconX, 9 views", psnr=18.59),
            Reported(method="3DGS, 2 views", psnr=9.46),
            Reported(method="3DGS, 3 views", psnr=10.97),
            Reported(method="3DGS, 6 views", psnr=13.34),
            Reported(method="3DGS, 9 views", psnr=14.99),
        ),
    ),
}
"""Easy: pixelSplat's index; hard: more than 200 frames between the two context frames."""
