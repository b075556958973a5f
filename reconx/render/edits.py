"""Point renders that somebody has changed, and what the changes are."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from ..ops.image import resize_images, resize_masks
from ..types import CONFIDENT, Cameras, PointRenders

ROUNDING = 1.5 / 255
"""Colours that differ by less are the same: 8-bit files round."""


def edit_renders(
    renders: PointRenders,
    colour: Float[Tensor, "frame_2 height_2 width_2 3"] | None = None,
    hole: Bool[Tensor, "frame_3 height_3 width_3"] | None = None,
) -> PointRenders:
    """Renders with other colours and holes.

    Where a hole was painted, depth is 0 (unknown) and confidence `CONFIDENT`: whoever paints means
    it to be shown.

    Args:
        renders: As rendered.
        colour: Of the same count and size; what it has in holes does not count. None: as rendered.
        hole: True = nothing stands there. None: as rendered.

    Raises:
        InputError: If count or size differ from the renders'.
    """
    colour = renders.colour if colour is None else colour
    hole = renders.hole if hole is None else hole
    _check_fits("Edited renders", colour, renders.cameras)
    _check_fits("Edited holes", hole, renders.cameras)
    painted = renders.hole & ~hole
    return replace(
        renders,
        colour=colour.clamp(0, 1).masked_fill(hole[..., None], 0),
        depth=renders.depth.masked_fill(hole, 0),
        confidence=renders.confidence.masked_fill(hole, 1).masked_fill(painted, CONFIDENT),
        hole=hole,
    )


def find_edits(edited: PointRenders, plain: PointRenders) -> Bool[Tensor, "frame height width"]:
    """Pixels that became holes, ceased to be, or changed their colour by more than `ROUNDING`."""
    recoloured = (edited.colour - plain.colour).abs().amax(dim=-1) > ROUNDING
    return (edited.hole != plain.hole) | (recoloured & ~edited.hole)


def check_renders(renders: PointRenders, cameras: Cameras) -> None:
    """Require renders that were made from these very cameras.

    Raises:
        InputError: If count, size or poses differ.
    """
    _check_fits("Edited renders", renders.colour, cameras)
    if not torch.equal(renders.cameras.camera_to_world, cameras.camera_to_world):
        raise InputError(
            "Edited renders were made along another path than the one that is sampled. Render the "
            "points along this path, and edit those."
        )


def take_renders(renders: PointRenders, frames: list[int], cameras: Cameras) -> PointRenders:
    """Some frames of renders at another size; a pixel that mixes in a hole becomes one.

    Args:
        renders: All of them.
        frames: Which, in order; may repeat.
        cameras: One per frame, at the new size.
    """
    width, height = cameras.width, cameras.height
    parts = replace(
        renders,
        cameras=renders.cameras[frames],
        colour=renders.colour[frames],
        depth=renders.depth[frames],
        confidence=renders.confidence[frames],
        hole=renders.hole[frames],
    )
    if parts.hole.shape[1:] == (height, width):
        return replace(parts, cameras=cameras)
    hole = ~resize_masks(~parts.hole, width, height)
    # Depth and confidence are not mixed: between near and far there is nothing.
    planes = torch.stack([parts.depth, parts.confidence], dim=1)
    planes = functional.interpolate(planes, size=(height, width), mode="nearest-exact")
    return PointRenders(
        cameras=cameras,
        colour=resize_images(parts.colour, width, height).masked_fill(hole[..., None], 0),
        depth=planes[:, 0].masked_fill(hole, 0),
        confidence=planes[:, 1].masked_fill(hole, 1),
        hole=hole,
    )


def _check_fits(name: str, pictures: Tensor, cameras: Cameras) -> None:
    count, height, width = pictures.shape[:3]
    if (count, height, width) != (len(cameras), cameras.height, cameras.width):
        raise InputError(
            f"{name} are {count} frames of {width} x {height}; the path has {len(cameras)} of "
            f"{cameras.width} x {cameras.height}. Edit the point renders of this path, and keep "
            "their count and size."
        )
