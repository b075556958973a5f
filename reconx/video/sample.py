"""The clip driver: what is the same for all video backbones.

Owns checking what is asked, and running the clips in order. Cutting belongs to `clips.py`, point
renders to `drawing.py`, joining and photos to `reel.py`, the making of frames to the backbone.
"""

import logging
from functools import partial

from ..checks import check_range, check_shape
from ..errors import BackboneMismatch
from ..progress import Progress, SilentProgress, measure_usage
from ..render.cloud import scene_cloud
from ..render.edits import check_renders
from ..structure.model import StructureModel
from ..trajectory.options import CameraPath
from ..types import Cameras, PointRenders, Scene, Views
from .base import BackboneSpec, Clip, ClipRequest, GuidanceOptions, VideoBackbone
from .clips import Stretch, plan_clips
from .drawing import draw_clip, measure_coverage
from .guidance import check_guidance
from .reel import Reel
from .registry import BACKBONES
from .storage import MAX_GIGABYTES

logger = logging.getLogger("reconx")


def sample_views(
    backbone: VideoBackbone,
    scene: Scene,
    path: CameraPath,
    *,
    renders: PointRenders | None = None,
    structure: StructureModel | None = None,
    steps: int | None = None,
    guidance: GuidanceOptions | None = None,
    seed: int = 0,
    device: str = "cpu",
    max_gigabytes: int | float = MAX_GIGABYTES,
    progress: Progress | None = None,
) -> Views:
    """Make a frame for every camera of a path; those that are photos come back as the photos.

    Beyond the frames themselves, memory is bounded by one clip. A closed path closes: its last clip
    ends at its first frame.

    Args:
        backbone: From `make_backbone`.
        scene: What is filmed.
        path: From `make_path`.
        renders: The scene's points along the path, edited (`edit_renders`): what was painted is
            shown, what was made a hole is made up. Frames that are photos stay the photos. None:
            as the scene is.
        structure: Encodes the scene anew for each clip, in its first camera, and guides by it.
        steps: Denoising steps; None takes what suits the backbone, and one that does not denoise
            ignores them, with a notice.
        guidance: Strengths; None takes the defaults.
        seed: Seeds every random choice; every clip uses it.
        device: Torch device of the heavy work.
        max_gigabytes: Frames that take more than this (1e9 bytes) lie in a temporary file that
            goes when they go.
        progress: Who is told.

    Returns:
        Frames at the path's cameras and size. Confidence only if the backbone gives it.

    Raises:
        BackboneMismatch: Before any work, if the path, edited renders, structure or guidance ask
            for what the backbone lacks.
        InputError: If edited renders are not of this path, steps are fewer than 1, or the disk
            lacks room for the frames.
    """
    spec = backbone.spec
    _check_conditions(spec, path, renders, structure)
    guidance = check_guidance(spec, guidance or GuidanceOptions())
    if guidance.structure.strength == 0:
        structure = None
    steps = _choose_steps(spec, steps)
    cloud = scene_cloud(scene).to(device)
    coverage = partial(measure_coverage, cloud, path, progress=progress)
    clips = plan_clips(path, spec, scene.photos.names, coverage)
    cameras = [backbone.fit_cameras(path.cameras[clip.frames(path)]) for clip in clips]
    _notice_rounding(backbone, clips, cameras)
    reel = Reel(scene, path, max_gigabytes=max_gigabytes)
    with measure_usage() as usage:
        for clip, clip_cameras in zip(clips, cameras, strict=True):
            drawn, edited = draw_clip(
                cloud, path, clip, clip_cameras, edited=renders, progress=progress
            )
            request = ClipRequest(
                cameras=clip_cameras,
                keyframes=reel.keyframes(clip, clip_cameras),
                renders=drawn,
                edited=edited,
                scene=scene,
                structure=structure and structure.condition(scene, clip_cameras[0]),
                seed=seed,
                steps=steps,
                guidance=guidance,
                device=device,
            )
            made = _generate(backbone, request, progress or SilentProgress())
            reel.add(clip, made, ~drawn.hole if edited is None else ~(drawn.hole | edited))
        views = reel.finish()
    logger.info(
        "Backbone '%s' made %d frames in %d clips: %.1f s, peak memory %.1f GB.",
        spec.name,
        len(path),
        len(clips),
        usage.seconds,
        usage.peak_memory_mb / 1e3,
    )
    return views


def _generate(backbone: VideoBackbone, request: ClipRequest, progress: Progress) -> Clip:
    """A clip of the size that was asked for."""
    made, cameras = backbone.generate_clip(request, progress), request.cameras
    name = f"A clip of backbone '{backbone.spec.name}'"
    check_shape(name, made.frames, len(cameras), cameras.height, cameras.width, 3)
    return made


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
    structure: StructureModel | None,
) -> None:
    if structure is not None:
        family = structure.adapter.sizes.family
        if spec.structure_family != family:
            able = [name for name, other in BACKBONES.items() if other.structure_family == family]
            raise _lacks(spec, f"structure of an adapter that was trained for {family}", able)
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
