"""Pairs align to the truth, whatever their units, and say clearly when they cannot."""

import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reconx.errors import AlignmentFailed, InputError
from reconx.evaluation.pointmaps import (
    PairErrors,
    cast_room,
    complete_pairs,
    predict_pairs,
    ring_cameras,
    ring_pairs,
)
from reconx.export.nerfstudio import read_transforms
from reconx.export.posed import read_depth
from reconx.geometry.align.alignment import Alignment, AlignmentOptions, align_pairs
from reconx.geometry.align.cleaning import clean_confidence
from reconx.ops.projection import unproject_depth
from reconx.ops.se3 import rotation_angle_degrees
from reconx.ops.sim3 import apply_sim3_to_points, fit_sim3_to_cameras
from reconx.types import CameraPrior, Cameras, PairPointmaps

SAMPLE_ROOM = Path(__file__).parents[3] / "assets" / "sample-room"
NAMES = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
POINTS, CONFIDENCES = ("points_i", "points_j"), ("confidence_i", "confidence_j")
MILD = PairErrors(bias=0.01, slip=0.003)


def worst_rotation(found: Cameras, truth: Cameras) -> float:
    """Greatest angle between a pair's true and found relative rotation, in degrees."""
    turns = [cameras.camera_to_world[:, :3, :3].double() for cameras in (found, truth)]
    relative = [turn[:, None].mT @ turn[None] for turn in turns]
    return float(rotation_angle_degrees(relative[0].mT @ relative[1]).max())


def depth_error(found: Alignment, depth: torch.Tensor, truth: Cameras) -> float:
    """Median relative error, after the scale that the cameras say."""
    scale = fit_sim3_to_cameras(found.cameras, truth).scale
    return float((found.depth * scale / depth - 1).abs().nanmedian())


def point_error(
    found: Alignment, depth: torch.Tensor, truth: Cameras, *, world_is_given: bool
) -> float:
    """Median distance of points from the truth, as a share of depth."""
    points = unproject_depth(found.depth, found.cameras)
    if not world_is_given:
        points = apply_sim3_to_points(fit_sim3_to_cameras(found.cameras, truth), points)
    distance = torch.linalg.vector_norm(points - unproject_depth(depth, truth), dim=-1)
    return float((distance / depth).nanmedian())


@pytest.fixture(scope="module")
def sample_room():
    """True cameras and depth of the sample room's three inputs, 128 x 96."""
    posed = read_transforms(SAMPLE_ROOM)
    chosen = [posed.names.index(f"{name}.jpg") for name in ("left", "middle", "right")]
    depth = torch.stack([read_depth(posed, index)[::4, ::4] for index in chosen])
    cameras = Cameras.concatenate([posed.cameras[index] for index in chosen]).resized(128, 96)
    # Every fourth pixel of the depth pictures: their rays pass beside the middles of our pixels.
    K = cameras.K.clone()
    K[:, :2, 2] += 3 / 8
    return replace(cameras, K=K), depth


def only_principal_point(K: torch.Tensor) -> torch.Tensor:
    K = K.clone()
    K[:, 0, 0] = K[:, 1, 1] = torch.nan
    return K


@pytest.fixture(scope="module")
def small():
    """Four views of a room at 64 x 48 and their pairs."""
    cameras = ring_cameras(4, 64, 48)
    depth = cast_room(cameras)
    return cameras, depth, list(predict_pairs(depth, cameras, complete_pairs(4), errors=MILD))


def test_sample_room_aligns(sample_room):
    cameras, depth = sample_room
    pairs = predict_pairs(depth, cameras, complete_pairs(3), errors=MILD)
    prior = CameraPrior(K=only_principal_point(cameras.K))
    found = align_pairs(pairs, NAMES[:3], prior=prior)
    assert worst_rotation(found.cameras, cameras) < 0.3
    assert depth_error(found, depth, cameras) < 0.01
    torch.testing.assert_close(found.cameras.camera_to_world[0], torch.eye(4))


def test_priors_help_and_are_kept(sample_room):
    cameras, depth = sample_room
    poses, bare = cameras.camera_to_world, only_principal_point(cameras.K)
    priors = {
        "none": CameraPrior(K=bare),
        "K": CameraPrior(K=cameras.K),
        "poses": CameraPrior(K=bare, camera_to_world=poses),
        "both": CameraPrior(K=cameras.K, camera_to_world=poses),
    }
    errors = dict.fromkeys(priors, 0.0)
    for seed in range(3):
        pairs = list(predict_pairs(depth, cameras, complete_pairs(3), seed=seed))
        for name, prior in priors.items():
            found = align_pairs(iter(pairs), NAMES[:3], prior=prior)
            errors[name] += point_error(found, depth, cameras, world_is_given=name in GIVEN_WORLD)
            if name in ("K", "both"):
                torch.testing.assert_close(found.cameras.K, cameras.K)
            else:
                torch.testing.assert_close(found.cameras.K, cameras.K, rtol=0.02, atol=0.1)
            if name in GIVEN_WORLD:
                torch.testing.assert_close(found.cameras.camera_to_world, poses)
    assert errors["none"] > errors["K"] > errors["poses"] >= 0.99 * errors["both"], errors


GIVEN_WORLD = ("poses", "both")


@pytest.mark.parametrize("count", [2, 3, 16])
def test_any_number_of_views(count):
    cameras = ring_cameras(count, 64, 48)
    depth = cast_room(cameras)
    edges = ring_pairs(count, 1) if count > 7 else complete_pairs(count)
    pairs = predict_pairs(depth, cameras, edges, errors=MILD)
    found = align_pairs(pairs, [str(view) for view in range(count)])
    assert worst_rotation(found.cameras, cameras) < 1.0
    assert depth_error(found, depth, cameras) < 0.02
    assert found.depth.isfinite().float().mean() > 0.99
    assert found.confidence.min() >= 1


def test_units_of_a_pair_change_nothing(small):
    _, _, pairs = small
    factors = torch.linspace(-6, 5, len(pairs)).exp().tolist()
    scaled = [
        replace(pair, points_i=factor * pair.points_i, points_j=factor * pair.points_j)
        for pair, factor in zip(pairs, factors, strict=True)
    ]
    plain, other = (align_pairs(iter(given), NAMES) for given in (pairs, scaled))
    # The product of the pair scales is held, so the world grows by the factors' geometric mean.
    mean = math.exp(torch.tensor(factors).log().mean())
    assert worst_rotation(plain.cameras, other.cameras) < 0.02
    torch.testing.assert_close(other.cameras.K, plain.cameras.K, rtol=1e-3, atol=1e-3)
    ratio = other.depth / plain.depth
    assert float((ratio / mean - 1).abs().nanmedian()) < 2e-3
    assert other.loss == pytest.approx(mean * plain.loss, rel=1e-3)
    assert float(other.pair_scales.log().mean()) == pytest.approx(math.log(0.5), abs=1e-5)


def test_runs_agree_bit_for_bit(small):
    _, _, pairs = small
    first, second = (align_pairs(iter(pairs), NAMES) for _ in range(2))
    for name in ("depth", "confidence", "pair_scales"):
        a, b = getattr(first, name), getattr(second, name)
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(first.cameras.camera_to_world, second.cameras.camera_to_world)
    assert first.loss == second.loss


def test_focal_lengths_are_shared_on_request(small):
    cameras, _, pairs = small
    own = align_pairs(iter(pairs), NAMES).cameras.K[:, 0, 0]
    assert float(own.max() - own.min()) > 1e-3
    K = torch.full((4, 3, 3), torch.nan)
    K[2] = cameras.K[2]
    K[2, :2, :2] *= 1.02
    found = align_pairs(
        iter(pairs),
        NAMES,
        prior=CameraPrior(K=K),
        options=AlignmentOptions(shared_focal=True),
    ).cameras.K[:, 0, 0]
    torch.testing.assert_close(found[2], K[2, 0, 0])  # given ones stay out of it
    others = found[[0, 1, 3]]
    torch.testing.assert_close(others, others[:1].expand(3), rtol=1e-6, atol=0)
    assert float((others / cameras.K[0, 0, 0] - 1).abs().max()) < 0.01


def test_uncertain_focal_length_is_a_soft_prior(small):
    cameras, _, pairs = small
    K = cameras.K.clone()
    K[:, 0, 0] *= 1.1
    K[:, 1, 1] *= 1.1
    errors = []
    for sigma in (0.0, 0.01, 1.0):
        prior = CameraPrior(K=K, focal_sigma=torch.full((4,), sigma))
        found = align_pairs(iter(pairs), NAMES, prior=prior).cameras.K[:, 0, 0]
        errors.append(float((found / cameras.K[:, 0, 0] - 1).mean()))
    assert errors[0] == pytest.approx(0.1, abs=1e-4)
    assert errors[0] > errors[1] > errors[2]
    assert abs(errors[2]) < 0.01


@pytest.mark.parametrize("given", [[2], [1, 3]])
def test_some_poses_may_be_given(small, given):
    cameras, depth, pairs = small
    poses = torch.full((4, 4, 4), torch.nan)
    poses[given] = cameras.camera_to_world[given]
    found = align_pairs(iter(pairs), NAMES, prior=CameraPrior(camera_to_world=poses))
    torch.testing.assert_close(found.cameras.camera_to_world[given], poses[given])
    assert worst_rotation(found.cameras, cameras) < 1.0
    if len(given) > 1:  # the scale is known, too
        assert float((found.depth / depth - 1).abs().nanmedian()) < 0.05


def test_poses_at_one_place_leave_the_scale_open(small):
    _, _, pairs = small
    poses = torch.full((4, 4, 4), torch.nan)
    poses[:2] = torch.eye(4)
    found = align_pairs(iter(pairs), NAMES, prior=CameraPrior(camera_to_world=poses))
    torch.testing.assert_close(found.cameras.camera_to_world[:2], poses[:2])
    assert float(found.pair_scales.log().mean()) == pytest.approx(math.log(0.5), abs=1e-5)


def test_padding_stays_empty(small):
    cameras, depth, pairs = small

    def pad(pair):
        confidence = {name: getattr(pair, name).clone() for name in CONFIDENCES}
        points = {name: getattr(pair, name).clone() for name in POINTS}
        for each in confidence.values():
            each[:, :8] = 1
        for each in points.values():
            each[:, :4] = torch.nan  # as pointmaps without a value
        return replace(pair, **confidence, **points)

    found = align_pairs(map(pad, pairs), NAMES)
    assert found.depth[:, :, :8].isnan().all()
    assert (found.confidence[:, :, :8] == 1).all()
    assert worst_rotation(found.cameras, cameras) < 1.0
    assert depth_error(found, depth, cameras) < 0.02


def test_a_pair_of_wrong_geometry_does_little_harm(small):
    cameras, depth, pairs = small
    wrong = replace(pairs[3], points_j=pairs[3].points_j.flip(1) + 0.3)
    found = align_pairs(iter([*pairs[:3], wrong, *pairs[4:]]), NAMES)
    assert worst_rotation(found.cameras, cameras) < 1.5
    assert depth_error(found, depth, cameras) < 0.03


def test_parts_are_named(small):
    _, _, pairs = small
    apart = [pair for pair in pairs if {pair.i, pair.j} in ({0, 2}, {1, 3})]
    with pytest.raises(AlignmentFailed, match=r"\(a.jpg, c.jpg\) and \(b.jpg, d.jpg\)"):
        align_pairs(iter(apart), NAMES)


def cut(pair: PairPointmaps) -> PairPointmaps:
    """The upper half of all four maps."""
    return replace(pair, **{name: getattr(pair, name)[:24] for name in (*POINTS, *CONFIDENCES)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pairs: [], "no pairs"),
        (lambda pairs: [pairs[0], pairs[0]], "given twice"),
        (lambda pairs: [replace(pairs[0], j=7)], r"photos \(0, 7\)"),
        (lambda pairs: [pairs[0], cut(pairs[1])], "confidence_i of pair a.jpg -> c.jpg has shape"),
        (lambda pairs: [replace(pairs[0], confidence_i=torch.zeros(48, 64))], "falls to 0"),
        (lambda pairs: [replace(pairs[0], confidence_i=torch.ones(48, 64))], "says nothing"),
        (lambda pairs: [pair for pair in pairs if pair.i != 2], "c.jpg is never the first"),
    ],
)
def test_unfit_pairs_are_refused(small, change, message):
    with pytest.raises(InputError, match=message):
        align_pairs(iter(change(small[2])), NAMES)


def test_unfit_prior_is_refused(small):
    with pytest.raises(InputError, match=r"CameraPrior.K has shape \(3, 3, 3\)"):
        align_pairs(iter(small[2]), NAMES, prior=CameraPrior(K=torch.eye(3).repeat(3, 1, 1)))


def test_running_out_of_steps_is_said(small, caplog):
    with caplog.at_level(logging.INFO, logger="reconx"):
        align_pairs(iter(small[2]), NAMES, options=AlignmentOptions(max_steps=1))
    assert "stopped after 1 steps" in caplog.text


def test_points_before_a_surer_surface_lose_confidence():
    cameras = ring_cameras(2, 64, 48)
    depth = cast_room(cameras)
    confidence = torch.full_like(depth, 5.0)
    confidence[1] = 9.0
    judged = clean_confidence(depth, confidence, cameras, [(0, 1), (1, 0)], 0.03)
    near = depth.clone()
    near[0, 20:28, 28:36] *= 0.5  # stands before what view 1 sees
    hidden = clean_confidence(near, confidence, cameras, [(0, 1), (1, 0)], 0.03)
    assert (judged[0, 20:28, 28:36] > 4).float().mean() > 0.9
    assert (hidden[0, 20:28, 28:36] == 1).float().mean() > 0.8
    assert torch.equal(hidden[1], confidence[1])  # the surer one keeps all
