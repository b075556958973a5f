"""What a mask covers leaves no ghost: the scene is the same whatever stands under the mask."""

from dataclasses import replace

import torch

from reconx.geometry.estimators.base import GeometryOptions
from reconx.geometry.stereo.assemble import assemble_scene
from reconx.geometry.stereo.sparse import SparseReconstruction
from reconx.ops.projection import project_points
from reconx.photos.masking import mask_photos
from reconx.progress import SilentProgress
from reconx.splats.placing import place_gaussians
from reconx.types import Gaussians, Scene

PERSON = (slice(22, 49), slice(31, 60))
"""Rows and columns of the second photo that somebody stands in."""
LOOKS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
"""Magenta, or green."""


def gaussians_with(
    scene: Scene, looks: torch.Tensor, options: GeometryOptions, bend: float
) -> tuple[Scene, Gaussians]:
    """The scene and its Gaussians, where a masked person of this colour stands in one photo."""
    images, mask = scene.photos.images.clone(), torch.ones_like(scene.photos.valid)
    images[1][PERSON], mask[1][PERSON] = looks, False
    photos = mask_photos(replace(scene.photos, images=images), mask)
    points = scene.points[0].reshape(-1, 3)[::41]
    count, views = len(points), len(scene.cameras)
    seen = [project_points(points, camera.viewmats[0], camera.K[0])[0] for camera in scene.cameras]
    sparse = SparseReconstruction(
        photo_index=tuple(range(views)),
        cameras=scene.cameras,
        distortion=torch.full((views, 2), bend),
        points=points,
        observed_view=torch.arange(views).repeat_interleave(count),
        observed_point=torch.arange(count).repeat(views),
        observed_pixel=torch.cat(seen),
        matches={(0, 1): count},
        warnings=(),
    )
    found = assemble_scene(photos, sparse, options, SilentProgress())
    return found, place_gaussians(found, max_gaussians=20_000)


def test_a_masked_person_leaves_no_ghost(plane_scene: Scene) -> None:
    """Through undistortion, dense stereo, filling, two resizings and placing."""
    options = GeometryOptions(fit_size=64, geometry_size=96)
    (scene, gaussians), (other_scene, other) = (
        gaussians_with(plane_scene, looks, options, bend=0.1) for looks in LOOKS
    )
    assert scene.valid[1].float().mean() > 0.3  # what stands beside the mask is there
    assert torch.equal(scene.points.nan_to_num(), other_scene.points.nan_to_num())
    assert torch.equal(gaussians.means, other.means)
    torch.testing.assert_close(gaussians.sh, other.sh, atol=1e-5, rtol=0)
    # What the fit is shown is clean, too.
    seen = [part.photos.images[part.photos.valid] for part in (scene, other_scene)]
    torch.testing.assert_close(*seen, atol=1e-5, rtol=0)
