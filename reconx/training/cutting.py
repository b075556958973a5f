"""Cutting clips out of posed videos, and making the point clouds that belong to them.

Clip number n is the same whoever cuts it: everything random is seeded with its number.
"""

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional

from ..datasets.base import Dataset, DepthDataset
from ..datasets.chunks import ChunkFolder
from ..datasets.folders import PosedFolders
from ..datasets.nerfstudio import NerfstudioFolders
from ..datasets.procedural.dataset import ProceduralOptions, ProceduralScenes
from ..errors import AlignmentFailed, InputError
from ..geometry.depth_maps import DepthMaps
from ..geometry.estimators.base import GeometryEstimator, GeometryOptions
from ..geometry.estimators.registry import load_model, make_estimator
from ..geometry.fill import fill_depth
from ..geometry.scene import geometry_size, make_scene
from ..ops.photos import crop_photos, resize_photos, select_photos
from ..ops.sim3 import apply_sim3_to_cameras
from ..progress import SilentProgress
from ..trajectory.frame_rule import legal_frame_count
from ..types import CONFIDENT, Cameras, Photos, Scene, SceneSource
from ..video.base import BackboneSpec
from .base import TrainingClip
from .options import ClipOptions, CloudOptions, DataOptions

logger = logging.getLogger("reconx")

TRUE_CONFIDENCE = 10.0
"""Of the data's own depth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Which frames of a scene make a clip; numbered within the clip where nothing else is said."""

    scene: str
    """Its name in the dataset."""
    frames: tuple[int, ...]
    """Of the video."""
    keyframes: tuple[int, ...]
    """That the model is shown."""
    views: tuple[int, ...]
    """That the point cloud is made of."""
    shows_renders: bool
    """Whether the model is shown point renders too."""
    seed: int
    """Of what else is random about the clip."""


class ClipCutter:
    """All clips of a recipe, by number; sources one after the other, scenes in their order."""

    def __init__(
        self,
        data: Sequence[DataOptions],
        clip: ClipOptions,
        cloud: CloudOptions,
        spec: BackboneSpec,
        *,
        seed: int,
        device: str,
    ) -> None:
        """Look at nothing yet.

        Raises:
            InputError: If the backbone cannot make such clips.
        """
        _check_clip(clip, spec)
        self._data, self._clip, self._cloud, self._spec = tuple(data), clip, cloud, spec
        self._seed, self._device = seed, device
        self._open: dict[int, Dataset] = {}

    def __len__(self) -> int:
        """Count the clips."""
        return sum(source.clips for source in self._data)

    def cut(self, number: int) -> TrainingClip:
        """Cut one clip, and make its point cloud.

        Raises:
            InputError: If a file is damaged, or the video is too short.
            AlignmentFailed: If the estimator makes nothing of the clip's frames.
        """
        source, inside = self._locate(number)
        if source not in self._open:
            self._open[source] = self._open_data(self._data[source])
        dataset = self._open[source]
        scenes = dataset.scenes()
        scene = scenes[inside * len(scenes) // self._data[source].clips]
        cut = choose_frames(
            scene,
            dataset.length(scene),
            self._clip,
            self._spec,
            self._cloud.views,
            random.Random(f"reconx-clip-1/{self._seed}/{number}"),
        )
        name = (
            f"{self._data[source].kind} scene '{scene}', frames {cut.frames[0]} to {cut.frames[-1]}"
        )
        try:
            photos = dataset.read(scene, cut.frames)
            return self._assemble(name, dataset, cut, photos)
        except AlignmentFailed as error:
            raise AlignmentFailed(f"Of {name} no point cloud was made: {error}") from error

    def _locate(self, number: int) -> tuple[int, int]:
        for source, data in enumerate(self._data):
            if number < data.clips:
                return source, number
            number -= data.clips
        raise IndexError(number)

    def _open_data(self, data: DataOptions) -> Dataset:
        if data.kind == "procedural":
            options = ProceduralOptions(
                scenes=data.scenes,
                first=data.first,
                frames=data.frames,
                width=self._clip.width,
                height=self._clip.height,
            )
            return ProceduralScenes(options)
        assert data.root is not None, "checked with the options"
        return _open_folder(data.kind, data.root)

    def _assemble(self, name: str, dataset: Dataset, cut: Cut, photos: Photos) -> TrainingClip:
        photos = crop_photos(photos, self._clip.width, self._clip.height)
        views = select_photos(photos, list(cut.views))
        scene = self._make_scene(name, dataset, cut, views)
        cameras = apply_sim3_to_cameras(scene.world_from_scene.inverse(), _cameras(photos))
        return TrainingClip(
            name=name,
            frames=photos.images,
            cameras=cameras,
            keyframes=cut.keyframes,
            scene=scene,
            shows_renders=cut.shows_renders,
        )

    def _make_scene(self, name: str, dataset: Dataset, cut: Cut, views: Photos) -> Scene:
        if self._estimator is not None:
            return self._estimator.estimate(views, SilentProgress())
        frames = [cut.frames[view] for view in cut.views]
        depth = dataset.read_depth(cut.scene, frames) if isinstance(dataset, DepthDataset) else None
        if depth is None:
            raise InputError(
                f"The point cloud of {name} is to come from the data's own depth, and there is "
                "none. Set cloud.source to an estimator, such as stereo or dust3r."
            )
        withheld = None
        if self._cloud.missing:
            generator = torch.Generator().manual_seed(cut.seed)
            width, height = geometry_size(views, self._geometry)
            withheld = _patches((len(views), height, width), self._cloud.missing, generator)
        return scene_of_depth(views, depth, self._geometry, withheld=withheld)

    @property
    def _geometry(self) -> GeometryOptions:
        long_side = max(self._clip.width, self._clip.height)
        return GeometryOptions(
            fit_size=long_side,
            geometry_size=min(self._cloud.size, long_side),
            device=self._device,
            seed=self._seed,
        )

    @cached_property
    def _estimator(self) -> GeometryEstimator | None:
        source, checkpoint = self._cloud.source, self._cloud.checkpoint
        if source == "depth":
            return None
        if checkpoint is None:
            return make_estimator(source, self._geometry)
        model = load_model(source, checkpoint, self._device)
        return make_estimator(source, self._geometry, model=model)


def choose_frames(
    scene: str,
    length: int,
    clip: ClipOptions,
    spec: BackboneSpec,
    views: int,
    dice: random.Random,
) -> Cut:
    """Frames at equal distances, as far apart as the video allows and the dice say; see `uneven`.

    Args:
        scene: Its name.
        length: Frames of the video.
        clip: How many frames, and how far apart at most.
        spec: Which of them may be keyframes.
        views: Frames that the point cloud is made of.
        dice: Decide.

    Raises:
        InputError: If the video is shorter than the clip.
    """
    if length < clip.frames:
        raise InputError(
            f"Scene '{scene}' has {length} frames, and a clip {clip.frames}. Leave the scene out, "
            "or choose fewer frames."
        )
    frames = _anywhere(length, clip, dice) if clip.uneven else _in_steps(length, clip, dice)
    last, middle = clip.frames - 1, range(1, clip.frames - 1)
    shown = {"first": [0], "first_last": [0, last], "any": [0, last]}[spec.keyframes]
    if spec.keyframes == "any":
        shown += dice.sample(middle, min(dice.randint(0, clip.keyframes), len(middle)))
    # What the model is shown is known to the estimator too, as it is when photos come in.
    known = [0, last, *(frame for frame in shown if 0 < frame < last)][:views]
    rest = [frame for frame in middle if frame not in known]
    known += dice.sample(rest, min(max(0, views - len(known)), len(rest)))
    return Cut(
        scene=scene,
        frames=frames,
        keyframes=tuple(sorted(shown)),
        views=tuple(sorted(known)),
        shows_renders=dice.random() < clip.renders,
        seed=dice.getrandbits(62),
    )


def _in_steps(length: int, clip: ClipOptions, dice: random.Random) -> tuple[int, ...]:
    skip = dice.randint(1, min(clip.skip, (length - 1) // (clip.frames - 1)))
    reach = skip * (clip.frames - 1)
    start = dice.randint(0, length - 1 - reach)
    return tuple(range(start, start + reach + 1, skip))


def _anywhere(length: int, clip: ClipOptions, dice: random.Random) -> tuple[int, ...]:
    """Some frames of a part of the video, between two others that may lie anywhere."""
    count = clip.frames - 2
    span = dice.randint(count, length)
    start = dice.randint(0, length - span)
    between = sorted(dice.sample(range(start, start + span), count))
    first, last = sorted(dice.sample(sorted(set(range(length)) - set(between)), 2))
    return (first, *between, last)


def _check_clip(clip: ClipOptions, spec: BackboneSpec) -> None:
    legal = legal_frame_count(clip.frames, spec.frame_rule)
    if legal != clip.frames or clip.frames > (spec.max_frames or clip.frames):
        raise InputError(
            f"Backbone '{spec.name}' cannot make clips of {clip.frames} frames; expected a count "
            f"of the rule {spec.frame_rule}, at most {spec.max_frames or 'any'}. "
            "Change clip.frames."
        )
    if clip.width % spec.size_multiple or clip.height % spec.size_multiple:
        raise InputError(
            f"Backbone '{spec.name}' cannot make {clip.width} x {clip.height} pixels; expected "
            f"multiples of {spec.size_multiple}. Change clip.width or clip.height."
        )
    if clip.renders and spec.renders != "native":
        raise InputError(
            f"Backbone '{spec.name}' was not trained to take point renders, and "
            f"{clip.renders:.0%} of the clips shall have them. Set clip.renders to 0."
        )


def _open_folder(kind: str, root: Path) -> Dataset:
    if kind == "folders":
        return PosedFolders(root)
    return NerfstudioFolders(root) if kind == "dl3dv" else ChunkFolder(root, "train")


def _cameras(photos: Photos) -> Cameras:
    prior = photos.prior
    assert prior is not None, "datasets give cameras"
    assert prior.K is not None
    assert prior.camera_to_world is not None
    return Cameras(
        camera_to_world=prior.camera_to_world, K=prior.K, width=photos.width, height=photos.height
    )


def scene_of_depth(
    views: Photos,
    depth: Sequence[torch.Tensor],
    options: GeometryOptions,
    *,
    withheld: Bool[Tensor, "view h w"] | None = None,
) -> Scene:
    """A scene of true depth: no pixel is doubted, and none filled in where nothing is withheld.

    Args:
        views: With known cameras.
        depth: z-depth of each, in the cameras' unit; 0 = unknown.
        options: Size of the pointmaps.
        withheld: Where it counts as not measured, and is guessed from what is around; at the
            pointmaps' size.
    """
    width, height = geometry_size(views, options)
    fitted = torch.stack([_covering(part, width, height) for part in depth])
    known = fitted > 0
    if withheld is not None:
        known &= ~withheld
    maps = DepthMaps(
        depth=torch.where(known, fitted, torch.nan),
        confidence=torch.where(known, TRUE_CONFIDENCE, 1.0),
    )
    assert TRUE_CONFIDENCE >= CONFIDENT
    cameras = _cameras(views).resized(width, height)
    if withheld is not None:
        small = resize_photos(views, width, height)
        maps = fill_depth(maps, small.images, small.valid, cameras)
    return make_scene(views, cameras, maps, SceneSource(estimator="depth"), options)


def _patches(
    shape: tuple[int, int, int], most: float, generator: torch.Generator
) -> Bool[Tensor, "view h w"]:
    """Smooth patches at random places, of a random share of each picture up to a limit."""
    coarse = torch.rand(shape[0], 1, 7, 7, generator=generator)
    field = functional.interpolate(coarse, shape[1:], mode="bicubic")[:, 0]
    share = most * float(torch.rand((), generator=generator))
    return field < field.flatten(1).quantile(share, dim=1)[:, None, None]


def _covering(depth: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """The middle of a depth picture in another shape, by its nearest pixels; see `crop_photos`."""
    factor = max(width / depth.shape[1], height / depth.shape[0])
    size = (round(depth.shape[0] * factor), round(depth.shape[1] * factor))
    scaled = functional.interpolate(depth[None, None].float(), size, mode="nearest-exact")[0, 0]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return scaled[top : top + height, left : left + width]
