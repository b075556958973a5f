"""Unit quaternions, wxyz."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def quaternion_to_matrix(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of a quaternion, which is normalised first."""
    w, x, y, z = functional.normalize(quaternion, dim=-1).unbind(-1)
    rows = (
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    )
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def matrix_to_quaternion(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion (w >= 0 not enforced) of a rotation matrix.

    Takes the numerically best of the four classical formulas per matrix (Shepperd 1978).
    """
    m = rotation
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    yz, zx, xy = (
        m[..., 2, 1] - m[..., 1, 2],
        m[..., 0, 2] - m[..., 2, 0],
        m[..., 1, 0] - m[..., 0, 1],
    )
    sum_yz, sum_zx, sum_xy = (
        m[..., 2, 1] + m[..., 1, 2],
        m[..., 0, 2] + m[..., 2, 0],
        m[..., 1, 0] + m[..., 0, 1],
    )
    # Row k is 4 * q[k] * q, so the row with the largest diagonal is the best conditioned.
    table = torch.stack(
        [
            torch.stack([1 + xx + yy + zz, yz, zx, xy], dim=-1),
            torch.stack([yz, 1 + xx - yy - zz, sum_xy, sum_zx], dim=-1),
            torch.stack([zx, sum_xy, 1 - xx + yy - zz, sum_yz], dim=-1),
            torch.stack([xy, sum_zx, sum_yz, 1 - xx - yy + zz], dim=-1),
        ],
        dim=-2,
    )
    best = torch.diagonal(table, dim1=-2, dim2=-1).argmax(dim=-1)
    row = torch.take_along_dim(table, best[..., None, None], dim=-2).squeeze(-2)
    return functional.normalize(row, dim=-1)


def quaternion_multiply(
    left: Float[Tensor, "*batch 4"], right: Float[Tensor, "*batch 4"]
) -> Float[Tensor, "*batch 4"]:
    """Hamilton product: the rotation `right`, then `left`."""
    aw, ax, ay, az = left.unbind(-1)
    bw, bx, by, bz = right.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        dim=-1,
    )


def slerp(
    start: Float[Tensor, "*batch 4"], end: Float[Tensor, "*batch 4"], share: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch 4"]:
    """Shortest-arc interpolation; share 0 gives `start`, 1 gives `end`."""
    dot = (start * end).sum(-1, keepdim=True)
    end = torch.where(dot < 0, -end, end)
    angle = torch.acos(dot.abs().clamp(max=1.0))
    share = share[..., None]
    # Nearly equal rotations: the sines vanish and the straight line is exact enough.
    close = angle < 1e-4
    sine = torch.sin(torch.where(close, torch.ones_like(angle), angle))
    a = torch.where(close, 1 - share, torch.sin((1 - share) * angle) / sine)
    b = torch.where(close, share, torch.sin(share * angle) / sine)
    return functional.normalize(a * start + b * end, dim=-1)
