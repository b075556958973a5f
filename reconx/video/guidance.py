"""Whether a backbone can be guided as somebody asks, and what suits it where nobody asks."""

from collections.abc import Iterator
from dataclasses import replace

from ..errors import BackboneMismatch
from .base import BackboneSpec, Dial, GuidanceOptions, Guide
from .registry import BACKBONES

BLENDED_SHARE = 0.6
"""Share of the steps during which renders are blended into latents. Blended to the end, a frame
keeps the point cloud's errors and shows seams along its holes; the last steps smooth them over."""


def check_guidance(spec: BackboneSpec, guidance: GuidanceOptions) -> GuidanceOptions:
    """Fill in what suits a backbone where nothing is asked.

    Returns:
        The same guidance in which every `end` is known, and `text_strength` unless the backbone
        knows none.

    Raises:
        BackboneMismatch: If a strength or a share of the steps differs from the default and the
            backbone cannot vary it.
    """
    if guidance.text_strength is not None and spec.text_strength is None:
        raise BackboneMismatch(
            f"Backbone '{spec.name}' knows no guidance on a prompt, and a text strength of "
            f"{guidance.text_strength:g} was asked for. Leave it at what suits the backbone."
        )
    filled, default = _fill_in(spec, guidance), _fill_in(spec, GuidanceOptions())
    for dial, asked, usual in _dials(filled, default):
        if asked != usual and not spec.can_vary(dial):
            able = [name for name, other in BACKBONES.items() if other.can_vary(dial)]
            choose = f", or choose {', '.join(able)}" if able else ""
            raise BackboneMismatch(
                f"Backbone '{spec.name}' cannot vary its {dial.replace('_', ' ')}, and {asked} was "
                f"asked for. Leave it at {usual}{choose}."
            )
    return filled


def _fill_in(spec: BackboneSpec, guidance: GuidanceOptions) -> GuidanceOptions:
    text = guidance.text_strength
    return replace(
        guidance,
        text_strength=spec.text_strength if text is None else text,
        keyframes=_until(guidance.keyframes, 1.0),
        renders=_until(guidance.renders, BLENDED_SHARE if spec.renders == "blended" else 1.0),
        structure=_until(guidance.structure, 1.0),
    )


def _until(guide: Guide, end: float) -> Guide:
    return guide if guide.end is not None else replace(guide, end=end)


def _dials(filled: GuidanceOptions, default: GuidanceOptions) -> Iterator[tuple[Dial, str, str]]:
    """Each dial, where it stands, and where it stands by default."""
    guides: tuple[tuple[Dial, Dial, Guide, Guide], ...] = (
        ("keyframe_strength", "keyframe_share", filled.keyframes, default.keyframes),
        ("render_strength", "render_share", filled.renders, default.renders),
        ("structure_strength", "structure_share", filled.structure, default.structure),
    )
    for strength, share, guide, usual in guides:
        yield strength, f"{guide.strength:g}", f"{usual.strength:g}"
        yield share, f"{guide.start:g} to {guide.end:g}", f"{usual.start:g} to {usual.end:g}"
