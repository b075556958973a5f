"""The moves that set off from one photo's camera."""

from dataclasses import replace

import pytest
import torch

from reconx.errors import InputError
from reconx.ops.projection import project_points
from reconx.ops.se3 import rotation_angle_degrees, so3_exp
from reconx.ops.sim3 import apply_sim3_to_cameras, apply_sim3_to_points
from reconx.trajectory.focus import median_depth
from reconx.trajectory.moves import MOVES
from reconx.trajectory.options import CameraPath, MoveOptions, PathOptions
from reconx.trajectory.path import make_path
from reconx.types import Scene, Sim3

FRAMES = 9


def move(
    scene: Scene, kind: str, *, loop: bool = False, easing: str = "linear", **how
) -> CameraPath:
    options = PathOptions(
        kind=kind, frames=FRAMES, loop=loop, easing=easing, move=MoveOptions(**how)
    )
    return make_path(scene, options)


def local(path: CameraPath, scene: Scene, photo: int = 0) -> torch.Tensor:
    """Centres in the photo camera's axes, in focus depths."""
    pose = scene.photo_cameras.camera_to_world[photo]
    return (path.cameras.centers - pose[:3, 3]) @ pose[:3, :3] / median_depth(scene, photo)


def focus_corners(scene: Scene, photo: int = 0) -> torch.Tensor:
    """Centre and corners of a square on the focus plane, in the world."""
    square = torch.tensor([[0.0, 0, 1], [0.1, 0.1, 1], [-0.1, 0.1, 1], [0.1, -0.1, 1]])
    pose = scene.photo_cameras.camera_to_world[photo]
    return median_depth(scene, photo) * square @ pose[:3, :3].mT + pose[:3, 3]


def seen(path: CameraPath, points: torch.Tensor) -> torch.Tensor:
    """Pixels of the points per frame."""
    pairs = zip(path.cameras.viewmats, path.cameras.K, strict=True)
    return torch.stack([project_points(points, viewmat, K)[0] for viewmat, K in pairs])


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("easing", ["linear", "smooth"])
@pytest.mark.parametrize("kind", MOVES)
def test_every_move_sets_off_from_the_photo(
    plane_scene: Scene, kind: str, easing: str, loop: bool
) -> None:
    path = move(plane_scene, kind, loop=loop, easing=easing, photo=1)
    assert path.photo_index.tolist() == [1] + [-1] * (FRAMES - 1)
    assert path.loop is loop
    captured = plane_scene.photo_cameras
    assert torch.equal(path.cameras.camera_to_world[0], captured.camera_to_world[1])
    assert torch.equal(path.cameras.K[0], captured.K[1])
    rotation = path.cameras.camera_to_world[:, :3, :3]
    assert torch.allclose(rotation @ rotation.mT, torch.eye(3).expand_as(rotation), atol=1e-5)
    moved = (path.cameras.camera_to_world - captured.camera_to_world[1]).abs().amax((1, 2))
    zoomed = (path.cameras.K - captured.K[1]).abs().amax((1, 2))
    middle = torch.maximum(moved, zoomed)[1:-1]
    # A lemniscate comes by once more, at half its time.
    assert (middle > 1e-3).sum() >= FRAMES - 3


@pytest.mark.parametrize("kind", MOVES)
def test_every_loop_closes(plane_scene: Scene, kind: str) -> None:
    path = move(plane_scene, kind, loop=True, easing="smooth")
    centers, K = path.cameras.centers, path.cameras.K[:, 0, 0]
    steps = torch.cat([centers, centers[:1]]).diff(dim=0).norm(dim=-1)
    zooms = torch.cat([K, K[:1]]).diff().abs()
    assert steps[-1] <= steps.max()
    assert zooms[-1] <= zooms.max()
    if kind not in ("spiral", "lemniscate"):
        back = path.cameras.camera_to_world[1:].flip(0)
        assert torch.allclose(path.cameras.camera_to_world[1:], back, atol=1e-6)


@pytest.mark.parametrize("photo", [0, 2])
@pytest.mark.parametrize(
    ("kind", "axis", "sign"), [("truck", 0, 1), ("pedestal", 1, -1), ("dolly", 2, 1)]
)
def test_straight_moves_keep_to_their_axis(
    plane_scene: Scene, kind: str, axis: int, sign: int, photo: int
) -> None:
    path = move(plane_scene, kind, photo=photo, amplitude=0.4)
    centers = local(path, plane_scene, photo)
    expected = torch.zeros(FRAMES, 3)
    expected[:, axis] = sign * torch.linspace(0, 0.4, FRAMES)
    assert torch.allclose(centers, expected, atol=1e-5)
    rotation = path.cameras.camera_to_world[:, :3, :3]
    assert torch.allclose(rotation, rotation[:1].expand_as(rotation), atol=1e-6)
    assert torch.equal(path.cameras.K, path.cameras.K[:1].expand_as(path.cameras.K))


def test_a_negative_amplitude_goes_the_other_way(plane_scene: Scene) -> None:
    there, back = (local(move(plane_scene, "truck", amplitude=a), plane_scene) for a in (0.3, -0.3))
    assert torch.allclose(there, -back, atol=1e-6)


@pytest.mark.parametrize("amplitude", [0.5, -0.5])
def test_a_dolly_zoom_keeps_the_focus_plane(plane_scene: Scene, amplitude: float) -> None:
    pixels = seen(move(plane_scene, "dolly-zoom", amplitude=amplitude), focus_corners(plane_scene))
    assert torch.allclose(pixels, pixels[:1].expand_as(pixels), atol=1e-3)
    far = 2 * focus_corners(plane_scene)
    pixels = seen(move(plane_scene, "dolly-zoom", amplitude=amplitude), far)
    assert (pixels[0] - pixels[-1]).abs().max() > 1


def test_a_zoom_enlarges_the_focus_plane_as_a_dolly_does(plane_scene: Scene) -> None:
    corners = focus_corners(plane_scene)
    zoom, dolly = (move(plane_scene, kind, amplitude=0.5) for kind in ("zoom", "dolly"))
    assert torch.allclose(seen(zoom, corners), seen(dolly, corners), atol=1e-3)
    assert torch.equal(zoom.cameras.centers, zoom.cameras.centers[:1].expand(FRAMES, 3))
    ratio = zoom.cameras.K[-1, 0, 0] / zoom.cameras.K[0, 0, 0]
    assert ratio.item() == pytest.approx(2, rel=1e-5)


@pytest.mark.parametrize("kind", ["spiral", "lemniscate"])
def test_swaying_moves_keep_the_focus_in_the_centre(plane_scene: Scene, kind: str) -> None:
    path = move(plane_scene, kind, photo=2, amplitude=0.5)
    pixels = seen(path, focus_corners(plane_scene, 2)[:1])[:, 0]
    assert torch.allclose(pixels, path.cameras.K[:, :2, 2], atol=1e-3)


def test_a_spiral_winds_out_and_in_a_loop_back(plane_scene: Scene) -> None:
    radius = local(move(plane_scene, "spiral", turns=1), plane_scene)[:, :2].norm(dim=-1)
    assert torch.allclose(radius, torch.linspace(0, 0.2, FRAMES), atol=1e-5)
    options = PathOptions(kind="spiral", frames=8, loop=True)
    radius = local(make_path(plane_scene, options), plane_scene)[:, :2].norm(dim=-1)
    assert torch.allclose(radius, torch.tensor([0, 1, 2, 3, 4, 3, 2, 1]) / 20, atol=1e-5)


def test_a_lemniscate_crosses_itself_at_the_photo(plane_scene: Scene) -> None:
    centers = local(move(plane_scene, "lemniscate", amplitude=0.4), plane_scene)
    assert centers[[0, 4, 8]].abs().max() < 1e-5
    assert torch.allclose(centers[2], torch.tensor([0.4, 0, 0]), atol=1e-5)
    assert torch.allclose(centers[6], torch.tensor([-0.4, 0, 0]), atol=1e-5)
    assert centers[1, 1] * centers[3, 1] < 0


def test_a_roll_turns_about_the_optical_axis(plane_scene: Scene) -> None:
    path = move(plane_scene, "roll", degrees=90)
    rotation = path.cameras.camera_to_world[:, :3, :3]
    assert torch.allclose(rotation[:, :, 2], rotation[:1, :, 2].expand(FRAMES, 3), atol=1e-6)
    angles = rotation_angle_degrees(rotation[0].mT @ rotation)
    assert torch.allclose(angles, torch.linspace(0, 90, FRAMES), atol=1e-2)
    # Clockwise: what was at the picture's top is now at its left.
    top = torch.tensor([0.0, -0.2, 1.0])
    pixel, _ = project_points(top, path.cameras.viewmats[-1], path.cameras.K[-1])
    assert pixel[0] < path.cameras.K[0, 0, 2] - 5
    assert pixel[1].item() == pytest.approx(path.cameras.K[0, 1, 2].item(), abs=1e-3)
    full = move(plane_scene, "roll", degrees=360, loop=True).cameras.camera_to_world[:, :3, :3]
    assert rotation_angle_degrees(full[0].mT @ full[1:]).min() > 35


def test_easing_sets_off_slowly(plane_scene: Scene) -> None:
    right = local(move(plane_scene, "truck", easing="smooth"), plane_scene)[:, 0]
    assert right[1] < 0.4 * (right[5] - right[4])
    assert right[-1].item() == pytest.approx(0.2, abs=1e-5)


def test_a_single_frame_is_the_photo(plane_scene: Scene) -> None:
    for kind in MOVES:
        path = make_path(plane_scene, PathOptions(kind=kind, frames=1))
        assert torch.equal(
            path.cameras.camera_to_world, plane_scene.photo_cameras.camera_to_world[:1]
        )


@pytest.mark.parametrize("kind", MOVES)
def test_moves_follow_a_similarity_of_the_scene(plane_scene: Scene, kind: str) -> None:
    similarity = Sim3(
        rotation=so3_exp(torch.tensor([0.3, -0.5, 0.2])),
        translation=torch.tensor([1.0, -2.0, 0.5]),
        scale=1.7,
    )
    moved = replace(
        plane_scene,
        cameras=apply_sim3_to_cameras(similarity, plane_scene.cameras),
        photo_cameras=apply_sim3_to_cameras(similarity, plane_scene.photo_cameras),
        points=apply_sim3_to_points(similarity, plane_scene.points),
        up=similarity.rotation @ plane_scene.up,
    )
    path = move(plane_scene, kind).cameras
    expected = apply_sim3_to_cameras(similarity, path).camera_to_world
    assert torch.allclose(move(moved, kind).cameras.camera_to_world, expected, atol=2e-5)


@pytest.mark.parametrize("kind", ["dolly", "zoom", "dolly-zoom"])
def test_a_camera_does_not_pass_through_what_it_looks_at(plane_scene: Scene, kind: str) -> None:
    with pytest.raises(InputError, match=r"An amplitude of 1 takes .* Choose at most 0\.95\."):
        move(plane_scene, kind, amplitude=1)


def test_a_photo_that_is_not_there_is_named(plane_scene: Scene) -> None:
    with pytest.raises(InputError, match="starts at photo 3, and the scene has 3 .* up to 2"):
        move(plane_scene, "truck", photo=3)


def test_a_path_that_moves_no_camera_takes_no_amplitude(plane_scene: Scene) -> None:
    with pytest.raises(InputError, match="'orbit' moves no photo's camera, .* one of: spiral, do"):
        make_path(plane_scene, PathOptions(kind="orbit", move=MoveOptions(amplitude=0.3)))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"photo": -1}, "Path photo is -1; expected at least 0"),
        ({"amplitude": 30}, "Path amplitude is 30; expected between -20 and 20"),
        ({"degrees": 400}, "Path degrees is 400; expected between -360 and 360"),
    ],
)
def test_values_out_of_range_are_named(values: dict, text: str) -> None:
    with pytest.raises(InputError, match=text):
        MoveOptions(**values)
