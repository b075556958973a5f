import torch

from reconx.types import Cameras, PointRenders, Scene
from reconx.video.base import ClipRequest, GuidanceOptions, Keyframe
from reconx.video.conditions import GREY, HOLE_GROWTH, known_pixels, make_control_video


def renders_with(hole: torch.Tensor) -> PointRenders:
    frames, height, width = hole.shape
    cameras = Cameras(
        camera_to_world=torch.eye(4).repeat(frames, 1, 1),
        K=torch.eye(3).repeat(frames, 1, 1),
        width=width,
        height=height,
    )
    plain = torch.ones(frames, height, width).masked_fill(hole, 0)
    return PointRenders(
        cameras=cameras,
        colour=(0.8 * plain)[..., None].expand(-1, -1, -1, 3),
        depth=plain,
        confidence=1 + 9 * plain,
        hole=hole,
    )


def test_holes_are_closed_and_grown() -> None:
    hole = torch.zeros(1, 30, 30, dtype=torch.bool)
    hole[0, 10:20, 10:20] = True
    hole[0, 14:16, 14:16] = False
    known = known_pixels(renders_with(hole))
    expected = torch.ones(30, 30, dtype=torch.bool)
    low, high = 10 - HOLE_GROWTH, 20 + HOLE_GROWTH
    expected[low:high, low:high] = False
    assert torch.equal(known[0], expected)


def test_without_holes_everything_is_known() -> None:
    assert known_pixels(renders_with(torch.zeros(2, 8, 8, dtype=torch.bool))).all()


def test_keyframes_lie_over_the_renders_where_they_are_valid(plane_scene: Scene) -> None:
    hole = torch.zeros(3, 20, 20, dtype=torch.bool)
    hole[:, :10] = True
    renders = renders_with(hole)
    valid = torch.ones(20, 20, dtype=torch.bool)
    valid[:, :5] = False
    photo = Keyframe(image=torch.full((20, 20, 3), 0.3), valid=valid, index=1, photo_index=0)
    request = ClipRequest(
        cameras=renders.cameras,
        keyframes=(photo,),
        renders=renders,
        scene=plane_scene,
        guidance=GuidanceOptions(),
    )
    control = make_control_video(request)
    assert torch.equal(control.known[1], valid)
    assert (control.frames[1][valid] == 0.3).all()
    assert (control.frames[1][~valid] == GREY).all()
    for frame in (0, 2):
        assert not control.known[frame, : 10 + HOLE_GROWTH].any()
        assert (control.frames[frame, 10 + HOLE_GROWTH :] == 0.8).all()
        assert (control.frames[frame, : 10 + HOLE_GROWTH] == GREY).all()
