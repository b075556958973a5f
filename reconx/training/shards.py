"""Encoded clips on disk: files of a few clips each, and one file of what all clips share.

A shard is a safetensors file; beside it lies a JSON file, written after it, that tells its clips,
its size and its checksum. A shard without that is not there, so a run that is killed loses one
shard at most, and several processes and machines may fill one folder.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import InputError
from ..export.atomic import replacing, write_text

FORMAT = "reconx-clips-1"
"""Names the layout; a later one gets another number."""
OPEN_SHARDS = 128
"""Kept open while training; to open one takes longer than to read a small clip of it."""
COMMON = "common.safetensors"
"""What all clips share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFacts:
    """What is told beside a shard."""

    number: int
    """Which."""
    clips: tuple[int, ...]
    """Numbers of the clips in it, in the recipe."""
    skipped: Mapping[str, str]
    """Number of each clip that is left out, and why."""
    bytes: int
    """Size of the file."""
    sha256: str
    """Of the file."""


def shard_path(folder: Path, number: int) -> Path:
    """The file of a shard."""
    return folder / f"clips-{number:05d}.safetensors"


def write_shard(
    folder: Path,
    number: int,
    clips: Mapping[int, Mapping[str, Tensor]],
    skipped: Mapping[str, str],
    digest: str,
) -> ShardFacts:
    """Write a shard, then what is told of it.

    Args:
        folder: Of the cache.
        number: Which shard.
        clips: Tensors of each clip by their names, by the clip's number; may be none.
        skipped: Clips that are left out, and why.
        digest: Of all that the clips depend on.
    """
    path = shard_path(folder, number)
    tensors = {
        f"{clip}.{name}": tensor.contiguous()
        for clip, parts in clips.items()
        for name, tensor in parts.items()
    }
    with replacing(path) as part:
        save_file(tensors, part, {"format": FORMAT, "digest": digest, "shard": str(number)})
    facts = ShardFacts(
        number=number,
        clips=tuple(clips),
        skipped=dict(skipped),
        bytes=path.stat().st_size,
        sha256=checksum(path),
    )
    told = {name: getattr(facts, name) for name in ShardFacts.__dataclass_fields__}
    write_text(path.with_suffix(".json"), json.dumps(told, indent=1) + "\n")
    return facts


def read_facts(folder: Path, number: int) -> ShardFacts | None:
    """What is told of a shard; None if it was not finished.

    Raises:
        InputError: If that is damaged.
    """
    path = shard_path(folder, number).with_suffix(".json")
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return ShardFacts(**{**told, "clips": tuple(told["clips"])})
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(f"'{path}' is damaged ({error}). {_REMEDY.format(path.stem)}") from error


def check_shard(folder: Path, facts: ShardFacts, digest: str, *, thorough: bool) -> None:
    """Require a shard as it was written.

    Args:
        folder: Of the cache.
        facts: What is told of it.
        digest: Of all that the clips depend on.
        thorough: Read it all and compare checksums; else sizes alone.

    Raises:
        InputError: If it is missing, empty, cut short, changed, or another cache's.
    """
    path = shard_path(folder, facts.number)
    remedy = _REMEDY.format(path.stem)
    if not path.is_file():
        raise InputError(f"Shard '{path}' is missing. {remedy}")
    size = path.stat().st_size
    if size != facts.bytes:
        what = "empty" if size == 0 else "cut short" if size < facts.bytes else "too long"
        raise InputError(f"Shard '{path}' is {what}: {size} of {facts.bytes} bytes. {remedy}")
    if thorough and checksum(path) != facts.sha256:
        raise InputError(f"Shard '{path}' has changed: its checksum is another. {remedy}")
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"Shard '{path}' cannot be read ({error}). {remedy}") from error
    wanted = {"format": FORMAT, "digest": digest, "shard": str(facts.number)}
    for name, value in wanted.items():
        if told.get(name) != value:
            raise InputError(
                f"Shard '{path}' belongs to another cache: its {name} is "
                f"'{told.get(name, 'none')}', expected '{value}'. {remedy}"
            )


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_clip(folder: Path, shard: int, clip: int) -> dict[str, Tensor]:
    """The tensors of one clip, by their names.

    Raises:
        InputError: If the shard is damaged.
    """
    path = shard_path(folder, shard)
    try:
        status = path.stat()
        file, names = _open_shard(path, (status.st_mtime_ns, status.st_size))
        found = {name: file.get_tensor(f"{clip}.{name}") for name in names.get(str(clip), ())}
    except (SafetensorError, OSError) as error:
        remedy = _REMEDY.format(path.stem)
        raise InputError(f"Shard '{path}' cannot be read ({error}). {remedy}") from error
    if not found:
        raise InputError(
            f"Shard '{path}' holds nothing of clip {clip}. {_REMEDY.format(path.stem)}"
        )
    return found


@lru_cache(maxsize=OPEN_SHARDS)
def _open_shard(path: Path, stamp: tuple[int, int]) -> tuple[Any, dict[str, list[str]]]:
    """A shard, mapped into memory, and the names of each clip's tensors.

    Args:
        path: The file.
        stamp: When it was written and its size: a file that was made again is opened again.
    """
    file = safe_open(path, "pt")
    names: dict[str, list[str]] = {}
    for key in file.keys():  # noqa: SIM118
        clip, _, name = key.partition(".")
        names.setdefault(clip, []).append(name)
    return file, names


def write_common(folder: Path, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> None:
    """Keep what all clips share; the same bytes whichever process writes them."""
    with replacing(folder / COMMON) as part:
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            part,
            {"format": FORMAT, "settings": json.dumps(settings, sort_keys=True)},
        )


def read_common(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What all clips share, and the settings; None if nothing was kept yet.

    Raises:
        InputError: If the file is damaged.
    """
    path = folder / COMMON
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            settings = json.loads((file.metadata() or {})["settings"])
        return load_file(path), settings
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise InputError(
            f"'{path}' cannot be read ({error}): it is empty, cut short or another file. Delete "
            "the folder, and it is filled anew."
        ) from error


def stack_clips(clips: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors of several clips as one batch.

    Raises:
        InputError: If clips differ in shape, as those with differently many keyframes may.
    """
    for name, value in clips[0].items():
        shapes = {tuple(clip[name].shape) for clip in clips}
        if len(shapes) > 1:
            raise InputError(
                f"Clips of one batch differ in '{name}': {sorted(shapes)}; expected one shape, "
                f"such as {tuple(value.shape)}. Set learn.at_once to 1."
            )
    return {name: torch.stack([clip[name] for clip in clips]) for name in clips[0]}


_REMEDY = "Delete '{0}.safetensors' and '{0}.json', and it is made again."
