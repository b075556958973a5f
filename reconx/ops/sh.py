"""Real spherical harmonics up to degree 3, in the order and sign of 3D Gaussian Splatting."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

SH_C0 = 0.28209479177387814
"""The constant basis function, 1 / (2 sqrt(pi))."""
_C1 = 0.4886025119029199
_C2 = (1.0925484305920792, 0.31539156525252005, 0.5462742152960396)
_C3 = (
    0.5900435899266435,
    2.890611442640554,
    0.4570457994644658,
    0.3731763325901154,
    1.445305721320277,
)


def colour_to_sh(colour: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """The constant coefficient that shows a colour from everywhere."""
    return (colour - 0.5) / SH_C0


def sh_basis(directions: Float[Tensor, "*batch 3"], degree: int) -> Float[Tensor, "*batch coeff"]:
    """Values of the (degree + 1)^2 basis functions for unit directions."""
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    values = [torch.full_like(x, SH_C0)]
    if degree >= 1:
        values += [-_C1 * y, _C1 * z, -_C1 * x]
    if degree >= 2:
        values += [
            _C2[0] * x * y,
            -_C2[0] * y * z,
            _C2[1] * (2 * zz - xx - yy),
            -_C2[0] * x * z,
            _C2[2] * (xx - yy),
        ]
    if degree >= 3:
        values += [
            -_C3[0] * y * (3 * xx - yy),
            _C3[1] * x * y * z,
            -_C3[2] * y * (4 * zz - xx - yy),
            _C3[3] * z * (2 * zz - 3 * xx - 3 * yy),
            -_C3[2] * x * (4 * zz - xx - yy),
            _C3[4] * z * (xx - yy),
            -_C3[0] * x * (xx - 3 * yy),
        ]
    return torch.stack(values, dim=-1)


def sh_to_colours(
    sh: Float[Tensor, "n coeff 3"], means: Float[Tensor, "n 3"], centers: Float[Tensor, "view 3"]
) -> Float[Tensor, "view n 3"]:
    """Colour of each Gaussian as seen from each camera centre, clamped at 0 from below."""
    if sh.shape[1] == 1:
        colours = (0.5 + SH_C0 * sh[:, 0]).expand(len(centers), -1, -1)
        return colours.clamp_min(0)
    degree = math.isqrt(sh.shape[1]) - 1
    directions = functional.normalize(means[None] - centers[:, None], dim=-1)
    colours = torch.einsum("vnk,nkc->vnc", sh_basis(directions, degree), sh)
    return (colours + 0.5).clamp_min(0)


def map_sh(
    sh: Float[Tensor, "n coeff 3"], colour_map: Float[Tensor, "3 4"]
) -> Float[Tensor, "n coeff 3"]:
    """Coefficients whose colours are an affine map of the given ones' (the offset comes last)."""
    matrix, offset = colour_map[:, :3], colour_map[:, 3]
    mapped = sh @ matrix.mT
    # The basis adds to a medium grey, which is mapped too.
    grey = colour_to_sh(0.5 * matrix.sum(1) + offset)
    return torch.cat([mapped[:, :1] + grey, mapped[:, 1:]], dim=1)


def rotate_sh(
    sh: Float[Tensor, "n coeff 3"], rotation: Float[Tensor, "3 3"]
) -> Float[Tensor, "n coeff 3"]:
    """Coefficients of the same colours after the world has been turned by `rotation`.

    Each degree turns within itself. Its matrix is found by least squares over fixed directions,
    which is exact, because the functions of one degree span a space that rotations do not leave.
    """
    degree = math.isqrt(sh.shape[1]) - 1
    if degree == 0:
        return sh
    # Directions of a Fibonacci sphere: 64 determine the at most 7 functions of one degree well.
    index = torch.arange(64, dtype=torch.float64)
    z = 1 - (2 * index + 1) / 64
    azimuth = index * math.pi * (3 - math.sqrt(5))
    radius = torch.sqrt(1 - z * z)
    directions = torch.stack([radius * torch.cos(azimuth), radius * torch.sin(azimuth), z], dim=-1)
    before = sh_basis(directions, degree)
    after = sh_basis(directions @ rotation.double().cpu().mT, degree)
    turned = [sh[:, :1]]
    for band in range(1, degree + 1):
        part = slice(band * band, (band + 1) ** 2)
        matrix = torch.linalg.lstsq(after[:, part], before[:, part]).solution
        turned.append(torch.einsum("kj,njc->nkc", matrix.to(sh), sh[:, part]))
    return torch.cat(turned, dim=1)
