"""Pictures of the nodes that make frames and splats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw
from torch import Tensor

from reconx.export.comparison import compare_pictures
from reconx.export.depth_frames import draw_depth_frames
from reconx.export.plan import PANEL, PATH_COLOUR
from reconx.export.scene_pictures import confidence_colours
from reconx.ops.metrics import psnr
from reconx.render.gaussians import render_gaussians
from reconx.render.points import render_scene
from reconx.splats.confidence.base import judge_views
from reconx.splats.confidence.registry import make_source
from reconx.splats.film import film_gaussians
from reconx.splats.placing import place_gaussians
from reconx.video.base import ClipRequest, GuidanceOptions, Guide, Keyframe
from reconx.video.conditions import make_control_video
from reconx.video.frames import views_from_frames
from reconx.video.pieces import join_pieces, split_path

from .room import GAUSSIANS, STEPS, SampleRoom
from .tiles import BRIGHT, FONT, GAP, HALF, LINE, Tile, lay_out

SHOWN = (0, 4, 8)
"""Frames from a photo to short of the next."""
BETWEEN = 5
"""A frame about midway between two photos."""


def draw_render_point_cloud(room: SampleRoom) -> Image.Image:
    """The points from two cameras, their holes and depth."""
    renders = render_scene(room.scene, room.sway.cameras)
    depth = draw_depth_frames(renders.depth, renders.hole)
    return lay_out(*_film_rows(renders.colour, renders.hole.float(), depth))


def draw_load_backbone(room: SampleRoom) -> Image.Image:
    """What the points show, and what `warp` makes of it."""
    return lay_out(
        [
            Tile(room.renders.colour[BETWEEN], "points between two photos"),
            Tile(room.views.frames[BETWEEN], "the frame of warp there"),
        ]
    )


def draw_backbone_from_model(room: SampleRoom) -> Image.Image:
    """What a model that takes control videos is given: frames with their holes, and the mask."""
    keyframes = tuple(
        Keyframe(
            image=room.scene.photos.images[photo],
            valid=room.scene.photos.valid[photo],
            index=index,
            photo_index=photo,
        )
        for index, photo in enumerate(room.path.photo_index.tolist())
        if photo >= 0
    )
    request = ClipRequest(
        cameras=room.path.cameras,
        keyframes=keyframes,
        renders=room.renders,
        scene=room.scene,
        guidance=GuidanceOptions(),
    )
    video = make_control_video(request)
    return lay_out(
        [Tile(video.frames[index], f"control video, {index}") for index in SHOWN],
        [Tile((~video.known[index]).float()[..., None], f"mask, {index}") for index in SHOWN],
    )


def draw_guidance_options(room: SampleRoom) -> Image.Image:
    """What is held, and for how many of the denoising steps."""
    colour, hole = room.renders.colour[BETWEEN], room.renders.hole[BETWEEN]
    return lay_out(
        [
            Tile(_tinted(colour, hole), "red: not held"),
            Tile(
                draw_shares(((0.0, 1.0), (0.0, 0.6), (0.2, 0.6)), HALF), "render_start, render_end"
            ),
        ]
    )


def draw_sample_views(room: SampleRoom) -> Image.Image:
    """The points along the path, and the frames."""
    points = [Tile(room.renders.colour[index], f"points, camera {index}") for index in SHOWN]
    frames = [
        Tile(
            room.views.frames[index],
            f"frame {index}" if room.path.photo_index[index] < 0 else f"frame {index}: photo",
        )
        for index in SHOWN
    ]
    return lay_out(points, frames)


def draw_views_from_frames(room: SampleRoom) -> Image.Image:
    """Frames of a sampler, here `warp`'s in other colours, and what becomes of them."""
    frames = room.views.frames * torch.tensor([1.0, 0.86, 0.7])
    views = views_from_frames(frames, room.scene, room.path)
    photo = int((room.path.photo_index == 1).nonzero())
    return lay_out(
        [
            Tile(frames[BETWEEN], f"frames[{BETWEEN}]"),
            Tile(_tinted(views.frames[BETWEEN], ~views.known[BETWEEN]), "red: seen by none"),
            Tile(views.frames[photo], "photo 2 put back"),
        ]
    )


def draw_split_path(room: SampleRoom) -> Image.Image:
    """Each clip: the photos at its ends, and what is known in its midst."""
    rows = []
    for number, piece in enumerate(split_path(room.scene, room.path), start=1):
        midst = len(piece.cameras) // 2
        rows.append(
            [
                Tile(piece.start, f"clip {number}: start_image"),
                Tile(piece.control.frames[midst], f"renders, {midst}"),
                Tile(piece.end, "end_image"),
            ]
        )
    return lay_out(*rows)


def draw_join_views(room: SampleRoom) -> Image.Image:
    """The clips, and the one film of them, in which no frame is twice."""
    pieces = split_path(room.scene, room.path)
    film, path = join_pieces(
        [piece.control.frames for piece in pieces], [piece.path for piece in pieces]
    )
    photos = (path.photo_index >= 0).nonzero()[:, 0].tolist()
    return lay_out([Tile(film[at], f"frame {at} of {len(film)}") for at in photos])


def draw_judge_frames(room: SampleRoom) -> Image.Image:
    """A frame of `warp` into which a wrong patch was pasted, and how far it is trusted."""
    frames = room.views.frames.clone()
    frames[BETWEEN, 60:130, 120:210] = frames[BETWEEN, 180:250, 150:240]
    judged = judge_views(replace(room.views, frames=frames), room.scene, make_source("agreement"))
    assert judged.confidence is not None
    return lay_out(
        [
            Tile(frames[BETWEEN], f"frame {BETWEEN}, a part is wrong"),
            Tile(confidence_colours(judged.confidence[BETWEEN]), "confidence"),
        ]
    )


def draw_fit_gaussians(room: SampleRoom) -> Image.Image:
    """The splat before and after the fit, whole and close."""
    photo, camera = room.scene.photos.images[1], room.scene.photo_cameras[1]
    start = render_gaussians(place_gaussians(room.scene, max_gaussians=GAUSSIANS), camera).colour[0]
    fitted = render_gaussians(room.splat, camera).colour[0]
    rows = []
    for crop in (slice(None),) * 2, (slice(96, 192), slice(48, 176)):
        rows.append(
            [
                Tile(start[crop], f"placed: {psnr(start.clamp(0, 1), photo):.1f} dB"),
                Tile(fitted[crop], f"{STEPS} steps: {psnr(fitted.clamp(0, 1), photo):.1f} dB"),
                Tile(photo[crop], "photo 2"),
            ]
        )
    return lay_out(*rows)


def draw_render_gaussians(room: SampleRoom) -> Image.Image:
    """The splat from two cameras, its holes and depth."""
    film = film_gaussians([room.world_splat], room.sway)
    depth = draw_depth_frames(film.depth, film.alpha < 0.5)
    return lay_out(*_film_rows(film.colour, 1 - film.alpha, depth))


def draw_compare_views(room: SampleRoom) -> Image.Image:
    """The node's own picture, and its figures."""
    rendered = render_gaussians(room.splat, room.scene.photo_cameras[1]).colour[None, 0]
    compared = compare_pictures(rendered, room.scene.photos.images[1:2])
    caption = f"images, reference, difference: psnr {compared.psnr:.1f}, ssim {compared.ssim:.2f}"
    return lay_out([Tile(compared.pictures[0], caption)])


def _film_rows(colour: Tensor, hole: Tensor, depth: Tensor) -> list[list[Tile]]:
    """First and middle frame: picture, holes, depth."""
    return [
        [
            Tile(colour[index], "images"),
            Tile(hole[index][..., None], "holes"),
            Tile(depth[index], "depth"),
        ]
        for index in (0, 1)
    ]


def _tinted(
    picture: Float[Tensor, "height width 3"], where: Bool[Tensor, "height width"]
) -> Float[Tensor, "height width 3"]:
    """The picture with a part of it in red."""
    red = 0.25 * picture + torch.tensor([0.7, 0.1, 0.2])
    return torch.where(where[..., None], red, picture)


def draw_shares(shares: Sequence[tuple[float, float]], width: int, steps: int = 20) -> Image.Image:
    """For each start and end a box per denoising step, filled where a condition guides."""
    page = Image.new("RGB", (width, HALF * len(shares) // 4), PANEL)
    draw = ImageDraw.Draw(page)
    pitch = (width - 2 * GAP) / steps
    for row, (start, end) in enumerate(shares):
        guide, top = Guide(start=start, end=end), GAP + row * HALF // 4
        draw.text((GAP, top), f"start {start:g}, end {end:g}", BRIGHT, FONT)
        for step in range(steps):
            left, below = GAP + step * pitch, top + LINE
            fill = PATH_COLOUR if guide.covers(step, steps) else (70, 73, 80)
            draw.rectangle((left, below, left + 0.75 * pitch, below + LINE), fill=fill)
    return page
