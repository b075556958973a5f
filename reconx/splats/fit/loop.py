"""The loop of a fit: draw a picture, compare, step."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.lr_scheduler import ExponentialLR

from ...errors import InputError
from ...ops.metrics import psnr
from ...ops.sh import map_sh
from ...progress import Progress, Task
from ...render.gaussians import render_gaussians
from ...render.rasterizers.base import Rasterized, Rasterizer
from ...types import Gaussians, Scene, Views
from ..annealing import annealed_weight
from ..colours import ColourAdaptation, adapted_pictures
from ..confidence import REFERENCE_CONFIDENCE
from ..losses import depth_loss, photometric_loss
from ..perceptual.loss import Distance, make_distance, perceptual_loss
from ..placing import place_gaussians, view_depths
from ..poses import PoseRefinement
from ..robust import inlier_weights
from ..sway import sway_around
from ..targets import Target, captured_targets, generated_targets
from .checkpoint import FitCheckpoint
from .options import FitOptions
from .order import halved, in_turn
from .parameters import GaussianParameters


class Fit:
    """The state of one fit: what it trains on, what it trains."""

    def __init__(
        self,
        scene: Scene,
        views: Views | None,
        options: FitOptions,
        rasterizer: Rasterizer,
        device: str,
        progress: Progress,
    ) -> None:
        """Place the Gaussians and gather the pictures.

        Args:
            scene: As for `fit_gaussians`.
            views: As for `fit_gaussians`; judged, where frames train by their confidence.
            options: As for `fit_gaussians`.
            rasterizer: Draws on `device`.
            device: Torch device of the work.
            progress: Told while Gaussians are placed.
        """
        # Not above: they bring scipy, which ComfyUI's start need not wait for.
        from ..background import place_background
        from ..extending import extend_scene

        self._options = options
        self._device = device
        self._rasterizer = rasterizer
        self._captured = [target.to(device) for target in captured_targets(scene)]
        self._generated: list[Target] = []
        placed = scene
        if views is not None and options.train_on_generated:
            confidence = _confidence(views, trusted=not options.confidence_weights)
            generated = generated_targets(views, confidence, scene.photo_cameras)
            self._generated = [target.to(device) for target in generated]
            placed = extend_scene(scene, replace(views, confidence=confidence), progress)
        self._distance: Distance | None = None
        if options.perceptual_weight > 0:
            self._distance = make_distance(options.lpips, device)
        start = place_gaussians(
            placed,
            max_gaussians=options.max_gaussians,
            sh_degree=options.sh_degree,
            progress=progress,
        )
        depths = view_depths(scene)[scene.valid]
        self._parameters = GaussianParameters(start, device)
        self._background: Gaussians | None = None
        if options.background:
            self._background = place_background(placed).to(device)
        poses = scene.photo_cameras.camera_to_world
        if views is not None:
            poses = torch.cat([poses, views.cameras.camera_to_world])
        photos, frames = len(scene.photos), len(poses) - len(scene.photos)
        moves = torch.tensor([True] * photos + [options.refine_generated_poses] * frames)
        self.poses = PoseRefinement(poses, float(depths.median()), device, moves=moves)
        adapted = adapted_pictures(options.adapt_colours, photos, frames)
        self._colours = ColourAdaptation(adapted, device)
        sway = sway_around(scene).to(device)
        self._sway = cycle(sway[index] for index in range(len(sway)))

    def run(self, seed: int, task: Task, checkpoint: FitCheckpoint | None = None) -> list[float]:
        """Take all steps, those that a checkpoint has already taken excepted.

        Returns:
            The loss of each step.
        """
        adam = self._make_optimizer()
        decay = self._options.learning_rates.decay ** (1 / self._options.steps)
        schedule = ExponentialLR(adam, decay)
        losses: list[float] = []
        if checkpoint is not None and (state := checkpoint.read()) is not None:
            losses = self._restore(state, adam, schedule)
        pictures = self._pictures(seed)
        for _ in losses:
            next(pictures)
        for step in range(len(losses), self._options.steps):
            losses.append(self._step(next(pictures), step, adam))
            schedule.step()
            if checkpoint is not None and checkpoint.due:
                checkpoint.write(self._state(losses, adam, schedule))
            try:
                task.update(step + 1, self._preview)
            except BaseException:
                # Stopped between two steps, where all parts of the state belong together.
                if checkpoint is not None:
                    checkpoint.write(self._state(losses, adam, schedule))
                raise
        return losses

    def _make_optimizer(self) -> torch.optim.Adam:
        options, rates = self._options, self._options.learning_rates
        groups = self._parameters.groups(rates)
        # The fused kernel rounds a tensor's last entries in another way: a picture's correction
        # would depend on how many pictures there are.
        if options.refine_poses:
            groups.append({"params": [self.poses.deltas], "lr": rates.poses, "fused": False})
        if options.adapt_colours != "none":
            corrections = {"params": [self._colours.deltas], "lr": rates.adaptation}
            groups.append({**corrections, "fused": False})
        return torch.optim.Adam(groups, eps=1e-15, fused=torch.device(self._device).type != "mps")

    def _pictures(self, seed: int) -> Iterator[Target]:
        """What each step trains on: small pictures first."""
        generator = torch.Generator().manual_seed(seed)
        coarse_steps = round(self._options.steps * self._options.coarse_share)
        small = in_turn(halved(self._captured), halved(self._generated), generator)
        yield from islice(small, coarse_steps)
        yield from in_turn(self._captured, self._generated, generator)

    def _step(self, target: Target, step: int, adam: torch.optim.Adam) -> float:
        """One step of gradient descent; returns the loss before it."""
        loss = self._loss(target, step / self._options.steps)
        adam.zero_grad()
        loss.backward()
        adam.step()
        self._parameters.limit_colours()
        value = float(loss.detach())
        if value != value:
            raise InputError(
                f"The fit diverged at step {step + 1}: its loss is not a number. Lower the "
                "learning rates, or check the scene's points and photos for NaN."
            )
        return value

    def _state(
        self, losses: list[float], adam: torch.optim.Adam, schedule: ExponentialLR
    ) -> dict[str, Any]:
        """All that the remaining steps depend on."""
        return {
            "step": len(losses),
            "losses": losses,
            "gaussians": self._parameters.state_dict(),
            "poses": self.poses.state_dict(),
            "colours": self._colours.state_dict(),
            "adam": adam.state_dict(),
            "schedule": schedule.state_dict(),
        }

    def _restore(
        self, state: Mapping[str, Any], adam: torch.optim.Adam, schedule: ExponentialLR
    ) -> list[float]:
        """Take over what `_state` gave; returns the losses so far."""
        self._parameters.load_state_dict(state["gaussians"])
        self.poses.load_state_dict(state["poses"])
        self._colours.load_state_dict(state["colours"])
        adam.load_state_dict(state["adam"])
        schedule.load_state_dict(state["schedule"])
        return list(state["losses"])

    @property
    def background(self) -> int:
        """How many Gaussians belong to the background."""
        return 0 if self._background is None else len(self._background)

    def _all_gaussians(self) -> Gaussians:
        """The fitted ones, differentiable, then the background.

        The background stays as it was placed: photos see slivers of it, at the edges of things,
        and would pay for errors there with its colours, which show where no photo looks.
        """
        fitted = self._parameters.gaussians()
        if self._background is None:
            return fitted
        return Gaussians.concatenate([fitted, self._background])

    def _loss(self, target: Target, progress: float) -> Float[Tensor, ""]:
        """How badly a picture is met, after this share of the steps."""
        options = self._options
        drawn = self._draw(self._all_gaussians(), target)
        image, weights = self._as_taken(drawn, target), target.weights
        if progress >= options.robust_after:
            weights = inlier_weights(image, target.image, weights)
        loss = photometric_loss(image, target.image, weights)
        if target.depth is not None and options.depth_weight > 0:
            loss = loss + options.depth_weight * depth_loss(drawn.depth[0], target.depth)
        if self._distance is not None:
            term = perceptual_loss(self._distance, image, target.image, weights)
            loss = loss + options.perceptual_weight * term
        return loss * annealed_weight(target.distance, options.annealing, progress)

    def _draw(self, gaussians: Gaussians, target: Target) -> Rasterized:
        pose = self.poses.pose(target.view)[None]
        camera = replace(target.camera, camera_to_world=pose)
        return render_gaussians(gaussians, camera, rasterizer=self._rasterizer)

    def _as_taken(self, drawn: Rasterized, target: Target) -> Float[Tensor, "height width 3"]:
        """What was drawn, in the picture's own colours."""
        return self._colours(drawn.colour[0], drawn.alpha[0], target.view)

    @torch.no_grad()
    def judge(self, progress: Progress) -> list[float]:
        """PSNR in dB of every picture: the captured ones, then the generated ones."""
        targets = [*self._captured, *self._generated]
        task = progress.start("Judging the fit", len(targets))
        gaussians = self._all_gaussians()
        quality = []
        for index, target in enumerate(targets):
            picture = self._as_taken(self._draw(gaussians, target), target).clamp(0, 1)
            quality.append(psnr(picture, target.image, target.weights > 0))
            task.update(index + 1)
        return quality

    @torch.no_grad()
    def _preview(self) -> Float[Tensor, "height width 3"]:
        gaussians, camera = self._all_gaussians(), next(self._sway)
        drawn = render_gaussians(gaussians, camera, rasterizer=self._rasterizer)
        return drawn.colour[0].clamp(0, 1).cpu()

    @torch.no_grad()
    def gaussians(self) -> Gaussians:
        """The Gaussians as they stand now, on the CPU; the background comes last."""
        fitted = self._parameters.gaussians()
        common = self._colours.mean(len(self._captured))
        fitted = replace(
            fitted,
            quats=nn.functional.normalize(fitted.quats, dim=-1),
            sh=map_sh(fitted.sh, common),
        )
        parts = [fitted] if self._background is None else [fitted, self._background]
        return Gaussians.concatenate(parts).to("cpu")


def _confidence(views: Views, *, trusted: bool) -> Float[Tensor, "frame height width"]:
    """How sure each pixel of the frames is; where all are trusted, as sure as a photo's."""
    if trusted:
        return torch.full_like(views.frames[..., 0], REFERENCE_CONFIDENCE)
    assert views.confidence is not None, "the caller has them judged"
    return views.confidence
