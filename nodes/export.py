"""Nodes that keep scenes on disk and bring them back."""

from typing import Any

from ..reconx.errors import InputError
from ..reconx.saving import FORMATS, load_scene, save_scene
from ..reconx.types import Gaussians, Sim3
from .convert import splat_from_host, splat_to_host
from .runtime import NodeProgress, input_path, library_call, new_output, nothing, saved_scenes
from .schema import node_schema
from .sockets import Parcel, PhotosSocket, SceneSocket, io, pack, ui


class SaveScene(io.ComfyNode):
    """Scene and splat -> files of the output directory."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_SaveScene",
            display_name="Save Scene",
            description=(
                "Save a scene, and its splat if there is one, for Load Scene or for programs that "
                "train splats and radiance fields from posed photos."
            ),
            search_aliases=["export", "colmap", "nerfstudio", "transforms.json", "safetensors"],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
            inputs=[
                SceneSocket.Input("scene", tooltip="Photos, cameras and points to save."),
                io.String.Input(
                    "filename_prefix",
                    default="reconx/scene",
                    tooltip=(
                        "Folder and name in the output directory; a number is appended, so that "
                        "nothing is overwritten."
                    ),
                ),
                io.Combo.Input(
                    "format",
                    options=list(FORMATS),
                    tooltip=(
                        "safetensors: one file that holds everything, exactly. nerfstudio, colmap: "
                        "a folder that these programs read, in your world; Load Scene reads it too."
                    ),
                ),
                io.Splat.Input("splat", optional=True, tooltip="The scene's splat, saved with it."),
            ],
            outputs=[io.String.Output("path", tooltip="The file or folder that was written.")],
        )

    @classmethod
    @library_call
    def execute(
        cls, scene: Parcel, filename_prefix: str, format: str, splat: io.Splat.Type | None = None
    ) -> io.NodeOutput:
        """Write the files."""
        gaussians = None if splat is None else _only_one(splat_from_host(splat))
        path = str(save_scene(new_output(filename_prefix), scene.value, format, gaussians))
        NodeProgress(cls.hidden.unique_id).say(f"Saved {path}")
        return io.NodeOutput(path, ui=ui.PreviewText(path))


class LoadScene(io.ComfyNode):
    """A saved file or folder -> scene, splat and photos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_LoadScene",
            display_name="Load Scene",
            description=(
                "Load what Save Scene wrote. A nerfstudio or COLMAP folder of another program "
                "gives its photos with their cameras, for Build Point Cloud."
            ),
            search_aliases=["import", "colmap", "nerfstudio", "transforms.json", "posed photos"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=saved_scenes(),
                    tooltip=(
                        "A file or folder of the output or input directory, up to three folders "
                        "deep. Refresh (R) to see new ones."
                    ),
                ),
            ],
            outputs=[
                SceneSocket.Output("scene", tooltip="The scene, exactly as it was saved."),
                io.Splat.Output("splat", tooltip="The splat that was saved with it, if any."),
                PhotosSocket.Output(
                    "photos",
                    tooltip=(
                        "The photos with their cameras: Build Point Cloud keeps these cameras and "
                        "your world, and finds the points."
                    ),
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str) -> list[tuple[str, int, int]]:
        """Have the node run again when a file on disk changes."""
        path = input_path(file)
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        stats = [(str(one), one.stat()) for one in files]
        return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]

    @classmethod
    @library_call
    def execute(cls, file: str) -> io.NodeOutput:
        """Read the files."""
        saved = load_scene(input_path(file))
        scene: Any = nothing(
            f"'{file}' holds photos and cameras, but no ReconX scene. Connect 'photos' of Load "
            "Scene to Build Point Cloud, which makes one."
        )
        splat: Any = nothing(f"'{file}' holds no splat: none was connected when it was saved.")
        if saved.scene is not None:
            scene = pack(saved.scene)
        if saved.gaussians is not None:
            splat = splat_to_host(saved.gaussians, Sim3.identity())
        return io.NodeOutput(scene, splat, pack(saved.photos))


def _only_one(splats: list[Gaussians]) -> Gaussians:
    if len(splats) != 1:
        raise InputError(
            f"'splat' is a batch of {len(splats)}; a scene is saved with one. Join them with Merge "
            "Splats first."
        )
    return splats[0]
