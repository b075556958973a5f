"""Nodes that bring photos into a graph."""

from pathlib import Path

from ..reconx.photos.loading import PhotoOptions, load_photos
from .runtime import library_call
from .sockets import PhotosSocket, io, pack

_IMAGES = Path(__file__).resolve().parents[1] / "assets" / "sample-room" / "images"
SAMPLE_ROOM = [_IMAGES / name for name in ("left.jpg", "middle.jpg", "right.jpg")]


class LoadPhotos(io.ComfyNode):
    """Photo files -> photos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return io.Schema(
            node_id="ReconX_LoadPhotos",
            display_name="Load Photos",
            category="ReconX",
            description="Load two or more photos of one place, taken from different spots.",
            search_aliases=["load image batch", "photo folder", "reconstruct"],
            is_experimental=True,
            inputs=[
                io.Int.Input(
                    "max_size",
                    default=1600,
                    min=64,
                    max=8192,
                    step=16,
                    tooltip="Long side in pixels to which larger photos are shrunk.",
                ),
                io.DynamicCombo.Input(
                    "source", options=[io.DynamicCombo.Option("sample-room", [])]
                ),
            ],
            outputs=[PhotosSocket.Output("photos"), io.Image.Output("images")],
        )

    @classmethod
    @library_call
    def execute(cls, max_size: int, source: dict[str, str]) -> io.NodeOutput:
        """Load the photos."""
        options = PhotoOptions(max_size=max_size)
        photos = load_photos(SAMPLE_ROOM, options=options)
        return io.NodeOutput(pack(photos), photos.images)
