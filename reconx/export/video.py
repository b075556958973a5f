"""Frames as a video file that plays everywhere: H.264, 4:2:0."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ..checks import check_range, check_shape
from ..errors import InputError, MissingDependency
from ..parts import install_command
from .atomic import replacing

QUALITY = 18
"""Constant rate factor: 0 is lossless, 18 looks the same, 51 is worst."""


def write_video(
    path: str | Path, frames: Tensor | Iterable[Float[Tensor, "_ _ 3"]], *, fps: float = 24.0
) -> None:
    """Write frames as they come, one in memory at a time.

    Args:
        path: The file; its suffix gives the container (.mp4, .mkv, .mov).
        frames: A batch (frame H W 3) or an iterator, sRGB in [0, 1], all of one size. An odd side
            is lengthened by one pixel that repeats the border, as 4:2:0 needs even ones.
        fps: Frames per second.

    Raises:
        InputError: If there is no frame, or one has another size than the first.
        MissingDependency: If PyAV is not installed.
    """
    check_range("Video fps", fps, 0.01, 1000)
    try:
        import av
        from av.video.reformatter import ColorRange, Colorspace
    except ImportError as error:
        command = install_command("pip install av")
        raise MissingDependency(f"Writing a video needs av. Run: {command}") from error
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise InputError(f"Video '{path}' got no frames; expected at least one.")
    height, width = first.shape[:2]
    with replacing(path) as temporary, av.open(str(temporary), "w") as container:
        rate = Fraction(fps).limit_denominator(1001)
        stream = container.add_stream("h264", rate=rate, options={"crf": str(QUALITY)})
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        # Named, because players guess the colour matrix from the size where a file does not tell.
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_range = ColorRange.MPEG
        for frame in chain([first], remaining):
            check_shape("Video frame", frame, height, width, 3)
            picture = av.VideoFrame.from_ndarray(_even_bytes(frame).numpy(), format="rgb24")
            picture = picture.reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _even_bytes(frame: Float[Tensor, "height width 3"]) -> Tensor:
    """8 bit, odd sides lengthened by repeating their last pixel."""
    height, width = frame.shape[:2]
    planes = (frame.clamp(0, 1) * 255).round().permute(2, 0, 1)
    planes = functional.pad(planes, (0, width % 2, 0, height % 2), mode="replicate")
    return planes.permute(1, 2, 0).to(torch.uint8).contiguous()
