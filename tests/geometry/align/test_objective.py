"""The objective is the official one, and its model is its derivative."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reconx.evaluation.pointmaps import cast_room, complete_pairs, predict_pairs, ring_cameras
from reconx.geometry.align.dense import fuse_view
from reconx.geometry.align.graph import pair_scores
from reconx.geometry.align.objective import evaluate, linearise
from reconx.geometry.align.observations import draw_samples, keep_pairs
from reconx.geometry.align.start import start_from_tree
from reconx.geometry.align.variables import Variables, complete_prior
from reconx.types import CameraPrior, PairPointmaps

OFFICIAL = Path(__file__).parent / "official_objective.npz"


def test_objective_is_the_official_one():
    given = {name: torch.from_numpy(value) for name, value in np.load(OFFICIAL).items()}
    pairs = [
        PairPointmaps(
            i=int(given["edges"][e, 0]),
            j=int(given["edges"][e, 1]),
            **{
                f"{kind}_{role}": given[f"{kind}_{role}"][e].float()
                for kind in ("points", "confidence")
                for role in "ij"
            },
        )
        for e in range(len(given["edges"]))
    ]
    views, height, width = given["depth"].shape
    # Official pixels count from 0, ours lie at +0.5.
    K = torch.full((views, 3, 3), torch.nan)
    K[:, 0, 2], K[:, 1, 2] = width / 2 + 0.5, height / 2 + 0.5
    observations = keep_pairs(iter(pairs), ["a", "b", "c"])
    known = complete_prior(CameraPrior(K=K), views, width, height)
    samples = draw_samples(observations, views, height * width, seed=0)  # each pixel once
    pose, scale = given["camera_to_world"].double(), given["pair_scale"].double()
    variables = Variables(
        pair_scale=scale * observations.unit,
        pair_rotation=given["pair_to_world"][:, :3, :3].double() / scale[:, None, None],
        pair_shift=given["pair_to_world"][:, :3, 3].double(),
        rotation=pose[:, :3, :3],
        center=pose[:, :3, 3],
        focal=given["focal"].double(),
    )
    column, row = samples.pixels.long().unbind(-1)
    depth = given["depth"][torch.arange(views)[:, None], row, column]
    found = evaluate(samples, known, variables, depth, rounds=0)
    assert found.loss == pytest.approx(float(given["loss"]), rel=1e-6)


@pytest.fixture(scope="module")
def problem():
    """Three views, samples in float64, a start."""
    cameras = ring_cameras(3, 64, 48)
    pairs = predict_pairs(cast_room(cameras), cameras, complete_pairs(3))
    observations = keep_pairs(pairs, ["a", "b", "c"])
    known = complete_prior(None, 3, 64, 48)
    samples = draw_samples(observations, 3, 400, seed=0)
    start = start_from_tree(samples, observations.edges, pair_scores(observations), known)
    exact = replace(
        samples,
        pixels=samples.pixels.double(),
        points=samples.points.double(),
        weights=samples.weights.double(),
    )
    return observations, known, exact, start


def test_slope_is_the_derivative(problem, monkeypatch):
    _, known, samples, start = problem
    # Without the floor under small distances, reweighted squares have the slope of distances.
    monkeypatch.setattr("reconx.geometry.align.registration.FLOOR", 0.0)
    here = evaluate(samples, known, start, rounds=300)
    _, b = linearise(samples, start, here)
    # Every kind of entry, of one pair and of one view (the pairs' entries come first).
    for entry in (*range(14, 21), *range(7 * 6 + 7, 7 * 6 + 14)):
        step = torch.zeros_like(b)
        step[entry] = 1e-4
        ahead, behind = (
            evaluate(samples, known, start.moved(sign * step), here.depth, rounds=0).loss
            for sign in (1, -1)
        )
        # At their best the depths may stay: the objective does not feel their small changes.
        slope = (ahead - behind) / 2e-4
        assert -float(b[entry]) == pytest.approx(slope, rel=1e-2, abs=1e-4), entry


def test_model_is_blind_to_a_common_motion(problem):
    _, known, samples, start = problem
    H, b = linearise(samples, start, evaluate(samples, known, start, rounds=100))
    # All pairs and cameras shifted alike.
    shift = torch.zeros(len(b), dtype=torch.float64)
    shift[3::7] = 1.0
    assert float((H @ shift).abs().max()) < 1e-6 * float(H.abs().max())


def test_dense_depths_are_nearly_the_best(problem):
    observations, known, _, start = problem
    dense = [fuse_view(observations, known.cameras(start), start, view) for view in range(3)]
    loss = sum(view.loss for view in dense) / (len(observations.edges) * 64 * 48)
    every = draw_samples(observations, 3, 64 * 48, seed=0)
    best = evaluate(every, known, start, rounds=100).loss
    assert best < loss < 1.01 * best
