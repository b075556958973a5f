"""The pack in the host's own Python, without a server: imports, the cache, the host's geometry."""

import json
import subprocess
from pathlib import Path

import pytest

from reconx.export.scene_file import write_scene_file
from reconx.types import Scene

pytestmark = pytest.mark.comfyui

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("av", "diffusers", "kornia", "numba", "poselib", "pycolmap", "scipy", "transformers")

LOAD_PACK = """
import asyncio, importlib.util, json, sys, time
import comfy.options
comfy.options.enable_args_parsing()
import torch
import comfy_api.latest, comfy.cli_args, folder_paths

def load_pack():
    where = {"submodule_search_locations": [ROOT]}
    spec = importlib.util.spec_from_file_location("reconx_pack", ROOT + "/__init__.py", **where)
    pack = importlib.util.module_from_spec(spec)
    sys.modules["reconx_pack"] = pack
    spec.loader.exec_module(pack)
    return asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
"""


def run_in_host(comfyui: Path, python: Path, script: str) -> dict:
    """What a script prints as its last line, as JSON, when the host's Python runs it."""
    script = f"ROOT = {str(ROOT)!r}\n{LOAD_PACK}\n{script}"
    command = [python, "-c", script, "--cpu"]
    run = subprocess.run(command, cwd=comfyui, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_loading_the_pack_imports_nothing_heavy(comfyui: Path, host_python: Path) -> None:
    script = f"""
before, start = set(sys.modules), time.perf_counter()
nodes = load_pack()
seconds = time.perf_counter() - start
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
schemas = [node.GET_SCHEMA() for node in nodes]
heavy = sorted(new & set({HEAVY!r}))
print(json.dumps({{"heavy": heavy, "seconds": seconds, "nodes": len(nodes)}}))
"""
    loaded = run_in_host(comfyui, host_python, script)
    assert loaded["nodes"] > 0
    assert loaded["heavy"] == []
    # Under half a second on an idle machine; four times that is no noise.
    assert loaded["seconds"] < 2, f"loading the pack took {loaded['seconds']:.3f} s"


def test_the_ram_cache_counts_our_tensors(comfyui: Path, host_python: Path) -> None:
    script = """
load_pack()
from comfy_execution.caching import CacheKeySetInputSignature, RAMPressureCache
from execution import CacheEntry
from reconx_pack.nodes.sockets import pack
from reconx_pack.reconx.types import Photos

images = torch.rand(3, 64, 96, 3)
photos = Photos(
    images=images,
    valid=torch.ones(3, 64, 96, dtype=torch.bool),
    names=("a", "b", "c"),
    original_sizes=((96, 64),) * 3,
    to_original=torch.eye(3).repeat(3, 1, 1),
)
cache = RAMPressureCache(CacheKeySetInputSignature)
cache.cache["node"] = CacheEntry(ui={}, outputs=[[pack(photos)]])
cache.used_generation["node"], cache.timestamps["node"], cache.generation = 0, 0.0, 1
tensors = (images, photos.valid, photos.to_original)
print(json.dumps({
    "counted": cache.ram_release(float("inf")),
    "held": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
}))
"""
    sizes = run_in_host(comfyui, host_python, script)
    # The host adds a fraction of a byte, so that nothing counts as free.
    assert sizes["counted"] == pytest.approx(sizes["held"], abs=1)


FROM_HOST = """
load_pack()
from comfy.ldm.depth_anything_3.transform import affine_inverse, pose_encoding_to_extri_intri
from comfy.ldm.moge.geometry import depth_map_to_point_map, intrinsics_from_focal_center
from reconx_pack.nodes.convert import depth_from_host
from reconx_pack.reconx.errors import InputError
from reconx_pack.reconx.ops.projection import unproject_depth
from reconx_pack.reconx.types import Cameras

torch.manual_seed(0)
views, height, width = 3, 60, 84
depth = 1 + torch.rand(views, height, width)

def points_of(given):
    cameras = Cameras(
        camera_to_world=given.camera_to_world, K=given.K, width=width, height=height
    )
    return unproject_depth(given.depth, cameras)

def far(ours, theirs):
    return float((ours - theirs).abs().max())
"""


def test_depth_anything_geometry_is_taken_as_it_is_meant(comfyui: Path, host_python: Path) -> None:
    """The network's own field of view and pose, at the size it ran at and not at the depth's."""
    script = f"""{FROM_HOST}
pose = torch.cat([torch.randn(1, views, 7), 0.5 + torch.rand(1, views, 2)], dim=-1)
tangent_y, tangent_x = torch.tan(pose[0, :, 7] / 2), torch.tan(pose[0, :, 8] / 2)
x = (2 * (torch.arange(width) + 0.5) / width - 1) * tangent_x[:, None]
y = (2 * (torch.arange(height) + 0.5) / height - 1) * tangent_y[:, None]
shape = (views, height, width)
rays = torch.stack([x[:, None].expand(shape), y[:, :, None].expand(shape), torch.ones(shape)], -1)

def geometry(rows, columns):
    to_world, K = pose_encoding_to_extri_intri(pose, (rows, columns))
    bottom = torch.tensor([0.0, 0, 0, 1]).expand(1, views, 1, 4)
    to_camera = affine_inverse(torch.cat([to_world, bottom], dim=-2))[:, :, :3]
    pictures = torch.zeros(*shape, 3)
    maps = {{"depth": depth, "image": pictures, "confidence": depth + 1}}
    return maps | {{"mode": "multiview", "extrinsics": to_camera, "intrinsics": K}}, to_world[0]

told, to_world = geometry(42, 56)
rotation, centre = to_world[:, :3, :3], to_world[:, :3, 3]
world = torch.einsum("vij,vhwj->vhwi", rotation, rays * depth[..., None]) + centre[:, None, None]
given = depth_from_host(told)
scattered, _ = geometry(42, 56)
scattered["intrinsics"][0, :, 0, 2] += torch.tensor([-2.0, 0.0, 3.0])  # pose_method ray_pose
told_sky = told | {{"sky": (depth > 1.5).float()}}
blind = told | {{
    "extrinsics": torch.eye(4).expand(1, views, 4, 4),
    "intrinsics": torch.eye(3).expand(1, views, 3, 3),
}}
print(json.dumps({{
    "small": far(points_of(given), world),
    "large": far(points_of(depth_from_host(geometry(504, 672)[0])), world),
    "focal": far(depth_from_host(scattered).K[:, 0, 0], given.K[:, 0, 0]),
    "confidence": far(given.confidence, depth + 1),
    "sky": torch.equal(depth_from_host(told_sky).depth.isnan(), depth > 1.5),
    "blind": [depth_from_host(blind).K is None, depth_from_host(blind).camera_to_world is None],
}}))
"""
    found = run_in_host(comfyui, host_python, script)
    assert found["small"] < 1e-4
    assert found["large"] < 1e-4
    assert found["focal"] < 1e-4
    assert found["confidence"] == 0
    assert found["sky"]
    assert found["blind"] == [True, True]


def test_moge_geometry_is_taken_as_it_is_meant(comfyui: Path, host_python: Path) -> None:
    script = f"""{FROM_HOST}
K = intrinsics_from_focal_center(*(torch.tensor([f] * views) for f in (0.9, 1.3, 0.5, 0.5)))
points = depth_map_to_point_map(depth, K)
depth[:, :10] = torch.inf  # masked out
told = {{"image": torch.zeros(1), "depth": depth, "points": points, "intrinsics": K}}
given = depth_from_host(told)
cameras = Cameras(
    camera_to_world=torch.eye(4).repeat(views, 1, 1), K=given.K, width=width, height=height
)
ours = unproject_depth(given.depth, cameras)
try:
    depth_from_host({{"depth": depth}})
    refused = ""
except InputError as error:
    refused = str(error)
print(json.dumps({{
    "error": far(ours[:, 10:], points[:, 10:]),
    "masked": bool(ours[:, :10].isnan().all()) and not bool(ours[:, 10:].isnan().any()),
    "untouched": bool(depth[:, :10].isinf().all()),
    "refused": refused,
}}))
"""
    found = run_in_host(comfyui, host_python, script)
    assert found["error"] < 1e-5
    assert found["masked"]
    assert found["untouched"]
    assert "it is a panorama's" in found["refused"]


def test_splat_files_mean_the_same_to_the_host(
    comfyui: Path, host_python: Path, tmp_path: Path
) -> None:
    """Ours as the host reads them, and the host's (SPZ version 2) as we do."""
    script = f"""
load_pack()
from pathlib import Path
from comfy_api.latest import Types
from comfy_extras.nodes_gaussian_splat import File3DToSplat, SplatToFile3D
from reconx_pack.reconx.export.splat_files import read_splats, write_splats
from reconx_pack.reconx.ops.quaternion import quaternion_to_matrix
from reconx_pack.reconx.types import Gaussians

torch.manual_seed(0)
count, stem = 300, Path({str(tmp_path)!r}) / "ours"
original = Gaussians(
    means=torch.randn(count, 3),
    quats=torch.nn.functional.normalize(torch.randn(count, 4), dim=-1),
    scales=0.01 + torch.rand(count, 3),
    opacities=torch.rand(count),
    sh=torch.rand(count, 4, 3) - 0.5,
)
write_splats(stem, original, ("ply", "spz", "splat"))

def of_host(splat):
    return Gaussians(
        means=splat.positions[0],
        quats=splat.rotations[0],
        scales=splat.scales[0],
        opacities=splat.opacities[0, :, 0],
        sh=splat.sh[0],
    )

def far(a, b):
    def values(of):
        turns = quaternion_to_matrix(of.quats)
        return of.means, of.scales.log(), of.opacities, turns, of.sh[:, 0]

    return [float((one - other).abs().max()) for one, other in zip(values(a), values(b))]

found = {{"read": {{}}, "written": {{}}}}
for name in ("ply", "spz", "splat"):
    path = stem.with_suffix("." + name)
    told = File3DToSplat.execute(Types.File3D(str(path))).args[0]
    found["read"][name] = far(read_splats(path), of_host(told))
exact = File3DToSplat.execute(Types.File3D(str(stem.with_suffix(".ply")))).args[0]
for name in ("ply", "spz"):
    path = stem.with_name("theirs." + name)
    SplatToFile3D.execute(exact, name).args[0].save_to(str(path))
    found["written"][name] = far(read_splats(path), original)
print(json.dumps(found))
"""
    found = run_in_host(comfyui, host_python, script)
    for name, errors in found["read"].items():
        assert max(errors) < 1e-5, name
    assert max(found["written"]["ply"]) < 1e-5
    # Half a step of each; of rotations near half a turn, version 2 keeps little.
    most = (2**-13, 1 / 32, 0.5 / 255, 0.25, 0.5 / 255 / 0.15)
    for error, limit in zip(found["written"]["spz"], most, strict=True):
        assert error <= 1.01 * limit


def test_frames_are_judged_and_it_is_shown(
    comfyui: Path, host_python: Path, plane_scene: Scene, tmp_path: Path
) -> None:
    """By each source, the network a tiny one with random weights that the host has to load."""
    write_scene_file(tmp_path / "scene.safetensors", plane_scene)
    script = f"""
nodes = {{node.GET_SCHEMA().node_id: node for node in load_pack()}}
from pathlib import Path
from reconx_pack.nodes.runtime import ManagedModel
from reconx_pack.nodes.sockets import pack
from reconx_pack.reconx.errors import InputError
from reconx_pack.reconx.export.scene_file import read_scene_file
from reconx_pack.reconx.geometry.dust3r.checkpoint import CheckpointFacts
from reconx_pack.reconx.geometry.dust3r.config import NetworkConfig
from reconx_pack.reconx.geometry.dust3r.model import Dust3rModel
from reconx_pack.reconx.geometry.dust3r.network import Dust3rNetwork
from reconx_pack.reconx.types import Views

scene, _ = read_scene_file(Path({str(tmp_path)!r}) / "scene.safetensors")
frames = scene.photos.images.clone()
frames[0, 20:50, 60:90] = 1 - frames[0, 20:50, 60:90]
views = Views(
    frames=frames,
    cameras=scene.photo_cameras,
    known=torch.zeros(frames.shape[:3], dtype=torch.bool),
    photo_index=torch.tensor([-1, 1, 2]),
)
config = NetworkConfig(
    patch=16, encoder_width=128, encoder_depth=1, decoder_width=64, decoder_depth=2, mlp_ratio=2,
    dpt=None,
)
facts = CheckpointFacts(name="tiny", config=config, long_side=64, licence="none")
model = Dust3rModel(Dust3rNetwork(config).eval(), facts)
node = nodes["ReconX_JudgeFrames"].PREPARE_CLASS_CLONE(None)

def judged(source, model=None):
    views_out, pictures = node.execute(pack(scene), pack(views), source, model).result
    return views_out.value.confidence, pictures

confidence, pictures = judged("agreement")
pairwise, _ = judged("pairwise", pack(ManagedModel(model, model.network)))
try:
    judged("pairwise")
    refused = ""
except InputError as error:
    refused = str(error)
glow = pictures.mean(-1)
print(json.dumps({{
    "size": list(pictures.shape),
    "pasted": float(confidence[0, 26:44, 66:84].max()),
    "dark": float(glow[0, 26:44, 66:84].max()),
    "elsewhere": float(confidence[0, :, :50].median()),
    "photos": float(glow[1:].min()),
    "pairwise": [float(pairwise[0].min()), float(pairwise[1:].min())],
    "refused": refused,
}}))
"""
    found = run_in_host(comfyui, host_python, script)
    assert found["size"] == [*plane_scene.photos.images.shape]
    assert found["pasted"] < 2 < 9 < found["elsewhere"]
    assert found["dark"] < 0.5 < found["photos"]
    assert found["pairwise"][0] >= 1
    assert found["pairwise"][1] == 10
    assert "none was given. Connect Load Pointmap Model" in found["refused"]
