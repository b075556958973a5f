"""What every video backbone keeps, as checks that any test may call with a backbone of its own.

The weights do not matter: tiny random ones will do. A check that a backbone's spec leaves nothing
to check for passes; `CHECKS` names all that need a backbone and a scene.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reconx.progress import Preview
from reconx.render.edits import edit_renders
from reconx.render.points import render_scene
from reconx.trajectory.frame_rule import legal_frame_count
from reconx.trajectory.options import CameraPath, PathOptions
from reconx.trajectory.path import make_path
from reconx.types import Scene
from reconx.video.base import Clip, ClipRequest, GuidanceOptions, Guide, Keyframe, VideoBackbone
from reconx.video.guidance import check_guidance
from reconx.video.sample import sample_views

STEPS = 3
SIZE = (64, 48)
"""Path size in pixels; backbones round it to what they can take."""


class Stopped(Exception):
    """What a face raises when its user has cancelled."""


@dataclass
class Recorder:
    """Keeps what it is told; raises at a number of denoising steps if one is given."""

    stop_at: int | None = None
    stages: list[tuple[str, int]] = field(default_factory=list)
    done: list[int] = field(default_factory=list)

    def start(self, stage: str, total: int) -> "Recorder":
        self.stages.append((stage, total))
        return self

    def update(self, done: int, preview: Preview | None = None) -> None:
        if self.stages[-1][0] != "Denoising":
            return
        self.done.append(done)
        if preview is not None:
            image = preview()
            assert image.ndim == 3
            assert image.shape[2] == 3
        if self.stop_at is not None and done >= self.stop_at:
            raise Stopped


def path_for(backbone: VideoBackbone, scene: Scene, frames: int = 9) -> CameraPath:
    """A path that the backbone can take: past all photos, or from the first one alone."""
    path = make_path(scene, PathOptions(frames=frames, width=SIZE[0], height=SIZE[1]))
    if backbone.spec.keyframes == "first":
        only_first = path.photo_index.where(torch.arange(frames) == 0, -1)
        path = replace(path, photo_index=only_first)
    return path


def request_for(backbone: VideoBackbone, scene: Scene, **changes: object) -> ClipRequest:
    """One clip of a few frames with a keyframe wherever the backbone can take one."""
    cameras = backbone.fit_cameras(path_for(backbone, scene).cameras)
    last, spec = len(cameras) - 1, backbone.spec
    places = {"first": [0], "first_last": [0, last], "any": [0, last // 2, last]}[spec.keyframes]
    request = ClipRequest(
        cameras=cameras,
        keyframes=tuple(_keyframe(scene, photo, place) for photo, place in enumerate(places)),
        renders=render_scene(scene, cameras),
        scene=scene,
        steps=None if spec.default_steps is None else STEPS,
        guidance=check_guidance(spec, GuidanceOptions()),
    )
    request = replace(request, **changes)
    size = (cameras.height, cameras.width)
    return replace(request, keyframes=tuple(_fitted(k, *size) for k in request.keyframes))


def _keyframe(scene: Scene, photo: int, place: int) -> Keyframe:
    return Keyframe(
        image=scene.photos.images[photo],
        valid=scene.photos.valid[photo],
        index=place,
        photo_index=photo,
    )


def _fitted(keyframe: Keyframe, height: int, width: int) -> Keyframe:
    planes = keyframe.image.permute(2, 0, 1)[None]
    image = torch.nn.functional.interpolate(planes, size=(height, width))[0].permute(1, 2, 0)
    return replace(keyframe, image=image, valid=torch.ones(height, width, dtype=torch.bool))


def generate(
    backbone: VideoBackbone, request: ClipRequest, progress: Recorder | None = None
) -> Clip:
    return backbone.generate_clip(request, progress or Recorder())


def check_fitted_cameras(backbone: VideoBackbone, scene: Scene) -> None:
    """Counts and sizes are legal, nothing is lost, and the picture stays where it was."""
    spec = backbone.spec
    for count in (1, 2, 9, 14):
        cameras = scene.cameras[[0] * count]
        fitted = backbone.fit_cameras(cameras)
        assert len(fitted) == legal_frame_count(len(fitted), spec.frame_rule) >= count
        assert fitted.width % spec.size_multiple == 0
        assert fitted.height % spec.size_multiple == 0
        assert torch.equal(fitted.camera_to_world[:count], cameras.camera_to_world)
        K = fitted.resized(cameras.width, cameras.height).K[:count]
        assert torch.allclose(K, cameras.K, atol=1e-4)


def check_clip(backbone: VideoBackbone, scene: Scene) -> None:
    """A clip has a frame per camera, of the right size and in range."""
    request = request_for(backbone, scene)
    clip = generate(backbone, request)
    size = (len(request.cameras), request.cameras.height, request.cameras.width)
    assert clip.frames.shape == (*size, 3)
    assert clip.frames.dtype == torch.float32
    assert clip.frames.device.type == "cpu"
    assert clip.frames.isfinite().all()
    assert clip.frames.min() >= 0
    assert clip.frames.max() <= 1
    if clip.confidence is not None:
        assert clip.confidence.shape == size
        assert clip.confidence.min() >= 1


def check_views(backbone: VideoBackbone, scene: Scene) -> None:
    """Views have the path's cameras and size, and every photo once, to the bit."""
    path = make_path(scene, PathOptions(frames=9))
    path = replace(path, photo_index=path_for(backbone, scene).photo_index)
    views = sample_views(
        backbone, scene, path, steps=None if backbone.spec.default_steps is None else 1
    )
    assert views.cameras is path.cameras
    assert views.frames.shape == (9, path.cameras.height, path.cameras.width, 3)
    photos = views.photo_index[views.photo_index >= 0].tolist()
    expected = [photos[0]] if backbone.spec.keyframes == "first" else range(len(scene.photos))
    assert sorted(photos) == sorted(expected)
    for frame, photo in enumerate(views.photo_index.tolist()):
        if photo >= 0:
            assert torch.equal(views.frames[frame], scene.photos.images[photo])
            assert views.known[frame].all()


def check_keyframes(backbone: VideoBackbone, scene: Scene) -> None:
    """Each keyframe that the backbone can take counts: another picture makes another clip."""
    request = request_for(backbone, scene)
    plain = generate(backbone, request).frames
    for place, keyframe in enumerate(request.keyframes):
        others = list(request.keyframes)
        others[place] = replace(keyframe, image=1 - keyframe.image)
        changed = generate(backbone, replace(request, keyframes=tuple(others))).frames
        assert not torch.equal(changed, plain), f"keyframe at frame {keyframe.index} does nothing"


def check_renders(backbone: VideoBackbone, scene: Scene) -> None:
    """Renders count where the backbone takes them, and not at a strength of 0."""
    spec = backbone.spec
    if spec.renders == "none":
        return
    request = request_for(backbone, scene)
    renders = request.renders
    painted = replace(
        request,
        renders=edit_renders(renders, 1 - renders.colour),
        edited=~renders.hole,
    )
    assert not torch.equal(generate(backbone, request).frames, generate(backbone, painted).frames)
    if "render_strength" in spec.dials:
        off = check_guidance(spec, GuidanceOptions(renders=Guide(strength=0)))
        without, still_without = (
            generate(backbone, replace(asked, guidance=off)).frames for asked in (request, painted)
        )
        assert torch.equal(without, still_without)


def check_seed(backbone: VideoBackbone, scene: Scene) -> None:
    """The same seed gives the same bytes; another seed, where there is chance, others."""
    request = request_for(backbone, scene)
    first, again = (generate(backbone, request).frames for _ in range(2))
    assert torch.equal(first, again)
    if backbone.spec.default_steps is not None:
        assert not torch.equal(first, generate(backbone, replace(request, seed=1)).frames)


def check_progress(backbone: VideoBackbone, scene: Scene) -> None:
    """Denoising is one task with an update per step."""
    if backbone.spec.default_steps is None:
        return
    recorder = Recorder()
    generate(backbone, request_for(backbone, scene), recorder)
    assert [stage for stage in recorder.stages if stage[0] == "Denoising"] == [("Denoising", STEPS)]
    assert [done for done in recorder.done if done > 0] == list(range(1, STEPS + 1))


def check_cancel(backbone: VideoBackbone, scene: Scene) -> None:
    """What the face raises ends the clip at that very step, and the next clip is as ever."""
    if backbone.spec.default_steps is None:
        return
    request = request_for(backbone, scene)
    plain = generate(backbone, request).frames
    recorder = Recorder(stop_at=1)
    try:
        generate(backbone, request, recorder)
    except Stopped:
        assert recorder.done[-1] == 1
    else:
        raise AssertionError("the clip was made although its user has cancelled")
    assert torch.equal(generate(backbone, request).frames, plain)


CHECKS: tuple[Callable[[VideoBackbone, Scene], None], ...] = (
    check_fitted_cameras,
    check_clip,
    check_views,
    check_keyframes,
    check_renders,
    check_seed,
    check_progress,
    check_cancel,
)


@dataclass(frozen=True)
class DenoisedLatents:
    """A clip's latents after the last step, in any layout in which the mask broadcasts."""

    latents: Float[Tensor, "..."]
    encoded: Float[Tensor, "..."]
    """What the VAE makes of the known pixels, as the denoiser takes it."""
    known: Bool[Tensor, "..."]


def check_known_latents(
    backbone: VideoBackbone,
    scene: Scene,
    denoise: Callable[[VideoBackbone, ClipRequest], DenoisedLatents],
) -> None:
    """Held to the end, known latents are as encoded to 1e-5, and all others depend on the seed.

    Args:
        backbone: One that holds renders in its latents, by blending or by masks of its own.
        scene: Has holes along the path.
        denoise: Makes a clip and tells of its latents; every backbone's test brings its own.
    """
    share = "render_share" in backbone.spec.dials
    asked = GuidanceOptions(renders=Guide(end=1.0)) if share else GuidanceOptions()
    request = request_for(backbone, scene, guidance=check_guidance(backbone.spec, asked))
    hole = request.renders.hole.clone()
    hole[:, :, : hole.shape[2] // 2] = True
    request = replace(request, renders=edit_renders(request.renders, hole=hole))
    first, second = (denoise(backbone, replace(request, seed=seed)) for seed in (0, 1))
    known = first.known.expand_as(first.latents)
    assert known.any()
    assert not known.all()
    assert (first.latents - first.encoded)[known].abs().max() <= 1e-5
    assert ((first.latents - second.latents)[~known] != 0).float().mean() > 0.9
