"""Frames as warp makes them, with holes filled by the pack's own small model.

What a photo saw stays to the bit. The model looks at whole frames, a few pixels wide; in holes its
picture, enlarged, takes the place of what warp continued, except beside what was seen.
"""

from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ....ops.image import resize_images
from ....ops.photos import resize_photos
from ....progress import Progress
from ....structure.adapter import attach, check_used
from ....structure.guidance import extrapolate
from ....structure.points import measure_radius
from ....structure.sites import find_sites
from ....trajectory.focus import camera_distances, median_depth
from ....types import FILLED, Cameras, Photos
from ...base import BackboneSpec, Clip, ClipRequest
from ...fitting import fit_cameras_to_spec, fit_size
from ..warp import WarpBackbone
from .inputs import (
    CLOUD_POINTS,
    SmallInputs,
    describe_cameras,
    describe_keyframes,
    describe_renders,
)
from .network import SITES, SmallDenoiser
from .weights import load_small_model

WEIGHTS = Path(__file__).with_name("small.safetensors")
"""They come with the package."""
LONG_SIDE = 48
"""Pixels of the frames that the model sees; it was trained on nearly as small ones."""
SHARPNESS = 4
"""Power of the share of a pixel that is missing, by which the model's picture takes the place of
warp's fill. 0.5 lost up to 0.3 dB on unseen photos, 2 up to 0.1; higher ones were not tried."""
TOGETHER = 6
"""Frames that are made at once between two photos, as in training."""


class SmallBackbone:
    """Fills the holes that warp leaves."""

    def __init__(self, spec: BackboneSpec, weights: Path = WEIGHTS) -> None:
        """Read nothing yet.

        Args:
            spec: What the registry says of this backbone.
            weights: File of the network; others than the pack's own stand for comparison.
        """
        self.spec, self._weights = spec, weights
        self._warp = WarpBackbone(spec)

    @cached_property
    def _model(self) -> SmallDenoiser:
        return load_small_model(self._weights)

    def fit_cameras(self, cameras: Cameras) -> Cameras:
        """Any count and size is legal."""
        return fit_cameras_to_spec(cameras, self.spec)

    def generate_clip(self, request: ClipRequest, progress: Progress) -> Clip:
        """Blend the photos, then fill what none of them saw.

        Raises:
            WeightsNotFound: If the file is missing.
            InputError: If it is damaged.
            BackboneMismatch: If the structure is another model's.
        """
        model = self._model.to(request.device)
        blended = self._warp.generate_clip(request, progress)
        assert blended.confidence is not None, "warp knows where its pixels came from"
        known = blended.confidence > FILLED
        for keyframe in request.keyframes:
            known[keyframe.index] |= keyframe.valid
        coarse = _Coarse.of(request, blended.frames, known, model.sizes.multiple)
        made = _enlarge(_denoise(model, coarse, request, progress), request.cameras)
        # In a pixel of the model's that is partly seen, what warp continues from there is finer.
        share = _enlarge(coarse.missing[..., None] ** SHARPNESS, request.cameras)
        filled = torch.lerp(blended.frames, made.clamp(0, 1), share)
        return blended._replace(frames=torch.where(known[..., None], blended.frames, filled))


class _Coarse(NamedTuple):
    """A clip at the size that the model sees."""

    frames: Float[Tensor, "frame h w 3"]
    """Of warp."""
    missing: Float[Tensor, "frame h w"]
    """Share of each pixel that no photo saw."""
    cameras: Cameras
    chunks: list["_Chunk"]

    @staticmethod
    def of(
        request: ClipRequest,
        frames: Float[Tensor, "frame height width 3"],
        known: Bool[Tensor, "frame height width"],
        multiple: int,
    ) -> "_Coarse":
        cameras, scene = request.cameras, request.scene
        shrink = LONG_SIDE / max(cameras.width, cameras.height)
        width, height = fit_size(
            round(cameras.width * shrink), round(cameras.height * shrink), multiple
        )
        cameras = cameras.resized(width, height)
        photos, depth = resize_photos(scene.photos, width, height), median_depth(scene)
        rows = torch.arange(len(cameras)).split(TOGETHER)
        return _Coarse(
            resize_images(frames, width, height),
            1 - resize_images(known[..., None].float(), width, height)[..., 0].clamp(0, 1),
            cameras,
            [_Chunk.of(part, cameras, scene.photo_cameras, photos, depth) for part in rows],
        )

    @property
    def known(self) -> Bool[Tensor, "frame h w"]:
        """Where nothing is missing."""
        return self.missing < 1e-3


class _Chunk(NamedTuple):
    """Frames that are made together, and the two photos around them."""

    rows: Tensor
    """Which frames of the clip."""
    cameras: Cameras
    """One photo's, the frames', the other photo's."""
    keyframes: Float[Tensor, "4 frame h w"]
    """The photos at both ends."""

    @staticmethod
    def of(
        rows: Tensor,
        cameras: Cameras,
        captured: Cameras,
        photos: Photos,
        depth: float,
    ) -> "_Chunk":
        own, captured = cameras[rows.tolist()], captured.resized(cameras.width, cameras.height)
        first, last = _photos_around(own, captured, depth)
        around = Cameras.concatenate([captured[first], own, captured[last]])
        keyframes = describe_keyframes(
            [photos.images[first], photos.images[last]],
            [photos.valid[first], photos.valid[last]],
            [0, len(around) - 1],
            len(around),
        )
        return _Chunk(rows, around, keyframes)


def _photos_around(cameras: Cameras, captured: Cameras, depth: float) -> tuple[int, int]:
    """The photo most like the first frame, and another that is most like the last one."""
    joined = Cameras.concatenate([cameras[[0, len(cameras) - 1]], captured])
    to_first, to_last = camera_distances(joined, depth)[:2, 2:]
    first = int(to_first.argmin())
    if len(captured) > 1:
        to_last[first] = torch.inf
    return first, int(to_last.argmin())


def _denoise(
    model: SmallDenoiser, coarse: _Coarse, request: ClipRequest, progress: Progress
) -> Float[Tensor, "frame h w 3"]:
    """The whole clip, every part of it one step at a time.

    On the straight line from noise to clean frames; known pixels are noised as they are.
    """
    steps, generator = request.steps or 1, torch.Generator().manual_seed(request.seed)
    known = coarse.known[..., None]
    noise = torch.randn(coarse.frames.shape, generator=generator)
    target, latents, clean = coarse.frames * 2 - 1, noise, noise
    radius = measure_radius(request.scene, request.cameras[0], points=CLOUD_POINTS)
    told = [_describe(chunk, coarse, request, radius) for chunk in coarse.chunks]
    task = progress.start("Denoising", steps)
    for step in range(steps):
        level, following = 1 - step / steps, 1 - (step + 1) / steps
        parts = [
            _predict(model, latents[chunk.rows], level, inputs, request, step)
            for chunk, inputs in zip(coarse.chunks, told, strict=True)
        ]
        clean = torch.where(known, target, torch.cat(parts))
        left = torch.where(known, noise, (latents - (1 - level) * clean) / level)
        latents = (1 - following) * clean + following * left
        task.update(step + 1, preview=partial(_show, clean))
    return clean / 2 + 0.5


def _show(clean: Float[Tensor, "frame h w 3"]) -> Float[Tensor, "h w 3"]:
    return (clean[len(clean) // 2] / 2 + 0.5).clamp(0, 1)


def _describe(chunk: _Chunk, coarse: _Coarse, request: ClipRequest, radius: float) -> SmallInputs:
    """What the model is told of a chunk; the photos at its ends need no renders."""
    photos = chunk.keyframes[:3, [0, -1]].permute(1, 2, 3, 0) / 2 + 0.5
    valid = chunk.keyframes[3, [0, -1]] > 0
    colour = torch.cat([photos[:1], coarse.frames[chunk.rows], photos[1:]])
    seen = torch.cat([valid[:1], coarse.known[chunk.rows], valid[1:]])
    cameras = describe_cameras(chunk.cameras, request.cameras[0], radius)
    return SmallInputs(
        keyframes=chunk.keyframes[None].to(request.device),
        renders=describe_renders(colour, torch.ones_like(seen), seen)[None].to(request.device),
        cameras=cameras[None].to(request.device),
    )


@torch.no_grad()
def _predict(
    model: SmallDenoiser,
    latents: Float[Tensor, "frame h w 3"],
    level: float,
    inputs: SmallInputs,
    request: ClipRequest,
    step: int,
) -> Float[Tensor, "frame h w 3"]:
    """Clean frames of one chunk; the photos at its ends are noised as in training."""
    ends = inputs.keyframes[0, :3, [0, -1]].cpu().permute(1, 2, 3, 0)
    noise = torch.randn(ends.shape, generator=torch.Generator().manual_seed(request.seed))
    ends = torch.lerp(ends, noise, level)
    noised = torch.cat([ends[:1], latents, ends[1:]]).permute(3, 0, 1, 2)[None]
    asked = noised.to(request.device), torch.tensor([level], device=request.device), inputs
    condition, guide = request.structure, request.guidance.structure
    if condition is None or not guide.strength or not guide.covers(step, request.steps or 1):
        made = model(*asked)
    else:
        sites, tokens = find_sites(model, SITES), condition.tokens.tokens.to(request.device)
        with attach(condition.adapter.to(request.device), sites, tokens) as reading:
            made = model(*asked)
            check_used(reading)
        if guide.strength != 1:
            made = extrapolate(model(*asked), made, guide.strength)
    return made[0].permute(1, 2, 3, 0)[1:-1].cpu()


def _enlarge(
    values: Float[Tensor, "frame h w channel"], cameras: Cameras
) -> Float[Tensor, "frame height width channel"]:
    planes = functional.interpolate(
        values.permute(0, 3, 1, 2),
        size=(cameras.height, cameras.width),
        mode="bilinear",
        align_corners=False,
    )
    return planes.permute(0, 2, 3, 1)
