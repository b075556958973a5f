import re
from dataclasses import replace

import pytest

from reconx.errors import BackboneMismatch, InputError
from reconx.video.base import BackboneSpec, GuidanceOptions, Guide
from reconx.video.guidance import BLENDED_SHARE, check_guidance
from reconx.video.registry import BACKBONES

SPEC = BackboneSpec(
    name="dull",
    factory="",
    renders="blended",
    text_strength=5.0,
    dials=("render_strength", "render_share"),
)


def test_what_suits_the_backbone_is_filled_in() -> None:
    filled = check_guidance(SPEC, GuidanceOptions())
    assert filled.text_strength == 5
    assert filled.renders == Guide(end=BLENDED_SHARE)
    assert filled.keyframes == filled.structure == Guide(end=1.0)
    native = check_guidance(replace(SPEC, renders="native"), GuidanceOptions())
    assert native.renders == Guide(end=1.0)


def test_what_is_asked_for_stays() -> None:
    asked = GuidanceOptions(text_strength=2, renders=Guide(strength=0.5, start=0.25, end=0.9))
    filled = check_guidance(SPEC, asked)
    assert filled.text_strength == 2
    assert filled.renders == asked.renders


def test_asking_for_what_is_so_anyway_is_no_mismatch() -> None:
    asked = GuidanceOptions(keyframes=Guide(end=1.0), structure=Guide(end=1.0))
    assert check_guidance(SPEC, asked) == check_guidance(SPEC, GuidanceOptions())


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (
            GuidanceOptions(keyframes=Guide(strength=0.5)),
            "Backbone 'dull' cannot vary its keyframe strength, and 0.5 was asked for. "
            "Leave it at 1, or choose ltx.",
        ),
        (
            GuidanceOptions(structure=Guide(start=0.2)),
            "Backbone 'dull' cannot vary its structure share, and 0.2 to 1 was asked for. "
            "Leave it at 0 to 1.",
        ),
    ],
)
def test_a_dial_that_a_backbone_lacks_is_named_with_who_has_it(
    monkeypatch: pytest.MonkeyPatch, asked: GuidanceOptions, text: str
) -> None:
    able = replace(SPEC, name="ltx", dials=("keyframe_strength",))
    monkeypatch.setattr("reconx.video.guidance.BACKBONES", {"ltx": able})
    with pytest.raises(BackboneMismatch, match=f"^{re.escape(text)}$"):
        check_guidance(SPEC, asked)


def test_a_backbone_without_prompt_guidance_says_so() -> None:
    with pytest.raises(
        BackboneMismatch, match="'warp' knows no guidance on a prompt, and .* 5 was"
    ):
        check_guidance(BACKBONES["warp"], GuidanceOptions(text_strength=5))


def test_a_guide_covers_its_share_of_the_steps() -> None:
    guide = Guide(start=0.25, end=0.75)
    assert [guide.covers(step, 8) for step in range(8)] == [False] * 2 + [True] * 4 + [False] * 2
    assert all(Guide(end=1.0).covers(step, 3) for step in range(3))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"strength": -1}, "Guidance strength is -1; expected at least 0"),
        ({"start": 1.5}, "Guidance start is 1.5; expected between 0 and 1"),
        ({"end": 2.0}, "Guidance end is 2; expected between 0 and 1"),
        ({"start": 0.5, "end": 0.5}, "ends after a share of 0.5 .*, before it starts at 0.5"),
    ],
)
def test_values_out_of_range_are_named(values: dict, text: str) -> None:
    with pytest.raises(InputError, match=text):
        Guide(**values)


def test_a_negative_text_strength_is_named() -> None:
    with pytest.raises(InputError, match="text_strength is -1; expected at least 0"):
        GuidanceOptions(text_strength=-1)
