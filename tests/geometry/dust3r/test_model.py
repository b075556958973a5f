"""From photos to a stream of pointmaps."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from reconx.errors import InputError
from reconx.geometry.dust3r.config import NetworkConfig
from reconx.geometry.dust3r.model import Dust3rModel, load_dust3r
from reconx.geometry.estimators.pairwise import (
    PairwiseModel,
    encode_photos,
    fit_photos,
    pair_pointmaps,
    photo_likeness,
)
from reconx.progress import SilentProgress
from reconx.types import CameraPrior, Photos, Scene

SILENT = SilentProgress()
PAIRS = [(0, 1), (1, 0), (2, 0), (1, 2)]


@pytest.fixture(scope="module")
def model(
    linear_config: NetworkConfig,
    small_weights: Callable[[NetworkConfig], dict[str, Tensor]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Dust3rModel:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(small_weights(linear_config), path)
    return load_dust3r(path)


@pytest.fixture(scope="module")
def photos(plane_scene: Scene, model: Dust3rModel) -> Photos:
    return fit_photos(model, plane_scene.photos, 64)


class Counting(SilentProgress):
    """Keeps what it is told; stops the work at a number."""

    def __init__(self, stop_at: int) -> None:
        self.stop_at = stop_at

    def start(self, stage: str, total: int) -> "Counting":
        self.total = total
        return self

    def update(self, done: int, preview: object = None) -> None:
        if done >= self.stop_at:
            raise KeyboardInterrupt


def test_is_a_pairwise_model(model: Dust3rModel) -> None:
    assert isinstance(model, PairwiseModel)
    assert model.checkpoint.licence == "CC BY-NC-SA 4.0"


def test_photos_are_fitted_and_their_cameras_with_them(
    plane_scene: Scene, model: Dust3rModel
) -> None:
    K = plane_scene.photo_cameras.K
    given = replace(plane_scene.photos, prior=CameraPrior(K=K))
    fitted = fit_photos(model, given)
    assert (fitted.width, fitted.height) == (96, 64)  # never enlarged to 224; 72 lies nearer to 64
    assert fitted.prior is not None
    assert fitted.prior.K is not None
    # The principal point stays in the middle: pixel centres at +0.5 before and after.
    torch.testing.assert_close(fitted.prior.K[:, :2, 2], torch.tensor([[48.0, 32.0]] * 3))
    torch.testing.assert_close(fitted.prior.K[:, 0, 0], K[:, 0, 0])
    torch.testing.assert_close(fitted.prior.K[:, 1, 1], K[:, 1, 1] * 64 / 72)


def test_an_entry_belongs_to_the_pixel_at_its_place(model: Dust3rModel, photos: Photos) -> None:
    # Untrained attention spreads little: what changes most is the patch that was painted over.
    painted = photos.images.clone()
    painted[0, 16:32, 48:64] = 1 - painted[0, 16:32, 48:64]
    pairs = [
        model.decode(features[[0]], features[[1]])
        for features in (model.encode(photos.images), model.encode(painted))
    ]
    change = (pairs[0].points_i - pairs[1].points_i).norm(dim=-1)[0]
    patches = change.unfold(0, 16, 16).unfold(1, 16, 16).mean((-1, -2))
    assert patches.argmax() == 1 * 4 + 3


def test_streams_pairs_in_order(model: Dust3rModel, photos: Photos) -> None:
    features = encode_photos(model, photos, SILENT)
    assert (len(features), features.rows, features.columns) == (3, 3, 4)
    found = list(pair_pointmaps(model, photos, features, PAIRS, SILENT))
    assert [(pair.i, pair.j) for pair in found] == PAIRS
    for pair in found:
        assert pair.points_i.shape == pair.points_j.shape == (48, 64, 3)
        assert min(pair.confidence_i.min(), pair.confidence_j.min()) > 1
    assert not torch.equal(found[0].points_i, found[1].points_j)


def test_memory_changes_batches_and_nothing_else(model: Dust3rModel, photos: Photos) -> None:
    streams = []
    for memory_mb in (0.0, 2.5 * model.batch_megabytes(64, 48), 1000.0):
        features = encode_photos(model, photos, SILENT, memory_mb)
        streams.append(
            list(pair_pointmaps(model, photos, features, PAIRS, SILENT, memory_mb=memory_mb))
        )
    for one, *others in zip(*streams, strict=True):
        for other in others:
            torch.testing.assert_close(one.points_j, other.points_j, rtol=1e-4, atol=1e-4)


def test_pairs_are_made_on_demand_and_can_be_cancelled(model: Dust3rModel, photos: Photos) -> None:
    features = encode_photos(model, photos, SILENT)
    progress = Counting(stop_at=2)
    stream = pair_pointmaps(model, photos, features, PAIRS, progress, memory_mb=0)
    next(stream)
    next(stream)
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert progress.total == len(PAIRS)


def test_masked_pixels_tell_nothing(model: Dust3rModel, photos: Photos) -> None:
    valid = photos.valid.clone()
    valid[1, :, :10] = False
    masked = replace(photos, valid=valid)
    features = encode_photos(model, masked, SILENT)
    (pair,) = pair_pointmaps(model, masked, features, [(0, 1)], SILENT)
    assert (pair.confidence_j[:, :10] == 1).all()
    assert pair.confidence_j[:, 10:].min() > 1
    assert pair.confidence_i.min() > 1


def test_likeness(model: Dust3rModel, photos: Photos) -> None:
    twice = replace(photos, images=photos.images[[0, 1, 0]])
    likeness = photo_likeness(encode_photos(model, twice, SILENT))
    torch.testing.assert_close(likeness.diagonal(), torch.ones(3))
    torch.testing.assert_close(likeness[0, 2], torch.tensor(1.0))
    assert likeness[0, 1] < 0.999


def test_photos_of_another_size(model: Dust3rModel, plane_scene: Scene) -> None:
    with pytest.raises(InputError, match="96 x 72 pixels .* multiples of 16"):
        encode_photos(model, plane_scene.photos, SILENT)


def test_points_that_are_not_finite(model: Dust3rModel, photos: Photos) -> None:
    features = encode_photos(model, photos, SILENT)
    broken = replace(features, tokens=features.tokens * torch.inf)
    with pytest.raises(InputError, match=r"not finite for 'view0.png' and 'view1.png'.*bfloat16"):
        list(pair_pointmaps(model, photos, broken, [(0, 1)], SILENT))
