"""A whole `Scene`, and Gaussians if there are any, as one safetensors file: bit for bit, no pickle.

Tensors lie under dotted names such as "photos.images", as they are: float32 photos and pointmaps
take 12 bytes per pixel each, confidence 4. What is no tensor stands as JSON in the header, beside
the format's name and version. The scene keeps its own frame, in which `world_from_scene` leads to
the user's world; Gaussians are in the user's world, like everywhere outside a scene.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from ..errors import InputError
from ..types import CameraPrior, Cameras, Gaussians, Photos, Scene, SceneSource, Sim3
from .atomic import replacing

FORMAT = "reconx-scene"
VERSION = 1
"""Raised when an older reader would misunderstand the file."""

_PHOTOS = ("images", "valid", "to_original")
_PRIOR = ("K", "focal_sigma", "distortion", "camera_to_world")
_CAMERAS = ("camera_to_world", "K")
_SCENE = ("points", "confidence", "valid", "up")
_SIM3 = ("rotation", "translation")
_GAUSSIANS = ("means", "quats", "scales", "opacities", "sh")


def write_scene_file(path: str | Path, scene: Scene, gaussians: Gaussians | None = None) -> None:
    """Write a scene and, in the user's world, Gaussians."""
    tensors = {
        **_take("photos", scene.photos, _PHOTOS),
        **_take("prior", scene.photos.prior, _PRIOR),
        **_take("photo_cameras", scene.photo_cameras, _CAMERAS),
        **_take("cameras", scene.cameras, _CAMERAS),
        **_take("scene", scene, _SCENE),
        **_take("world_from_scene", scene.world_from_scene, _SIM3),
        **_take("gaussians", gaussians, _GAUSSIANS),
    }
    metadata = {"format": FORMAT, "version": str(VERSION), "facts": json.dumps(_facts(scene))}
    with replacing(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(tensors, temporary, metadata)
        temporary.chmod(mode)  # safetensors makes files that nobody else may read


def read_scene_file(path: str | Path) -> tuple[Scene, Gaussians | None]:
    """Read what `write_scene_file` wrote.

    Raises:
        InputError: If the file is missing, cut short, not ours, newer than this reader, or lacks a
            part.
    """
    metadata, tensors = _read(Path(path))
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"'{path}' is a safetensors file, but holds no ReconX scene. Choose a file that Save "
            "Scene wrote."
        )
    version = metadata.get("version", "")
    if not version.isdecimal() or int(version) > VERSION:
        raise InputError(
            f"'{path}' has version '{version}' of the scene format; this ReconX reads up to "
            f"{VERSION}. Update ReconX."
        )
    try:
        scene = _scene(json.loads(metadata["facts"]), tensors)
        gaussians = None
        if "gaussians.means" in tensors:
            gaussians = Gaussians(**_give("gaussians", tensors, _GAUSSIANS))
    except (KeyError, TypeError, ValueError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"'{path}' is damaged: {what}. Save the scene anew.") from error
    return scene, gaussians


def _take(name: str, value: object, fields: Sequence[str]) -> dict[str, np.ndarray]:
    """A part's tensors under dotted names; what is None is left out."""
    tensors = {field: getattr(value, field, None) for field in fields}
    return {
        f"{name}.{field}": tensor.contiguous().numpy()  # safetensors writes strides as if none
        for field, tensor in tensors.items()
        if tensor is not None
    }


def _give(name: str, tensors: Mapping[str, Tensor], fields: Sequence[str]) -> dict[str, Tensor]:
    return {field: tensors[f"{name}.{field}"] for field in fields}


def _facts(scene: Scene) -> dict[str, Any]:
    """All that is no tensor."""
    photos, source = scene.photos, scene.source
    return {
        "names": photos.names,
        "original_sizes": photos.original_sizes,
        "has_prior": photos.prior is not None,
        "photo_size": (scene.photo_cameras.width, scene.photo_cameras.height),
        "size": (scene.cameras.width, scene.cameras.height),
        "world_scale": scene.world_from_scene.scale,
        "source": {
            "estimator": source.estimator,
            "checkpoint": source.checkpoint,
            "licence": source.licence,
            "seconds": dict(source.seconds),
            "matches": [[*pair, count] for pair, count in source.matches.items()],
            "warnings": source.warnings,
        },
    }


def _scene(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Scene:
    prior = None
    if facts["has_prior"]:
        prior = CameraPrior(**{field: tensors.get(f"prior.{field}") for field in _PRIOR})
    source = dict(facts["source"])
    source["matches"] = {(first, second): count for first, second, count in source["matches"]}
    source["warnings"] = tuple(source["warnings"])

    def cameras(name: str, size: Sequence[int]) -> Cameras:
        return Cameras(**_give(name, tensors, _CAMERAS), width=size[0], height=size[1])

    return Scene(
        photos=Photos(
            **_give("photos", tensors, _PHOTOS),
            names=tuple(facts["names"]),
            prior=prior,
            original_sizes=tuple((width, height) for width, height in facts["original_sizes"]),
        ),
        photo_cameras=cameras("photo_cameras", facts["photo_size"]),
        cameras=cameras("cameras", facts["size"]),
        **_give("scene", tensors, _SCENE),
        world_from_scene=Sim3(
            **_give("world_from_scene", tensors, _SIM3), scale=facts["world_scale"]
        ),
        source=SceneSource(**source),
    )


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The header's metadata, and all tensors."""
    if not path.is_file():
        raise InputError(f"Scene file '{path}' does not exist. Check the path.")
    try:
        # As numpy: tensors of torch would stay mapped to the file, which then cannot be replaced.
        with safe_open(path, framework="numpy") as file:
            tensors = {name: torch.from_numpy(file.get_tensor(name)) for name in file.keys()}
            return file.metadata() or {}, tensors
    except SafetensorError as error:
        raise InputError(
            f"'{path}' cannot be read ({error}). Expected a whole safetensors file."
        ) from error
