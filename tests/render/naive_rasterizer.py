"""The reference of the references: every Gaussian against every pixel, no tiles, plain autograd."""

import torch
from torch import Tensor


def rasterize_naively(
    means,
    quats,
    scales,
    opacities,
    colors,
    viewmats,
    Ks,
    width,
    height,
    *,
    near=0.01,
    eps2d=0.3,
    antialiased=False,
    background=None,
) -> tuple[Tensor, Tensor, Tensor]:
    views = []
    for viewmat, K, colour in zip(viewmats, Ks, colors, strict=True):
        local = means @ viewmat[:3, :3].T + viewmat[:3, 3]
        order = torch.argsort(local[:, 2], stable=True)
        order = order[local[order, 2] >= near]
        x, y, z = local[order].unbind(-1)
        fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
        low_x, high_x = -(cx + 0.15 * width) / fx, (1.15 * width - cx) / fx
        low_y, high_y = -(cy + 0.15 * height) / fy, (1.15 * height - cy) / fy
        u = (x / z).clamp(low_x.detach(), high_x.detach())
        v = (y / z).clamp(low_y.detach(), high_y.detach())
        zero = torch.zeros_like(z)
        jacobian = torch.stack([fx / z, zero, -fx * u / z, zero, fy / z, -fy * v / z], -1)
        jacobian = jacobian.view(-1, 2, 3) @ viewmat[:3, :3]
        w, i, j, k = (quats[order] / quats[order].norm(dim=-1, keepdim=True)).unbind(-1)
        one = torch.ones_like(w)
        spin = torch.stack([one * 0, -k, j, k, one * 0, -i, -j, i, one * 0], -1).view(-1, 3, 3)
        rotation = torch.eye(3).to(means) + 2 * w[:, None, None] * spin + 2 * spin @ spin
        covariance = rotation @ torch.diag_embed(scales[order] ** 2) @ rotation.mT
        flat = jacobian @ covariance @ jacobian.mT
        blurred = flat + eps2d * torch.eye(2).to(means)
        opacity = opacities[order]
        if antialiased:
            opacity = opacity * torch.sqrt(torch.linalg.det(flat) / torch.linalg.det(blurred))
        grid_y, grid_x = torch.meshgrid(
            torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij"
        )
        pixels = torch.stack([grid_x, grid_y], -1).to(means)
        offsets = pixels[:, :, None] - torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
        inverse = torch.linalg.inv(blurred)
        sigma = 0.5 * torch.einsum("hwni,nij,hwnj->hwn", offsets, inverse, offsets)
        alpha = (opacity * torch.exp(-sigma)).clamp_max(0.999)
        alpha = torch.where(alpha < 1 / 255, 0, alpha)
        after = torch.cumprod(1 - alpha, dim=-1)
        before = torch.cat([torch.ones_like(after[..., :1]), after[..., :-1]], dim=-1)
        weight = alpha * before * (after > 1e-4)
        total = weight.sum(-1)
        shown = weight @ colour[order]
        if background is not None:
            shown = shown + (1 - total)[..., None] * background
        depth = torch.where(total > 0, (weight @ z) / total.clamp_min(1e-9), 0)
        views.append((shown, total, depth))
    return tuple(torch.stack(parts) for parts in zip(*views, strict=True))
