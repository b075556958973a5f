"""Bundle adjustment: both solvers keep one contract."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from reconx.geometry.stereo.bundle import (
    Bundle,
    BundleOptions,
    project,
    reprojection_errors,
)
from reconx.geometry.stereo.bundle_ceres import adjust_with_ceres
from reconx.geometry.stereo.bundle_scipy import adjust_with_scipy

FOCAL = 500.0
SOLVERS = [adjust_with_ceres, adjust_with_scipy]


def make_bundle(k1=0.0, views=3, noise_px=0.0):
    """A cloud before cameras that turn towards it."""
    random = np.random.default_rng(0)
    points = random.uniform([-1.5, -1.5, 4], [1.5, 1.5, 7], (150, 3))
    poses = []
    for view in range(views):
        turn = Rotation.from_rotvec([0.02 * view, -0.15 * view, 0.03 * view]).as_matrix()
        centre = np.array([0.8 * view, 0.1 * view, 0.2 * view])
        poses.append(np.column_stack([turn, -turn @ centre]))
    bundle = Bundle(
        world_to_camera=np.array(poses),
        fixed=np.arange(views) == 0,
        lens=np.zeros(views, dtype=np.int64),
        focal=np.array([FOCAL]),
        distortion=np.array([[k1, 0.0]]),
        points=points,
        observed_view=np.repeat(np.arange(views), len(points)),
        observed_point=np.tile(np.arange(len(points)), views),
        observed_pixel=np.zeros((views * len(points), 2)),
    )
    pixels = project(bundle)[0]
    return replace(bundle, observed_pixel=pixels + noise_px * random.normal(size=pixels.shape))


def disturb(bundle):
    random = np.random.default_rng(1)
    poses = bundle.world_to_camera.copy()
    poses[1:, :, 3] += random.normal(scale=0.03, size=poses[1:, :, 3].shape)
    points = bundle.points + random.normal(scale=0.03, size=bundle.points.shape)
    return replace(bundle, world_to_camera=poses, points=points)


def known_focal(**changes):
    return BundleOptions(focal_prior=np.array([FOCAL]), focal_sigma=np.zeros(1), **changes)


@pytest.mark.parametrize("solve", SOLVERS)
def test_recovers_rotations_with_known_focal(solve):
    truth = make_bundle()
    found = solve(disturb(truth), known_focal())
    assert np.median(reprojection_errors(found)) < 0.05
    np.testing.assert_allclose(
        found.world_to_camera[:, :, :3], truth.world_to_camera[:, :, :3], atol=1e-3
    )
    assert found.focal == FOCAL
    np.testing.assert_array_equal(found.distortion, 0)


@pytest.mark.parametrize("solve", SOLVERS)
def test_fixed_views_do_not_move(solve):
    truth = make_bundle(noise_px=0.3)
    start = replace(disturb(truth), fixed=np.array([True, True, False]))
    found = solve(start, known_focal())
    np.testing.assert_allclose(found.world_to_camera[:2], start.world_to_camera[:2], atol=1e-12)
    assert np.abs(found.world_to_camera[2] - start.world_to_camera[2]).max() > 1e-3


@pytest.mark.parametrize("solve", SOLVERS)
def test_recovers_focal_and_radial_term(solve):
    truth = make_bundle(k1=-0.1)
    start = replace(truth, focal=truth.focal * 1.03, distortion=np.zeros((1, 2)))
    options = BundleOptions(
        focal_prior=start.focal, focal_sigma=np.ones(1), prior_share=1e-9, radial_terms=1
    )
    found = solve(start, replace(options, tolerance=1e-9, max_iterations=200))
    assert found.focal == pytest.approx(FOCAL, rel=0.01)
    assert found.distortion[0, 0] == pytest.approx(-0.1, abs=0.02)
    assert found.distortion[0, 1] == 0


@pytest.mark.parametrize("solve", SOLVERS)
def test_a_tight_prior_holds_the_focal_length(solve):
    truth = make_bundle(noise_px=0.3, views=2)
    prior = np.array([1.1 * FOCAL])
    tight = BundleOptions(focal_prior=prior, focal_sigma=np.array([0.002]), prior_share=1.0)
    loose = replace(tight, focal_sigma=np.array([1.0]), prior_share=1e-9)
    found = truth
    for _ in range(3):  # the prior is linearised anew each time
        found = solve(found, tight)
    assert found.focal == pytest.approx(prior, rel=0.01)
    assert solve(truth, loose).focal < 1.05 * FOCAL


@pytest.mark.parametrize("solve", SOLVERS)
def test_outliers_have_little_pull(solve):
    truth = make_bundle(noise_px=0.2)
    pixels = truth.observed_pixel.copy()
    pixels[::40] += 30
    found = solve(disturb(replace(truth, observed_pixel=pixels)), known_focal())
    kept = np.arange(len(pixels)) % 40 != 0
    assert np.median(reprojection_errors(found)[kept]) < 0.3


def test_same_bytes_every_time():
    start, options = disturb(make_bundle(noise_px=0.3)), known_focal()
    first, second = (adjust_with_ceres(start, options) for _ in range(2))
    np.testing.assert_array_equal(first.points, second.points)
    np.testing.assert_array_equal(first.world_to_camera, second.world_to_camera)
