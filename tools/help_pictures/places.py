"""Pictures of the nodes for photos, geometry, camera paths and files."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from reconx.doctor import describe_system
from reconx.export.colour_maps import RAINBOW, apply_colour_map
from reconx.export.plan import PHOTO_COLOUR, draw_plan
from reconx.export.scene_pictures import EMPTY, depth_limits, draw_confidence, draw_depth
from reconx.export.viewer import camera_to_viewer, cameras_from_viewer
from reconx.export.wan_camera import GROUP, wan_camera_embedding
from reconx.geometry.depth_maps import GivenDepth
from reconx.geometry.given import fill_scene
from reconx.geometry.transform import Ball, keep_points
from reconx.geometry.upright import stand_upright
from reconx.ops.sim3 import apply_sim3_to_cameras
from reconx.photos.loading import PhotoOptions, photos_from_images
from reconx.photos.video import choose_sharpest, measure_sharpness
from reconx.progress import SilentProgress
from reconx.render.gaussians import render_gaussians
from reconx.saving import FORMATS, load_scene, save_scene
from reconx.splats.film import film_gaussians
from reconx.trajectory.focus import find_focus
from reconx.trajectory.options import PathOptions
from reconx.trajectory.path import make_path
from reconx.types import Cameras, Scene

from .moves import move_tiles
from .room import FRAMES, NAMES, SAMPLE_ROOM, SIZE, SampleRoom, build
from .tiles import HALF, Tile, as_picture, lay_out, write_text


def draw_load_photos(room: SampleRoom) -> Image.Image:
    """The photos."""
    return lay_out(
        [Tile(*pair) for pair in zip(room.photos.images, room.photos.names, strict=True)]
    )


def draw_photos_from_images(room: SampleRoom) -> Image.Image:
    """The room as it comes out with the true angle of view, and with a wrong one."""
    plans = []
    for degrees, caption in ((65.5, "fov_degrees 65.5, true"), (35.0, "fov_degrees 35, wrong")):
        options = PhotoOptions(max_size=1024, fov_degrees=degrees)
        photos = photos_from_images(room.photos.images, options=options)
        plans.append(Tile(draw_plan(build(photos, 256), size=(480, 400)), caption))
    pictures = [Tile(image, f"images[{i}]") for i, image in enumerate(room.photos.images)]
    return lay_out(pictures, plans)


def draw_photos_from_video(room: SampleRoom) -> Image.Image:
    """A shaky film in three stretches, the frame that is taken of each outlined."""
    count, per_stretch = 3, 5
    shake = [4, 1, 6, 2, 5, 3, 6, 0, 5, 2, 1, 7, 3, 5, 4]
    film = [_shaken(room.views.frames[index], pixels) for index, pixels in enumerate(shake)]
    taken = {index for index, _ in choose_sharpest(film, len(film), count)}
    rows = []
    for first in range(0, len(film), per_stretch):
        stretch = range(first, first + per_stretch)
        sharpness = {index: measure_sharpness(film[index]) for index in stretch}
        best = max(sharpness.values())
        rows.append(
            [
                Tile(
                    _outlined(film[index]) if index in taken else film[index],
                    f"{index}: {100 * sharpness[index] / best:.0f} %",
                )
                for index in stretch
            ]
        )
    return lay_out(*rows)


def draw_load_pointmap_model(room: SampleRoom) -> Image.Image:
    """Two photos and where their pixels lie in the first camera's space: x, y, z as colours.

    The points are those of stereo: a network's weights are not at hand.
    """
    scene = room.scene
    seen = scene.points[:2][scene.valid[:2]]
    low, high = torch.quantile(seen, torch.tensor([0.02, 0.98]), dim=0)
    colours = ((scene.points - low) / (high - low)).clamp(0, 1)
    pointmaps = torch.where(scene.valid[..., None], colours, EMPTY)
    return lay_out(
        *(
            [
                Tile(scene.photos.images[view], f"photo {view + 1}"),
                Tile(pointmaps[view], "its points: x, y, z"),
            ]
            for view in range(2)
        )
    )


def draw_build_point_cloud(room: SampleRoom) -> Image.Image:
    """Two photos, their depth and their confidence."""
    scene, limits = room.scene, depth_limits(room.scene)
    return lay_out(
        *(
            [
                Tile(scene.photos.images[view], f"photo {view + 1}"),
                Tile(draw_depth(scene, view, limits), "depth"),
                Tile(draw_confidence(scene, view), "confidence"),
            ]
            for view in range(2)
        )
    )


def draw_scene_from_geometry(room: SampleRoom) -> Image.Image:
    """Depth that was measured, depth that was given, and both together.

    What is given is the room's true depth, which comes with the photos.
    """
    files = [SAMPLE_ROOM / "depth" / f"{name}.png" for name in NAMES]
    depth = torch.stack([torch.from_numpy(np.array(Image.open(file))) for file in files])
    given = GivenDepth(depth=depth.float(), estimator="true depth", licence="CC0-1.0")
    filled = fill_scene(room.scene, room.photos, given, SilentProgress())
    measured = replace(room.scene, valid=room.scene.measured)
    limits = depth_limits(filled)
    near, far = depth[0].float().quantile(torch.tensor([0.02, 0.98])).tolist()
    closeness = (1 / depth[0] - 1 / far) / (1 / near - 1 / far)
    return lay_out(
        [
            Tile(draw_depth(measured, 0, limits), "scene: measured"),
            Tile(apply_colour_map(closeness, RAINBOW), "geometry: given"),
            Tile(draw_depth(filled, 0, limits), "scene: filled"),
        ]
    )


def draw_transform_scene(room: SampleRoom) -> Image.Image:
    """The room from the side: leaning, upright, without its uncertain points, cropped."""
    region = Ball(center=find_focus(room.scene), radius=0.6)
    changed = {
        "up: photo, held askew": stand_upright(room.scene, "photo", 0),
        "up: cameras": stand_upright(room.scene, "cameras"),
        "min_confidence: 8": keep_points(room.scene, 8.0),
        "crop_radius: 0.6": keep_points(room.scene, 1.0, region),
    }
    plans = [
        Tile(draw_plan(scene, size=(480, 300), view="side"), caption)
        for caption, scene in changed.items()
    ]
    return lay_out(plans[:2], plans[2:])


def draw_camera_path(room: SampleRoom) -> Image.Image:
    """Paths past and around the photos from above, and what the moves of one photo show."""
    options = {
        "interpolate": PathOptions(frames=FRAMES),
        "orbit": PathOptions(kind="orbit", frames=FRAMES, orbit_degrees=30),
        "full circle": PathOptions(
            kind="orbit", frames=48, orbit_degrees=180, orbit_radius=0.6, loop=True
        ),
        "keyframes": PathOptions(
            kind="keyframes", frames=FRAMES, keyframes=_posed_cameras(room.scene)
        ),
    }
    plans = [
        Tile(
            draw_plan(room.scene, make_path(room.scene, each).cameras, size=(360, 300)),
            caption,
        )
        for caption, each in options.items()
    ]
    return lay_out(plans, *move_tiles(room))


def draw_cameras_to_load3d(room: SampleRoom) -> Image.Image:
    """What is seen through the viewer's camera, for three cameras of a path."""
    tiles = [Tile(draw_plan(room.scene, room.path.cameras, size=(480, 360)), "the path")]
    scene_from_world = room.scene.world_from_scene.inverse()
    for index in (0, FRAMES // 4, FRAMES - 1):
        viewer = camera_to_viewer(room.path.world_cameras[index])
        camera = cameras_from_viewer([viewer], SIZE, SIZE * 3 // 4)
        camera = apply_sim3_to_cameras(scene_from_world, camera)
        shown = render_gaussians(room.splat, camera).colour[0]
        tiles.append(Tile(shown, f"index {index}: fov {viewer.fov_degrees:.1f}"))
    return lay_out(tiles[:2], tiles[2:])


def draw_cameras_to_wan(room: SampleRoom) -> Image.Image:
    """The rays of three frames: moments above, directions below."""
    embedding = wan_camera_embedding(room.path.cameras)[0]
    rays = embedding.reshape(2, 3, GROUP, *embedding.shape[1:])
    rows = []
    for name, part in zip(("moment", "direction"), rays, strict=True):
        part = 0.5 + 0.5 * part / part.abs().max()
        places = {index: (index + GROUP - 1) for index in (0, FRAMES // 2, FRAMES - 1)}
        rows.append(
            [
                Tile(
                    part[:, place % GROUP, place // GROUP].permute(1, 2, 0),
                    f"{name}, frame {index}",
                )
                for index, place in places.items()
            ]
        )
    return lay_out(*rows)


def draw_save_scene(room: SampleRoom) -> Image.Image:
    """What each format writes."""
    texts = {}
    with tempfile.TemporaryDirectory() as folder:
        for format in FORMATS:
            target = Path(folder) / format / "scene_00001"
            target.parent.mkdir()
            save_scene(target, room.scene, format, room.world_splat)
            texts[format] = f"{format}\n{_listed(target.parent)}"
    columns = (f"{texts['safetensors']}\n\n{texts['nerfstudio']}", texts["colmap"])
    return lay_out([Tile(write_text(text, HALF), "") for text in columns])


def draw_load_scene(room: SampleRoom) -> Image.Image:
    """What comes back from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = save_scene(Path(folder) / "scene", room.scene, "safetensors", room.world_splat)
        saved = load_scene(path)
    assert saved.scene is not None
    assert saved.gaussians is not None
    splat = film_gaussians([saved.gaussians], room.sway).colour[0]
    plan = draw_plan(saved.scene, size=(480, 360))
    return lay_out(
        [
            Tile(plan, "scene"),
            Tile(splat, "splat"),
            Tile(saved.photos.images[0], "photos"),
        ]
    )


def draw_doctor(room: SampleRoom) -> Image.Image:
    """The report, shortened, without what names this machine."""
    report = describe_system().replace(sys.executable, ".../python")
    head, packages, _, rasterizers, estimators, backbones = report.split("\n\n")
    version, python, _, torch_version = head.splitlines()
    shown = (
        "\n".join((version, python, torch_version)),
        "\n".join((*packages.splitlines()[:3], "- ...")),
        rasterizers,
        estimators,
        "\n".join((*backbones.splitlines()[:3], "- ...")),
    )
    return write_text("\n\n".join(shown))


def _shaken(frame: Float[Tensor, "height width 3"], pixels: int) -> Float[Tensor, "height width 3"]:
    """The frame as a camera sees it that moves sideways during the exposure."""
    blurred = as_picture(frame).filter(ImageFilter.BoxBlur((pixels, 0)))
    return torch.from_numpy(np.array(blurred)).float() / 255


def _outlined(frame: Float[Tensor, "height width 3"]) -> Image.Image:
    picture = as_picture(frame)
    edge = (0, 0, picture.width - 1, picture.height - 1)
    ImageDraw.Draw(picture).rectangle(edge, outline=PHOTO_COLOUR, width=picture.width // 32)
    return picture


def _posed_cameras(scene: Scene) -> Cameras:
    """Three cameras in the user's world, as a user may pose them: the second has stepped in."""
    poses = scene.photo_cameras.camera_to_world.clone()
    poses[1, :3, 3] += 0.45 * poses[1, :3, 2]
    posed = replace(scene.photo_cameras, camera_to_world=poses)
    return apply_sim3_to_cameras(scene.world_from_scene, posed)


def _listed(folder: Path) -> str:
    """All that lies in a folder."""
    return "\n".join(
        "    " * len(path.relative_to(folder).parts) + path.name + ("/" if path.is_dir() else "")
        for path in sorted(folder.rglob("*"))
    )
