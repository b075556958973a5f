"""Several photos together: names, order, sizes, masks, and what cannot be used."""

import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reconx.errors import InputError
from reconx.photos.loading import PhotoOptions, load_photos, photos_from_images

PHOTOS = Path(__file__).resolve().parents[3] / "shared/data/photos"


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, width: int = 32, height: int = 24, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(width, height, seed)).save(path)
    return path


def test_values_names_and_order(tmp_path):
    first, second = save(tmp_path / "b.png", seed=1), save(tmp_path / "a.png", seed=2)
    photos = load_photos([first, str(second)])
    assert photos.names == ("b.png", "a.png")
    assert photos.images.shape == (2, 24, 32, 3)
    expected = torch.from_numpy(noise(32, 24, seed=1)).float() / 255
    torch.testing.assert_close(photos.images[0], expected)
    assert photos.valid.all()
    torch.testing.assert_close(photos.to_original, torch.eye(3).expand(2, 3, 3))


def test_folder_in_natural_order_without_other_files(tmp_path):
    for index in (10, 2, 1):
        save(tmp_path / f"IMG_{index}.PNG", seed=index)
    (tmp_path / "notes.txt").write_text("no photo", encoding="utf-8")
    (tmp_path / "._IMG_1.PNG").write_bytes(b"left by another system")
    save(tmp_path / "deeper/IMG_3.png")
    assert load_photos([tmp_path]).names == ("IMG_1.PNG", "IMG_2.PNG", "IMG_10.PNG")


def test_same_names_get_their_folders(tmp_path):
    places = ("left/1.png", "right/1.png", "right/2.png")
    paths = [save(tmp_path / place, seed=seed) for seed, place in enumerate(places)]
    assert load_photos(paths).names == ("left_1.png", "right_1.png", "2.png")


def test_same_names_in_same_named_folders(tmp_path):
    places = ("a/x/1.png", "b/x/1.png")
    paths = [save(tmp_path / place, seed=seed) for seed, place in enumerate(places)]
    assert load_photos(paths).names == ("a_x_1.png", "b_x_1.png")


def test_mixed_sizes_are_padded_and_map_back(tmp_path):
    wide = save(tmp_path / "wide.png", 101, 40, seed=1)
    tall = save(tmp_path / "tall.png", 30, 60, seed=2)
    photos = load_photos([wide, tall], options=PhotoOptions(max_size=50, focal_px=80.0))
    assert (photos.width, photos.height) == (50, 50)
    assert photos.original_sizes == ((101, 40), (30, 60))
    assert photos.valid[0, :20, :50].all()
    assert photos.valid[0].sum() == 20 * 50
    assert photos.valid[1].sum() == 25 * 50
    assert (photos.images[~photos.valid] == 0).all()
    # The corner of the loaded picture is the corner of the original.
    corners = photos.to_original @ torch.tensor([[50.0, 20, 1], [25, 50, 1]])[..., None]
    torch.testing.assert_close(corners[..., 0], torch.tensor([[101.0, 40, 1], [30, 60, 1]]))
    # K at the original's resolution is the user's focal length and the original's centre.
    K = photos.to_original @ photos.prior.K
    expected = [[[80.0, 0, w / 2], [0, 80, h / 2], [0, 0, 1]] for w, h in photos.original_sizes]
    torch.testing.assert_close(K, torch.tensor(expected))


def test_small_photos_are_not_enlarged_but_named(tmp_path, caplog):
    paths = [save(tmp_path / "big.png", 64, 48), save(tmp_path / "small.png", 16, 12)]
    with caplog.at_level(logging.WARNING, "reconx"):
        photos = load_photos(paths)
    assert photos.valid[1].sum() == 16 * 12
    assert "small.png is only 16 pixels long" in caplog.text


def test_masks_of_another_size(tmp_path):
    paths = [save(tmp_path / f"{name}.jpg", 40, 30, seed=ord(name)) for name in "ab"]
    mask = np.zeros((15, 20), np.uint8)
    mask[:, 10:] = 255
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks/b.png")
    photos = load_photos(paths, options=PhotoOptions(masks=tmp_path / "masks"))
    assert photos.valid[0].all()
    assert photos.valid[1, :, 20:].all()
    assert not photos.valid[1, :, :20].any()


def test_masks_as_files_with_full_names(tmp_path):
    paths = [save(tmp_path / f"{name}.jpg", seed=ord(name)) for name in "ab"]
    mask = tmp_path / "a.jpg.png"
    Image.fromarray(np.eye(24, 32, dtype=np.uint8) * 255).save(mask)
    photos = load_photos(paths, options=PhotoOptions(masks=[mask]))
    assert photos.valid.sum(dim=(1, 2)).tolist() == [24, 24 * 32]


def test_images_in_memory():
    generator = torch.Generator().manual_seed(0)
    batch = torch.rand(2, 20, 40, 3, generator=generator)
    masks = torch.ones(2, 20, 40, dtype=torch.bool)
    masks[1, :, :20] = False
    options = PhotoOptions(max_size=20, focal_px=50.0)
    photos = photos_from_images(batch, masks=masks, options=options)
    assert photos.names == ("photo-1", "photo-2")
    assert photos.images.shape == (2, 10, 20, 3)
    # A pixel stays valid only where all that it was resampled from is.
    assert photos.valid[1, :, 11:].all()
    assert not photos.valid[1, :, :10].any()
    torch.testing.assert_close(photos.prior.K[0, 0], torch.tensor([25.0, 0, 10]))
    mixed = photos_from_images([batch[0], batch[1, :, :30]])
    assert mixed.original_sizes == ((40, 20), (30, 20))


def check_error(text: str, sources, **options) -> None:
    with pytest.raises(InputError, match=text):
        load_photos(sources, options=PhotoOptions(**options))


def test_bad_files_are_named(tmp_path):
    good = save(tmp_path / "good.png")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello", encoding="utf-8")
    data = save(tmp_path / "whole.jpg", 64, 64, seed=3).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "bare").mkdir()
    check_error(r"nowhere.jpg' does not exist", [good, tmp_path / "nowhere.jpg"])
    check_error(r"empty.jpg' is empty \(0 bytes\)", [good, tmp_path / "empty.jpg"])
    check_error(r"text.jpg' is not a picture", [good, tmp_path / "text.jpg"])
    check_error(r"cut.jpg' is damaged or cut off", [good, tmp_path / "cut.jpg"])
    check_error(r"bare' holds no photos", [good, tmp_path / "bare"])


def test_too_few_photos(tmp_path):
    check_error("No photo was given", [])
    check_error("Only one photo was given; expected at least two", [save(tmp_path / "a.png")])


def test_repeated_photos(tmp_path):
    first, copy = save(tmp_path / "a.png", seed=1), save(tmp_path / "b.png", seed=1)
    check_error("a.png' is given twice", [first, tmp_path / "." / "a.png"])
    check_error("a.png' is given twice", [first, tmp_path])
    check_error("Photos a.png and b.png are the same picture", [first, copy])


def test_bad_options(tmp_path):
    paths = [save(tmp_path / f"{name}.png", seed=ord(name)) for name in "ab"]
    check_error("fov_degrees is 400; expected between 1 and 179", paths, fov_degrees=400.0)
    check_error("fov_degrees is 0", paths, fov_degrees=0.0)
    check_error("expected one of them", paths, fov_degrees=60.0, focal_px=500.0)
    check_error(
        r"focal_px \(photo a.png is 32 x 24\) is -3; expected between", paths, focal_px=-3.0
    )
    check_error("max_size is 0", paths, max_size=0)


def test_bad_masks(tmp_path):
    paths = [save(tmp_path / f"{name}.png", 32, 24, seed=ord(name)) for name in "ab"]
    check_error("nowhere' does not exist", paths, masks=tmp_path / "nowhere")
    check_error(
        "None of 1 masks belongs to a photo. .* like a.png",
        paths,
        masks=save(tmp_path / "masks/c.png"),
    )
    wrong = save(tmp_path / "turned/a.png", 24, 32)
    check_error("is 24 x 32 pixels and its photo a.png 32 x 24", paths, masks=[wrong])
    black = tmp_path / "black/b.png"
    black.parent.mkdir()
    Image.new("L", (32, 24)).save(black)
    check_error("Photo b.png has no usable pixel", paths, masks=black)


def test_bad_images_in_memory():
    image = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match="same picture"):
        photos_from_images([image, image.clone()])
    with pytest.raises(InputError, match="holds values from .* expected all within 0 to 1"):
        photos_from_images([image, image * 255])
    with pytest.raises(InputError, match="expected all within 0 to 1"):
        photos_from_images([image, image * math.nan])
    with pytest.raises(InputError, match="2 pictures came with 1 names"):
        photos_from_images([image, image * 0.5], names=["a"])


def test_real_photos():
    if not PHOTOS.is_dir():
        pytest.skip(f"no development photos in {PHOTOS}")
    photos = load_photos([PHOTOS / "herz-jesus-p8/images"], options=PhotoOptions(max_size=512))
    assert len(photos) == 8
    assert (photos.width, photos.height) == (512, 342)
    assert photos.prior.K[:, 0, 0].isnan().all()
