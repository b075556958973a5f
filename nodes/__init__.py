"""The ComfyUI face of ReconX: every node, in the order in which a graph uses them."""

from .requirements import explain_missing
from .sockets import ComfyExtension, io

try:
    from . import (
        backbone,
        doctor,
        export,
        geometry,
        native,
        photos,
        pointcloud,
        render,
        splats,
        structure,
        trajectory,
        video,
    )
except ModuleNotFoundError as error:
    explain_missing(error)
    raise

NODES: list[type[io.ComfyNode]] = [
    photos.LoadPhotos,
    photos.PhotosFromImages,
    photos.PhotosFromVideo,
    geometry.LoadPointmapModel,
    pointcloud.BuildPointCloud,
    geometry.SceneFromGeometry,
    pointcloud.TransformScene,
    trajectory.CameraPath,
    render.RenderPointCloud,
    backbone.LoadBackbone,
    native.BackboneFromModel,
    video.GuidanceOptionsNode,
    structure.LoadStructureModel,
    structure.EncodeStructure,
    structure.ApplyStructure,
    video.SampleViews,
    video.ViewsFromFrames,
    native.SplitPath,
    native.JoinViews,
    video.JudgeFrames,
    splats.FitGaussians,
    splats.RenderGaussians,
    splats.CompareViews,
    trajectory.CamerasToLoad3D,
    trajectory.CamerasToWanCamera,
    export.SaveScene,
    export.LoadScene,
    doctor.Doctor,
]


class ReconXExtension(ComfyExtension):
    """What ComfyUI asks for the pack's nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Every node of the pack."""
        return NODES


async def comfy_entrypoint() -> ReconXExtension:
    """Called once by ComfyUI when it loads the pack."""
    return ReconXExtension()
