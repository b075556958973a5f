"""What the fit trains on: captured photos and generated frames, as pictures with weights."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ..ops.image import resize_images
from ..ops.projection import world_to_camera
from ..types import Cameras, Scene, Views
from .annealing import distances_to_photos
from .confidence import weights_from_confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One picture that the Gaussians shall show."""

    image: Float[Tensor, "height width 3"]
    """In [0, 1]."""
    weights: Float[Tensor, "height width"]
    """In [0, 1]: how much each pixel counts."""
    depth: Float[Tensor, "height width"] | None
    """Measured z-depth in scene units, 0 where there is none; None if there is none at all."""
    camera: Cameras
    """One view; its pose is where the refinement starts."""
    view: int
    """Index among all poses that the fit refines: photos first, then the frames of the views."""
    distance: float = 0.0
    """From the nearest photo's camera, see `distances_to_photos`."""

    def to(self, device: str) -> "Target":
        """The same picture on another device."""
        return replace(
            self,
            image=self.image.to(device),
            weights=self.weights.to(device),
            depth=None if self.depth is None else self.depth.to(device),
            camera=self.camera.to(device),
        )

    def halved(self) -> "Target":
        """The same picture at half the size, rounded down."""
        width, height = self.camera.width // 2, self.camera.height // 2
        planes = torch.cat([self.image, self.weights[..., None]], dim=-1)
        small = resize_images(planes[None], width, height)[0].clamp(0, 1)
        return replace(
            self,
            image=small[..., :3].contiguous(),
            weights=small[..., 3].contiguous(),
            depth=None if self.depth is None else _nearest(self.depth, width, height),
            camera=self.camera.resized(width, height),
        )


def captured_targets(scene: Scene) -> list[Target]:
    """The photos, with weight 1 wherever they are valid and depth where it was measured."""
    targets = []
    for view in range(len(scene.photos)):
        camera = scene.photo_cameras[view]
        z = world_to_camera(scene.points[view], scene.cameras.viewmats[view])[..., 2]
        depth = torch.where(scene.measured[view], z, 0.0)
        targets.append(
            Target(
                image=scene.photos.images[view],
                weights=scene.photos.valid[view].float(),
                depth=_nearest(depth, camera.width, camera.height) if depth.any() else None,
                camera=camera,
                view=view,
            )
        )
    return targets


def generated_targets(
    views: Views, confidence: Float[Tensor, "frame height width"], photo_cameras: Cameras
) -> list[Target]:
    """The generated frames that are trusted anywhere.

    Captured photos among the views are left out: `captured_targets` has them, at full size.

    Args:
        views: Frames along a path.
        confidence: >= 1 per pixel.
        photo_cameras: Of the captured photos, whose poses stand before the frames'.
    """
    targets = []
    distances = distances_to_photos(photo_cameras, views.cameras).tolist()
    for frame in (views.photo_index < 0).nonzero()[:, 0].tolist():
        weights = weights_from_confidence(confidence[frame])
        if weights.any():
            targets.append(
                Target(
                    image=views.frames[frame],
                    weights=weights,
                    depth=None,
                    camera=views.cameras[frame],
                    view=len(photo_cameras) + frame,
                    distance=distances[frame],
                )
            )
    return targets


def _nearest(plane: Float[Tensor, "h w"], width: int, height: int) -> Float[Tensor, "height width"]:
    """Resample without mixing near and far."""
    return functional.interpolate(plane[None, None], size=(height, width), mode="nearest-exact")[
        0, 0
    ]
