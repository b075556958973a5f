"""The only file that knows both worlds' types: the host's on one side, the library's on the other.

The host's 3D viewer is right-handed with Y up and cameras that look down -Z; the library's axes are
OpenCV's. Splat files need no turn, since the viewer turns them itself; cameras and point clouds do.
"""

import io as bytes_io
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import Input, InputImpl, Types
from jaxtyping import Bool, Float
from torch import Tensor

from ..reconx.checks import check_range, check_shape
from ..reconx.errors import InputError
from ..reconx.export.ply import write_points_ply
from ..reconx.export.viewer import (
    ViewerCamera,
    camera_to_viewer,
    cameras_from_viewer,
    centred_placement,
    model_placement,
    points_to_viewer,
)
from ..reconx.geometry.depth_maps import GivenDepth
from ..reconx.ops.se3 import invert_pose
from ..reconx.ops.sim3 import apply_sim3_to_gaussians, apply_sim3_to_points
from ..reconx.render.cloud import PointCloud, scene_cloud
from ..reconx.trajectory.options import CameraPath
from ..reconx.types import Cameras, Gaussians, Scene, Sim3

SKY_FROM = 0.5
"""Pixels of which a network holds at least this probable to be sky have no depth."""


def images_from_host(images: Tensor) -> Float[Tensor, "view height width 3"]:
    """Take an IMAGE batch; alpha is dropped, and storage shared where that is possible."""
    check_shape("IMAGE", images, None, None, None, None)
    return _ordinary(images[..., :3])


def masks_from_host(masks: Tensor) -> Bool[Tensor, "view height width"]:
    """Take a MASK batch: true where it is white."""
    check_shape("MASK", masks, None, None, None)
    return masks.cpu() > 0.5


def video_length(video: Input.Video) -> int:
    """How many frames a VIDEO has within its trim, as its file tells."""
    if isinstance(video, InputImpl.VideoFromComponents):
        return len(video.get_components().images)
    return round(video.get_duration() * float(video.get_frame_rate()))


def video_frames(video: Input.Video) -> Iterator[Float[Tensor, "height width 3"]]:
    """The frames of a VIDEO within its trim, upright; those of a file one by one."""
    if isinstance(video, InputImpl.VideoFromComponents):
        for image in video.get_components().images:
            yield images_from_host(image[None])[0]
        return
    import av

    start, duration = video.get_active_trim_window()
    with av.open(video.get_stream_source()) as container:
        stream = container.streams.video[0]
        if start:
            container.seek(int(start / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            seconds = frame.time or 0.0
            if duration and seconds >= start + duration:
                return
            if seconds >= start:  # a seek lands on the key frame before
                image = torch.from_numpy(frame.to_ndarray(format="rgb24")).float() / 255
                yield image.rot90(round(frame.rotation / 90)).contiguous()


def colour_from_host(text: str) -> Float[Tensor, "3"]:
    """Take a COLOR, "#rrggbb"."""
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise InputError(f"Colour '{text}' cannot be read. Give it as #rrggbb, like #ffffff.")
    return torch.tensor([int(text[place : place + 2], 16) / 255 for place in (1, 3, 5)])


def _ordinary(tensor: Tensor) -> Tensor:
    """A float32 CPU tensor that may take part in a fit: the host's own were made without."""
    tensor = tensor.to("cpu", torch.float32)
    return tensor.clone() if tensor.is_inference() else tensor


def depth_from_host(geometry: Mapping[str, Any]) -> GivenDepth:
    """Take DA3_GEOMETRY or MOGE_GEOMETRY, the dicts of the host's geometry nodes."""
    check_shape("The geometry's 'depth'", geometry["depth"], None, None, None)
    return _from_depth_anything(geometry) if "mode" in geometry else _from_moge(geometry)


def _from_depth_anything(geometry: Mapping[str, Any]) -> GivenDepth:
    depth = _ordinary(geometry["depth"])
    known = depth > 0
    if "sky" in geometry:
        known &= _ordinary(geometry["sky"]) < SKY_FROM
    K = camera_to_world = None
    # A network without poses gives identities in their place.
    if "intrinsics" in geometry and bool((geometry["intrinsics"][0, :, 0, 0] != 1).all()):
        K = _at_depth_size(_ordinary(geometry["intrinsics"][0]), depth)
        viewmats = torch.eye(4).repeat(len(depth), 1, 1)
        viewmats[:, :3] = _ordinary(geometry["extrinsics"][0, :, :3])
        camera_to_world = invert_pose(viewmats)
    return GivenDepth(
        depth=torch.where(known, depth, torch.nan),
        confidence=_ordinary(geometry["confidence"]) if "confidence" in geometry else None,
        K=K,
        camera_to_world=camera_to_world,
        estimator="depth-anything-3",
        licence="that of the Depth Anything 3 checkpoint (Small and Base: Apache-2.0)",
    )


def _at_depth_size(
    K: Float[Tensor, "view 3 3"], depth: Float[Tensor, "view h w"]
) -> Float[Tensor, "view 3 3"]:
    """Intrinsics for the depth as the host hands it on.

    The host resizes the depth to the pictures, but leaves K at the size that the network ran at,
    which it does not tell. Principal points lie, or scatter, about that size's centre. K itself
    spans a picture of [0, width], as ours does, although the host unprojects at whole pixels.
    """
    height, width = depth.shape[1:]
    centre = K[:, :2, 2].median(dim=0).values
    factors = torch.tensor([width / 2, height / 2]) / centre
    return K * torch.cat([factors, torch.ones(1)])[:, None]


def _from_moge(geometry: Mapping[str, Any]) -> GivenDepth:
    if "intrinsics" not in geometry:
        raise InputError(
            "MOGE_GEOMETRY has no intrinsics: it is a panorama's, and scenes are made of pictures "
            "in perspective. Run MoGe Inference on ordinary photos."
        )
    depth = _ordinary(geometry["depth"])
    known = depth.isfinite() & (depth > 0)
    height, width = depth.shape[1:]
    size = torch.tensor([width, height, 1.0])  # MoGe's pictures span [0, 1]
    return GivenDepth(
        depth=torch.where(known, depth, torch.nan),
        K=_ordinary(geometry["intrinsics"]) * size[:, None],
        estimator="moge",
        licence="MIT",
    )


def cloud_to_host(scene: Scene) -> Types.File3D:
    """A scene's measured points as the host's point cloud file: in the user's world, Y up.

    The viewer turns splats by half a turn about X but shows point clouds as they are, so points
    are turned here and lie over the splat.
    """
    cloud = scene_cloud(scene)
    points = _shown_points(scene, cloud)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cloud.ply"
        write_points_ply(path, points, cloud.colours, cloud.confidence)
        return Types.File3D(bytes_io.BytesIO(path.read_bytes()), "ply")


def splat_to_host(gaussians: Gaussians, world_from_scene: Sim3) -> Types.SPLAT:
    """A scene's Gaussians as the host's SPLAT: a batch of one, in the user's world."""
    world = apply_sim3_to_gaussians(world_from_scene, gaussians)
    return Types.SPLAT(
        world.means[None],
        world.scales[None],
        world.quats[None],
        world.opacities[None, :, None],
        world.sh[None],
    )


def splat_from_host(splat: Types.SPLAT) -> list[Gaussians]:
    """Every splat of a SPLAT batch, without its padding, in the user's world."""
    check_shape("SPLAT positions", splat.positions, None, None, 3)
    batch, most = splat.positions.shape[:2]
    counts = [most] * batch if splat.counts is None else splat.counts.tolist()
    return [
        Gaussians(
            means=_ordinary(splat.positions[index, :count]),
            quats=_ordinary(splat.rotations[index, :count]),
            scales=_ordinary(splat.scales[index, :count]),
            opacities=_ordinary(splat.opacities[index, :count]).flatten(),
            sh=_ordinary(splat.sh[index, :count]),
        )
        for index, count in enumerate(counts)
    ]


def _shown_points(scene: Scene, cloud: PointCloud) -> Float[Tensor, "n 3"]:
    """A scene's cloud as the host's point cloud viewer gets it."""
    return points_to_viewer(apply_sim3_to_points(scene.world_from_scene, cloud.points))


def point_cloud_placement(scene: Scene) -> Sim3:
    """How the host's point cloud viewer places the cloud that `cloud_to_host` writes."""
    return centred_placement(_shown_points(scene, scene_cloud(scene)))


def viewer_placement(
    scene: Scene, viewer: str, model_info: Sequence[Mapping[str, Any]] | None
) -> Sim3:
    """How a viewer shows a scene, after what LOAD3D_MODEL_INFO says of the user's own moves.

    Args:
        scene: What is shown.
        viewer: "splat" shows world units, "point-cloud" a cloud centred and scaled.
        model_info: The one model of the viewer; empty = not moved.
    """
    placement = Sim3.identity() if viewer == "splat" else point_cloud_placement(scene)
    if not model_info:
        return placement
    moves = model_info[0]
    moved = model_placement(
        _vector(moves["position"], "xyz"),
        _vector(moves["quaternion"], "wxyz"),
        _vector(moves["scale"], "xyz"),
    )
    return moved.compose(placement)


def keyframes_from_host(
    infos: Sequence[Mapping[str, Any] | None], placement: Sim3, width: int, height: int
) -> Cameras | None:
    """LOAD3D_CAMERA values in the user's world; None without any.

    Args:
        infos: As posed by the user.
        placement: How the viewer has placed what it shows.
        width: Of the pictures, in pixels.
        height: Of the pictures, in pixels.
    """
    posed = [_viewer_camera(number, info) for number, info in enumerate(infos, start=1)]
    return cameras_from_viewer(posed, width, height, placement) if posed else None


def _viewer_camera(number: int, info: Mapping[str, Any] | None) -> ViewerCamera:
    if info is None:
        raise InputError(
            f"Keyframe {number} is empty: its viewer has not shown the model yet. Wait until it "
            "does, pose the camera there, and run again."
        )
    missing = [part for part in ("position", "quaternion", "fov") if info.get(part) is None]
    if missing or info.get("cameraType") == "orthographic":
        lack = "is orthographic" if not missing else f"has no {' and no '.join(missing)}"
        raise InputError(
            f"Keyframe {number} {lack}; expected a perspective camera as the viewer's nodes or "
            "Create Camera Info give it. Switch the viewer to perspective, or update ComfyUI."
        )
    return ViewerCamera(
        position=_vector(info["position"], "xyz"),
        quaternion=_vector(info["quaternion"], "wxyz"),
        fov_degrees=info["fov"],
        zoom=info.get("zoom", 1.0),
    )


def camera_to_host(path: CameraPath, index: int, placement: Sim3) -> dict[str, Any]:
    """One camera of a path as LOAD3D_CAMERA, in a viewer that has placed its model so."""
    check_range("Camera index", index, 0, len(path) - 1)
    cameras = path.world_cameras[index]
    camera = camera_to_viewer(cameras, placement)
    # What the viewer orbits around lies where the scene is: its median depth is 1 in its frame.
    target = camera.point_ahead(placement.scale * path.world_from_scene.scale)
    return {
        "position": _named(camera.position, "xyz"),
        "target": _named(target, "xyz"),
        "quaternion": _named(camera.quaternion, "wxyz"),
        "fov": camera.fov_degrees,
        "aspect": cameras.width / cameras.height,
        "zoom": 1.0,
        "cameraType": "perspective",
    }


def _vector(parts: Mapping[str, float], names: str) -> Float[Tensor, " n"]:
    return torch.tensor([parts[name] for name in names], dtype=torch.float32)


def _named(vector: Float[Tensor, " n"], names: str) -> dict[str, float]:
    return dict(zip(names, vector.tolist(), strict=True))
