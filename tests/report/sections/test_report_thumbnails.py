"""Thumbnails are small, made once for each image, and a bad image is counted."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest

from reid_dhm.data.images import read_image
from reid_dhm.report.sections.thumbnails import write_activation, write_thumbnails


def write_jpeg(path, height, width):
    image = np.full((height, width, 3), (40, 90, 200), np.uint8)
    path.write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
    return str(path)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 256), (128, 64)),
        ((64, 32), (64, 32)),  # never enlarged
        ((300, 900), (64, 192)),  # a wide one is bounded by its width
        ((4000, 1), (128, 1)),
    ],
)
def test_images_shrink_to_the_bounds_and_keep_their_proportions(tmp_path, size, expected):
    path = write_jpeg(tmp_path / "image.jpg", *size)
    thumbnail = write_thumbnails(tmp_path, {path: "q00000"}, lambda done: None).of[path]
    assert (thumbnail.height, thumbnail.width) == expected
    written = read_image(tmp_path / thumbnail.href)
    assert written.shape[:2] == expected
    assert np.abs(written.astype(int) - (200, 90, 40)).max() < 12


def test_a_missing_and_a_damaged_image_are_faults_and_the_rest_are_made(tmp_path):
    good = write_jpeg(tmp_path / "good.jpg", 60, 30)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "good.jpg").read_bytes()[:200])
    names = {str(tmp_path / "gone.jpg"): "q0", good: "q1", str(tmp_path / "cut.jpg"): "q2"}
    done: list[int] = []
    made = write_thumbnails(tmp_path, names, done.append)
    assert list(made.of) == [good]
    assert len(made.faults) == 2
    assert "gone.jpg does not exist" in made.faults[0]
    assert "cut.jpg is a truncated JPEG" in made.faults[1]
    assert sum(done) == 3


def test_metadata_of_the_image_is_not_passed_on(tmp_path):
    path = write_jpeg(tmp_path / "image.jpg", 60, 30)
    data = (tmp_path / "image.jpg").read_bytes()
    secret = b"48.8584 N, 2.2945 E"
    comment = b"\xff\xfe" + (len(secret) + 2).to_bytes(2, "big") + secret
    (tmp_path / "image.jpg").write_bytes(data[:2] + comment + data[2:])
    made = write_thumbnails(tmp_path, {path: "q0"}, lambda done: None)
    assert secret not in (tmp_path / made.of[path].href).read_bytes()


def test_activation_maps_are_asked_once_for_readable_images_and_grow_opaque(tmp_path):
    good = write_jpeg(tmp_path / "good.jpg", 60, 30)
    gone = str(tmp_path / "gone.jpg")
    made = write_thumbnails(tmp_path, {good: "q0", gone: "q1"}, lambda done: None)
    asked: list[list[str]] = []

    def activation(paths):
        asked.append(list(paths))
        return [np.array([[0, 0.5], [1, 1]], np.float32) for _ in paths]

    write_activation(tmp_path, made, [gone, good, good], activation)
    assert asked == [[good]]
    assert list(made.maps) == [good]
    written = cv2.imread(str(tmp_path / made.maps[good]), cv2.IMREAD_UNCHANGED)
    assert written.shape == (2, 2, 4)
    alpha = written[..., 3]
    assert alpha[0, 0] == 0
    assert 0 < alpha[0, 1] < alpha[1, 0] == alpha[1, 1] < 255


def png_of_zeros(side: int) -> bytes:
    """A valid black-and-white PNG of so many pixels a side, a few kilobytes long."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*part) for part in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )


def test_a_huge_image_is_a_fault_and_takes_no_memory(tmp_path):
    (tmp_path / "huge.png").write_bytes(png_of_zeros(30_000))
    code = """
import resource, sys
from pathlib import Path
from reid_dhm.report.sections.thumbnails import write_thumbnails
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
made = write_thumbnails(Path(sys.argv[1]), {sys.argv[1] + "/huge.png": "q0"}, lambda done: None)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
print(made.faults[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
    )
    grown, fault = done.stdout.splitlines()
    assert int(grown) < 100_000  # KiB; decoded it has 2.7 GB
    assert "pixels, and 64 million are the most" in fault
