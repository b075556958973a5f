"""Draw the pictures of the nodes' help pages: what each node does to the sample room.

    python tools/draw_help.py                     all of them, in some five minutes
    python tools/draw_help.py ReconX_Doctor ...   these alone

Every picture is made by the library's own calls, as the node makes them; the same machine gives the
same bytes. They lie beside the pages in nodes/web/docs, where the host looks for them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from help_pictures import frames, places, structure
from help_pictures.room import SampleRoom
from PIL import Image

PAGES = Path(__file__).resolve().parents[1] / "nodes" / "web" / "docs"
QUALITY = 60
"""Of JPEG: all pictures together stay below 1 MB in every clone of the pack."""
PICTURES: Mapping[str, Callable[[SampleRoom], Image.Image]] = {
    "ReconX_LoadPhotos": places.draw_load_photos,
    "ReconX_PhotosFromImages": places.draw_photos_from_images,
    "ReconX_PhotosFromVideo": places.draw_photos_from_video,
    "ReconX_LoadPointmapModel": places.draw_load_pointmap_model,
    "ReconX_BuildPointCloud": places.draw_build_point_cloud,
    "ReconX_SceneFromGeometry": places.draw_scene_from_geometry,
    "ReconX_TransformScene": places.draw_transform_scene,
    "ReconX_CameraPath": places.draw_camera_path,
    "ReconX_RenderPointCloud": frames.draw_render_point_cloud,
    "ReconX_LoadBackbone": frames.draw_load_backbone,
    "ReconX_BackboneFromModel": frames.draw_backbone_from_model,
    "ReconX_GuidanceOptions": frames.draw_guidance_options,
    "ReconX_LoadStructureModel": structure.draw_load_structure_model,
    "ReconX_EncodeStructure": structure.draw_encode_structure,
    "ReconX_ApplyStructure": structure.draw_apply_structure,
    "ReconX_SampleViews": frames.draw_sample_views,
    "ReconX_ViewsFromFrames": frames.draw_views_from_frames,
    "ReconX_SplitPath": frames.draw_split_path,
    "ReconX_JoinViews": frames.draw_join_views,
    "ReconX_JudgeFrames": frames.draw_judge_frames,
    "ReconX_FitGaussians": frames.draw_fit_gaussians,
    "ReconX_RenderGaussians": frames.draw_render_gaussians,
    "ReconX_CompareViews": frames.draw_compare_views,
    "ReconX_SaveScene": places.draw_save_scene,
    "ReconX_LoadScene": places.draw_load_scene,
    "ReconX_CamerasToLoad3D": places.draw_cameras_to_load3d,
    "ReconX_CamerasToWanCamera": places.draw_cameras_to_wan,
    "ReconX_Doctor": places.draw_doctor,
}
"""Who draws each node's picture."""


def main(arguments: list[str] | None = None) -> int:
    """Draw the pictures that are asked for."""
    parser = argparse.ArgumentParser(description="Draw the pictures of the help pages.")
    parser.add_argument("nodes", nargs="*", metavar="NODE_ID", help="without: all of them")
    chosen = parser.parse_args(arguments).nodes or list(PICTURES)
    unknown = sorted(set(chosen) - set(PICTURES))
    if unknown:
        print(f"No picture is known for {', '.join(unknown)}.", file=sys.stderr)
        return 1
    room = SampleRoom()
    for name in chosen:
        path = PAGES / f"{name}.jpg"
        PICTURES[name](room).save(path, quality=QUALITY, optimize=True)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
