"""A path in pieces, for video models that somebody runs clip by clip, and the pieces joined again.

What `sample_views` does with a backbone, parted where the user's own tools come in. A piece cannot
begin with a frame that the one before has made, since they may be made in any order.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InputError
from ..progress import Progress
from ..render.cloud import scene_cloud
from ..trajectory.frame_rule import FRAME_STEPS, FrameRule
from ..trajectory.options import CameraPath
from ..types import Cameras, Scene
from .base import BackboneSpec, ClipRequest, GuidanceOptions
from .clips import Stretch, plan_clips
from .conditions import ControlVideo, make_control_video
from .drawing import draw_clip, measure_coverage
from .fitting import fit_cameras_to_spec
from .reel import Reel

logger = logging.getLogger("reconx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One clip of a path, to be made by somebody else."""

    path: CameraPath
    """Its frames; the last one is the first of the next piece."""
    cameras: Cameras
    """The same at the count and size that the model takes; what is added rests at the last."""
    control: ControlVideo
    """What is known along `cameras`."""

    @property
    def start(self) -> Float[Tensor, "height width 3"]:
        """The photo at its start; where none stands, the point render."""
        return self.control.frames[0]

    @property
    def end(self) -> Float[Tensor, "height width 3"]:
        """The photo at its end; where none stands, the point render."""
        return self.control.frames[-1]


def split_path(
    scene: Scene,
    path: CameraPath,
    *,
    frame_rule: FrameRule = "4k+1",
    max_frames: int = 81,
    size_multiple: int = 16,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[Piece]:
    """Cut a path at every photo on it, and between them where clips would be too long.

    Args:
        scene: What is filmed.
        path: From `make_path`.
        frame_rule: Frame counts that the video model takes.
        max_frames: Its longest clip.
        size_multiple: Width and height become multiples of this.
        device: Torch device that draws the points.
        progress: Who is told.
    """
    spec = BackboneSpec(
        name="clip by clip",
        factory="",
        frame_rule=frame_rule,
        max_frames=max_frames,
        size_multiple=size_multiple,
        keyframes="first_last",
        needs_first=False,
        renders="native",
    )
    cloud = scene_cloud(scene).to(device)
    coverage = partial(measure_coverage, cloud, path, progress=progress)
    reel = Reel(scene, path)
    pieces = []
    for clip in plan_clips(path, spec, scene.photos.names, coverage):
        rows = clip.frames(path)
        cameras = fit_cameras_to_spec(path.cameras[rows], spec)
        renders, _ = draw_clip(cloud, path, clip, cameras, progress=progress)
        photos = [key for key in reel.keyframes(clip, cameras) if key.photo_index >= 0]
        request = ClipRequest(
            cameras=cameras,
            keyframes=tuple(photos),
            renders=renders,
            scene=scene,
            guidance=GuidanceOptions(),
        )
        part = replace(
            path, cameras=path.cameras[rows], photo_index=path.photo_index[rows], loop=False
        )
        pieces.append(Piece(path=part, cameras=cameras, control=make_control_video(request)))
        _notice_open_ends(clip, part)
    return pieces


def _notice_open_ends(clip: Stretch, part: CameraPath) -> None:
    index = part.photo_index
    for frame, photo in ((clip.first, int(index[0])), (clip.last, int(index[-1]))):
        if photo < 0:
            logger.warning(
                "No photo stands at frame %d, where a clip begins or ends: its picture there is "
                "the point render, grey where nothing is known.",
                frame,
            )


def join_pieces(
    frames: Sequence[Float[Tensor, "frame height width 3"]], paths: Sequence[CameraPath]
) -> tuple[Float[Tensor, "joined_frame height width 3"], CameraPath]:
    """Put clips behind each other; a frame that two of them share is there once.

    A clip may be longer than its path by what the frame rule has added before its last frame.

    Args:
        frames: One clip per path, all of one size.
        paths: Of the pieces, in order.

    Raises:
        InputError: If counts do not go together, or clips differ in size.
    """
    if not frames or len(frames) != len(paths):
        raise InputError(
            f"{len(frames)} clips were given for {len(paths)} pieces of a path; expected one clip "
            "per piece. Connect both to the same Split Path."
        )
    sizes = sorted({tuple(clip.shape[1:3]) for clip in frames})
    if len(sizes) > 1:
        raise InputError(
            f"Clips have the sizes {sizes} (height, width); expected one. Sample all of them at "
            "the width and height that Split Path gives."
        )
    clips, kept = [], []
    for clip, path in zip(frames, paths, strict=True):
        own = _own_frames(clip, path)
        shared = bool(kept) and _same_camera(kept[-1], -1, path, 0)
        clips.append(own[shared:])
        kept.append(_part(path, slice(int(shared), None)))
    joined = replace(
        paths[0],
        cameras=Cameras.concatenate([path.cameras for path in kept]),
        photo_index=torch.cat([path.photo_index for path in kept]),
    )
    film = torch.cat(clips)
    if len(joined) > 2 and _same_camera(joined, 0, joined, -1):
        return film[:-1], replace(_part(joined, slice(-1)), loop=True)
    return film, joined


def _own_frames(
    clip: Float[Tensor, "frame height width 3"], path: CameraPath
) -> Float[Tensor, "own_frame height width 3"]:
    """A clip without what the frame rule has added: it rests at the last camera, and ends there."""
    surplus = len(clip) - len(path)
    if not 0 <= surplus < max(FRAME_STEPS.values()):
        raise InputError(
            f"A clip has {len(clip)} frames, and its piece of the path has {len(path)} cameras. "
            "Sample each clip at the length that Split Path gives."
        )
    return torch.cat([clip[: len(path) - 1], clip[-1:]])


def _part(path: CameraPath, rows: slice) -> CameraPath:
    return replace(path, cameras=path.cameras[rows], photo_index=path.photo_index[rows])


def _same_camera(one: CameraPath, row: int, other: CameraPath, other_row: int) -> bool:
    pose, other_pose = (
        path.cameras.camera_to_world[at] for path, at in ((one, row), (other, other_row))
    )
    return torch.equal(pose, other_pose)
