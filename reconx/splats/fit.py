"""Gaussians that look like the photos: placed on the pointmaps, then fitted by gradient descent.

Owns the optimisation and its parameters; log-scales and logits live only here and in the PLY
writer. Gaussians are neither split nor pruned (ReconX, arXiv 2408.16767, section 4.4).
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..checks import check_range
from ..errors import InputError
from ..ops.metrics import psnr
from ..ops.quaternion import quaternion_multiply, quaternion_to_matrix
from ..ops.se3 import invert_pose
from ..progress import Progress, SilentProgress, Task, measure_usage
from ..render.gaussians import render_gaussians
from ..render.rasterizers.base import Rasterized, Rasterizer
from ..render.rasterizers.registry import choose_rasterizer, make_rasterizer
from ..render.threads import one_torch_thread
from ..render.trial import prepare_rasterizer
from ..types import CONFIDENT, FitResult, Gaussians, Scene, Views
from .losses import depth_loss, photometric_loss
from .placing import place_gaussians, view_depths
from .poses import PoseRefinement
from .sway import sway_around
from .targets import Target, captured_targets, generated_targets

logger = logging.getLogger("reconx")


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRates:
    """Adam's first step sizes; all decay alike.

    Places and shapes are learned in each Gaussian's own frame and size, so that one set of rates
    suits any scale, orientation and range of depth.
    """

    means: float = 0.02
    """In standard deviations along each axis: slow along the normal, where Gaussians are flat."""
    rotations: float = 2e-3
    """In half radians about the axes."""
    scales: float = 5e-3
    """In natural logarithms."""
    opacities: float = 2e-2
    """In logits."""
    colours: float = 1.5e-2
    """In constant spherical harmonics; higher degrees learn at a twentieth of it."""
    poses: float = 3e-4
    """In radians, and in depths of the scene."""
    decay: float = 0.1
    """Share of each rate that is left at the last step; the decay is exponential."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How Gaussians are fitted."""

    steps: int = 1000
    """Gradient steps, one picture each."""
    max_gaussians: int = 80_000
    """Budget of Gaussians."""
    sh_degree: int = 0
    """Degree of view-dependent colour, 0 to 3; few photos do not tell shine from error."""
    coarse_share: float = 0.4
    """Share of the steps, the first ones, that work at half resolution."""
    train_on_generated: bool = False
    """Whether generated frames train, every other step; captured photos always do. Off:
    frames warped from the same geometry changed unseen views by -0.2 to +0.1 dB."""
    refine_poses: bool = True
    """Whether cameras are corrected, photo 0 excepted."""
    depth_weight: float = 0.1
    """Weight of the relative error against measured depth; 0 leaves it out."""
    rasterizer: str = "auto"
    """Registered name of the rasterizer."""
    learning_rates: LearningRates = field(default_factory=LearningRates)
    """Step sizes."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("Fit steps", self.steps, 1)
        check_range("max_gaussians", self.max_gaussians, 1)
        check_range("sh_degree", self.sh_degree, 0, 3)
        check_range("coarse_share", self.coarse_share, 0, 1)
        check_range("depth_weight", self.depth_weight, 0)


def fit_gaussians(
    scene: Scene,
    views: Views | None = None,
    *,
    options: FitOptions | None = None,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress | None = None,
) -> FitResult:
    """Place Gaussians on a scene's pointmaps and fit them to its photos and generated views.

    The same seed on the same machine gives the same bytes.

    Args:
        scene: Photos with cameras and pointmaps.
        views: Frames along a path; generated ones train by their confidence. None: photos alone.
        options: How; None takes the defaults.
        device: Torch device of the work; the result lies on the CPU.
        seed: Seeds the order of the pictures.
        progress: Told after every step, with a preview whose camera sways around the scene from
            one call to the next; may raise to stop.

    Raises:
        InputError: If an option is out of range, the rasterizer is unknown, the scene holds no
            points, or the fit diverges.
        MissingDependency: If the rasterizer's packages are absent.
    """
    options = options or FitOptions()
    progress = progress or SilentProgress()
    if options.train_on_generated and views is None:
        logger.info("Generated frames shall train, but none were given: photos train alone.")
    rasterizer = choose_rasterizer(options.rasterizer, device)
    prepare_rasterizer(rasterizer, device, progress)
    draw = make_rasterizer(rasterizer, device)
    with measure_usage() as usage, one_torch_thread(device):
        fit = _Fit(scene, views, options, draw, device, progress)
        losses = fit.run(seed, progress.start("Fitting Gaussians", options.steps))
        report = fit.report(losses, progress)
    costs = {
        "seconds": usage.seconds,
        "peak_memory_mb": usage.peak_memory_mb,
        "rasterizer": rasterizer,
    }
    return FitResult(
        gaussians=fit.result(),
        scene=fit.refined_scene(),
        views=None if views is None else fit.refined_views(views),
        report=report | costs,
    )


class _Parameters(nn.Module):
    """Gaussians as differences from where they were placed, in each one's own frame and size.

    Adam's steps are equally long in every coordinate, so coordinates that turn and scale with the
    scene make the fit equivariant to similarities.
    """

    def __init__(self, start: Gaussians, device: str) -> None:
        super().__init__()
        count = len(start)
        self._means = start.means.to(device)
        self._quats = start.quats.to(device)
        # Column k: the Gaussian's k-th axis, one standard deviation long.
        self._axes = quaternion_to_matrix(self._quats) * start.scales.to(device)[:, None]
        self.offsets = nn.Parameter(torch.zeros(count, 3, device=device))
        self.turns = nn.Parameter(torch.zeros(count, 3, device=device))
        self.log_scales = nn.Parameter(start.scales.log().to(device))
        self.logits = nn.Parameter(start.opacities.logit().to(device))
        self.sh_constant = nn.Parameter(start.sh[:, :1].to(device))
        self.sh_rest = nn.Parameter(start.sh[:, 1:].to(device))

    def groups(self, rates: LearningRates) -> list[dict[str, Any]]:
        """Parameters with their learning rates, for Adam."""
        return [
            {"params": [self.offsets], "lr": rates.means},
            {"params": [self.turns], "lr": rates.rotations},
            {"params": [self.log_scales], "lr": rates.scales},
            {"params": [self.logits], "lr": rates.opacities},
            {"params": [self.sh_constant], "lr": rates.colours},
            {"params": [self.sh_rest], "lr": rates.colours / 20},
        ]

    def gaussians(self) -> Gaussians:
        """The Gaussians as they stand now, differentiable; quaternions of any length."""
        # (1, t) is, once normalised, a turn by 2 |t| about the local axis t: no sine, no pole.
        turns = torch.cat([torch.ones_like(self.turns[:, :1]), self.turns], dim=-1)
        return Gaussians(
            # A product and a sum are several times faster than n products of 3 x 3 matrices.
            means=self._means + (self._axes * self.offsets[:, None]).sum(-1),
            quats=quaternion_multiply(self._quats, turns),
            scales=self.log_scales.exp(),
            opacities=self.logits.sigmoid(),
            sh=torch.cat([self.sh_constant, self.sh_rest], dim=1),
        )


class _Fit:
    """The state of one fit: what it trains on, what it trains, and how the result is read off."""

    def __init__(
        self,
        scene: Scene,
        views: Views | None,
        options: FitOptions,
        rasterizer: Rasterizer,
        device: str,
        progress: Progress,
    ) -> None:
        self._scene = scene
        self._options = options
        self._device = device
        self._rasterizer = rasterizer
        self._captured = [target.to(device) for target in captured_targets(scene)]
        self._generated: list[Target] = []
        poses = scene.photo_cameras.camera_to_world
        if views is not None:
            poses = torch.cat([poses, views.cameras.camera_to_world])
            if options.train_on_generated:
                generated = generated_targets(views, _confidence(views), len(scene.photos))
                self._generated = [target.to(device) for target in generated]
        start = place_gaussians(
            scene,
            max_gaussians=options.max_gaussians,
            sh_degree=options.sh_degree,
            progress=progress,
        )
        depths = view_depths(scene)[scene.valid]
        self._parameters = _Parameters(start, device)
        self._poses = PoseRefinement(poses, float(depths.median()), device)
        sway = sway_around(scene).to(device)
        self._sway = cycle(sway[index] for index in range(len(sway)))

    def run(self, seed: int, task: Task) -> list[float]:
        """Take all steps; returns the loss of each."""
        options = self._options
        groups = self._parameters.groups(options.learning_rates)
        if options.refine_poses:
            # The fused kernel rounds a tensor's last entries in another way: a camera's correction
            # would depend on how many cameras there are.
            rate = options.learning_rates.poses
            groups.append({"params": [self._poses.deltas], "lr": rate, "fused": False})
        adam = torch.optim.Adam(groups, eps=1e-15, fused=torch.device(self._device).type != "mps")
        decay = options.learning_rates.decay ** (1 / options.steps)
        schedule = torch.optim.lr_scheduler.ExponentialLR(adam, decay)
        generator = torch.Generator().manual_seed(seed)
        coarse_steps = round(options.steps * options.coarse_share)
        order = _in_turn(_halved(self._captured), _halved(self._generated), generator)
        losses = []
        for step in range(options.steps):
            if step == coarse_steps:
                order = _in_turn(self._captured, self._generated, generator)
            loss = self._loss(next(order))
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
            losses.append(float(loss.detach()))
            if losses[-1] != losses[-1]:
                raise InputError(
                    f"The fit diverged at step {step + 1}: its loss is not a number. Lower the "
                    "learning rates, or check the scene's points and photos for NaN."
                )
            task.update(step + 1, self._preview)
        return losses

    def _loss(self, target: Target) -> Float[Tensor, ""]:
        drawn = self._draw(self._parameters.gaussians(), target)
        loss = photometric_loss(drawn.colour[0], target.image, target.weights)
        if target.depth is not None and self._options.depth_weight > 0:
            loss = loss + self._options.depth_weight * depth_loss(drawn.depth[0], target.depth)
        return loss

    def _draw(self, gaussians: Gaussians, target: Target) -> Rasterized:
        pose = self._poses.pose(target.view)[None]
        camera = replace(target.camera, camera_to_world=pose)
        return render_gaussians(gaussians, camera, rasterizer=self._rasterizer)

    @torch.no_grad()
    def _preview(self) -> Float[Tensor, "height width 3"]:
        gaussians, camera = self._parameters.gaussians(), next(self._sway)
        drawn = render_gaussians(gaussians, camera, rasterizer=self._rasterizer)
        return drawn.colour[0].clamp(0, 1).cpu()

    @torch.no_grad()
    def report(self, losses: list[float], progress: Progress) -> dict[str, object]:
        """What became of each picture."""
        targets = [*self._captured, *self._generated]
        task = progress.start("Judging the fit", len(targets))
        gaussians = self._parameters.gaussians()
        quality = []
        for index, target in enumerate(targets):
            picture = self._draw(gaussians, target).colour[0].clamp(0, 1)
            quality.append(psnr(picture, target.image, target.weights > 0))
            task.update(index + 1)
        photos = len(self._captured)
        generated = quality[photos:]
        last = losses[-max(1, len(losses) // 10) :]
        return {
            "steps": len(losses),
            "loss": sum(last) / len(last),
            "gaussians": len(self._parameters.logits),
            "psnr_captured": dict(zip(self._scene.photos.names, quality[:photos], strict=True)),
            "psnr_generated": sum(generated) / len(generated) if generated else None,
        }

    @torch.no_grad()
    def result(self) -> Gaussians:
        """The Gaussians as they stand now, on the CPU."""
        gaussians = self._parameters.gaussians()
        return Gaussians(
            means=gaussians.means.cpu(),
            quats=nn.functional.normalize(gaussians.quats, dim=-1).cpu(),
            scales=gaussians.scales.cpu(),
            opacities=gaussians.opacities.cpu(),
            sh=gaussians.sh.cpu(),
        )

    def refined_scene(self) -> Scene:
        """The scene with corrected cameras; each photo's points move with its camera."""
        scene = self._scene
        before = scene.photo_cameras.camera_to_world
        after = self._poses.poses()[: len(before)]
        points = scene.points.clone()
        for view in (after != before).flatten(1).any(1).nonzero()[:, 0].tolist():
            motion = after[view] @ invert_pose(before[view])
            points[view] = points[view] @ motion[:3, :3].mT + motion[:3, 3]
        return replace(
            scene,
            photo_cameras=replace(scene.photo_cameras, camera_to_world=after),
            cameras=replace(scene.cameras, camera_to_world=after),
            points=points,
        )

    def refined_views(self, views: Views) -> Views:
        """The views with corrected cameras; a captured frame takes its photo's."""
        poses = self._poses.poses()
        own = len(self._scene.photos) + torch.arange(len(views.cameras))
        captured = views.photo_index >= 0
        source = torch.where(captured, views.photo_index.long(), own)
        return replace(views, cameras=replace(views.cameras, camera_to_world=poses[source]))


def _confidence(views: Views) -> Float[Tensor, "frame height width"]:
    if views.confidence is not None:
        return views.confidence
    logger.info("Nobody has judged the generated frames: only what was seen in photos trains.")
    return torch.where(views.known, CONFIDENT, 1.0)


def _halved(targets: Sequence[Target]) -> list[Target]:
    return [target.halved() for target in targets]


def _in_turn(
    captured: Sequence[Target], generated: Sequence[Target], generator: torch.Generator
) -> Iterator[Target]:
    """Captured and generated pictures by turns, each kind in shuffled rounds, without end."""

    def rounds(targets: Sequence[Target]) -> Iterator[Target]:
        while True:
            for index in torch.randperm(len(targets), generator=generator).tolist():
                yield targets[index]

    photos = rounds(captured)
    others = rounds(generated) if generated else photos
    while True:
        yield next(photos)
        yield next(others)
