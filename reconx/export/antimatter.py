"""Gaussians as antimatter15's `.splat`, and back: 32 bytes each, without a header.

The layout is that of github.com/antimatter15/splat: position and scales as floats, then base colour
with opacity and the rotation (wxyz) as bytes. Of the harmonics it keeps the base colour, clipped to
[0, 1]. Axes are those of the PLY file.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from ..checks import check_finite
from ..errors import InputError
from ..ops.sh import SH_C0, colour_to_sh
from ..types import Gaussians
from .atomic import replacing
from .splat_values import CHUNK, check_writable

_RECORD = np.dtype(
    [("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("rotation", "u1", 4)]
)


def write_splat(path: str | Path, gaussians: Gaussians) -> None:
    """Write Gaussians, in world space, in bounded memory.

    Raises:
        InputError: If there is no Gaussian, or a value is not finite.
    """
    check_writable(gaussians)
    with replacing(path) as temporary, temporary.open("wb") as file:
        for part in gaussians.split(CHUNK):
            file.write(_records(part).tobytes())


def read_splat(path: str | Path) -> Gaussians:
    """Read Gaussians, of SH degree 0.

    Raises:
        InputError: If the file is missing, empty or cut, or its values cannot be Gaussians.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"Splat '{path}' does not exist. Check the path.")
    size = path.stat().st_size
    if size == 0 or size % _RECORD.itemsize:
        raise InputError(
            f"Splat '{path}' has {size} bytes; expected {_RECORD.itemsize} for each Gaussian. It "
            "is cut, or of another format."
        )
    records = np.fromfile(path, dtype=_RECORD)
    means, scales = (torch.from_numpy(records[name].copy()) for name in ("mean", "scale"))
    check_finite(f"Splat '{path}', positions,", means)
    check_finite(f"Splat '{path}', scales,", scales)
    if (scales < 0).any():
        raise InputError(
            f"Splat '{path}' has scales down to {float(scales.min()):g}; expected none below 0. It "
            "is damaged, or of another format."
        )
    rgba = torch.from_numpy(records["rgba"] / np.float32(255))
    return Gaussians(
        means=means,
        quats=functional.normalize(torch.from_numpy(records["rotation"] - np.float32(128)), dim=-1),
        scales=scales,
        opacities=rgba[:, 3].clone(),
        sh=colour_to_sh(rgba[:, None, :3]),
    )


def _records(gaussians: Gaussians) -> np.ndarray:
    records = np.empty(len(gaussians), dtype=_RECORD)
    records["mean"], records["scale"] = gaussians.means.numpy(), gaussians.scales.numpy()
    colours = 0.5 + SH_C0 * gaussians.sh[:, 0]
    rgba = torch.cat([colours, gaussians.opacities[:, None]], dim=1)
    records["rgba"] = (255 * rgba.clamp(0, 1)).round().byte().numpy()
    turned = 128 * functional.normalize(gaussians.quats, dim=-1) + 128
    records["rotation"] = turned.round().clamp(0, 255).byte().numpy()
    return records
