"""All video backbones."""

from collections.abc import Mapping

from ..parts import load_part
from .base import BackboneSpec, VideoBackbone

BACKBONES: dict[str, BackboneSpec] = {
    "warp": BackboneSpec(
        name="warp",
        factory=".video.backbones.warp:WarpBackbone",
        keyframes="any",
        needs_first=False,
        renders="native",
        summary="Blends the photos along the path through the point cloud; needs no weights.",
    ),
}

RENAMED: Mapping[str, str] = {}


def make_backbone(name: str) -> VideoBackbone:
    """Build a registered backbone.

    Raises:
        InputError: If the name is unknown.
        MissingDependency: If its packages are absent.
    """
    return load_part("Video backbone", BACKBONES, name, RENAMED)(BACKBONES[RENAMED.get(name, name)])
