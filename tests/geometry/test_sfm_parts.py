"""The parts of structure from motion, each on a known answer."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.nn import functional

from reconx.errors import InputError
from reconx.geometry.stereo.colmap import has_pycolmap
from reconx.geometry.stereo.features import (
    Features,
    choose_detector,
    detect_with_kornia,
    detect_with_pycolmap,
    find_features,
)
from reconx.geometry.stereo.focal import search_focal
from reconx.geometry.stereo.lenses import TYPICAL_FOCAL, gather_lenses
from reconx.geometry.stereo.matching import NEIGHBOURS, choose_pairs, match_descriptors
from reconx.geometry.stereo.retrieval import likely_partners
from reconx.geometry.stereo.tracks import build_tracks
from reconx.geometry.stereo.triangulation import triangulate
from reconx.geometry.stereo.two_view import (
    VerifiedPair,
    epipolar_inliers,
    relative_pose,
    sampson_errors,
    turn_share,
)
from reconx.types import CameraPrior, Photos

POSE = np.column_stack([Rotation.from_rotvec([0.03, -0.2, 0.05]).as_matrix(), [-1.0, 0.1, 0.2]])
DETECTORS = [
    detect_with_pycolmap,
    pytest.param(detect_with_kornia, marks=pytest.mark.slow),  # kornia alone takes seconds to load
]


def make_dots(*centres):
    """Gaussian dots of standard deviation 3 on black, centred at (x, y); pixel centres at +0.5."""
    y, x = torch.meshgrid(torch.arange(96) + 0.5, torch.arange(128) + 0.5, indexing="ij")
    return sum(torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 18) for cx, cy in centres)


def make_cloud(flat=False):
    random = np.random.default_rng(0)
    points = random.uniform([-2, -2, 4], [2, 2, 8], (300, 3))
    if flat:
        points[:, 2] = 5 + 0.3 * points[:, 0]
    return points


def project_rays(points, pose):
    local = points @ pose[:, :3].T + pose[:, 3]
    return local[:, :2] / local[:, 2:]


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_dot_lies_where_it_was_drawn(detector):
    keypoints, histograms = detector(make_dots((40.3, 50.6)))
    nearest = np.abs(keypoints[:, :2] - [40.3, 50.6]).max(axis=1).min()
    assert nearest < 0.35  # half a pixel off would be the wrong convention
    assert histograms.shape == (len(keypoints), 128)


def test_features_keep_off_masked_pixels():
    image = make_dots((30, 40), (90, 40))[..., None].expand(-1, -1, 3)
    valid = torch.ones(96, 128, dtype=torch.bool)
    valid[:, 64:] = False
    features = find_features(image, valid)
    assert len(features) > 0
    assert features.pixels[:, 0].max() < 60
    norms = torch.linalg.vector_norm(features.descriptors, dim=1)
    torch.testing.assert_close(norms, torch.ones(len(features)))


def test_matches_are_mutual_and_distinct():
    base = functional.normalize(torch.eye(128)[:4] + 0.01, dim=1)
    # Row 2 has two equal partners (ratio), row 3 none that prefers it (mutual).
    second = torch.stack([base[1], base[0], base[2], base[2]])
    matches = match_descriptors(base, second)
    assert matches.tolist() == [[0, 1], [1, 0]]


def test_pairs_grow_linearly_and_stay_connected():
    generator = torch.Generator().manual_seed(0)
    world = functional.normalize(torch.rand(30 * 20, 128, generator=generator).square(), dim=1)
    features = []  # photo i sees a sliding window of the world
    for i in range(20):
        part = world[i * 12 : i * 12 + 120]
        features.append(Features(pixels=np.zeros((len(part), 2)), descriptors=part))
    pairs = choose_pairs(features)
    assert len(pairs) <= 20 * NEIGHBOURS + 19
    assert all((i, i + 1) in pairs for i in range(19))
    assert choose_pairs(features[:3]) == [(0, 1), (0, 2), (1, 2)]


def test_likely_partners_are_those_that_share_most():
    generator = torch.Generator().manual_seed(0)
    world = functional.normalize(torch.rand(400, 128, generator=generator).square(), dim=1)
    windows = [world[start : start + 100] for start in range(0, 300, 20)]
    partners = likely_partners(windows, 2)
    assert partners.shape == (15, 2)
    assert all(set(partners[i]) == {i - 1, i + 1} for i in range(1, 14))
    assert likely_partners([world[:0], world[:50]], 4).tolist() == [[1], [0]]
    assert likely_partners([world[:0], world[:0]], 4).tolist() == [[1], [0]]


def test_relative_pose_of_noisy_matches():
    points = make_cloud()
    first, second = project_rays(points, np.eye(3, 4)), project_rays(points, POSE)
    random = np.random.default_rng(1)
    second = second + random.normal(scale=2e-4, size=second.shape)
    second[:60] = random.uniform(-0.5, 0.5, (60, 2))
    pose = relative_pose(first, second, tolerance=1e-3, seed=0)
    turn = Rotation.from_matrix(pose[:, :3].T @ POSE[:, :3]).magnitude()
    assert np.degrees(turn) < 0.2
    assert pose[:, 3] @ POSE[:, 3] / np.linalg.norm(POSE[:, 3]) > 0.999
    inlier = epipolar_inliers(first * 500, second * 500, 0.5, seed=0)
    assert inlier[60:].mean() > 0.95
    assert inlier[:60].mean() < 0.2


def test_sampson_error_is_the_distance_to_the_epipolar_geometry():
    points = make_cloud()
    first, second = project_rays(points, np.eye(3, 4)), project_rays(points, POSE)
    np.testing.assert_allclose(sampson_errors(POSE, first, second), 0, atol=1e-12)
    moved = second + np.array([0.0, 1e-3])
    errors = sampson_errors(POSE, first, moved)
    assert (errors > 2e-4).all()
    assert (errors < 1e-3).all()  # never more than the displacement


@pytest.mark.parametrize("flat", [False, True])
def test_a_turn_is_told_from_a_flat_scene(flat):
    points = make_cloud(flat)
    turn = np.column_stack([POSE[:, :3], np.zeros(3)])
    shares = []
    for pose in (turn, POSE):
        pair = VerifiedPair(
            features=np.zeros((len(points), 2), dtype=np.int64),
            first=project_rays(points, np.eye(3, 4)) * 700,
            second=project_rays(points, pose) * 700,
        )
        shares.append(turn_share(pair, 1000.0, 1.5, seed=0))
    assert shares[0] > 0.98
    assert shares[1] < 0.5


@pytest.mark.parametrize("flat", [False, True])
def test_a_flat_scene_leaves_the_focal_length_open(flat):
    points = make_cloud(flat)
    noise = np.random.default_rng(2).normal(scale=0.2, size=(2, len(points), 2))
    pair = VerifiedPair(
        features=np.zeros((len(points), 2), dtype=np.int64),
        first=project_rays(points, np.eye(3, 4)) * 900 + noise[0],
        second=project_rays(points, POSE) * 900 + noise[1],
    )
    lenses = gather_lenses(make_photos(((1000, 600), (1000, 600))))
    lenses = replace(lenses, long_side=np.full(2, 1000.0))
    search = search_focal(lenses, {(0, 1): pair}, 1.0, seed=0)
    assert search.is_guess == flat
    if flat:
        assert search.describe_doubt().startswith("The lens is a guess: the photos fit each other")
    else:
        assert search.lenses.focal == pytest.approx(900, rel=0.05)


def test_given_focal_lengths_are_not_searched():
    prior = CameraPrior(K=torch.eye(3)[None] * 80)
    assert search_focal(gather_lenses(make_photos(((1000, 600),), prior)), {}, 1.0, seed=0) is None


def test_triangulation_drops_the_view_that_contradicts():
    points = make_cloud()[:20]
    poses = np.stack([np.eye(3, 4), POSE, np.column_stack([np.eye(3), [1.0, 0, 0]])])
    rays = np.stack([project_rays(points, pose) for pose in poses], axis=1)
    rays[5, 1] += 0.1
    far = np.array([0.0, 0.0, 5000.0])  # its rays are parallel
    behind = np.array([0.3, 0.2, -5.0])
    for point in (far, behind):
        rays = np.concatenate([rays, [[project_rays(point[None], pose)[0] for pose in poses]]])
    count = len(rays)
    found, kept = triangulate(
        np.tile(poses, (count, 1, 1)),
        rays.reshape(-1, 2),
        np.repeat(np.arange(count), 3),
        count + 1,
        np.full(3 * count, 1e-3),
    )
    np.testing.assert_allclose(found[:20], points, atol=1e-6)
    assert np.isnan(found[20:]).all()  # far, behind, and a track without any observation
    expected = np.ones((count, 3), dtype=bool)
    expected[5, 1] = False
    expected[20:] = False
    np.testing.assert_array_equal(kept.reshape(-1, 3), expected)


def test_tracks_join_matches_and_drop_contradictions():
    def pair(*matches):
        index = np.array(matches)
        return VerifiedPair(
            features=index, first=index[:, [0, 0]] + 0.5, second=index[:, [1, 1]] + 0.5
        )

    pairs = {
        (0, 1): pair((0, 10), (1, 11)),
        (1, 2): pair((10, 20), (11, 21)),
        (0, 2): pair((1, 22)),  # feature 1 of photo 0 is now both 21 and 22 in photo 2
    }
    tracks = build_tracks(pairs)
    assert tracks.count == 1
    assert tracks.photo.tolist() == [0, 1, 2]
    assert tracks.pixel[:, 0].tolist() == [0.5, 10.5, 20.5]


def make_photos(sizes, prior=None):
    count = len(sizes)
    return Photos(
        images=torch.zeros(count, 100, 100, 3),
        valid=torch.ones(count, 100, 100, dtype=torch.bool),
        names=tuple(f"{index}.jpg" for index in range(count)),
        prior=prior,
        original_sizes=sizes,
        to_original=torch.diag(torch.tensor([10.0, 10.0, 1.0])).repeat(count, 1, 1),
    )


def test_photos_of_one_size_share_a_lens():
    lenses = gather_lenses(make_photos(((1000, 600), (600, 1000), (900, 600))))
    assert lenses.of_photo.tolist() == [0, 0, 1]
    np.testing.assert_allclose(lenses.focal, [TYPICAL_FOCAL * 100, TYPICAL_FOCAL * 90])
    # The centre of the original, 100 x 60 at this resolution, not of the padded 100 x 100.
    np.testing.assert_allclose(lenses.principal[0], [50, 30])


def test_given_focal_is_kept_and_guides_the_others():
    K = torch.full((2, 3, 3), torch.nan)
    K[0, 0, 0] = K[0, 1, 1] = 120.0
    prior = CameraPrior(K=K, focal_sigma=torch.tensor([0.05, 0.05]))
    lenses = gather_lenses(make_photos(((1000, 600), (1000, 600)), prior))
    assert lenses.given.tolist() == [True, False]
    np.testing.assert_allclose(lenses.focal, [120, 120])
    np.testing.assert_allclose(lenses.focal_sigma, [0.05, 0.2])
    np.testing.assert_allclose(lenses.with_ratio(1.0).focal, [120, 100])


def test_negative_focal_is_refused():
    prior = CameraPrior(K=-torch.eye(3)[None])
    with pytest.raises(InputError, match=r"0.jpg has a given focal length of -1 pixels"):
        gather_lenses(make_photos(((1000, 600),), prior))


def test_rays_undo_distortion():
    prior = CameraPrior(K=torch.eye(3)[None] * 80, distortion=torch.tensor([[-0.1, 0.02]]))
    lenses = gather_lenses(make_photos(((1000, 600),), prior))
    rays = np.array([[0.3, -0.2], [0.0, 0.4]])
    radius2 = np.square(rays).sum(1, keepdims=True)
    distorted = rays * (1 - 0.1 * radius2 + 0.02 * radius2**2) * 80
    np.testing.assert_allclose(lenses.rays(np.zeros(2, dtype=np.int64), distorted), rays, atol=1e-6)


def test_without_pycolmap_one_line_names_what_takes_its_place(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "pycolmap", None)  # makes its import fail
    has_pycolmap.cache_clear()
    try:
        with caplog.at_level("WARNING", logger="reconx"):
            assert choose_detector() is detect_with_kornia
            assert not has_pycolmap()
    finally:
        has_pycolmap.cache_clear()
    assert len(caplog.records) == 1
    assert "kornia" in caplog.text
    assert "scipy" in caplog.text
