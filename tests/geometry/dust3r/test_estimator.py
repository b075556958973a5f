"""From photos through a pairwise network to a scene; the network's answers are true here."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from reconx.errors import InputError
from reconx.evaluation.pointmaps import cast_room, ring_cameras
from reconx.geometry.dust3r.checkpoint import CheckpointFacts
from reconx.geometry.dust3r.config import NetworkConfig
from reconx.geometry.dust3r.estimator import Dust3rOptions
from reconx.geometry.dust3r.model import Dust3rModel
from reconx.geometry.dust3r.network import Dust3rNetwork
from reconx.geometry.estimators.base import GeometryOptions
from reconx.geometry.estimators.pairs import PairOptions
from reconx.geometry.estimators.pairwise import DecodedPairs, PhotoFeatures
from reconx.geometry.estimators.registry import make_estimator
from reconx.ops.photos import resize_photos
from reconx.ops.projection import unproject_depth, world_to_camera
from reconx.ops.se3 import rotation_angle_degrees
from reconx.ops.sim3 import apply_sim3_to_cameras
from reconx.progress import SilentProgress
from reconx.types import CameraPrior, Cameras, Photos, Scene

COUNT, WIDTH, HEIGHT = 3, 96, 72
CAMERAS = ring_cameras(COUNT, WIDTH, HEIGHT)


class TrueModel(Dust3rModel):
    """Knows a room by heart, and tells its photos apart by their brightness."""

    def encode(self, images: Float[Tensor, "photo height width 3"]) -> PhotoFeatures:
        height, width = images.shape[1:3]
        brightness = images[:, height // 2, width // 2, 0]
        return PhotoFeatures(
            tokens=brightness[:, None, None], rows=height // 16, columns=width // 16
        )

    def decode(self, first: PhotoFeatures, second: PhotoFeatures) -> DecodedPairs:
        cameras = CAMERAS.resized(16 * first.columns, 16 * first.rows)
        points = unproject_depth(cast_room(cameras), cameras)
        pairs = [
            (round(10 * float(i)) - 1, round(10 * float(j)) - 1)
            for i, j in zip(first.tokens, second.tokens, strict=True)
        ]
        maps = [
            [world_to_camera(points[photo], cameras.viewmats[i]) for photo in (i, j)]
            for i, j in pairs
        ]
        points_i, points_j = (torch.stack(part) for part in zip(*maps, strict=True))
        sure = torch.full(points_i.shape[:3], 5.0)
        return DecodedPairs(
            points_i=points_i, points_j=points_j, confidence_i=sure, confidence_j=sure
        )


@pytest.fixture
def model(
    linear_config: NetworkConfig, small_weights: Callable[[NetworkConfig], dict[str, Tensor]]
) -> TrueModel:
    with torch.device("meta"):
        network = Dust3rNetwork(linear_config)
    network.load_state_dict(small_weights(linear_config), assign=True)
    facts = CheckpointFacts(
        name="room.safetensors", licence="CC BY-NC-SA 4.0", config=linear_config, long_side=WIDTH
    )
    return TrueModel(network, facts)


@pytest.fixture
def photos() -> Photos:
    """One shade of grey each."""
    shades = torch.arange(1, COUNT + 1).view(-1, 1, 1, 1) / 10
    return Photos(
        images=shades.expand(COUNT, HEIGHT, WIDTH, 3).clone(),
        valid=torch.ones(COUNT, HEIGHT, WIDTH, dtype=torch.bool),
        names=("a.jpg", "b.jpg", "c.jpg"),
        original_sizes=((WIDTH, HEIGHT),) * COUNT,
        to_original=torch.eye(3).repeat(COUNT, 1, 1),
    )


def estimate(photos: Photos, model: Dust3rModel, **own: object) -> Scene:
    options = Dust3rOptions(**own)
    made = make_estimator("dust3r", GeometryOptions(), model=model, own=options)
    return made.estimate(photos, SilentProgress())


def turns(found: Cameras, truth: Cameras) -> Float[Tensor, " view"]:
    """Degrees between two sets of cameras, relative to their first."""
    relative = [
        cameras.camera_to_world[:1, :3, :3].mT @ cameras.camera_to_world[:, :3, :3]
        for cameras in (found, truth)
    ]
    return rotation_angle_degrees(relative[0].mT @ relative[1])


def test_true_pointmaps_give_the_true_scene(photos: Photos, model: TrueModel) -> None:
    """The network sees 96 x 64 pixels of 96 x 72, which are not square."""
    scene = estimate(photos, model)
    assert float(turns(scene.cameras, CAMERAS).max()) < 0.1
    torch.testing.assert_close(scene.photo_cameras.K, CAMERAS.K, rtol=0.01, atol=0.5)
    assert (scene.photo_cameras.width, scene.photo_cameras.height) == (WIDTH, HEIGHT)
    scale = CAMERAS.centers[1].sub(CAMERAS.centers[0]).norm() / scene.cameras.centers[1].norm()
    truth = cast_room(CAMERAS.resized(scene.cameras.width, scene.cameras.height))[0]
    error = (scene.points[0, ..., 2] * scale / truth - 1).abs()
    assert float(error[scene.measured[0]].median()) < 0.01
    assert float(scene.measured.float().mean()) > 0.7
    assert scene.source.estimator == "dust3r"
    assert (scene.source.checkpoint, scene.source.licence) == (
        "room.safetensors",
        "CC BY-NC-SA 4.0",
    )


def test_known_cameras_are_kept(photos: Photos, model: TrueModel) -> None:
    prior = CameraPrior(K=CAMERAS.K, camera_to_world=CAMERAS.camera_to_world)
    scene = estimate(replace(photos, prior=prior), model)
    back = apply_sim3_to_cameras(scene.world_from_scene, scene.photo_cameras)
    torch.testing.assert_close(back.camera_to_world, CAMERAS.camera_to_world, atol=1e-4, rtol=0)
    torch.testing.assert_close(back.K, CAMERAS.K, rtol=1e-4, atol=1e-3)


def test_own_options_reach_pairs_and_alignment(photos: Photos, model: TrueModel) -> None:
    pairs = PairOptions(graph="one-to-all", hub=1)
    scene = estimate(photos, model, pairs=pairs, shared_focal=True)
    assert float(turns(scene.cameras, CAMERAS).max()) < 0.1
    focal = scene.cameras.K[:, 0, 0]
    torch.testing.assert_close(focal, focal[:1].expand(COUNT))


def test_a_known_distortion_is_removed(photos: Photos, model: TrueModel) -> None:
    prior = CameraPrior(K=CAMERAS.K, distortion=torch.full((COUNT, 2), 0.3))
    scene = estimate(replace(photos, prior=prior), model)
    # A positive k1 pulls the photo's rim inwards: the pinhole's corners see nothing.
    assert not scene.photos.valid[:, 0, 0].any()
    assert not scene.measured[:, 0, 0].any()


def test_one_photo_is_too_few(photos: Photos, model: TrueModel) -> None:
    single = replace(
        photos,
        images=photos.images[:1],
        valid=photos.valid[:1],
        names=("a.jpg",),
        original_sizes=photos.original_sizes[:1],
        to_original=photos.to_original[:1],
    )
    with pytest.raises(InputError, match="1 photo was given; expected at least 2"):
        estimate(single, model)


def test_without_a_checkpoint_it_is_told_where_one_goes() -> None:
    with pytest.raises(InputError, match="'dust3r' needs a checkpoint.* --checkpoint FILE"):
        make_estimator("dust3r", GeometryOptions())


def test_the_cost_grows_with_pairs_and_pixels(photos: Photos, model: TrueModel) -> None:
    made = make_estimator("dust3r", GeometryOptions(), model=model)
    small = made.estimate_cost(resize_photos(photos, 48, 32))
    large = made.estimate_cost(photos)
    assert 0 < small.seconds < large.seconds
    assert 0 < small.megabytes < large.megabytes
