"""A scene's depth and confidence as pictures."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..ops.image import resize_images
from ..ops.projection import world_to_camera
from ..types import Scene
from .colour_maps import GLOW, RAINBOW, apply_colour_map

EMPTY = torch.tensor([38.0, 40.0, 45.0]) / 255
"""Colour where no point stands."""


def draw_scene(scene: Scene) -> Float[Tensor, "picture height width 3"]:
    """Per photo its depth, then its confidence, at the photos' size."""
    limits = depth_limits(scene)
    pictures = [
        picture
        for index in range(len(scene.photos))
        for picture in (draw_depth(scene, index, limits), draw_confidence(scene, index))
    ]
    drawn = resize_images(torch.stack(pictures), scene.photos.width, scene.photos.height)
    return drawn.clamp(0, 1)


def draw_depth(scene: Scene, index: int, limits: tuple[float, float]) -> Float[Tensor, "h w 3"]:
    """One photo's depth, red at the nearer limit and blue at the farther."""
    near, far = limits
    depth = world_to_camera(scene.points[index], scene.cameras.viewmats[index])[..., 2]
    # Linear in 1 / depth, in which near and far surfaces share the colours fairly.
    closeness = (1 / depth - 1 / far) / (1 / near - 1 / far)
    closeness = torch.where(scene.valid[index], closeness, 0.0)
    coloured = apply_colour_map(closeness, RAINBOW)
    return torch.where(scene.valid[index][..., None], coloured, EMPTY)


def draw_confidence(scene: Scene, index: int) -> Float[Tensor, "h w 3"]:
    """One photo's confidence: the brighter, the surer."""
    glow = confidence_colours(scene.confidence[index])
    return torch.where(scene.valid[index][..., None], glow, EMPTY)


def confidence_colours(confidence: Float[Tensor, "*frame h w"]) -> Float[Tensor, "*frame h w 3"]:
    """Black where there is no evidence, the brighter the surer."""
    # Confidence 10 counts as certain in the fit, so that it gets the brightest colour.
    return apply_colour_map(confidence.log10(), GLOW)


def depth_limits(scene: Scene) -> tuple[float, float]:
    """Depths between which colours run, over all views: all but the outermost 2 percent."""
    depths = [
        world_to_camera(points[valid], viewmat)[..., 2]
        for points, valid, viewmat in zip(
            scene.points, scene.valid, scene.cameras.viewmats, strict=True
        )
    ]
    values = torch.cat(depths)
    if not len(values):
        return 1.0, 2.0
    step = -(-len(values) // 1_000_000)  # torch.quantile takes at most 16 million values
    near, far = torch.quantile(values[::step], torch.tensor([0.02, 0.98])).tolist()
    return near, max(far, near * 1.01)
