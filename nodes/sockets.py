"""The sockets of the pack, and how values travel through them. Owns no conversion.

A value travels as a `Parcel`: the host's cache counts only tensors that lie in tuples and lists, so
a dataclass alone would look empty to it and be kept when memory runs short. The type strings are
saved in users' workflows and never change.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import torch
from comfy_api.latest import ComfyExtension, io, ui

__all__ = [
    "BackboneSocket",
    "CamerasSocket",
    "ComfyExtension",
    "DepthAnythingGeometry",
    "GuidanceSocket",
    "MogeGeometry",
    "Parcel",
    "PhotosSocket",
    "PointmapModelSocket",
    "SceneSocket",
    "StructureModelSocket",
    "StructureSocket",
    "ViewsSocket",
    "io",
    "pack",
    "ui",
]

PhotosSocket = io.Custom("RECONX_PHOTOS")
SceneSocket = io.Custom("RECONX_SCENE")
CamerasSocket = io.Custom("RECONX_CAMERAS")
ViewsSocket = io.Custom("RECONX_VIEWS")
BackboneSocket = io.Custom("RECONX_BACKBONE")
GuidanceSocket = io.Custom("RECONX_GUIDANCE")
StructureSocket = io.Custom("RECONX_STRUCTURE")
StructureModelSocket = io.Custom("RECONX_STRUCTURE_MODEL")
PointmapModelSocket = io.Custom("RECONX_POINTMAP_MODEL")

# The host's own, which it declares nowhere for others.
DepthAnythingGeometry = io.Custom("DA3_GEOMETRY")
MogeGeometry = io.Custom("MOGE_GEOMETRY")


class Parcel(NamedTuple):
    """A value of the library on its way between nodes."""

    value: Any
    """Photos, Scene, CameraPath, Views ...; never mutated, since the host caches it."""
    tensors: tuple[torch.Tensor, ...]
    """Its CPU tensors, each storage once, for the host's cache to count."""

    def __repr__(self) -> str:
        """Short, since the host writes a failed node's inputs into its report."""
        return f"<{type(self.value).__name__}>"


def pack(value: Any) -> Parcel:
    """Wrap a value of the library for a RECONX_* socket."""
    storages = {tensor.untyped_storage().data_ptr(): tensor for tensor in _tensors(value)}
    return Parcel(value, tuple(storages.values()))


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif is_dataclass(value):
        for part in fields(value):
            yield from _tensors(getattr(value, part.name))
