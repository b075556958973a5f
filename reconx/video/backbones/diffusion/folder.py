"""A pipeline on disk in the diffusers layout: what it holds, read without loading a weight.

Everything that can be wrong with the files is found here, before any work.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from ....errors import InputError, UnsafeCheckpoint, WeightsNotFound

LIBRARIES = ("diffusers", "transformers")
"""Whose classes a pipeline may name; any other is code that lies in the folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A pipeline whose parts are all there."""

    path: Path
    """Where it lies."""
    settings: Mapping[str, Any]
    """What model_index.json says of the pipeline beside its components."""
    components: Mapping[str, str]
    """Name to class."""
    values: Mapping[str, int]
    """How many numbers the weights of each component hold."""
    half_precision_only: bool
    """Whether a component has nothing but the files of its fp16 variant."""

    @staticmethod
    def read(path: Path, elsewhere: str | None = None) -> "ModelFolder":
        """Look through a folder.

        Args:
            path: The folder.
            elsewhere: A component whose weights lie in a file of their own; only its config.json
                must be here.

        Raises:
            WeightsNotFound: If the folder, a component or a file of weights is not there.
            InputError: If it is no pipeline, or a file is damaged.
            UnsafeCheckpoint: If it names code, or holds pickled weights alone.
        """
        index = _read_index(path)
        components = {
            name: _class_name(path, name, entry)
            for name, entry in index.items()
            if isinstance(entry, list) and entry[0] is not None
        }
        values, half_precision_only = {}, False
        for name in components:
            part = path / name
            if not part.is_dir():
                raise WeightsNotFound(
                    f"Model folder '{path}' lacks its '{name}' ({components[name]}). Download the "
                    "whole repository: every folder that model_index.json names."
                )
            if (part / "config.json").is_file() and name != elsewhere:
                files = _weight_files(part)
                values[name] = sum(count_values(file) for file in files)
                half_precision_only |= all(".fp16." in file.name for file in files)
        settings = {name: entry for name, entry in index.items() if name not in components}
        return ModelFolder(
            path=path,
            settings=settings,
            components=components,
            values=values,
            half_precision_only=half_precision_only,
        )

    def config(self, component: str) -> dict[str, Any]:
        """What a component's config.json says."""
        return _read_json(self.path / component / "config.json")


def _read_index(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise WeightsNotFound(
            f"Model folder '{path}' is not there. Give the folder of a pipeline in the diffusers "
            "layout."
        )
    file = path / "model_index.json"
    if not file.is_file():
        raise InputError(
            f"Model folder '{path}' holds no model_index.json, so it is no pipeline in the "
            "diffusers layout. Download the repository whose name ends in -diffusers, or load a "
            "single file through ComfyUI's own loaders and Video Backbone From Model."
        )
    return _read_json(file)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"'{file}' cannot be read ({error}). Download it again.") from error


def _class_name(path: Path, name: str, entry: list[str]) -> str:
    library, kind = entry
    if library not in LIBRARIES:
        raise UnsafeCheckpoint(
            f"Model folder '{path}' brings code of its own for '{name}' ({library}.{kind}), which "
            f"is not run. Expected components of {' and '.join(LIBRARIES)}."
        )
    return kind


def _weight_files(part: Path) -> list[Path]:
    """The files of a component that are loaded: all shards, or one; the fp16 variant if alone."""
    files = sorted(part.glob("*.safetensors"))
    full = [file for file in files if ".fp16." not in file.name]
    files = full or files
    if not files:
        if list(part.glob("*.bin")):
            raise UnsafeCheckpoint(
                f"'{part}' holds pickled weights alone (.bin), which are not loaded. Download its "
                ".safetensors files."
            )
        raise WeightsNotFound(
            f"'{part}' holds no weights (.safetensors). Download the whole repository."
        )
    for index in part.glob("*.safetensors.index*.json"):
        wanted = set(_read_json(index)["weight_map"].values())
        missing = sorted(wanted - {file.name for file in part.iterdir()})
        if missing and ".fp16." not in index.name:
            raise WeightsNotFound(f"'{part}' lacks {', '.join(missing)}. Download it again.")
    return files


def count_values(file: Path) -> int:
    """Count the numbers in a safetensors file, by its header.

    Raises:
        WeightsNotFound: If it is not there.
        InputError: If it is no safetensors file, or shorter than its header says.
    """
    if not file.is_file():
        raise WeightsNotFound(f"Weights '{file}' are not there. Give a .safetensors file.")
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        header = stream.read(length) if length < size else b""
    try:
        tensors = [entry for name, entry in json.loads(header).items() if name != "__metadata__"]
        end = 8 + length + max((entry["data_offsets"][1] for entry in tensors), default=0)
    except (ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"'{file}' is no safetensors file, or its download broke off. Download it again."
        ) from error
    if size < end:
        raise InputError(
            f"'{file}' has {size} of {end} bytes: its download broke off. Download it again."
        )
    return sum(prod(entry["shape"]) for entry in tensors)
