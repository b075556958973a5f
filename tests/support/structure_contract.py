"""What every backbone keeps that takes the structure condition; tiny random weights will do."""

from collections.abc import Callable
from dataclasses import replace

import torch
from backbone_contract import STEPS, generate, request_for
from jaxtyping import Float
from same_scenes import moved
from torch import Tensor

from reconx.structure.model import StructureModel
from reconx.types import Scene
from reconx.video.base import GuidanceOptions, Guide, VideoBackbone
from reconx.video.guidance import check_guidance

StructureFor = Callable[[VideoBackbone, float], StructureModel]
"""Makes a structure model that fits a backbone, with a gate."""


def make_frames(
    backbone: VideoBackbone,
    scene: Scene,
    structure: StructureModel | None = None,
    *,
    encoded: Scene | None = None,
    guide: Guide | None = None,
) -> Float[Tensor, "frame height width 3"]:
    """A clip's frames, with the structure of this or another scene."""
    guidance = check_guidance(backbone.spec, GuidanceOptions(structure=guide or Guide()))
    request = request_for(backbone, scene, guidance=guidance)
    if structure is not None:
        encoded = encoded or scene
        condition = structure.condition(encoded, encoded.cameras[0])
        request = replace(request, structure=condition)
    return generate(backbone, request).frames


def bent(scene: Scene) -> Scene:
    """The same photos and cameras around another surface."""
    points = scene.points.clone()
    points[..., 2] += 0.5 * points[..., 0].square()
    return replace(scene, points=points)


def check_gate(backbone: VideoBackbone, scene: Scene, structure_for: StructureFor) -> None:
    """Gate 0 changes nothing, to the bit; gate 1 does; afterwards all is as before."""
    plain = make_frames(backbone, scene)
    assert torch.equal(make_frames(backbone, scene, structure_for(backbone, 0.0)), plain)
    assert not torch.equal(make_frames(backbone, scene, structure_for(backbone, 1.0)), plain)
    assert torch.equal(make_frames(backbone, scene), plain)


def check_tokens(backbone: VideoBackbone, scene: Scene, structure_for: StructureFor) -> None:
    """Another scene's tokens change the clip; a similarity of scene and cameras does not."""
    model = structure_for(backbone, 1.0)
    plain = make_frames(backbone, scene)
    own, other = (
        make_frames(backbone, scene, model, encoded=encoded) for encoded in (scene, bent(scene))
    )
    turned, cameras = moved(scene, 3.0)
    same = make_frames(backbone, scene, model, encoded=replace(turned, cameras=cameras))
    changed = (own - plain).abs().max()
    assert (other - own).abs().max() > 0.02 * changed
    assert (same - own).abs().max() < 0.01 * changed


def check_strength(backbone: VideoBackbone, scene: Scene, structure_for: StructureFor) -> None:
    """Strength 0 is no structure, to the bit; others differ; a share of the steps counts."""
    model = structure_for(backbone, 1.0)
    plain = make_frames(backbone, scene)
    off = make_frames(backbone, scene, model, guide=Guide(strength=0))
    assert torch.equal(off, plain)
    share = (STEPS - 1) / STEPS
    late, early = Guide(start=share), Guide(end=share)
    seen = [plain]
    for guide in (Guide(), Guide(strength=2.0), late, early):
        frames = make_frames(backbone, scene, model, guide=guide)
        assert not any(torch.equal(frames, earlier) for earlier in seen)
        seen.append(frames)


STRUCTURE_CHECKS = (check_gate, check_tokens, check_strength)
