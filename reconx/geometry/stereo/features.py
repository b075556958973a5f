"""Finds feature points and describes them: RootSIFT. Owns no matching.

pycolmap's SIFT (VLFeat) where pycolmap is installed, kornia's otherwise. Both are held to one
contract: pixel centres at +0.5, descriptors of unit length, the same bytes on every run.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ...ops.image import erode, luminance
from .colmap import has_pycolmap

MAX_FEATURES = 8000
"""Per photo; the largest ones are kept."""
BORDER_PX = 4
"""No features this close to pixels that are not valid: their windows would see the edge."""

Detector = Callable[[Float[Tensor, "height width"]], tuple[np.ndarray, Tensor]]
"""Grey image -> (x, y, scale) per feature (n 3), non-negative SIFT histograms (n 128)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Feature points of one photo, largest first."""

    pixels: Float[np.ndarray, "n 2"]
    """(x, y), pixel centres at +0.5."""
    descriptors: Float[Tensor, "n 128"]
    """RootSIFT: their dot product is the Bhattacharyya coefficient of the histograms."""

    def __len__(self) -> int:
        """Count the points."""
        return len(self.pixels)


def find_features(
    image: Float[Tensor, "height width 3"],
    valid: Bool[Tensor, "height width"],
    detector: Detector | None = None,
) -> Features:
    """Find RootSIFT features (Lowe 2004; Arandjelovic and Zisserman 2012).

    Args:
        image: sRGB in [0, 1].
        valid: No feature lies on or near a false pixel.
        detector: None takes the best one that is installed.

    Returns:
        At most `MAX_FEATURES` points; possibly none.
    """
    keypoints, histograms = (detector or choose_detector())(luminance(image))
    height, width = valid.shape
    column = np.clip(keypoints[:, 0].astype(np.int64), 0, width - 1)
    row = np.clip(keypoints[:, 1].astype(np.int64), 0, height - 1)
    inside = erode(valid[None], BORDER_PX)[0].numpy()[row, column]
    # Stable order: largest first, ties as detected; a feature with two orientations stays twice.
    order = np.argsort(-keypoints[:, 2], kind="stable")
    keep = order[inside[order]][:MAX_FEATURES]
    roots = functional.normalize(histograms[torch.from_numpy(keep)], p=1, dim=-1).sqrt()
    return Features(pixels=keypoints[keep, :2].astype(np.float64), descriptors=roots)


def choose_detector() -> Detector:
    """Choose pycolmap's SIFT, or kornia's where pycolmap cannot be imported."""
    return detect_with_pycolmap if has_pycolmap() else detect_with_kornia


def detect_with_pycolmap(grey: Float[Tensor, "height width"]) -> tuple[np.ndarray, Tensor]:
    """SIFT through pycolmap on one thread, so that the order of features never varies."""
    import pycolmap

    options = pycolmap.FeatureExtractionOptions()
    options.num_threads = 1
    options.use_gpu = False
    # Twice the wanted count: the library cuts off before masked features are dropped.
    options.sift.max_num_features = 2 * MAX_FEATURES
    options.sift.normalization = pycolmap.Normalization.L2
    level = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = 1  # it announces every extractor on the terminal
    try:
        extractor = pycolmap.FeatureExtractor.create(options, pycolmap.Device.cpu)
    finally:
        pycolmap.logging.minloglevel = level
    found, descriptors = extractor.extract_from_float32_array(grey.contiguous().numpy())
    keypoints = pycolmap.keypoints_to_matrix(found)[:, :3].astype(np.float64)
    return keypoints, torch.from_numpy(descriptors.data.astype(np.float32))


def detect_with_kornia(grey: Float[Tensor, "height width"]) -> tuple[np.ndarray, Tensor]:
    """SIFT through kornia, whose pixel centres lie on integers."""
    from kornia.feature import SIFTFeature, get_laf_center, get_laf_scale

    with torch.no_grad():
        frames, _, histograms = SIFTFeature(MAX_FEATURES, rootsift=False)(grey[None, None])
        scale = get_laf_scale(frames)[0, :, 0, 0]
        centre = get_laf_center(frames)[0] + 0.5
    # kornia fills up to the asked number with empty frames where it finds fewer.
    keep = (scale > 0) & (histograms[0].sum(-1) > 0)
    keypoints = torch.cat([centre, scale[:, None]], dim=1)[keep]
    return keypoints.double().numpy(), histograms[0, keep]
