"""Camera corrections that are learned together with the Gaussians."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..ops.se3 import se3_exp


class PoseRefinement(nn.Module):
    """Small rigid corrections of cameras; the first one stays, which fixes the gauge.

    A correction acts in the camera's own frame (`pose' = pose exp(delta)`), so that turning a
    camera does not swing it around the world's origin, and translations are counted in units of
    `scene_depth`: one learning rate then suits rotations and translations of any scene.
    """

    def __init__(
        self,
        camera_to_world: Float[Tensor, "view 4 4"],
        scene_depth: float,
        device: torch.device | str = "cpu",
        *,
        moves: Bool[Tensor, " view"] | None = None,
    ) -> None:
        """Start at the given cameras.

        Args:
            camera_to_world: At least one pose; the first never moves.
            scene_depth: Typical distance of what the cameras see, scene units.
            device: Where the corrections live.
            moves: Which cameras may move; None: all but the first.
        """
        super().__init__()
        self._start = camera_to_world.to(device)
        self._moves = None if moves is None else moves.tolist()
        self._units = torch.tensor([1.0] * 3 + [scene_depth] * 3, device=device)
        self.deltas = nn.Parameter(torch.zeros(len(camera_to_world) - 1, 6, device=device))

    def pose(self, view: int) -> Float[Tensor, "4 4"]:
        """One corrected camera-to-world pose, differentiable in `deltas`."""
        if view == 0 or not (self._moves is None or self._moves[view]):
            return self._start[view]
        return self._start[view] @ se3_exp(self.deltas[view - 1] * self._units)

    @torch.no_grad()
    def poses(self) -> Float[Tensor, "view 4 4"]:
        """All poses as they stand now; those never corrected are bit for bit as they came."""
        poses = self._start.clone()
        for view in (1 + self.deltas.any(dim=1).nonzero()[:, 0]).tolist():
            poses[view] = self.pose(view)
        return poses.cpu()
