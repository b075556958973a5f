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

from ..checks import check_shape
from ..errors import InputError
from ..types import Gaussians
from .atomic import replacing

_POSITION = ["x", "y", "z"]
_RGB = ["red", "green", "blue"]
_SCALE = ["scale_0", "scale_1", "scale_2"]
_ROTATION = ["rot_0", "rot_1", "rot_2", "rot_3"]
_BASE_COLOUR = ["f_dc_0", "f_dc_1", "f_dc_2"]

OPACITY_MARGIN = 2.0**-24
"""Opacities 0 and 1 are written this far inside, since their logits are infinite; float32 cannot
tell the difference at 1."""


def write_gaussians_ply(path: str | Path, gaussians: Gaussians) -> None:
    """Write Gaussians, in world space, as viewers expect them.

    Raises:
        InputError: If a value is not finite.
    """
    for name in ("means", "quats", "scales", "opacities", "sh"):
        _check_finite(f"Gaussians.{name}", getattr(gaussians, name))
    # In double precision, where 1 - OPACITY_MARGIN is not yet rounded to 1.
    opacities = gaussians.opacities.double().clamp(OPACITY_MARGIN, 1 - OPACITY_MARGIN)
    rest = gaussians.sh[:, 1:].mT.flatten(1)
    columns = torch.cat(
        [
            gaussians.means,
            torch.zeros_like(gaussians.means),
            gaussians.sh[:, 0],
            rest,
            torch.logit(opacities).float()[:, None],
            gaussians.scales.clamp_min(torch.finfo(torch.float32).tiny).log(),
            functional.normalize(gaussians.quats, dim=-1),
        ],
        dim=1,
    )
    names = [*_POSITION, "nx", "ny", "nz", *_BASE_COLOUR]
    names += [f"f_rest_{index}" for index in range(rest.shape[1])]
    names += ["opacity", *_SCALE, *_ROTATION]
    table = np.ascontiguousarray(columns.numpy(), dtype="<f4")
    _write(path, table.view([(name, "<f4") for name in names])[:, 0])


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
    sh = _columns(path, vertices, _BASE_COLOUR)[:, None]
    if rest_count:
        rest = _columns(path, vertices, [f"f_rest_{index}" for index in range(rest_count)])
        sh = torch.cat([sh, rest.unflatten(1, (3, -1)).mT], dim=1)
    return Gaussians(
        means=_columns(path, vertices, _POSITION),
        quats=functional.normalize(_columns(path, vertices, _ROTATION), dim=-1),
        scales=_columns(path, vertices, _SCALE).exp(),
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
    _check_finite("Points", points)
    _check_finite("Point colours", colours)
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


def _check_finite(name: str, values: Tensor) -> None:
    wrong = int((~torch.isfinite(values)).sum())
    if wrong:
        raise InputError(
            f"{name} holds {wrong} of {values.numel()} values that are not finite; a PLY file "
            "needs finite ones. Leave such points out."
        )


def _write(path: str | Path, table: np.ndarray) -> None:
    with replacing(path) as temporary:
        PlyData([PlyElement.describe(table, "vertex")], byte_order="<").write(str(temporary))


def _read(path: str | Path) -> dict[str, np.ndarray]:
    """A file's vertex properties by name, lists left out."""
    if not Path(path).is_file():
        raise InputError(f"PLY '{path}' does not exist. Check the path.")
    try:
        # Not memory-mapped: an open map would keep the file from being replaced on Windows.
        document = PlyData.read(str(path), mmap=False)  # pyright: ignore[reportArgumentType]
        table = document["vertex"].data
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
    values = np.stack([vertices[name] for name in names], axis=1).astype(np.float32)
    columns = torch.from_numpy(values)
    _check_finite(f"PLY '{path}', {names[0]} to {names[-1]},", columns)
    return columns
