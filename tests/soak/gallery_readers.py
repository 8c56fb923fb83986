"""Every command on an altered gallery, and a sound one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from calls import call
from cases import case_of


def gallery_samples(folder: Path, fingerprint: str = "c0ffee" * 10, dim: int = 8) -> None:
    from datetime import datetime, timezone

    from reid_dhm.gallery.records import DETECTION, Crop, NewTracklet, NewVideo
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.gallery.store.writing import VideoWriter
    from reid_dhm.gallery.track.crops import encode_jpeg

    random = np.random.default_rng(0)
    image = encode_jpeg(random.integers(0, 256, (40, 16, 3), np.uint8))
    site = folder / "site"
    with GalleryStore(site, create=True) as gallery:
        gallery.claim_model(fingerprint, dim, "soak")
        for number, camera in enumerate(("gate", "yard")):
            start = datetime(2026, 3, 1, 8, tzinfo=timezone.utc) if number else None
            video = NewVideo(f"{number:016x}", f"{camera}.avi", 10.0, 64, 48, start)
            writer = VideoWriter.open(gallery, camera, video)
            tracklets = []
            for track in range(1, 4):
                boxes = np.zeros(2, DETECTION)
                boxes["time"] = track + np.arange(2)
                boxes["frame"] = boxes["time"] * 10
                boxes["box"] = (10, 10, 20, 40)
                row = random.standard_normal(dim)
                row = (row / np.linalg.norm(row)).astype(np.float16)
                box = (10.0, 10.0, 20.0, 40.0)
                crop = Crop(int(boxes["frame"][0]), float(boxes["time"][0]), box, 1.0, image, row)
                tracklets.append(NewTracklet(track, boxes, [crop], row))
            writer.add(tracklets)
            writer.finish()
    call("gallery", "merge", "--gallery", site, "--person", "anna", f"{0:016x}-1")
    shutil.copyfile(next(site.glob("*.sqlite")), folder / "gallery.sqlite")
    shutil.rmtree(site)


COMMANDS = (
    ("gallery", "list"),
    ("gallery", "verify"),
    ("gallery", "show", f"{0:016x}-1"),
    ("gallery", "show", f"{1:016x}-2", "--crops", "CROPS"),
    ("gallery", "export", "--output", "TABLE"),
    ("search", "--tracklet", f"{0:016x}-2", "--report", "REPORT", "--json", "JSON"),
    ("gallery", "list", "tracklets", "--person", "anna"),
    ("gallery", "merge", "--person", "berta", f"{1:016x}-1", f"{0:016x}-2"),
    ("gallery", "compact"),
    ("gallery", "delete", "--camera", "gate", "--yes"),
    ("gallery", "verify"),
)


def read_gallery(path: Path) -> None:
    """Every command on it, one after the other."""
    folder = path.parent / "site"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.move(path, folder / "gallery.sqlite")
    targets = {"CROPS": "crops", "TABLE": "table.csv", "REPORT": "report", "JSON": "found.json"}
    for command in COMMANDS:
        arguments = [path.parent / targets[word] if word in targets else word for word in command]
        code, printed = call(*arguments, "--gallery", folder)
        if case_of(path)["sound"] and code:
            raise RuntimeError(f"{command}: {printed}")
        shutil.rmtree(path.parent / "report", ignore_errors=True)
