"""What the stereo estimator will cost, told before it begins.

Seconds were measured on two x86-64 cores in November 2026, with pycolmap. Where dense stereo, which
takes most of the time, runs on another device, its speed there is tried out on the spot.
"""

import math
import time

import torch

from ...progress import CostEstimate
from ...types import Cameras, Photos
from ..estimators.base import GeometryOptions
from ..scene import geometry_size
from .assemble import MAX_SOURCES
from .dense import schedule
from .matcher import TRIES_PER_ROUND, StereoView, choose_matcher
from .matching import ALL_PAIRS_UP_TO, NEIGHBOURS
from .matching_cost import MatchingCost

_SIFT_SECONDS = 3.3
"""Per photo of a megapixel."""
_PAIR_SECONDS = 0.5
"""To match and verify two photos full of features, as those from `_FULL_PIXELS` on are."""
_PHOTO_SECONDS = 0.8
"""To place one photo and its points."""
_FULL_PIXELS = 0.7e6
_JUDGING_SECONDS = {"numba": 0.18e-6, "torch": 0.8e-6}
"""Of one core, to judge one pixel against one source; by matcher."""
_SIFT_BYTES = 320
"""Per pixel of one photo."""
_PHOTO_BYTES = 24
"""Per pixel of every photo, to undistort it."""
_FEATURE_BYTES = 5e6
"""Per photo."""
_VIEW_BYTES, _JUDGE_BYTES = 100, 900
"""Per pixel of every pointmap, and of the one that is judged."""
_LIBRARY_BYTES = 80e6
"""Of code that is loaded on first use."""
_TRIAL_WIDTH, _TRIAL_HEIGHT, _TRIALS = 256, 192, 4


def estimate_cost(photos: Photos, options: GeometryOptions) -> CostEstimate:
    """Tell what `StereoEstimator.estimate` will cost; takes a fraction of a second itself.

    Raises:
        InputError: If the device cannot be used.
    """
    count, pixels = len(photos), photos.width * photos.height
    width, height = geometry_size(photos, options)
    mapped = width * height
    partners = count - 1 if count <= ALL_PAIRS_UP_TO else 2 * NEIGHBOURS
    pairs = count * partners / 2
    judged = count * mapped * min(MAX_SOURCES, count - 1) * _judgements(min(width, height))
    seconds = (
        _SIFT_SECONDS * count * pixels / 1e6
        + _PAIR_SECONDS * pairs * min(1.0, pixels / _FULL_PIXELS)
        + _PHOTO_SECONDS * count
        + judged * _judging_seconds(options.device)
    )
    features = _SIFT_BYTES * pixels + _FEATURE_BYTES * count
    dense = _PHOTO_BYTES * pixels * count + (_VIEW_BYTES * count + _JUDGE_BYTES) * mapped
    return CostEstimate(seconds=seconds, megabytes=(_LIBRARY_BYTES + max(features, dense)) / 1e6)


def _judgements(short_side: int) -> float:
    """How often dense stereo judges a pixel against a source, in pixels of the full size."""
    total = 0.0
    for phase in schedule(short_side):
        tries = 1 + phase.rounds * (TRIES_PER_ROUND + len(phase.sigmas))
        tries += phase.sweep
        total += tries / 4**phase.level
    return total


def _judging_seconds(device: str) -> float:
    """Seconds to judge one pixel against one source.

    Not tried out on a processor: its threads may just then wait for those of other work.
    """
    if torch.device(device).type == "cpu":
        return _JUDGING_SECONDS[choose_matcher(device)] / torch.get_num_threads()
    return try_judging(device)


def try_judging(device: str) -> float:
    """The same as found by judging a small picture on the device."""
    K = torch.tensor([[200.0, 0.0, 128.0], [0.0, 200.0, 96.0], [0.0, 0.0, 1.0]])
    poses = torch.eye(4).repeat(2, 1, 1)
    poses[1, 0, 3] = 0.1
    cameras = Cameras(
        camera_to_world=poses, K=K.repeat(2, 1, 1), width=_TRIAL_WIDTH, height=_TRIAL_HEIGHT
    )
    image = torch.rand(_TRIAL_HEIGHT, _TRIAL_WIDTH, 3, generator=torch.Generator().manual_seed(0))
    views = [
        StereoView(camera=cameras[view], grey=image[..., 0].to(device), image=image.to(device))
        for view in range(2)
    ]
    judge = MatchingCost(views[0], views[1:])
    planes = torch.zeros(3, _TRIAL_HEIGHT * _TRIAL_WIDTH, device=device)
    planes[0] = 1.0
    shortest = math.inf  # of several: the first use of a device takes longer
    for _ in range(_TRIALS):
        began = time.perf_counter()
        float(judge(planes).sum())  # a number: so that it waits until the device is done
        shortest = min(shortest, time.perf_counter() - began)
    return shortest / planes.shape[1]
