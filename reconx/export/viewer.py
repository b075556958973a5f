"""Cameras of three.js viewers, to and fro, and how such a viewer places what it shows.

A viewer's space is right-handed with Y up, and its cameras look down -Z with Y up. It shows splats
turned by half a turn about X, which stands an OpenCV world upright; a placement is the similarity
that it applies on top of that turn. Viewer cameras have square pixels and no principal point.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_range
from ..errors import InputError
from ..ops.quaternion import matrix_to_quaternion, quaternion_to_matrix
from ..ops.sim3 import apply_sim3_to_cameras, apply_sim3_to_points
from ..types import Cameras, Sim3

logger = logging.getLogger("reconx")

HALF_TURN = Sim3(
    rotation=torch.diag(torch.tensor([1.0, -1.0, -1.0])), translation=torch.zeros(3), scale=1.0
)
"""Between the user's world (OpenCV) and an upright viewer's space; its own inverse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewerCamera:
    """A perspective camera as a viewer holds it, in the viewer's space."""

    position: Float[Tensor, "3"]
    """Optical centre."""
    quaternion: Float[Tensor, "4"]
    """Camera to viewer, wxyz."""
    fov_degrees: int | float
    """Full vertical field of view before zoom."""
    zoom: int | float = 1.0
    """Multiplies the focal length."""

    def __post_init__(self) -> None:
        """Check values that a picture depends on."""
        check_range("Field of view in degrees", self.fov_degrees, 1, 179)
        check_range("Camera zoom", self.zoom, 1e-3, 1e3)

    def point_ahead(self, distance: float) -> Float[Tensor, "3"]:
        """The point on the optical axis at a distance, around which a viewer would orbit."""
        return self.position - distance * quaternion_to_matrix(self.quaternion)[:, 2]


def camera_to_viewer(camera: Cameras, placement: Sim3 | None = None) -> ViewerCamera:
    """One camera of the user's world in a viewer; the vertical focal length is kept.

    Args:
        camera: A single view.
        placement: How the viewer has placed its model; None = as it is.
    """
    K = camera.K[0].double()
    shift = (K[:2, 2] - K.new_tensor([camera.width, camera.height]) / 2).abs().max()
    if float(shift) > 0.01 * camera.height:
        logger.warning(
            "A viewer camera has no principal point: the picture shifts by %.1f pixels.", shift
        )
    shown = apply_sim3_to_cameras((placement or Sim3.identity()).compose(HALF_TURN), camera)
    pose = shown.camera_to_world[0].double()
    return ViewerCamera(
        position=pose[:3, 3].float(),
        quaternion=matrix_to_quaternion(_flip_axes(pose[:3, :3])).float(),
        fov_degrees=math.degrees(2 * math.atan(camera.height / (2 * float(K[1, 1])))),
    )


def cameras_from_viewer(
    posed: Sequence[ViewerCamera], width: int, height: int, placement: Sim3 | None = None
) -> Cameras:
    """Cameras posed in a viewer, in the user's world.

    Args:
        posed: At least one.
        width: Of the pictures, in pixels; they show what the viewer's height shows.
        height: Of the pictures, in pixels.
        placement: How the viewer has placed its model; None = as it is.
    """
    poses = torch.eye(4).repeat(len(posed), 1, 1)
    K = torch.eye(3).repeat(len(posed), 1, 1)
    for index, camera in enumerate(posed):
        poses[index, :3, :3] = _flip_axes(quaternion_to_matrix(camera.quaternion))
        poses[index, :3, 3] = camera.position
        half_angle = math.radians(camera.fov_degrees) / 2
        K[index, [0, 1], [0, 1]] = height / 2 * camera.zoom / math.tan(half_angle)
        K[index, :2, 2] = torch.tensor([width, height]) / 2
    shown = Cameras(camera_to_world=poses, K=K, width=width, height=height)
    return apply_sim3_to_cameras(HALF_TURN.compose((placement or Sim3.identity()).inverse()), shown)


def points_to_viewer(points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """World points for viewers that show point clouds as they are, without the half turn."""
    return apply_sim3_to_points(HALF_TURN, points)


def centred_placement(points: Float[Tensor, "n 3"]) -> Sim3:
    """How a viewer that centres point clouds places one: into the unit sphere about the origin.

    The sphere is that of three.js: its centre is that of the bounding box, its radius reaches the
    farthest point.

    Args:
        points: In the viewer's space, as in the file.

    Raises:
        InputError: If there is no point.
    """
    if not len(points):
        raise InputError(
            "The scene holds no measured point, so cameras posed over its point cloud have no "
            "place. Pose them over the splat."
        )
    points = points.double()
    centre = (points.amin(0) + points.amax(0)) / 2
    radius = float((points - centre).norm(dim=-1).max())
    scale = 1 / radius if radius > 0 else 1.0
    return Sim3(rotation=torch.eye(3), translation=(-scale * centre).float(), scale=scale)


def model_placement(
    position: Float[Tensor, "3"], quaternion: Float[Tensor, "4"], scale: Float[Tensor, "3"]
) -> Sim3:
    """Where the user has moved, turned (wxyz) and scaled a model within a viewer.

    Raises:
        InputError: If the scale differs between axes, or is not positive.
    """
    low, high = float(scale.min()), float(scale.max())
    if low <= 0 or high - low > 1e-4 * high:
        raise InputError(
            f"The model is scaled by {', '.join(f'{axis:g}' for axis in scale.tolist())} along x, "
            "y, z, in which no camera keeps its shape. Scale it evenly, or reset it in the viewer."
        )
    return Sim3(rotation=quaternion_to_matrix(quaternion), translation=position, scale=high)


def _flip_axes(rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "3 3"]:
    """Between cameras that look along +Z with Y down and such that look along -Z with Y up."""
    return rotation * rotation.new_tensor([1.0, -1.0, -1.0])
