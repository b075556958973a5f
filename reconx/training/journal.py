"""What a run tells while it learns: lines of JSON always, TensorBoard where it is asked for."""

import importlib
import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import MissingDependency
from ..export.atomic import replacing
from ..parts import install_command

FRAME_MILLISECONDS = 125
"""Of a sample's animation."""


class Journal:
    """`log.jsonl`, `samples/`, and perhaps `tensorboard/` of a run."""

    def __init__(self, folder: Path, *, tensorboard: bool) -> None:
        """Go on with a run's log, or begin one.

        Raises:
            MissingDependency: If TensorBoard is asked for and absent.
        """
        self._folder, self._file = folder, folder / "log.jsonl"
        self._writer: Any = None
        if tensorboard:
            if importlib.util.find_spec("tensorboard") is None:
                raise MissingDependency(
                    "keep.tensorboard needs tensorboard. Run: "
                    f"{install_command('pip install tensorboard')}, or leave it out."
                )
            module = importlib.import_module("torch.utils.tensorboard")
            self._writer = module.SummaryWriter(str(folder / "tensorboard"))

    def rewind(self, step: int) -> None:
        """Drop lines beyond a step, from which the run goes on, and an unfinished one."""
        if not self._file.is_file():
            return
        text = self._file.read_text(encoding="utf-8")
        lines = text[: text.rfind("\n") + 1].splitlines()
        kept = [line for line in lines if json.loads(line)["step"] <= step]
        with replacing(self._file) as part:
            part.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def log(self, step: int, **values: float) -> None:
        """Keep a line, at once."""
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()

    def show(self, step: int, frames: Float[Tensor, "frame height width 3"]) -> Path:
        """Keep a sample as an animation, and show it in TensorBoard."""
        path = self._folder / "samples" / f"step-{step:08d}.gif"
        data = _as_gif(frames)
        with replacing(path) as part:
            part.write_bytes(data)
        if self._writer is not None:
            # As SummaryWriter.add_video, which would need moviepy.
            proto = importlib.import_module("tensorboard.compat.proto.summary_pb2")
            height, width = frames.shape[1:3]
            image = proto.Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=data
            )
            value = proto.Summary.Value(tag="truth and sample", image=image)
            self._writer.file_writer.add_summary(proto.Summary(value=[value]), step)
            self._writer.flush()
        return path

    def close(self) -> None:
        """Finish TensorBoard's file."""
        if self._writer is not None:
            self._writer.close()


def _as_gif(frames: Float[Tensor, "frame height width 3"]) -> bytes:
    pixels = (frames.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    first, *rest = (Image.fromarray(frame) for frame in pixels)
    file = io.BytesIO()
    timing = {"duration": FRAME_MILLISECONDS, "loop": 0}
    first.save(file, "GIF", save_all=True, append_images=rest, **timing)
    return file.getvalue()
