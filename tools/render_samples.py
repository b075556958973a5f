"""Render the sample photos in assets/sample-room, with their true cameras and depth.

The room is built by `sample_room_scene`; this file owns the cameras, the render settings and what
is written. Blender is used as a library and is no dependency of ReconX:

    python3.11 -m venv blender-env
    blender-env/bin/pip install bpy==5.0.1 pillow
    blender-env/bin/python tools/render_samples.py

The pictures take about ten minutes on two cores. All random numbers have fixed seeds. For a quick
look: `--only middle --percent 50 --samples 16 --output preview`.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector
from mathutils.bvhtree import BVHTree
from PIL import Image
from sample_room_scene import build_room

WIDTH, HEIGHT = 1024, 768
FOCAL_35MM = 28
"""As a phone writes it into EXIF: relative to a 36 mm wide film frame."""
FOCAL_PX = FOCAL_35MM / 36 * WIDTH
DEPTH_STEP = 2
"""The depth maps have every second pixel per side."""
DEPTH_UNIT = 0.001
"""Metres per grey value of a depth map."""

LOG = logging.getLogger("render_samples")

# Where each camera stands and what it looks at, in metres. Two neighbouring inputs see what they
# share under some 19 degrees; nobody holds a phone at exactly the same height three times.
CAMERAS = {
    "left": ((-1.62, -2.80, 1.52), (0.10, 0.55, 1.02)),
    "middle": ((0.04, -3.25, 1.47), (0.02, 0.55, 1.04)),
    "right": ((1.64, -2.76, 1.55), (-0.08, 0.55, 1.00)),
    "holdout-1": ((-0.82, -3.10, 1.50), (0.06, 0.55, 1.03)),
    "holdout-2": ((0.86, -3.08, 1.51), (-0.03, 0.55, 1.02)),
    "holdout-3": ((-0.50, -2.80, 1.72), (0.08, 0.55, 0.96)),
}
INPUTS = ("left", "middle", "right")
SPLITS = {
    "two": (("left", "middle"), ("holdout-1", "holdout-3")),
    "three": (INPUTS, ("holdout-1", "holdout-2", "holdout-3")),
}


def look_at(position: tuple, target: tuple) -> Matrix:
    """Camera-to-world with OpenGL axes (+X right, +Y up, +Z backward), horizon level."""
    forward = Vector(target) - Vector(position)
    return Matrix.Translation(position) @ forward.to_track_quat("-Z", "Y").to_matrix().to_4x4()


def set_up_rendering(samples: int, percent: int) -> None:
    """Choose Cycles on the CPU with fixed exposure, seed and camera."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.resolution_percentage = percent
    scene.render.use_persistent_data = True
    scene.render.image_settings.file_format = "PNG"
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.look = "AgX - Medium High Contrast"
    cycles = scene.cycles
    cycles.device, cycles.seed = "CPU", 0
    cycles.samples, cycles.use_adaptive_sampling = samples, False
    cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
    cycles.max_bounces, cycles.diffuse_bounces = 2, 2
    cycles.caustics_reflective = cycles.caustics_refractive = False
    lens = bpy.data.cameras.new("camera")
    lens.sensor_fit, lens.sensor_width, lens.lens = "HORIZONTAL", 36.0, FOCAL_35MM
    lens.clip_start = 0.05
    scene.camera = bpy.data.objects.new("camera", lens)
    scene.collection.objects.link(scene.camera)


def scene_tree() -> BVHTree:
    """Gather all surfaces, as they are rendered, for ray casts."""
    graph = bpy.context.evaluated_depsgraph_get()
    vertices, faces = [], []
    for item in bpy.context.scene.objects:
        if item.type != "MESH":
            continue
        mesh = item.evaluated_get(graph).to_mesh()
        start = len(vertices)
        vertices += [item.matrix_world @ v.co for v in mesh.vertices]
        faces += [tuple(start + i for i in face.vertices) for face in mesh.polygons]
    return BVHTree.FromPolygons(vertices, faces)


def cast_depth(tree: BVHTree, pose: Matrix) -> np.ndarray:
    """Z-depth in metres along the rays through the centres of the half-size picture's pixels.

    Rays rather than the renderer's depth pass: that one is jittered within the pixel. A ray that
    hits nothing gives 0.
    """
    origin, turn = pose.translation, pose.to_3x3()
    depth = np.zeros((HEIGHT // DEPTH_STEP, WIDTH // DEPTH_STEP))
    for row in range(depth.shape[0]):
        y = (HEIGHT / 2 - (row + 0.5) * DEPTH_STEP) / FOCAL_PX
        for column in range(depth.shape[1]):
            x = ((column + 0.5) * DEPTH_STEP - WIDTH / 2) / FOCAL_PX
            ray = Vector((x, y, -1.0))
            distance = tree.ray_cast(origin, turn @ ray.normalized())[3]
            depth[row, column] = 0.0 if distance is None else distance / ray.length
    return depth


def crossing_angle(depth: np.ndarray, first: Matrix, second: Matrix) -> float:
    """Median angle in degrees under which two cameras see the first one's surface points.

    Only points that fall into the second picture count; occlusion is not looked at.
    """
    rows, columns = np.nonzero(depth)
    z = depth[rows, columns]
    x = ((columns + 0.5) * DEPTH_STEP - WIDTH / 2) / FOCAL_PX * z
    y = (HEIGHT / 2 - (rows + 0.5) * DEPTH_STEP) / FOCAL_PX * z
    pose, other = np.array(first), np.array(second)
    points = np.stack([x, y, -z], axis=1) @ pose[:3, :3].T + pose[:3, 3]
    seen = (points - other[:3, 3]) @ other[:3, :3]
    inside = (np.abs(seen[:, 0] / seen[:, 2]) < WIDTH / 2 / FOCAL_PX) & (seen[:, 2] < 0)
    inside &= np.abs(seen[:, 1] / seen[:, 2]) < HEIGHT / 2 / FOCAL_PX
    a, b = points[inside] - pose[:3, 3], points[inside] - other[:3, 3]
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return float(np.degrees(np.median(np.arccos(cosine))))


def render_photo(name: str, pose: Matrix, folder: Path, quality: int) -> None:
    """Render one picture and write it as a phone would: JPEG, with the focal length in EXIF."""
    scene = bpy.context.scene
    scene.camera.matrix_world = pose
    with tempfile.TemporaryDirectory() as scratch:
        scene.render.filepath = str(Path(scratch) / "render.png")
        bpy.ops.render.render(write_still=True)
        image = Image.open(scene.render.filepath).convert("RGB")
    exif = Image.Exif()
    exif.get_ifd(0x8769)[41989] = FOCAL_35MM  # FocalLengthIn35mmFilm
    image.save(folder / "images" / f"{name}.jpg", quality=quality, exif=exif)


def write_json(path: Path, content: dict) -> None:
    """Write JSON as the other scene folders have it."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Build the room and write photos, cameras, depth and splits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parent.parent / "assets" / "sample-room"
    parser.add_argument("--output", type=Path, default=default)
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--percent", type=int, default=100, help="size of the pictures")
    parser.add_argument("--quality", type=int, default=90, help="of the JPEGs")
    parser.add_argument("--only", nargs="*", choices=sorted(CAMERAS), help="render only these")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for name in ("images", "depth"):
        (args.output / name).mkdir(parents=True, exist_ok=True)

    bpy.ops.wm.read_factory_settings(use_empty=True)
    set_up_rendering(args.samples, args.percent)
    build_room()
    poses = {name: look_at(*where) for name, where in CAMERAS.items()}
    tree = scene_tree()
    LOG.info("room built")
    depths = {name: cast_depth(tree, pose) for name, pose in poses.items()}
    for name, depth in depths.items():
        LOG.info("%s: depth %.2f to %.2f m", name, depth.min(), depth.max())
        grey = np.round(depth / DEPTH_UNIT).astype(np.uint16)
        Image.fromarray(grey).save(args.output / "depth" / f"{name}.png", optimize=True)

    frame = {
        "fl_x": FOCAL_PX,
        "fl_y": FOCAL_PX,
        "cx": WIDTH / 2,
        "cy": HEIGHT / 2,
        "w": WIDTH,
        "h": HEIGHT,
    }
    frames = [
        {
            "file_path": f"images/{name}.jpg",
            "depth_file_path": f"depth/{name}.png",
            **frame,
            "transform_matrix": [[round(value, 9) for value in row] for row in poses[name]],
        }
        for name in CAMERAS
    ]
    head = {"camera_model": "PINHOLE", "depth_unit_scale_factor": DEPTH_UNIT}
    write_json(args.output / "transforms.json", {**head, "frames": frames})
    splits = {}
    for split, (context, targets) in SPLITS.items():
        pairs = zip(context, context[1:], strict=False)
        angles = [round(crossing_angle(depths[a], poses[a], poses[b]), 1) for a, b in pairs]
        LOG.info("split %s: angles %s", split, angles)
        splits[split] = {
            "context": [f"{name}.jpg" for name in context],
            "targets": [f"{name}.jpg" for name in targets],
            "angle_degrees": angles,
        }
    write_json(args.output / "splits.json", splits)

    for name in CAMERAS:
        if args.only is None or name in args.only:
            render_photo(name, poses[name], args.output, args.quality)
            LOG.info("%s: rendered", name)


if __name__ == "__main__":
    main()
