"""Photometric refinement of one camera against a photo, the Gaussians frozen.

Poses from different sources agree to a pixel at best, and a pixel of shift costs several dB. So a
held-out camera is first brought to where the picture says it is.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ..ops.image import erode, resize_images
from ..ops.projection import camera_rays
from ..ops.se3 import invert_pose, se3_exp, skew
from ..render.rasterizers.base import Rasterized
from ..types import Cameras

Render = Callable[[Cameras], Rasterized]

HUBER = 0.1
"""Colour error beyond which a pixel counts linearly: unseen parts must not pull the camera."""
COVERED = 0.5
"""Alpha above which a pixel belongs to the scene."""


def refine_camera(
    render: Render,
    camera: Cameras,
    photo: Float[Tensor, "height width 3"],
    valid: Bool[Tensor, "height width"],
    *,
    levels: tuple[int, ...] = (8, 4, 2, 1),
    steps: int = 6,
) -> Cameras:
    """Move one camera so that what it renders meets the photo (K stays).

    Levenberg-Marquardt on colours, coarse to fine. The Jacobian follows from the rendered depth and
    the mean image gradient of render and photo (efficient second-order minimisation, Benhimane and
    Malis 2004), so a step costs one render and no backward pass.

    Args:
        render: Draws the frozen scene.
        camera: The start, one view, at the photo's size.
        photo: What it should show.
        valid: Pixels of the photo that count.
        levels: Each level's shrink factor.
        steps: Most steps per level.

    Returns:
        The camera with the smallest robust error; the start itself if nothing was better.
    """
    for factor in levels:
        width, height = camera.width // factor, camera.height // factor
        small = camera.resized(width, height)
        target = resize_images(photo[None], width, height)[0]
        counts = resize_images(valid[None, ..., None].float(), width, height)[0, ..., 0] > 0.99
        viewmat = _refine_level(render, small, target, counts, steps)
        camera = Cameras(
            camera_to_world=invert_pose(viewmat)[None],
            K=camera.K,
            width=camera.width,
            height=camera.height,
        )
    return camera


def _refine_level(
    render: Render,
    camera: Cameras,
    target: Float[Tensor, "height width 3"],
    counts: Bool[Tensor, "height width"],
    steps: int,
) -> Float[Tensor, "4 4"]:
    viewmat = camera.viewmats[0]
    drawn = _draw(render, camera, viewmat)
    cost, weights = _robust_cost(drawn, target, counts)
    damping = 1e-3
    for _ in range(steps):
        normal, gradient = _normal_equations(drawn, target, weights, camera)
        damped = normal + damping * torch.diag(torch.diagonal(normal)) + 1e-12 * torch.eye(6)
        step = torch.linalg.solve(damped, gradient)
        candidate = se3_exp(step.float()) @ viewmat
        drawn_there = _draw(render, camera, candidate)
        cost_there, weights_there = _robust_cost(drawn_there, target, counts)
        if cost_there >= cost:
            damping *= 10
            continue
        done = cost - cost_there < 1e-5 * cost
        viewmat, drawn, cost, weights = candidate, drawn_there, cost_there, weights_there
        damping /= 5
        if done:
            break
    return viewmat


def _draw(render: Render, camera: Cameras, viewmat: Float[Tensor, "4 4"]) -> Rasterized:
    pose = invert_pose(viewmat)[None]
    return render(
        Cameras(camera_to_world=pose, K=camera.K, width=camera.width, height=camera.height)
    )


def _robust_cost(
    drawn: Rasterized, target: Float[Tensor, "height width 3"], counts: Bool[Tensor, "height width"]
) -> tuple[float, Float[Tensor, "height width"]]:
    """Mean Huber error over counted, covered pixels, and each pixel's weight in the next step."""
    # Borders of the covered part hold no reliable gradient.
    used = counts & erode((drawn.alpha > COVERED), 1)[0]
    error = torch.linalg.vector_norm(drawn.colour[0] - target, dim=-1)
    huber = torch.where(error < HUBER, 0.5 * error.square(), HUBER * (error - 0.5 * HUBER))
    weights = torch.where(error < HUBER, torch.ones_like(error), HUBER / error.clamp_min(1e-9))
    # Uncovered pixels cost as much as a large error; else leaving the scene would be free.
    cost = torch.where(used, huber, torch.full_like(huber, HUBER))[counts].mean()
    return float(cost), weights * used


def _normal_equations(
    drawn: Rasterized,
    target: Float[Tensor, "height width 3"],
    weights: Float[Tensor, "height width"],
    camera: Cameras,
) -> tuple[Float[Tensor, "6 6"], Float[Tensor, "6"]]:
    """Normal matrix and right side for the left-multiplied motion (rotation, translation)."""
    used = weights > 0
    colour = drawn.colour[0]
    slope = 0.5 * (_image_gradient(colour) + _image_gradient(target))[used]
    points = camera_rays(camera)[0][used] * drawn.depth[0][used][:, None]
    inverse_z = 1 / points[:, 2].clamp_min(1e-6)
    K = camera.K[0]
    flow = torch.zeros(len(points), 2, 3)
    flow[:, 0, 0] = K[0, 0] * inverse_z
    flow[:, 1, 1] = K[1, 1] * inverse_z
    flow[:, 0, 2] = -K[0, 0] * points[:, 0] * inverse_z.square()
    flow[:, 1, 2] = -K[1, 1] * points[:, 1] * inverse_z.square()
    motion = torch.cat([-skew(points), torch.eye(3).expand(len(points), 3, 3)], dim=-1)
    # A scene point that moves by d in the picture takes its colour along: I'(u) = I(u) - slope . d.
    jacobian = (-torch.einsum("pci,pij->pcj", slope, flow @ motion)).double()
    residual = (target - colour)[used].double()
    weighted = jacobian * weights[used].double()[:, None, None]
    normal = torch.einsum("pci,pcj->ij", weighted, jacobian)
    return normal, torch.einsum("pci,pc->i", weighted, residual)


def _image_gradient(image: Float[Tensor, "height width 3"]) -> Float[Tensor, "height width 3 2"]:
    """Central differences per pixel, along x and y."""
    padded = functional.pad(image.permute(2, 0, 1)[None], (1, 1, 1, 1), mode="replicate")[0]
    across = 0.5 * (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2])
    down = 0.5 * (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1])
    return torch.stack([across, down], dim=-1).permute(1, 2, 0, 3)
