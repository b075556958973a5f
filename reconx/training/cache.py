"""Filling a cache of encoded clips, and reading it while training.

Latents, embeddings and point clouds cost more than a step of training; they are made once. What
all clips share, such as the prompt's embedding, is kept once.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import AlignmentFailed, InputError
from ..export.atomic import write_text
from ..progress import Progress
from ..structure.encoder import EncoderSizes
from ..structure.points import StructurePoints, choose_points
from ..types import Cameras
from .base import EncodedClip, TrainableBackbone, TrainingClip
from .cutting import ClipCutter
from .options import TrainOptions
from .recipe import recipe_json
from .shards import (
    ShardFacts,
    check_shard,
    read_clip,
    read_common,
    read_facts,
    stack_clips,
    write_common,
    write_shard,
)

logger = logging.getLogger("reconx")

_CLOUD = ("positions", "seen", "colours", "queries")


class Batch(NamedTuple):
    """Clips as the trainer takes them."""

    latents: Tensor
    """Clip after clip."""
    conditions: dict[str, Tensor]
    """Likewise."""
    points: list[StructurePoints]
    """One cloud per clip."""

    def to(self, device: torch.device) -> "Batch":
        """The same on a device; clouds go there by themselves."""
        conditions = {name: value.to(device) for name, value in self.conditions.items()}
        return Batch(self.latents.to(device), conditions, self.points)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One of several processes that fill a cache without talking to each other."""

    rank: int = 0
    """Which, from 0."""
    count: int = 1
    """How many there are."""


class ClipCache:
    """A folder of encoded clips; tensors come into memory as they are asked for."""

    def __init__(self, folder: Path, options: TrainOptions, backbone: TrainableBackbone) -> None:
        """Open a folder, or begin one.

        Raises:
            InputError: If it holds clips of another recipe.
        """
        self.folder = folder
        self._options, self._backbone = options, backbone
        settings = _settings(options, backbone)
        self.digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        self._size = options.keep.shard
        self.total = sum(source.clips for source in options.data)
        _check_settings(folder, settings)
        self._where: list[tuple[int, int]] = []
        self._tried: list[dict[str, Tensor]] = []
        self._common: dict[str, Tensor] = {}
        self.settings: dict[str, Any] = {}

    def fill(self, device: torch.device, worker: Worker, progress: Progress) -> None:
        """Make what is missing; this worker's part of it.

        A clip of which the estimator makes nothing, or that is not finite, is left out, and told.

        Raises:
            InputError: If data or files cannot be used.
        """
        cutter = self._cutter(device)
        task = progress.start("Encoding clips", self.total)
        for shard in range(worker.rank, -(-self.total // self._size), worker.count):
            numbers = range(shard * self._size, min(self.total, (shard + 1) * self._size))
            if read_facts(self.folder, shard) is None:
                made, skipped = {}, {}
                for number in numbers:
                    try:
                        made[number] = self._encode(cutter.cut(number), device)
                    except AlignmentFailed as error:
                        skipped[str(number)] = " ".join(str(error).split())
                        logger.warning("Clip %d is left out. %s", number, skipped[str(number)])
                    task.update(number + 1)
                write_shard(self.folder, shard, made, skipped, self.digest)
            task.update(numbers[-1] + 1)

    def try_out(self, count: int, device: torch.device) -> list[str]:
        """Encode the first clips into memory alone, and answer with them from now on.

        Returns:
            Their names.

        Raises:
            InputError: If data or files cannot be used.
            AlignmentFailed: If of one of them no point cloud is made.
        """
        cutter = self._cutter(device)
        numbers = range(min(count, self.total))
        clips = [cutter.cut(number) for number in numbers]
        self._tried = [self._encode(clip, device) for clip in clips]
        self._where = [(0, number) for number in numbers]
        self._common, self.settings = read_common(self.folder) or ({}, {})
        return [clip.name for clip in clips]

    def _cutter(self, device: torch.device) -> ClipCutter:
        options = self._options
        return ClipCutter(
            options.data,
            options.clip,
            options.cloud,
            self._backbone.spec,
            seed=options.learn.seed,
            device=str(device),
        )

    def open(self, *, thorough: bool = False) -> None:
        """Check all shards and list their clips.

        Args:
            thorough: Read them all and compare checksums; else sizes alone.

        Raises:
            InputError: If a shard is missing, empty, cut short or another's, or no clip is left.
        """
        facts = [self._facts(shard, thorough) for shard in range(-(-self.total // self._size))]
        self._where = [(shard.number, clip) for shard in facts for clip in shard.clips]
        common = read_common(self.folder)
        if not self._where or common is None:
            reasons = [reason for shard in facts for reason in shard.skipped.values()]
            raise InputError(
                f"None of the {self.total} clips in '{self.folder}' can be used. The first was "
                f"left out because: {reasons[0] if reasons else 'nothing is told'}"
            )
        self._common, self.settings = common
        logger.info("%d of %d clips are there.", len(self._where), self.total)

    def __len__(self) -> int:
        """Count the clips that can be used."""
        return len(self._where)

    def read(self, places: list[int]) -> Batch:
        """Some of the clips, by their place among those that can be used.

        Raises:
            InputError: If a shard is damaged.
        """
        clips = [{**self._common, **self._read(place)} for place in places]
        points = [_points({name: clip.pop(f"cloud.{name}") for name in _CLOUD}) for clip in clips]
        latents = torch.stack([clip.pop("latents") for clip in clips])
        return Batch(latents, stack_clips(clips), points)

    def _read(self, place: int) -> dict[str, Tensor]:
        if self._tried:
            return dict(self._tried[place])
        return read_clip(self.folder, *self._where[place])

    def _facts(self, shard: int, thorough: bool) -> ShardFacts:
        facts = read_facts(self.folder, shard)
        if facts is None:
            raise InputError(
                f"Shard {shard} of '{self.folder}' was not finished. Fill the cache first."
            )
        check_shard(self.folder, facts, self.digest, thorough=thorough)
        return facts

    def _encode(self, clip: TrainingClip, device: torch.device) -> dict[str, Tensor]:
        encoded = self._backbone.encode_clip(clip, device)
        cloud = _choose(clip, self._options.encoder)
        self._share(encoded)
        tensors = {"latents": encoded.latents, **encoded.conditions}
        tensors |= {f"cloud.{name}": getattr(cloud, name) for name in _CLOUD}
        for name, value in tensors.items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise AlignmentFailed(f"Of {clip.name} the '{name}' are not finite everywhere.")
        return {name: value.detach().cpu() for name, value in tensors.items()}

    def _share(self, encoded: EncodedClip) -> None:
        """Keep what all clips share, or require what is kept.

        Every process makes the same of it, so it does not matter whose file stays.
        """
        if read_common(self.folder) is None:
            shared = {name: value.detach().cpu() for name, value in encoded.shared.items()}
            write_common(self.folder, shared, encoded.settings)
        kept, settings = read_common(self.folder) or ({}, {})
        shapes = [
            {name: tuple(value.shape) for name, value in part.items()}
            for part in (encoded.shared, kept)
        ]
        if shapes[0] != shapes[1] or dict(encoded.settings) != settings:
            raise InputError(
                f"All clips in '{self.folder}' share {shapes[1]} and {settings}, but this one has "
                f"{shapes[0]} and {dict(encoded.settings)}; expected the same. Delete the folder."
            )


def _choose(clip: TrainingClip, sizes: EncoderSizes) -> StructurePoints:
    """A clip's points, as its first camera sees them; as many queries as any clip has."""
    counts = {"points": sizes.points, "queries": sizes.queries}
    try:
        points = choose_points(clip.scene, clip.cameras[0], **counts)
    except InputError as error:
        raise AlignmentFailed(f"Of {clip.name} no structure can be told: {error}") from error
    if len(points.queries) < sizes.queries:
        raise AlignmentFailed(
            f"Of {clip.name} only {len(points.queries)} points were measured; expected one per "
            f"query, {sizes.queries}."
        )
    return points


def _points(tensors: Mapping[str, Tensor]) -> StructurePoints:
    """As they were chosen; the trainer has no use for the camera."""
    camera = Cameras(camera_to_world=torch.eye(4)[None], K=torch.eye(3)[None], width=1, height=1)
    return StructurePoints(**tensors, reference=camera)


def _settings(options: TrainOptions, backbone: TrainableBackbone) -> dict[str, Any]:
    """All that cached clips depend on; where data lie is not part of that."""
    told = recipe_json(options)
    for source in told["data"]:
        source.pop("root")
    told["cloud"]["checkpoint"] = (
        told["cloud"]["checkpoint"] and Path(told["cloud"]["checkpoint"]).name
    )
    return {
        "backbone": json.loads(json.dumps(backbone.facts())),
        "prompt": told["prompt"],
        "data": told["data"],
        "clip": told["clip"],
        "cloud": told["cloud"],
        "points": {name: asdict(options.encoder)[name] for name in ("points", "queries")},
        "seed": options.learn.seed,
        "shard": options.keep.shard,
    }


def _check_settings(folder: Path, settings: dict[str, Any]) -> None:
    path = folder / "settings.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(settings, indent=1) + "\n")
        return
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' is damaged ({error}). Delete the folder.") from error
    other = [name for name in settings if earlier.get(name) != settings[name]]
    if other:
        raise InputError(
            f"'{folder}' holds clips of another recipe: its '{other[0]}' is "
            f"{earlier.get(other[0])}, and not {settings[other[0]]}. Choose another folder, or "
            "the same options."
        )
