"""The clip driver: what is the same for all video backbones.

Owns checking what is asked, point renders and their edits, and running the clips in order. Cutting
belongs to `clips.py`, joining and photos to `reel.py`, the making of frames to the backbone.
"""

import logging

from jaxtyping import Bool
from torch import Tensor

from ..checks import check_range, check_shape
from ..errors import BackboneMismatch
from ..ops.image import resize_masks
from ..progress import Progress, SilentProgress
from ..render.cloud import PointCloud, scene_cloud
from ..render.edits import check_renders, find_edits, take_renders
from ..render.points import render_points
from ..trajectory.options import CameraPath
from ..types import Cameras, PointRenders, Scene, StructureTokens, Views
from .base import BackboneSpec, ClipRequest, GuidanceOptions, VideoBackbone
from .clips import Stretch, plan_clips
from .guidance import check_guidance
from .reel import Reel
from .registry import BACKBONES

logger = logging.getLogger("reconx")


def sample_views(
    backbone: VideoBackbone,
    scene: Scene,
    path: CameraPath,
    *,
    renders: PointRenders | None = None,
    structure: StructureTokens | None = None,
    steps: int | None = None,
    guidance: GuidanceOptions | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Views:
    """Make a frame for every camera of a path; those that are photos come back as the photos.

    Beyond the frames themselves, memory is bounded by one clip.

    Args:
        backbone: From `make_backbone`.
        scene: What is filmed.
        path: From `make_path`.
        renders: The scene's points along the path, edited (`edit_renders`): what was painted is
            shown, what was made a hole is made up. Frames that are photos stay the photos. None:
            as the scene is.
        structure: The scene as tokens.
        steps: Denoising steps; None takes what suits the backbone, and one that does not denoise
            ignores them, with a notice.
        guidance: Strengths; None takes the defaults.
        seed: Seeds every random choice; every clip uses it.
        device: Torch device of the heavy work.
        progress: Who is told.

    Returns:
        Frames at the path's cameras and size. Confidence only if the backbone gives it.

    Raises:
        BackboneMismatch: Before any work, if the path, edited renders, structure or guidance ask
            for what the backbone lacks.
        InputError: If edited renders are not of this path, or steps are fewer than 1.
    """
    spec = backbone.spec
    clips = plan_clips(path, spec, scene.photos.names)
    _check_conditions(spec, path, renders, structure)
    guidance = check_guidance(spec, guidance or GuidanceOptions())
    steps = _choose_steps(spec, steps)
    cameras = [backbone.fit_cameras(path.cameras[clip.first : clip.last + 1]) for clip in clips]
    _notice_rounding(backbone, clips, cameras)
    reel = Reel(scene, path)
    cloud = scene_cloud(scene).to(device)
    for clip, clip_cameras in zip(clips, cameras, strict=True):
        drawn, edited = _draw_points(cloud, clip, clip_cameras, path, renders, progress)
        request = ClipRequest(
            cameras=clip_cameras,
            keyframes=reel.keyframes(clip, clip_cameras),
            renders=drawn,
            edited=edited,
            scene=scene,
            structure=structure,
            seed=seed,
            steps=steps,
            guidance=guidance,
            device=device,
        )
        made = backbone.generate_clip(request, progress or SilentProgress())
        check_shape(
            f"A clip of backbone '{spec.name}'",
            made.frames,
            len(clip_cameras),
            clip_cameras.height,
            clip_cameras.width,
            3,
        )
        known = ~drawn.hole if edited is None else ~(drawn.hole | edited)
        reel.add(clip, made, known)
    return reel.finish()


def _notice_rounding(backbone: VideoBackbone, clips: list[Stretch], cameras: list[Cameras]) -> None:
    asked = [clip.last - clip.first + 1 for clip in clips]
    made = [len(part) for part in cameras]
    if asked != made:
        logger.warning(
            "Backbone '%s' makes clips of %s frames: %d are made instead of %d, the surplus is "
            "dropped.",
            backbone.spec.name,
            backbone.spec.frame_rule,
            sum(made),
            sum(asked),
        )


def _check_conditions(
    spec: BackboneSpec,
    path: CameraPath,
    renders: PointRenders | None,
    structure: StructureTokens | None,
) -> None:
    if structure is not None and not spec.structure_tokens:
        able = [name for name, other in BACKBONES.items() if other.structure_tokens]
        raise _lacks(spec, "structure tokens", able)
    if renders is not None and spec.renders == "none":
        able = [name for name, other in BACKBONES.items() if other.renders != "none"]
        raise _lacks(spec, "edited renders", able)
    if renders is not None:
        check_renders(renders, path.cameras)


def _lacks(spec: BackboneSpec, what: str, able: list[str]) -> BackboneMismatch:
    choose = f"Choose {', '.join(able)}, or leave them out." if able else "Leave them out."
    return BackboneMismatch(f"Backbone '{spec.name}' cannot take {what}. {choose}")


def _choose_steps(spec: BackboneSpec, steps: int | None) -> int | None:
    if steps is None:
        return spec.default_steps
    check_range("Denoising steps", steps, 1)
    if spec.default_steps is None:
        logger.info("Backbone '%s' does not denoise: %d steps are ignored.", spec.name, steps)
        return None
    return steps


def _draw_points(
    cloud: PointCloud,
    clip: Stretch,
    cameras: Cameras,
    path: CameraPath,
    edited: PointRenders | None,
    progress: Progress | None,
) -> tuple[PointRenders, Bool[Tensor, "frame height width"] | None]:
    """A clip's point renders, and where they were edited: found at the path's size, then fitted."""
    if edited is None:
        return render_points(cloud, cameras, progress=progress), None
    rows = list(range(clip.first, clip.last + 1))
    part = path.cameras[rows]
    own = take_renders(edited, rows, part)
    changed = find_edits(own, render_points(cloud, part, progress=progress))
    # A clip that was lengthened rests at its last camera.
    frames = [min(frame, len(rows) - 1) for frame in range(len(cameras))]
    return (
        take_renders(own, frames, cameras),
        ~resize_masks(~changed[frames], cameras.width, cameras.height),
    )
