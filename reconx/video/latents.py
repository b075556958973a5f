"""Holding known pixels in the latents of any video model while it denoises.

Owns which latents are known and how they are mixed in. Encoding and noising belong to the backbone.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import InputError


def known_latents(
    known: Bool[Tensor, "frame height width"],
    *,
    time_stride: int,
    space_stride: int,
    causal: bool = True,
) -> Bool[Tensor, "latent_frame h w"]:
    """Which latents stand for known pixels alone.

    Args:
        known: Pixels of a clip.
        time_stride: Frames that the VAE merges into one latent frame.
        space_stride: Pixels along each side that it merges.
        causal: Whether its first latent frame stands for the first frame alone, and groups of
            `time_stride` frames follow (Wan, HunyuanVideo, LTX, CogVideoX); else groups from the
            start.

    Raises:
        InputError: If the strides do not divide the clip.
    """
    frames, height, width = known.shape
    groups, left_over = divmod(frames - 1 if causal else frames, time_stride)
    if left_over or height % space_stride or width % space_stride:
        rule = f"{time_stride}k+1" if causal else f"{time_stride}k"
        raise InputError(
            f"A clip of {frames} frames of {width} x {height} does not fall into latents; expected "
            f"{rule} frames and sides that are multiples of {space_stride}. Fit the cameras first."
        )
    if causal:
        # Frame 0 stands for its whole group, as the VAE pads it.
        known = torch.cat([known[:1].expand(time_stride, -1, -1), known[1:]])
        groups += 1
    rows, columns = height // space_stride, width // space_stride
    blocks = known.reshape(groups, time_stride, rows, space_stride, columns, space_stride)
    return blocks.permute(0, 2, 4, 1, 3, 5).flatten(3).all(-1)


def blend_latents(
    latents: Float[Tensor, "*shape"],
    noised: Float[Tensor, "*shape"],
    known: Bool[Tensor, "..."],
    strength: int | float = 1.0,
) -> Float[Tensor, "*shape"]:
    """Put known latents back between two denoising steps: x = m z_t + (1 - m) x.

    Blended diffusion (Avrahami et al. 2022, alg. 1) in latent space. With strength 1 known latents
    are `noised` to the bit, and with strength 0 nothing changes.

    Args:
        latents: x, after a step.
        noised: z_t, the encoded known pixels at the noise level of the next step; after the last
            step without noise.
        known: m; of a shape that broadcasts to the latents'.
        strength: Share of z_t where known, in [0, 1].
    """
    return torch.lerp(latents, noised, known.to(latents) * strength)
