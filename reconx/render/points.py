"""Points to pictures with holes: a z-buffer of surface patches, in plain torch on any device."""

from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from ..ops.image import close_gaps
from ..ops.projection import project_points
from ..progress import Progress, SilentProgress, run_interruptibly
from ..types import CONFIDENT, Cameras, PointRenders, Scene
from .cloud import PointCloud, scene_cloud, surface_facing
from .threads import map_frames

NEAR = 0.01
"""Points closer than this to the camera plane are not drawn; scene units (median depth 1)."""
MAX_FOOTPRINT = 4
"""Largest side of a point's patch in pixels; nearer surfaces show cracks."""
SLACK = 0.02
"""A patch may exceed a whole number of pixels by this much before it takes one more."""
SAME_SURFACE = 0.03
"""Points whose depth differs by a smaller share belong to one surface."""
BEHIND = -0.1
"""A surface counts as seen from behind below this cosine; noise in normals stays above."""
_EMPTY = torch.iinfo(torch.int64).max


def render_scene(
    scene: Scene,
    cameras: Cameras,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> PointRenders:
    """Draw a scene's measured points; see `render_points`."""
    return render_points(scene_cloud(scene).to(device), cameras, progress=progress)


def render_points(
    cloud: PointCloud, cameras: Cameras, *, progress: Progress | None = None
) -> PointRenders:
    """Draw a cloud, the nearest point per pixel, and tell where there is none.

    A point covers the pixels that its patch of surface spans, so a surface seen from closer does
    not let through what lies behind; but where another point of the same surface falls into the
    pixel itself, that one shows. From the camera that saw it each point falls on its own pixel,
    and the render gives back the photo.

    A pixel is a hole when nothing hits it (gaps of one or two pixels are closed from their
    farther side), when the point's confidence is below `CONFIDENT`, or when the surface is seen
    from behind.

    Args:
        cloud: On the device that shall do the work.
        cameras: One per frame.
        progress: Told after each frame; may raise to stop, even within a frame.

    Returns:
        Renders, on the CPU.
    """
    if progress is None:
        return _render_frames(cloud, cameras, SilentProgress())
    return run_interruptibly(partial(_render_frames, cloud, cameras), progress)


def _render_frames(cloud: PointCloud, cameras: Cameras, progress: Progress) -> PointRenders:
    task = progress.start("Rendering points", len(cameras))
    frames = []
    device = cloud.points.device
    drawn = map_frames(lambda index: _render_frame(cloud, cameras[index]), len(cameras), device)
    for frame in drawn:
        frames.append(frame)
        task.update(len(frames))
    colour, depth, confidence, hole = (
        torch.stack(part).cpu() for part in zip(*frames, strict=True)
    )
    return PointRenders(
        cameras=cameras, colour=colour, depth=depth, confidence=confidence, hole=hole
    )


def _render_frame(
    cloud: PointCloud, camera: Cameras
) -> tuple[
    Float[Tensor, "height width 3"],
    Float[Tensor, "height width"],
    Float[Tensor, "height width"],
    Bool[Tensor, "height width"],
]:
    """Colour, depth, confidence and holes of one frame."""
    device = cloud.points.device
    viewmat, K = camera.viewmats[0].to(device), camera.K[0].to(device)
    shape = (camera.height, camera.width)
    pixels, z = project_points(cloud.points, viewmat, K)
    x, y = pixels.unbind(-1)
    # Patches reach at most this far into the picture from outside.
    reach = MAX_FOOTPRINT
    drawn = (x > -reach) & (x < shape[1] + reach) & (y > -reach) & (y < shape[0] + reach)
    (index,) = (drawn & (z > NEAR)).nonzero(as_tuple=True)
    if not len(index):
        empty = torch.zeros(shape, device=device)
        return empty[..., None].expand(*shape, 3), empty, empty + 1, empty == 0

    pixels, z_drawn = pixels[index], z[index]
    footprint = _footprints(cloud.tangents[index], pixels, z_drawn, viewmat, K)
    # Positive floats sort like their bits, so one integer minimum finds the nearest point.
    keys = (z_drawn.view(torch.int32).long() << 32) | index
    keys = _close_cracks(_nearest_points(keys, pixels, footprint, shape))
    hit = keys != _EMPTY
    index = torch.where(hit, keys & 0xFFFFFFFF, 0)
    confidence = cloud.confidence[index]
    facing = surface_facing(
        cloud.points[index], cloud.tangents[index], camera.centers[0].to(device)
    )
    hole = ~(hit & (facing > BEHIND) & (confidence >= CONFIDENT))
    colour = cloud.colours[index].masked_fill(hole[..., None], 0)
    return colour, z[index].masked_fill(hole, 0), confidence.masked_fill(hole, 1), hole


def _nearest_points(
    keys: Int[Tensor, " n"],
    pixels: Float[Tensor, "n 2"],
    footprint: Int[Tensor, " n"],
    shape: tuple[int, int],
) -> Int[Tensor, "height width"]:
    """Smallest key per pixel of a picture of (height, width); `_EMPTY` without a hit.

    Args:
        keys: Bits of the depth above, the point's index below.
        pixels: Where the points fall.
        footprint: Side of each point's square, in pixels.
        shape: Height and width.
    """
    exact = torch.full((shape[0] * shape[1],), _EMPTY, dtype=torch.int64, device=keys.device)
    own = pixels.floor().long()
    _splat(exact, keys, own[:, 0], own[:, 1], shape)
    wide = exact.clone()
    for side in range(2, MAX_FOOTPRINT + 1):
        (chosen,) = (footprint == side).nonzero(as_tuple=True)
        mine, corner = keys[chosen], (pixels[chosen] - (side - 1) / 2).floor().long()
        for down in range(side):
            for across in range(side):
                _splat(wide, mine, corner[:, 0] + across, corner[:, 1] + down, shape)
    # The point in the pixel's own square shows, unless a patch of a nearer surface covers it.
    keep = (exact != _EMPTY) & (_depth_of(exact) <= _depth_of(wide) * (1 + SAME_SURFACE))
    return torch.where(keep, exact, wide).reshape(shape)


def _splat(
    buffer: Int[Tensor, " pixel"],
    keys: Int[Tensor, " n"],
    x: Int[Tensor, " n"],
    y: Int[Tensor, " n"],
    shape: tuple[int, int],
) -> None:
    """Lower the buffer at the places that lie in the picture."""
    height, width = shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    # Outside, the largest key changes nothing; cheaper than gathering what lies inside.
    place = torch.where(inside, y * width + x, 0)
    buffer.scatter_reduce_(0, place, torch.where(inside, keys, _EMPTY), "amin")


def _depth_of(keys: Int[Tensor, " pixel"]) -> Float[Tensor, " pixel"]:
    return (keys >> 32).int().view(torch.float32)


def _footprints(
    tangents: Float[Tensor, "n 2 3"],
    pixels: Float[Tensor, "n 2"],
    z: Float[Tensor, " n"],
    viewmat: Float[Tensor, "4 4"],
    K: Float[Tensor, "3 3"],
) -> Int[Tensor, " n"]:
    """Side in pixels of the square that covers each point's projected patch."""
    steps = tangents @ viewmat[:3, :3].mT
    focal = torch.stack([K[0, 0], K[1, 1]])
    towards = (pixels - K[:2, 2]) / focal
    # Derivative of the projection: how far the picture moves for each step on the surface.
    moved = focal * (steps[..., :2] - towards[:, None] * steps[..., 2:]) / z[:, None, None]
    reach = moved[:, 0].abs() + moved[:, 1].abs()
    side = torch.maximum(reach[:, 0], reach[:, 1])
    return (side - SLACK).ceil().clamp(1, MAX_FOOTPRINT).long()


def _close_cracks(keys: Int[Tensor, "height width"]) -> Int[Tensor, "height width"]:
    """Give empty pixels in gaps of one or two pixels the farthest of their neighbours' points."""
    hit = keys != _EMPTY
    cracks = close_gaps(hit[None], 1)[0] & ~hit
    farthest = torch.where(hit, keys, -1)
    for dim in (0, 1):
        padded = functional.pad(farthest, (1, 1) if dim else (0, 0, 1, 1), value=-1)
        length = keys.shape[dim]
        farthest = torch.stack([padded.narrow(dim, k, length) for k in range(3)]).amax(0)
    return torch.where(cracks, farthest, keys)
