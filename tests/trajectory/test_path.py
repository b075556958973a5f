import re
from dataclasses import replace

import pytest
import torch

from reconx.errors import InputError
from reconx.ops.framing import reframe_cameras
from reconx.ops.projection import project_points
from reconx.ops.se3 import rotation_angle_degrees, so3_exp
from reconx.ops.sim3 import apply_sim3_to_cameras, apply_sim3_to_points
from reconx.trajectory.focus import find_focus, median_depth
from reconx.trajectory.options import PathOptions
from reconx.trajectory.path import make_path
from reconx.types import Cameras, Scene, Sim3


def only(scene: Scene, index: list[int]) -> Scene:
    """The scene with only some of its cameras and pointmaps; enough for paths."""
    photos = replace(
        scene.photos,
        images=scene.photos.images[index],
        valid=scene.photos.valid[index],
        names=tuple(scene.photos.names[i] for i in index),
        original_sizes=tuple(scene.photos.original_sizes[i] for i in index),
        to_original=scene.photos.to_original[index],
    )
    return replace(
        scene,
        photos=photos,
        photo_cameras=scene.photo_cameras[index],
        cameras=scene.cameras[index],
        points=scene.points[index],
        confidence=scene.confidence[index],
        valid=scene.valid[index],
    )


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("easing", ["linear", "smooth"])
@pytest.mark.parametrize("index", [[0, 1], [0, 1, 2]])
def test_interpolation_hits_every_captured_camera_exactly(
    plane_scene: Scene, index: list[int], easing: str, loop: bool
) -> None:
    scene = only(plane_scene, index)
    path = make_path(scene, PathOptions(frames=17, easing=easing, loop=loop))
    assert len(path) == 17
    assert sorted(path.photo_index[path.photo_index >= 0].tolist()) == list(range(len(index)))
    for frame, photo in enumerate(path.photo_index.tolist()):
        if photo >= 0:
            assert torch.equal(
                path.cameras.camera_to_world[frame], scene.photo_cameras.camera_to_world[photo]
            )
            assert torch.equal(path.cameras.K[frame], scene.photo_cameras.K[photo])
    rotation = path.cameras.camera_to_world[:, :3, :3]
    assert torch.allclose(rotation @ rotation.mT, torch.eye(3).expand(17, 3, 3), atol=1e-5)
    if not loop:
        assert path.photo_index[0] >= 0
        assert path.photo_index[-1] >= 0


def test_the_middle_camera_lies_in_the_middle(plane_scene: Scene) -> None:
    """View 0 stands between the two others."""
    path = make_path(plane_scene, PathOptions(frames=21))
    visited = path.photo_index[path.photo_index >= 0].tolist()
    assert visited == [1, 0, 2]


def test_steps_are_even_and_smooth(plane_scene: Scene) -> None:
    path = make_path(plane_scene, PathOptions(frames=41))
    steps = path.cameras.centers.diff(dim=0).norm(dim=-1)
    assert steps.max() < 2 * steps.median()
    turns = rotation_angle_degrees(
        path.cameras.camera_to_world[1:, :3, :3] @ path.cameras.camera_to_world[:-1, :3, :3].mT
    )
    assert turns.max() < 2 * turns.median()


def test_easing_starts_and_stops_slowly(plane_scene: Scene) -> None:
    path = make_path(only(plane_scene, [0, 1]), PathOptions(frames=21, easing="smooth"))
    steps = path.cameras.centers.diff(dim=0).norm(dim=-1)
    assert steps[0] < 0.3 * steps[10]
    assert steps[-1] < 0.3 * steps[10]


def test_two_views_keep_the_focus_on_a_straight_line(plane_scene: Scene) -> None:
    scene = only(plane_scene, [0, 1])
    focus = find_focus(scene)
    path = make_path(scene, PathOptions(frames=9))
    seen = torch.stack(
        [(viewmat @ torch.cat([focus, torch.ones(1)]))[:3] for viewmat in path.cameras.viewmats]
    )
    straight = torch.lerp(seen[0], seen[-1], torch.linspace(0, 1, 9)[:, None])
    assert torch.allclose(seen, straight, atol=1e-5)


def test_focal_length_goes_geometrically(plane_scene: Scene) -> None:
    scene = only(plane_scene, [0, 1])
    K = scene.photo_cameras.K.clone()
    K[1, :2, :2] *= 4
    path = make_path(
        replace(scene, photo_cameras=replace(scene.photo_cameras, K=K)), PathOptions(frames=3)
    )
    assert path.cameras.K[1, 0, 0].item() == pytest.approx(2 * K[0, 0, 0].item(), rel=1e-5)


def test_a_loop_closes(plane_scene: Scene) -> None:
    path = make_path(plane_scene, PathOptions(frames=30, loop=True))
    centers = path.cameras.centers
    closing = (centers[0] - centers[-1]).norm()
    assert closing < 2 * centers.diff(dim=0).norm(dim=-1).max()
    assert path.photo_index[0] == 0


def test_every_frame_may_be_a_photo(plane_scene: Scene) -> None:
    path = make_path(plane_scene, PathOptions(frames=3))
    assert sorted(path.photo_index.tolist()) == [0, 1, 2]


def test_a_similarity_of_the_scene_moves_the_path_along(plane_scene: Scene) -> None:
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
    for kind in ("interpolate", "orbit"):
        options = PathOptions(kind=kind, frames=11)
        expected = apply_sim3_to_cameras(similarity, make_path(plane_scene, options).cameras)
        assert torch.allclose(
            make_path(moved, options).cameras.camera_to_world, expected.camera_to_world, atol=2e-5
        )


def test_orbit_faces_the_focus_and_keeps_its_height(plane_scene: Scene) -> None:
    path = make_path(plane_scene, PathOptions(kind="orbit", frames=9, orbit_degrees=20.0))
    focus = find_focus(plane_scene)
    assert path.photo_index.tolist() == [-1] * 9
    for viewmat, K in zip(path.cameras.viewmats, path.cameras.K, strict=True):
        pixel, z = project_points(focus, viewmat, K)
        assert torch.allclose(pixel, K[:2, 2], atol=1e-3)
        assert z > 0
    heights = path.cameras.centers @ plane_scene.up
    assert torch.allclose(heights, heights[0].expand(9), atol=1e-5)
    distances = (path.cameras.centers - focus).norm(dim=-1)
    assert torch.allclose(distances, distances[0].expand(9), atol=1e-5)
    offset = path.cameras.centers - focus
    level = offset - (offset @ plane_scene.up)[:, None] * plane_scene.up
    cosine = torch.cosine_similarity(level[0], level[-1], dim=0)
    assert torch.rad2deg(torch.acos(cosine)).item() == pytest.approx(40, abs=1e-2)


def test_focus_lies_where_the_axes_meet(plane_scene: Scene) -> None:
    target = torch.tensor([0.1, -0.05, 1.1])
    poses = torch.eye(4).repeat(3, 1, 1)
    for pose, center in zip(poses, [[0.0, 0, 0], [0.4, 0, 0], [-0.3, 0.2, 0.1]], strict=True):
        forward = torch.nn.functional.normalize(target - torch.tensor(center), dim=0)
        right = torch.nn.functional.normalize(
            torch.linalg.cross(torch.tensor([0.0, 1, 0]), forward), dim=0
        )
        pose[:3] = torch.stack(
            [right, torch.linalg.cross(forward, right), forward, torch.tensor(center)], dim=-1
        )
    scene = replace(plane_scene, cameras=replace(plane_scene.cameras, camera_to_world=poses))
    assert torch.allclose(find_focus(scene), target, atol=2e-3)


def test_parallel_axes_focus_at_the_median_depth(plane_scene: Scene) -> None:
    poses = torch.eye(4).repeat(3, 1, 1)
    poses[1, 0, 3], poses[2, 0, 3] = 0.2, -0.2
    scene = replace(plane_scene, cameras=replace(plane_scene.cameras, camera_to_world=poses))
    assert find_focus(scene)[2].item() == pytest.approx(median_depth(scene), rel=1e-4)


WORLD = Sim3(
    rotation=so3_exp(torch.tensor([0.4, 1.1, -0.3])),
    translation=torch.tensor([5.0, -1.0, 2.0]),
    scale=3.0,
)


@pytest.mark.parametrize("count", [2, 3])
def test_posed_cameras_are_visited_in_the_order_given(plane_scene: Scene, count: int) -> None:
    """The user poses in the user's world; the path lies in the scene's frame."""
    scene = replace(plane_scene, world_from_scene=WORLD)
    stops = scene.photo_cameras[[2, 1, 0][:count]]
    posed = apply_sim3_to_cameras(WORLD, stops)
    options = PathOptions(kind="keyframes", keyframes=posed, frames=9)
    path = make_path(scene, options)
    at = [0, 8] if count == 2 else [0, *path_index(path.cameras, stops[[1]]), 8]
    assert torch.allclose(
        path.cameras.camera_to_world[at], stops.camera_to_world, atol=1e-5, rtol=0
    )
    assert at == sorted(set(at))
    assert path.photo_index.tolist() == [-1] * 9
    assert torch.allclose(
        path.world_cameras.camera_to_world[0], posed.camera_to_world[0], atol=1e-5
    )


def path_index(cameras: Cameras, wanted: Cameras) -> list[int]:
    """The frame that stands nearest to a camera."""
    return [int((cameras.centers - wanted.centers).norm(dim=-1).argmin())]


def test_posed_cameras_of_another_shape_are_cropped(plane_scene: Scene) -> None:
    posed = plane_scene.photo_cameras[[0, 1]].resized(960, 720)
    options = PathOptions(kind="keyframes", keyframes=posed, frames=3, width=36, height=36)
    path = make_path(plane_scene, options)
    assert (path.cameras.width, path.cameras.height) == (36, 36)
    expected = reframe_cameras(plane_scene.photo_cameras, 36, 36).K[0]
    assert torch.allclose(path.cameras.K[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("rule", "asked", "legal"), [("any", 10, 10), ("4k+1", 10, 13), ("8k+1", 17, 17)]
)
def test_a_count_that_does_not_fit_the_rule_is_rounded_up_with_a_notice(
    plane_scene: Scene, caplog: pytest.LogCaptureFixture, rule: str, asked: int, legal: int
) -> None:
    path = make_path(plane_scene, PathOptions(frames=asked, frame_rule=rule))
    assert len(path) == legal
    notices = [f"{asked} frames do not fit the rule {rule}: the path gets {legal}."]
    assert caplog.messages == (notices if legal != asked else [])


def test_default_size_is_the_photos(plane_scene: Scene) -> None:
    path = make_path(plane_scene, PathOptions(frames=5))
    assert (path.cameras.width, path.cameras.height) == (96, 72)
    half = make_path(plane_scene, PathOptions(frames=5, width=48))
    assert (half.cameras.width, half.cameras.height) == (48, 36)


def test_another_shape_crops_about_the_centre() -> None:
    K = torch.tensor([[[80.0, 0, 48], [0, 80, 36], [0, 0, 1]]])
    camera = Cameras(camera_to_world=torch.eye(4)[None], K=K, width=96, height=72)
    square = reframe_cameras(camera, 36, 36)
    assert torch.equal(square.K, torch.tensor([[[40.0, 0, 18], [0, 40, 18], [0, 0, 1]]]))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"frames": 0}, "Path frames is 0; expected at least 1."),
        ({"width": -5}, "Path width is -5; expected at least 8."),
        ({"orbit_degrees": 200.0}, "Orbit degrees is 200; expected between 0 and 180."),
        ({"kind": "keyframes"}, "'keyframes' visits at least 2 posed cameras; got 0."),
    ],
)
def test_values_out_of_range_are_named(options: dict, text: str) -> None:
    with pytest.raises(InputError, match=re.escape(text)):
        PathOptions(**options)


def test_an_unknown_kind_lists_the_known(plane_scene: Scene) -> None:
    with pytest.raises(
        InputError, match="'figure8' is unknown. Choose one of: interpolate, orbit, k"
    ):
        make_path(plane_scene, PathOptions(kind="figure8"))


def test_too_few_frames_say_how_many_are_needed(plane_scene: Scene) -> None:
    with pytest.raises(InputError, match="3 cameras. Ask for at least 3 frames, better 5"):
        make_path(plane_scene, PathOptions(frames=2))


def test_an_orbit_from_straight_above_is_refused(plane_scene: Scene) -> None:
    scene = only(plane_scene, [0])
    with pytest.raises(InputError, match="no side to start from"):
        make_path(
            replace(scene, up=torch.tensor([0.0, 0.0, -1.0])), PathOptions(kind="orbit", frames=3)
        )
