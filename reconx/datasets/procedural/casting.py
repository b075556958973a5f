"""Rays into a procedural world: where they end, and what colour is there."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ...ops.projection import camera_rays
from .world import Textures, World

SAMPLES = 2
"""Rays per pixel along each side, for colour; depth is that of the pixel's centre alone."""
NEAR = 0.05
"""Metres; the camera keeps farther from everything."""
TINY = 1e-12
"""In place of 0 in a direction, so that planes it runs along are far away and not at 0 / 0."""


class Hits(NamedTuple):
    """Where rays end."""

    along: Float[Tensor, " ray"]
    """In lengths of the ray's direction: z-depth, as directions have z = 1 in the camera."""
    surface: Int[Tensor, " ray"]
    """Which surface."""
    place: Float[Tensor, "ray 3"]
    """In the surface's own frame, in which it is painted."""
    normal: Float[Tensor, "ray 3"]
    """Unit, in the world, towards the camera."""


def render_world(
    world: World, frames: list[int]
) -> tuple[Float[Tensor, "frame height width 3"], Float[Tensor, "frame height width"]]:
    """Frames of a world's path: colour in [0, 1], anti-aliased, and exact z-depth in metres."""
    cameras = world.cameras[frames]
    fine = cameras.resized(SAMPLES * cameras.width, SAMPLES * cameras.height)
    colours, depths = [], []
    for number in range(len(frames)):
        origin, rotation = (
            cameras.centers[number],
            cameras.camera_to_world[number, :3, :3],
        )
        centre = camera_rays(cameras[number])[0] @ rotation.mT
        depths.append(cast_rays(world, origin, centre.reshape(-1, 3)).along.view(centre.shape[:2]))
        rays = camera_rays(fine[number])[0] @ rotation.mT
        colour = _shade(world, origin, rays.reshape(-1, 3), 1 / float(fine.K[number, 0, 0]))
        planes = colour.view(*rays.shape).permute(2, 0, 1)
        colours.append(functional.avg_pool2d(planes, SAMPLES).permute(1, 2, 0))
    return torch.stack(colours), torch.stack(depths)


def cast_rays(world: World, origin: Float[Tensor, "3"], rays: Float[Tensor, "ray 3"]) -> Hits:
    """The first surface on each ray from a place within the room."""
    boxes, balls = len(world.box_centres), len(world.ball_centres)
    rays = _nowhere_zero(rays)
    starts = (origin - world.box_centres)[:, None] @ world.box_rotations  # (box 1 3)
    steps = _nowhere_zero(rays @ world.box_rotations)  # (box ray 3)
    to_box, box_axis = _enter_boxes(starts, steps, world.box_halves[:, None])
    to_ball = _enter_balls(origin - world.ball_centres, rays, world.ball_radii)
    to_wall, wall_axis = (
        torch.where(rays > 0, world.room - origin, -world.room - origin) / rays
    ).min(-1)
    along, surface = torch.cat([to_box, to_ball, to_wall[None]]).min(0)
    wall = boxes + balls + 2 * wall_axis + (rays.gather(1, wall_axis[:, None])[:, 0] > 0)
    place = origin + along[:, None] * rays
    normal = -torch.sign(rays) * functional.one_hot(wall_axis, 3)
    hits = Hits(along, torch.where(surface == boxes + balls, wall, surface), place, normal)
    return _on_objects(world, hits, starts, steps, box_axis)


def _nowhere_zero(directions: Float[Tensor, "*ray 3"]) -> Float[Tensor, "*ray 3"]:
    return directions.masked_fill(directions == 0, TINY)


def _enter_boxes(
    starts: Float[Tensor, "box 1 3"],
    steps: Float[Tensor, "box ray 3"],
    halves: Float[Tensor, "box 1 3"],
) -> tuple[Float[Tensor, "box ray"], Int[Tensor, "box ray"]]:
    """Slab method (Kay and Kajiya 1986): where rays enter, and across which axis."""
    middle, reach = -starts / steps, (halves / steps).abs()
    enter, axis = (middle - reach).max(-1)
    leave = (middle + reach).amin(-1)
    return torch.where((enter < leave) & (enter > NEAR), enter, torch.inf), axis


def _enter_balls(
    starts: Float[Tensor, "ball 3"], rays: Float[Tensor, "ray 3"], radii: Float[Tensor, " ball"]
) -> Float[Tensor, "ball ray"]:
    square = rays.square().sum(-1)
    half = starts @ rays.mT
    rest = half.square() - square * (starts.square().sum(-1) - radii.square())[:, None]
    enter = (-half - rest.clamp(min=0).sqrt()) / square
    return torch.where((rest > 0) & (enter > NEAR), enter, torch.inf)


def _on_objects(
    world: World,
    hits: Hits,
    starts: Float[Tensor, "box 1 3"],
    steps: Float[Tensor, "box ray 3"],
    box_axis: Int[Tensor, "box ray"],
) -> Hits:
    """Place and normal of what is no wall."""
    boxes, place, normal = len(world.box_centres), hits.place.clone(), hits.normal.clone()
    (at,) = (hits.surface < boxes).nonzero(as_tuple=True)
    box = hits.surface[at]
    step, axis = steps[box, at], box_axis[box, at]
    place[at] = starts[box, 0] + hits.along[at, None] * step
    facing = -torch.sign(step) * functional.one_hot(axis, 3)
    normal[at] = (world.box_rotations[box] @ facing[..., None])[..., 0]
    walls = boxes + len(world.ball_centres)
    (at,) = ((hits.surface >= boxes) & (hits.surface < walls)).nonzero(as_tuple=True)
    ball = hits.surface[at] - boxes
    place[at] = hits.place[at] - world.ball_centres[ball]
    normal[at] = place[at] / world.ball_radii[ball, None]
    return hits._replace(place=place, normal=normal)


def _shade(
    world: World, origin: Float[Tensor, "3"], rays: Float[Tensor, "ray 3"], spread: float
) -> Float[Tensor, "ray 3"]:
    """Colour by texture and by the light's direction, the same from wherever it is seen.

    Args:
        world: What is there.
        origin: Of the rays.
        rays: Directions of z = 1 in the camera.
        spread: Of a ray, in metres per metre of depth.
    """
    hits = cast_rays(world, origin, rays)
    slant = -(functional.normalize(rays, dim=-1) * hits.normal).sum(-1)
    footprint = hits.along * spread / slant.clamp(min=0.1)
    light = 0.75 + 0.25 * (hits.normal @ world.light)
    return (_paint(world.textures, hits, footprint) * light[:, None]).clamp(0, 1)


def _paint(
    textures: Textures, hits: Hits, footprint: Float[Tensor, " ray"]
) -> Float[Tensor, "ray 3"]:
    """Waves that are too fine for the pixel fade, as the pixel's Gaussian would blur them."""
    waves, sharpness = textures.waves[hits.surface], textures.sharpness[hits.surface]
    sine = torch.sin((waves * hits.place[:, None]).sum(-1) + textures.phases[hits.surface])
    shape = torch.tanh(sharpness * sine) / torch.tanh(sharpness)
    fade = torch.exp(-0.5 * (waves.norm(dim=-1) * footprint[:, None]).square())
    colours = textures.colours[hits.surface]
    return textures.base[hits.surface] + ((shape * fade)[..., None] * colours).sum(1)
