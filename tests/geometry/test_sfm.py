"""Structure from motion on a synthetic room, whose cameras are known, and on real photos."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from reconx.errors import AlignmentFailed, InputError
from reconx.geometry.stereo.sfm import reconstruct_sparse
from reconx.ops.projection import camera_rays, project_points, sample_image
from reconx.ops.se3 import invert_pose, rotation_angle_degrees, se3_exp
from reconx.progress import SilentProgress
from reconx.types import CameraPrior, Cameras, Photos

WIDTH, HEIGHT, FOCAL = 320, 216, 270.0
PHOTOS = Path(__file__).parents[2] / "../shared/data/photos/herz-jesus-p8"
PLANES = torch.tensor(  # normal and offset: back wall, left wall, right wall, floor, a box's front
    [[0, 0, 1, 7], [-1, 0, 0, 3], [1, 0, 0, 3], [0, 1, 0, 1.5], [0.3, 0, 1, 5]],
    dtype=torch.float32,
)

CLOSED = torch.tensor(  # four walls, floor and ceiling
    [[0, 0, 1, 4], [0, 0, -1, 4], [1, 0, 0, 4], [-1, 0, 0, 4], [0.1, 1, 0, 1.5], [0, -1, 0.1, 2.5]]
)


def make_cameras(*motions):
    poses = se3_exp(torch.tensor(motions, dtype=torch.float32))
    K = torch.tensor([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
    return Cameras(camera_to_world=poses, K=K.repeat(len(poses), 1, 1), width=WIDTH, height=HEIGHT)


def render_room(cameras, seed=0, planes=PLANES):
    """Ray-cast textured planes."""
    generator = torch.Generator().manual_seed(seed)
    textures = [make_texture(generator) for _ in planes]
    directions = torch.einsum(
        "vij,vhwj->vhwi", cameras.camera_to_world[:, :3, :3], camera_rays(cameras)
    )
    centres = cameras.centers[:, None, None]
    nearest = torch.full(directions.shape[:3], torch.inf)
    images = torch.zeros_like(directions)
    for index, plane in enumerate(planes):
        distance = (plane[3] - centres @ plane[:3]) / (directions @ plane[:3])
        hit = centres + distance[..., None] * directions
        inside = (distance > 0) & (distance < nearest)
        if planes is PLANES and index == 4:  # the box is small
            inside &= (hit[..., 0] - 0.4).abs().le(0.9) & hit[..., 1].ge(0)
        axes = [axis for axis in range(3) if axis != int(plane[:3].abs().argmax())]
        colour = sample_image(textures[index], hit[..., axes] * 70 + 500)
        images = torch.where(inside[..., None], colour, images)
        nearest = torch.where(inside, distance, nearest)
    return images


def make_texture(generator):
    octaves = [
        functional.interpolate(
            torch.rand(1, 3, size, size, generator=generator), size=1000, mode="bicubic"
        )
        for size in (20, 60, 140)
    ]
    return (sum(octaves) / 3).clamp(0, 1)[0].permute(1, 2, 0)


def as_photos(images, prior=None):
    count, height, width, _ = images.shape
    return Photos(
        images=images,
        valid=torch.ones(images.shape[:3], dtype=torch.bool),
        names=tuple(f"IMG_{index:04d}.jpg" for index in range(count)),
        prior=prior,
        original_sizes=((width, height),) * count,
        to_original=torch.eye(3).repeat(count, 1, 1),
    )


def solve(photos):
    return reconstruct_sparse(photos, 0, SilentProgress())


def rotation_errors(found, truth):
    """Degrees, relative to view 0."""
    turns = [poses.camera_to_world[:, :3, :3] for poses in (found, truth)]
    relative = [turn[0].mT @ turn for turn in turns]
    return rotation_angle_degrees((relative[0].mT @ relative[1]).double())


CAMERAS = make_cameras(
    [0, 0, 0, 0, 0, 0], [0, -0.1, 0.02, 0.7, -0.1, 0.1], [0.05, 0.1, 0, -0.7, -0.2, 0.2]
)


@pytest.fixture(scope="module")
def room():
    return render_room(CAMERAS)


@pytest.fixture(scope="module")
def solved(room):
    return solve(as_photos(room))


def test_finds_cameras_of_three_photos(solved):
    assert solved.photo_index == (0, 1, 2)
    assert solved.warnings == ()
    assert rotation_errors(solved.cameras, CAMERAS).max() < 0.3
    assert solved.cameras.K[:, 0, 0] == pytest.approx(FOCAL, rel=0.05)
    found, truth = solved.cameras.centers[1:], CAMERAS.centers[1:]
    assert functional.cosine_similarity(found, truth).min() > 0.999


def test_starts_in_the_first_camera(solved):
    torch.testing.assert_close(solved.cameras.camera_to_world[0], torch.eye(4))


def test_points_project_to_where_they_were_seen(solved):
    for view in range(3):
        seen = solved.observed_view == view
        points = solved.points[solved.observed_point[seen]]
        camera = solved.cameras[view]
        pixels, depth = project_points(points, camera.viewmats[0], camera.K[0])
        assert (depth > 0).all()
        errors = torch.linalg.vector_norm(pixels - solved.observed_pixel[seen], dim=-1)
        assert errors.median() < 0.5  # distortion (near 0 here) left aside


def test_every_point_is_seen_at_least_twice(solved):
    assert torch.bincount(solved.observed_point).min() >= 2
    assert len(torch.bincount(solved.observed_point)) == len(solved.points) > 200


def test_same_seed_gives_same_bytes(room, solved):
    again = solve(as_photos(room))
    assert torch.equal(again.cameras.camera_to_world, solved.cameras.camera_to_world)
    assert torch.equal(again.cameras.K, solved.cameras.K)
    assert torch.equal(again.points, solved.points)


def test_two_photos_with_known_focal(room):
    prior = CameraPrior(K=CAMERAS.K[:2])
    sparse = solve(as_photos(room[:2], prior))
    torch.testing.assert_close(sparse.cameras.K, CAMERAS.K[:2])
    assert rotation_errors(sparse.cameras, CAMERAS[:2]).max() < 0.2
    assert not sparse.distortion.any()
    assert sparse.warnings == ()


def test_a_photo_that_few_points_hold_is_named(room):
    """Most of the second photo is masked."""
    photos = as_photos(room, CameraPrior(K=CAMERAS.K))
    photos.valid[1, HEIGHT // 6 :] = False
    photos.valid[1, :, : WIDTH // 2] = False
    sparse = solve(photos)
    assert sparse.photo_index == (0, 1, 2)
    assert sparse.warnings[-1].startswith("Photo 2 (IMG_0001.jpg) is held by only ")


def test_two_photos_without_prior(room):
    sparse = solve(as_photos(room[:2]))
    assert rotation_errors(sparse.cameras, CAMERAS[:2]).max() < 1
    assert sparse.cameras.K[0, 0, 0] == pytest.approx(FOCAL, rel=0.08)
    # Right by the prior: what these two photos show fits many lenses, of which a third leaves one.
    (warning,) = sparse.warnings
    assert warning.startswith("The lens is a guess: ")


def test_given_poses_are_kept_and_give_scale(room):
    turned = se3_exp(torch.tensor([0.3, 0.2, -0.1, 4.0, 5.0, 6.0])) @ CAMERAS.camera_to_world
    prior = CameraPrior(K=CAMERAS.K, camera_to_world=turned)
    sparse = solve(as_photos(room, prior))
    expected = invert_pose(turned[:1]) @ turned
    torch.testing.assert_close(sparse.cameras.camera_to_world, expected, atol=1e-5, rtol=0)
    offset = (sparse.points @ PLANES[:, :3].mT - PLANES[:, 3]).abs().amin(dim=1)
    assert offset.median() < 0.02  # the planes stand in the first camera's frame, in its units


def test_padding_moves_nothing(room, solved):
    photos = as_photos(room)
    images = functional.pad(room, (0, 0, 24, 40, 16, 0))
    valid = functional.pad(photos.valid, (24, 40, 16, 0))
    shift = torch.eye(3)
    shift[:2, 2] = torch.tensor([-24.0, -16.0])
    padded = replace(photos, images=images, valid=valid, to_original=shift.repeat(3, 1, 1))
    sparse = solve(padded)
    assert rotation_errors(sparse.cameras, CAMERAS).max() < 0.3
    moved = sparse.cameras.K[0, :2, 2] - solved.cameras.K[0, :2, 2]
    torch.testing.assert_close(moved, torch.tensor([24.0, 16.0]))
    x, y = sparse.observed_pixel.long().unbind(-1)
    assert valid[0, y, x].all()


def test_one_spot_is_refused():
    turning = make_cameras([0, 0, 0, 0, 0, 0], [0, 0.15, 0, 0, 0, 0])
    with pytest.raises(AlignmentFailed, match="taken from one spot.*Take a step to the side"):
        solve(as_photos(render_room(turning)))


def test_the_same_photo_twice_is_refused(room):
    with pytest.raises(InputError, match=r"Photo 1 \(IMG_0000.jpg\) and Photo 3.*same picture"):
        solve(as_photos(room[[0, 1, 0]]))


def test_one_photo_is_refused(room):
    with pytest.raises(InputError, match="1 photo was given; expected at least 2"):
        solve(as_photos(room[:1]))


def test_blank_walls_are_refused():
    with pytest.raises(AlignmentFailed, match=r"too little texture \(0 feature points"):
        solve(as_photos(torch.full((2, HEIGHT, WIDTH, 3), 0.5)))


def test_two_places_are_refused(room):
    other = render_room(CAMERAS[:2], seed=5)
    with pytest.raises(AlignmentFailed, match=r"Photo 2 .*shares too few points with the other "):
        solve(as_photos(torch.cat([room[:1], other[:1]])))
    with pytest.raises(AlignmentFailed, match="fall apart: at most 2 of 4.*Photo 3"):
        solve(as_photos(torch.cat([room[:2], other])))


def test_a_stranger_is_left_out_with_a_warning(room):
    stranger = render_room(CAMERAS[:1], seed=5)
    sparse = solve(as_photos(torch.cat([stranger, room])))
    assert sparse.photo_index == (1, 2, 3)
    (warning,) = sparse.warnings
    assert warning.startswith("Photo 1 (IMG_0000.jpg) shares too few points with the others (")
    assert rotation_errors(sparse.cameras, CAMERAS).max() < 0.3


def around_a_room(count):
    """Cameras that look outwards from a circle, in a closed room."""
    turns = se3_exp(torch.tensor([[0, 2 * math.pi * i / count, 0, 0, 0, 0] for i in range(count)]))
    outwards = torch.tensor([0.0, 0.0, -1.2])  # each stands behind the middle of what it shows
    turns[:, :3, 3] = turns[:, :3, :3] @ outwards
    turns[:, 1, 3] += 0.1 * torch.sin(torch.arange(count) * 3.0)
    K = CAMERAS.K[:1].repeat(count, 1, 1)
    return Cameras(camera_to_world=turns, K=K, width=WIDTH, height=HEIGHT)


@pytest.mark.slow
def test_a_round_closes_and_strangers_are_named():
    """Eighteen photos in no order: more than are compared all with all."""
    cameras = around_a_room(18)
    order = torch.randperm(18, generator=torch.Generator().manual_seed(0))
    strangers = render_room(CAMERAS[:2], seed=5)
    photos = torch.cat([strangers[:1], render_room(cameras, planes=CLOSED)[order], strangers[1:]])
    sparse = solve(as_photos(photos))
    assert sparse.photo_index == tuple(range(1, 19))
    left_out = [text for text in sparse.warnings if "shares too few points" in text]
    assert [text[:8] for text in left_out] == ["Photo 1 ", "Photo 20"]
    assert rotation_errors(sparse.cameras, cameras[order]).max() < 0.6


@pytest.mark.slow
@pytest.mark.parametrize(("split", "degrees"), [("hard2", 1.0), ("three", 0.5)])
def test_real_photos(split, degrees):
    if not PHOTOS.is_dir():
        pytest.skip(f"{PHOTOS} is absent")
    from PIL import Image

    names = json.loads((PHOTOS / "splits.json").read_text())[split]["context"]
    frames = json.loads((PHOTOS / "transforms.json").read_text())["frames"]
    frames = {Path(frame["file_path"]).name: frame for frame in frames}
    opened = [Image.open(PHOTOS / "images" / name).convert("RGB") for name in names]
    images = torch.stack([torch.from_numpy(np.array(photo)).float() / 255 for photo in opened])
    poses = torch.tensor([frames[name]["transform_matrix"] for name in names])
    poses = poses @ torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))  # OpenGL to OpenCV axes
    sparse = solve(as_photos(images))
    truth = replace(sparse.cameras, camera_to_world=poses)
    assert rotation_errors(sparse.cameras, truth).max() < degrees
    focal = frames[names[0]]["fl_x"]
    assert sparse.cameras.K[:, 0, 0] == pytest.approx(focal, rel=0.03)
