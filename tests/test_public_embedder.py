"""What the embedder of the public interface takes, and that arrays must say their colour order."""

from __future__ import annotations

import cv2
import numpy as np
import PIL.Image
import pytest

from reid_dhm import Embedder
from reid_dhm.errors import InputError


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(engine="torch", device="cpu", precision="float32")


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """(128, 64, 3) uint8 RGB whose colours differ between the channels."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 4, 3), np.uint8)
    noise[..., 2] //= 4
    return cv2.resize(noise, (64, 128), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def file(pixels, tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), pixels[..., ::-1])
    return path


def test_the_packaged_model_embeds_one_image_or_a_mixed_list(embedder, pixels, file):
    one = embedder(file)
    assert one.shape == (1, embedder.dim) == (1, 1280)
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, rtol=1e-5)
    mixed = embedder([file, str(file), PIL.Image.fromarray(pixels), pixels], channels="rgb")
    np.testing.assert_allclose(mixed, np.repeat(one, 4, axis=0), atol=1e-5)
    np.testing.assert_allclose(embedder(PIL.Image.fromarray(pixels)), one, atol=1e-5)
    assert embedder([]).shape == (0, 1280)


def test_the_colour_order_of_arrays_is_respected(embedder, pixels, file):
    expected = embedder(file)
    frame = np.ascontiguousarray(pixels[..., ::-1])
    np.testing.assert_allclose(embedder([frame], channels="bgr"), expected, atol=1e-5)
    np.testing.assert_allclose(embedder(pixels, channels="rgb"), expected, atol=1e-5)
    np.testing.assert_allclose(embedder(pixels[None], channels="rgb"), expected, atol=1e-5)
    assert (embedder([frame], channels="rgb") * expected).sum() < 0.99


def test_an_array_without_its_colour_order_is_refused(embedder, pixels, file):
    with pytest.raises(InputError, match=r"image 1 is an array of unknown colour order.*'bgr'"):
        embedder([file, pixels])
    with pytest.raises(InputError, match="channels is 'gbr'"):
        embedder([pixels], channels="gbr")


def test_a_pillow_image_is_read_as_its_file_is(embedder, pixels, tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter
    PIL.Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    deep = (pixels[..., 0].astype(np.uint16) << 8) + 77
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    PIL.Image.fromarray(pixels).convert("RGBA").save(tmp_path / "alpha.png")
    for path in tmp_path.glob("*.png"):
        np.testing.assert_allclose(
            embedder(PIL.Image.open(path)), embedder(path), atol=1e-4, err_msg=path.name
        )


def test_similarity_is_the_cosine(embedder, pixels, file):
    assert embedder.similarity(file, PIL.Image.fromarray(pixels)) == pytest.approx(1, abs=1e-5)
    a, b = embedder([pixels, pixels[::-1]], channels="rgb")
    found = embedder.similarity(pixels, pixels[::-1], channels="rgb")
    assert found == pytest.approx(float(a @ b), abs=1e-5)
    assert found < 0.99


def test_what_is_not_an_image_is_refused(embedder, tmp_path):
    with pytest.raises(InputError, match="images has type int"):
        embedder(3)
    with pytest.raises(InputError, match=r"gone\.jpg does not exist"):
        embedder(tmp_path / "gone.jpg")
    with pytest.raises(InputError, match="image 0 is an array of shape"):
        embedder(np.zeros((8, 8), np.uint8), channels="rgb")


def test_an_embedder_describes_itself(embedder):
    assert repr(embedder) == (
        "Embedder(mobilenet_v2, input 160x80, 1280 dimensions, torch in float32 on cpu)"
    )
