"""Where paths are cut, for backbones of every rule."""

from dataclasses import replace

import pytest
import torch

from reconx.errors import BackboneMismatch, InputError
from reconx.render.cloud import scene_cloud
from reconx.trajectory.options import CameraPath, PathOptions
from reconx.trajectory.path import make_path
from reconx.types import Cameras, Scene
from reconx.video.base import BackboneSpec
from reconx.video.clips import Stretch, plan_clips
from reconx.video.drawing import measure_coverage

SPEC = BackboneSpec(name="plain", factory="", keyframes="any", needs_first=False)


def path_of(count: int, photos: dict[int, int], *, loop: bool = False) -> CameraPath:
    photo_index = torch.full((count,), -1)
    for frame, photo in photos.items():
        photo_index[frame] = photo
    cameras = Cameras(
        camera_to_world=torch.eye(4).repeat(count, 1, 1),
        K=torch.eye(3).repeat(count, 1, 1),
        width=64,
        height=48,
    )
    return CameraPath(cameras=cameras, photo_index=photo_index, loop=loop)


def ends(path: CameraPath, spec: BackboneSpec, known: dict[int, float] | None = None) -> list[int]:
    """Where the clips end; neighbours share a frame, and frames not told of are half known."""
    clips = plan_clips(
        path, spec, ["a", "b", "c"], lambda frames: [(known or {}).get(f, 0.5) for f in frames]
    )
    assert clips[0].first == 0
    assert all(before.last == after.first for before, after in zip(clips, clips[1:], strict=False))
    return [clip.last for clip in clips]


def refuse_to_measure(frames: list[int]) -> list[float]:
    raise AssertionError(f"asked about {frames}")


def test_a_path_that_fits_is_not_measured() -> None:
    path = path_of(33, {0: 0, 20: 1, 32: 2})
    assert plan_clips(path, SPEC, ["a"] * 3, refuse_to_measure) == [Stretch(0, 32)]
    pairs = plan_clips(path, replace(SPEC, keyframes="first_last"), ["a"] * 3, refuse_to_measure)
    assert pairs == [Stretch(0, 20), Stretch(20, 32)]


def test_the_path_is_cut_where_most_is_known() -> None:
    path = path_of(41, {0: 0, 40: 1})
    spec = replace(SPEC, max_frames=33)
    assert ends(path, spec) == [20, 40]
    assert ends(path, spec, {13: 0.9, 20: 0.6}) == [13, 40]
    # Neither clip may exceed 33 frames, nor be shorter than half the mean.
    assert ends(path, spec, {4: 1.0, 36: 1.0, 27: 0.8}) == [27, 40]


def test_coverage_is_what_the_renders_show_and_photos_are_known_whole(plane_scene: Scene) -> None:
    path = make_path(plane_scene, PathOptions(kind="orbit", frames=5, orbit_degrees=40.0))
    cloud = scene_cloud(plane_scene)
    shares = measure_coverage(cloud, path, [0, 2, 4])
    assert max(shares[0], shares[2]) < 0.9 < shares[1]
    photo = replace(path, photo_index=torch.tensor([1, -1, -1, -1, -1]))
    assert measure_coverage(cloud, photo, [0, 2, 4]) == [1.0, *shares[1:]]


@pytest.mark.parametrize(("rule", "step"), [("4k+1", 4), ("8k+1", 8)])
def test_lengths_that_the_backbone_can_take_are_preferred(rule: str, step: int) -> None:
    path = path_of(161, {0: 0, 160: 1})
    spec = replace(SPEC, max_frames=84, frame_rule=rule)
    cuts = ends(path, spec, {50: 0.52})
    assert all(cut % step == 0 for cut in cuts)
    assert len(cuts) == 2


@pytest.mark.parametrize("rule", ["any", "4k+1", "8k+1"])
@pytest.mark.parametrize("keyframes", ["first", "first_last", "any"])
@pytest.mark.parametrize("count", [2, 17, 50, 400])
def test_every_rule_is_kept_at_any_length(rule: str, keyframes: str, count: int) -> None:
    photos = {0: 0} if keyframes == "first" else {0: 0, count // 2: 1, count - 1: 2}
    path = path_of(count, photos)
    spec = replace(SPEC, max_frames=20, frame_rule=rule, keyframes=keyframes)
    longest = {"any": 19, "4k+1": 16, "8k+1": 16}[rule]
    cuts = [0, *ends(path, spec)]
    assert cuts[-1] == count - 1
    assert all(0 < b - a <= longest for a, b in zip(cuts, cuts[1:], strict=False))
    if keyframes == "first_last":
        assert set(photos) <= set(cuts)
    elif keyframes == "any":
        assert len(cuts) - 1 == -(-(count - 1) // longest)


def test_closed_paths_end_at_their_first_frame() -> None:
    path = path_of(20, {0: 0, 10: 1}, loop=True)
    assert ends(path, SPEC) == [20]
    assert ends(path, replace(SPEC, keyframes="first_last")) == [10, 20]
    assert plan_clips(path, SPEC, ["a", "b"], refuse_to_measure)[0].frames(path) == [*range(20), 0]


def test_a_closed_path_without_a_photo_at_its_start_makes_that_frame_first() -> None:
    path = path_of(20, {}, loop=True)
    assert ends(path, SPEC) == [10, 20]
    assert ends(path, replace(SPEC, keyframes="first_last", max_frames=17)) == [10, 20]
    assert ends(path_of(2, {}, loop=True), SPEC) == [1, 2]
    assert ends(path_of(1, {}, loop=True), SPEC) == [0]


def test_memory_limits_clips_where_the_backbone_does_not() -> None:
    path = path_of(300, {})
    large = replace(path, cameras=replace(path.cameras, width=4000, height=2000))
    cuts = [0, *ends(large, SPEC)]
    assert max(b - a for a, b in zip(cuts, cuts[1:], strict=False)) == 2
    assert ends(path, SPEC) == [299]


def test_a_backbone_without_a_last_frame_cannot_close_a_path() -> None:
    with pytest.raises(BackboneMismatch, match=r"cannot take a last frame, and this path is clos"):
        ends(path_of(9, {0: 0}, loop=True), replace(SPEC, keyframes="first"))


def test_a_limit_below_two_frames_is_refused() -> None:
    with pytest.raises(InputError, match=r"at most 4 frames of the rule 4k\+1"):
        replace(SPEC, max_frames=4, frame_rule="4k+1")
