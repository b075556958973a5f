"""Confidence by pairs, with a tiny network of random weights and with one that knows the answer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from reconx.errors import InputError
from reconx.geometry.dust3r.checkpoint import CheckpointFacts
from reconx.geometry.dust3r.config import NetworkConfig
from reconx.geometry.dust3r.model import Dust3rModel
from reconx.geometry.dust3r.network import Dust3rNetwork
from reconx.geometry.estimators.pairwise import DecodedPairs, PhotoFeatures
from reconx.splats.confidence.base import ConfidenceSource, judge_views
from reconx.splats.confidence.pairwise import (
    ANCHORS,
    NEIGHBOURS,
    PairwiseSource,
    choose_partners,
)
from reconx.splats.confidence.registry import make_source
from reconx.types import Scene, Views

TINY = NetworkConfig(
    patch=16,
    encoder_width=128,
    encoder_depth=1,
    decoder_width=64,
    decoder_depth=2,
    mlp_ratio=2,
    dpt=None,
)


class DarkModel:
    """Finds each pixel of the second picture as sure as it is bright, 1 to 3; counts pairs."""

    long_side = 512
    multiple = 8

    def __init__(self) -> None:
        self.pairs = 0

    def encode(self, images: Tensor) -> PhotoFeatures:
        rows, columns = (side // self.multiple for side in images.shape[1:3])
        return PhotoFeatures(
            tokens=images.mean(-1).flatten(1)[..., None], rows=rows, columns=columns
        )

    def decode(self, first: PhotoFeatures, second: PhotoFeatures) -> DecodedPairs:
        self.pairs += len(first)
        size = (len(second), second.rows * self.multiple, second.columns * self.multiple)
        return DecodedPairs(
            points_i=torch.zeros(*size, 3),
            points_j=torch.zeros(*size, 3),
            confidence_i=torch.ones(size),
            confidence_j=1 + 2 * second.tokens.reshape(size),
        )

    def batch_megabytes(self, width: int, height: int) -> float:
        return width * height / 1e6


@pytest.fixture(scope="module")
def views(plane_scene: Scene) -> Views:
    images = plane_scene.photos.images
    return Views(
        frames=images,
        cameras=plane_scene.photo_cameras,
        known=torch.zeros(images.shape[:3], dtype=torch.bool),
        photo_index=torch.tensor([-1, 1, -1]),
    )


def judged(views: Views, scene: Scene, source: ConfidenceSource) -> Tensor:
    confidence = judge_views(views, scene, source).confidence
    assert confidence is not None
    return confidence


def line_distances(places: Sequence[float]) -> Tensor:
    spots = torch.tensor(places)
    return (spots[:, None] - spots).abs()


def test_confidence_is_the_highest_of_the_pairs(plane_scene: Scene, views: Views) -> None:
    found = judged(views, plane_scene, PairwiseSource(DarkModel()))
    expected = 1 + 2 * views.frames[[0, 2]].mean(-1)
    torch.testing.assert_close(found[[0, 2]], expected)
    assert bool((found[1] == 10).all())  # captured


def test_a_tiny_network_judges_frames_of_another_size(plane_scene: Scene, views: Views) -> None:
    torch.manual_seed(0)
    facts = CheckpointFacts(name="tiny", config=TINY, long_side=64, licence="none")
    source = make_source("pairwise", model=Dust3rModel(Dust3rNetwork(TINY).eval(), facts))
    assert isinstance(source, ConfidenceSource)
    found = judged(views, plane_scene, source)
    assert found.shape == views.known.shape
    assert bool((found >= 1).all())
    assert float(found[0].std()) > 0


def test_every_frame_meets_its_nearest_photos_and_frames() -> None:
    # Frames at 0, 1, 2, 3 and photos at -0.5, 9, 1.4.
    pairs = choose_partners(line_distances([0, 1, 2, 3, -0.5, 9, 1.4]), frames=4)
    partners = {frame: {j for i, j in pairs if i == frame} for frame in range(4)}
    assert partners[0] >= {1, 2, 4, 6}
    assert partners[3] >= {1, 2, 4, 6} - {5}
    assert all((j, i) in pairs for i, j in pairs)
    assert not any(i >= 4 and j >= 4 for i, j in pairs)


@pytest.mark.parametrize("frames", [10, 40])
def test_cost_grows_linearly(frames: int) -> None:
    places = [*torch.linspace(0, 1, frames).tolist(), 0.0, 0.5, 1.0]
    pairs = choose_partners(line_distances(places), frames)
    assert frames * 2 * ANCHORS < len(pairs) <= frames * 2 * (ANCHORS + NEIGHBOURS)


def test_the_order_of_the_frames_changes_nothing(plane_scene: Scene, views: Views) -> None:
    every = replace(views, photo_index=torch.tensor([-1, -1, -1]))
    order = torch.tensor([2, 0, 1])
    shuffled = replace(every, frames=every.frames[order], cameras=every.cameras[order])
    source = PairwiseSource(DarkModel())
    torch.testing.assert_close(
        judged(shuffled, plane_scene, source), judged(every, plane_scene, source)[order]
    )


@pytest.mark.parametrize(("model", "told"), [(None, "none"), (object(), "object")])
def test_without_a_pairwise_network_it_is_refused(model: Any, told: str) -> None:
    with pytest.raises(InputError, match=f"'pairwise' matches .* {told} was given. Connect Load"):
        make_source("pairwise", model=model)


def test_an_unknown_source_is_named() -> None:
    with pytest.raises(InputError, match="agreement, pairwise"):
        make_source("magic")
