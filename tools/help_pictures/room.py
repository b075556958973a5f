"""The stages' results on the sample room, of which the help pages' pictures are made."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from reconx.geometry.estimators.base import GeometryOptions
from reconx.geometry.estimators.registry import make_estimator
from reconx.ops.sim3 import apply_sim3_to_gaussians
from reconx.photos.loading import PhotoOptions, load_photos
from reconx.progress import SilentProgress
from reconx.render.points import render_scene
from reconx.splats.fit import FitOptions, fit_gaussians
from reconx.trajectory.options import CameraPath, PathOptions
from reconx.trajectory.path import make_path
from reconx.types import Gaussians, Photos, PointRenders, Scene, Views
from reconx.video.registry import make_backbone
from reconx.video.sample import sample_views

SAMPLE_ROOM = Path(__file__).resolve().parents[2] / "assets" / "sample-room"
NAMES = ("left", "middle", "right")
SIZE = 384
"""Long side of geometry, frames and fit in pixels; no tile shows more."""
FRAMES = 25
"""Of the path: 4k+1, so that all three photos are frames."""
STEPS, GAUSSIANS = 300, 40_000
"""Of the fit."""


class SampleRoom:
    """The stages' results on the sample room, each made when first asked for."""

    @cached_property
    def photos(self) -> Photos:
        """As Load Photos gives them."""
        paths = [SAMPLE_ROOM / "images" / f"{name}.jpg" for name in NAMES]
        return load_photos(paths, options=PhotoOptions(max_size=1024))

    @cached_property
    def scene(self) -> Scene:
        """Of Build Point Cloud."""
        return build(self.photos, SIZE)

    @cached_property
    def path(self) -> CameraPath:
        """Through all photos."""
        return make_path(self.scene, PathOptions(frames=FRAMES))

    @cached_property
    def sway(self) -> CameraPath:
        """Far around what the photos look at, so that much shows that no photo saw."""
        return make_path(self.scene, PathOptions(kind="orbit", frames=3, orbit_degrees=32))

    @cached_property
    def renders(self) -> PointRenders:
        """The points along the path."""
        return render_scene(self.scene, self.path.cameras)

    @cached_property
    def views(self) -> Views:
        """Frames along the path."""
        return sample_views(make_backbone("warp"), self.scene, self.path)

    @cached_property
    def splat(self) -> Gaussians:
        """Fitted to the photos, in the scene's frame; cameras stay, and so the scene fits it."""
        options = FitOptions(steps=STEPS, max_gaussians=GAUSSIANS, refine_poses=False)
        return fit_gaussians(self.scene, options=options).gaussians

    @cached_property
    def world_splat(self) -> Gaussians:
        """The same as the SPLAT socket holds it."""
        return apply_sim3_to_gaussians(self.scene.world_from_scene, self.splat)


def build(photos: Photos, size: int) -> Scene:
    """The scene of some photos."""
    options = GeometryOptions(fit_size=size, geometry_size=size)
    return make_estimator("stereo", options).estimate(photos, SilentProgress())
