"""Colour corrections of single pictures that are learned together with the Gaussians."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

ADAPTED = ("none", "generated", "all")
"""Whose colours are corrected: nobody's, those of generated frames, those of photos too."""


class ColourAdaptation(nn.Module):
    """An affine map of colours per picture, from the scene's to the picture's own.

    Exposure and white balance drift from frame to frame; without maps, Gaussians take the mean of
    them all. Pictures that are not adapted hold the scene's colours where they are: photo 0 never
    is, or the whole scene could darken while every picture brightens (the gauge). In the end
    `mean` leads from photo 0's colours, maybe the odd ones out, to what the photos have in common.
    """

    def __init__(self, adapts: Bool[Tensor, " view"], device: torch.device | str = "cpu") -> None:
        """Start at the identity.

        Args:
            adapts: Which pictures have a map; that of the first one does not count.
            device: Where the corrections live.
        """
        super().__init__()
        self._adapts = [False, *adapts[1:].tolist()]
        self.deltas = nn.Parameter(torch.zeros(len(adapts), 3, 4, device=device))

    def forward(
        self,
        colour: Float[Tensor, "height width 3"],
        alpha: Float[Tensor, "height width"],
        view: int,
    ) -> Float[Tensor, "height width 3"]:
        """What a camera with the picture's exposure would have seen.

        Args:
            colour: Rendered over black.
            alpha: Rendered; the offset counts as far as there is anything, so that it maps each
                Gaussian's colour and leaves holes black.
            view: Index among all pictures: photos first, then frames.
        """
        if not self._adapts[view]:
            return colour
        return colour + torch.cat([colour, alpha[..., None]], dim=-1) @ self.deltas[view].mT

    @torch.no_grad()
    def mean(self, views: int) -> Float[Tensor, "3 4"]:
        """The mean of the first pictures' maps: from the scene's colours to their common ones."""
        identity = torch.eye(3, 4, device=self.deltas.device)
        return identity + self.deltas[:views].mean(0)


def adapted_pictures(who: str, photos: int, frames: int) -> Bool[Tensor, " view"]:
    """Which pictures have a colour map of their own.

    Args:
        who: One of `ADAPTED`.
        photos: How many there are.
        frames: How many frames follow them.
    """
    kinds = torch.tensor([who == "all"] * photos + [who != "none"] * frames)
    kinds[0] = False
    return kinds
