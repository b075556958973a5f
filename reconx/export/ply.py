"""Gaussians and point clouds as PLY, and back.

Writers take what they write in the world in which it shall be seen: the caller has applied
`Scene.world_from_scene`. The layout of Gaussians is that of 3D Gaussian Splatting (Kerbl et al.
2023): log scales, logit opacities, wxyz quaternions, SH coefficients channel by channel.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from plyfile import PlyData, PlyElement, PlyParseError
from torch import Tensor
from torch.nn import functional

from ..checks import check_finite, check_shape
from ..errors import InputError
from ..types import Gaussians
from .atomic import replacing
from .splat_values import CHUNK, check_writable

_POSITION = ["x", "y", "z"]
_RGB = ["red", "green", "blue"]
_SCALE = ["scale_0", "scale_1", "scale_2"]
_ROTATION = ["rot_0", "rot_1", "rot_2", "rot_3"]
_BASE_COLOUR = ["f_dc_0", "f_dc_1", "f_dc_2"]

OPACITY_MARGIN = 2.0**-24
"""Opacities 0 and 1 are written this far inside, since their logits are infinite; float32 cannot
tell the difference at 1."""


def write_gaussians_ply(path: str | Path, gaussians: Gaussians) -> None:
    """Write Gaussians, in world space, as viewers expect them, in bounded memory.

    Raises:
        InputError: If a value is not finite.
    """
    check_writable(gaussians)
    names = [*_POSITION, "nx", "ny", "nz", *_BASE_COLOUR]
    names += [f"f_rest_{index}" for index in range(3 * (gaussians.sh.shape[1] - 1))]
    names += ["opacity", *_SCALE, *_ROTATION]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(gaussians)}"]
    header += [f"property float {name}" for name in names]
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write("\n".join([*header, "end_header\n"]).encode("ascii"))
        for part in gaussians.split(CHUNK):
            file.write(_rows(part).numpy().astype("<f4", copy=False).tobytes())


def _rows(gaussians: Gaussians) -> Float[Tensor, "n column"]:
    """What the file holds of each Gaussian, in the order of its properties."""
    # In double precision, where 1 - OPACITY_MARGIN is not yet rounded to 1.
    opacities = gaussians.opacities.double().clamp(OPACITY_MARGIN, 1 - OPACITY_MARGIN)
    return torch.cat(
        [
            gaussians.means,
            torch.zeros_like(gaussians.means),
            gaussians.sh[:, 0],
            gaussians.sh[:, 1:].mT.flatten(1),
            torch.logit(opacities).float()[:, None],
            gaussians.scales.clamp_min(torch.finfo(torch.float32).tiny).log(),
            functional.normalize(gaussians.quats, dim=-1),
        ],
        dim=1,
    )


def read_gaussians_ply(path: str | Path) -> Gaussians:
    """Read Gaussians of SH degree 0 to 3, as written by us, gsplat, the authors' code and others.

    Raises:
        InputError: If the file is missing, is no PLY of Gaussians, or holds values that are not
            finite.
    """
    vertices = _read(path)
    rest_count = sum(name.startswith("f_rest_") for name in vertices)
    if rest_count not in (0, 9, 24, 45):
        raise InputError(
            f"PLY '{path}' has {rest_count} f_rest properties; expected 0, 9, 24 or 45 (spherical "
            "harmonics of degree 0 to 3)."
        )
    base, higher = _columns(path, vertices, _BASE_COLOUR), rest_count // 3
    sh = base.new_empty(len(base), 1 + higher, 3)
    sh[:, 0] = base
    for channel in range(3 if higher else 0):
        start = channel * higher
        names = [f"f_rest_{index}" for index in range(start, start + higher)]
        sh[:, 1:, channel] = _columns(path, vertices, names)
    return Gaussians(
        means=_columns(path, vertices, _POSITION),
        quats=functional.normalize(_columns(path, vertices, _ROTATION), dim=-1),
        scales=_columns(path, vertices, _SCALE).exp_(),
        opacities=_columns(path, vertices, ["opacity"])[:, 0].sigmoid(),
        sh=sh,
    )


def write_points_ply(
    path: str | Path,
    points: Float[Tensor, "n 3"],
    colours: Float[Tensor, "n 3"],
    confidence: Float[Tensor, " n"] | None = None,
) -> None:
    """Write a coloured point cloud.

    Args:
        path: The file.
        points: In world space, finite: leave out what is not valid.
        colours: sRGB in [0, 1]; what a filter took slightly beyond is clipped.
        confidence: >= 1; a property of its own, which viewers skip.

    Raises:
        InputError: If shapes differ or a value is not finite.
    """
    check_shape("Point colours", colours, len(points), 3)
    check_finite("Points", points)
    check_finite("Point colours", colours)
    names = [(name, "<f4") for name in _POSITION] + [(name, "u1") for name in _RGB]
    if confidence is not None:
        check_shape("Point confidence", confidence, len(points))
        names.append(("confidence", "<f4"))
    table = np.empty(len(points), dtype=names)
    for axis, name in enumerate(_POSITION):
        table[name] = points[:, axis].numpy()
    for channel, name in enumerate(_RGB):
        table[name] = (colours[:, channel].clamp(0, 1) * 255).round().byte().numpy()
    if confidence is not None:
        table["confidence"] = confidence.numpy()
    _write(path, table)


def read_points_ply(
    path: str | Path,
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"], Float[Tensor, " n"] | None]:
    """Read a coloured point cloud: points, colours in [0, 1], and confidence if it is there.

    Raises:
        InputError: If the file is missing or lacks positions or 8-bit colours.
    """
    vertices = _read(path)
    points = _columns(path, vertices, _POSITION)
    colours = _columns(path, vertices, _RGB) / 255
    if "confidence" not in vertices:
        return points, colours, None
    return points, colours, _columns(path, vertices, ["confidence"])[:, 0]


def _write(path: str | Path, table: np.ndarray) -> None:
    with replacing(path) as temporary:
        PlyData([PlyElement.describe(table, "vertex")], byte_order="<").write(str(temporary))


def _read(path: str | Path) -> dict[str, np.ndarray]:
    """A file's vertex properties by name, lists left out.

    They are views of the mapped file: whoever reads copies what it wants and lets them go, for as
    long as one lives, Windows does not let the file be replaced.
    """
    if not Path(path).is_file():
        raise InputError(f"PLY '{path}' does not exist. Check the path.")
    try:
        table = PlyData.read(str(path), mmap="r")["vertex"].data
    except (PlyParseError, KeyError, UnicodeDecodeError) as error:
        raise InputError(
            f"PLY '{path}' cannot be read ({error}). Expected a PLY file with vertices."
        ) from error
    return {name: table[name] for name in table.dtype.names if table[name].dtype.kind in "fiu"}


def _columns(
    path: str | Path, vertices: dict[str, np.ndarray], names: Sequence[str]
) -> Float[Tensor, "n column"]:
    missing = [name for name in names if name not in vertices]
    if missing:
        raise InputError(
            f"PLY '{path}' lacks the properties {', '.join(missing)}; it has {', '.join(vertices)}."
        )
    values = np.empty((len(vertices[names[0]]), len(names)), dtype=np.float32)
    for index, name in enumerate(names):
        values[:, index] = vertices[name]
    columns = torch.from_numpy(values)
    check_finite(f"PLY '{path}', {names[0]} to {names[-1]},", columns)
    return columns
