"""Deletes a camera while others write and read, and kills it: python tests/soak/deletion.py.

Every crop holds bytes that name its camera. When the deletion is repeated, they are in no file of
the gallery, and the other camera lacks nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from harness import main

DIM = 8
SECRET = b"what the camera at the gate saw"
OTHER = b"what the camera in the yard saw"
TRACKLETS = 150


def _tracklet(number: int, content: bytes) -> Any:
    import numpy as np

    from reid_dhm.gallery.records import DETECTION, NewTracklet

    boxes = np.zeros(2, DETECTION)
    boxes["frame"] = [10 * number, 10 * number + 1]
    boxes["time"] = boxes["frame"] / 10
    boxes["box"] = (10, 10, 20, 40)
    crop = _crop(number, content)
    return NewTracklet(number, boxes, [crop], crop.embedding)


def _crop(number: int, content: bytes) -> Any:
    import numpy as np

    from reid_dhm.gallery.records import Crop

    row = np.random.default_rng(number).standard_normal(DIM)
    row = (row / np.linalg.norm(row)).astype(np.float16)
    image = content * 100  # over the edge of a page
    return Crop(10 * number, float(number), (10.0, 10.0, 20.0, 40.0), 1.0, image, row)


def write_site(folder: Path) -> None:
    """Two cameras; in a second video of the gate somebody is still in view."""
    import numpy as np

    from reid_dhm.gallery.records import DETECTION, FRAME, NewVideo
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.gallery.store.writing import Chunk, Progress, VideoWriter

    with GalleryStore(folder, create=True) as gallery:
        gallery.claim_model("c0ffee" * 10, DIM, "soak")
        for hash, camera, content in (("a" * 16, "gate", SECRET), ("b" * 16, "yard", OTHER)):
            video = NewVideo(hash, f"{camera}.avi", 10.0, 64, 48)
            writer = VideoWriter.open(gallery, camera, video)
            writer.add([_tracklet(number, content) for number in range(1, TRACKLETS)])
            writer.finish()
        video = NewVideo("c" * 16, "later.avi", 10.0, 64, 48)
        writer = VideoWriter.open(gallery, "gate", video)
        chunk = Chunk(np.zeros(1, FRAME), np.empty(0, DETECTION))
        writer.commit(Progress(chunk, 1, {1: [_crop(1, SECRET)]}))


def delete(folder: Path) -> None:
    """Delete the gate, or what an earlier deletion of it left in the log."""
    from reid_dhm.errors import NotFoundError
    from reid_dhm.gallery.records import TrackletFilter
    from reid_dhm.gallery.store import compaction, deletion
    from reid_dhm.gallery.store.gallery import GalleryStore

    with GalleryStore(folder) as gallery:
        print("ready", flush=True)
        try:
            deletion.delete_logged(gallery, TrackletFilter(cameras=["gate"]), {}, whole=True)
        except NotFoundError:
            compaction.compact(gallery)


class Deletion:
    """A deletion that is killed at a random moment."""

    cases = 100

    def prepare(self, folder: Path) -> None:
        """Write the gallery."""
        write_site(folder / "site")

    def attempt(self, number: int, random: Random, prepared: Path, folder: Path) -> str:
        """Delete, kill, delete again; ``refused`` if it was killed, which number -1 is not."""
        site = folder / "site"
        shutil.copytree(prepared / "site", site)
        with _repeating(_Writer(site)), _repeating(lambda: _read(site)):
            process = subprocess.Popen([sys.executable, __file__, site], stdout=subprocess.PIPE)
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            if number >= 0:
                time.sleep(random.uniform(0, 0.2))
                process.kill()
            killed = process.wait() != 0
            process.stdout.close()
        subprocess.run([sys.executable, __file__, site], check=True, capture_output=True)
        self.check(site)
        return "refused" if killed else "accepted"

    def check(self, site: Path) -> None:
        """Nothing of the gate is left, and everything of the yard is."""
        from reid_dhm.gallery.store.gallery import GalleryStore
        from reid_dhm.gallery.store.integrity import check_integrity

        for path in site.rglob("*"):
            if path.is_file() and SECRET in path.read_bytes():
                raise RuntimeError(f"{path.name} still holds what was deleted")
        with GalleryStore(site) as gallery:
            kept = [found.id.track for found in gallery.tracklets() if found.id.video[0] == "b"]
            if kept != list(range(1, TRACKLETS)):
                raise RuntimeError(f"the yard has {len(kept)} tracklets left")
            if {found.camera for found in gallery.tracklets()} != {"yard"}:
                raise RuntimeError("the gate is still there")
            wrong = [line for line in check_integrity(gallery) if "decoded" not in line]
            if wrong:  # crops are no images here
                raise RuntimeError("\n".join(wrong))


class _Writer:
    """Indexes one tracklet more of the yard at every call."""

    def __init__(self, site: Path) -> None:
        self._site = site
        self._number = 0

    def __call__(self) -> None:
        from reid_dhm.gallery.records import NewVideo
        from reid_dhm.gallery.store.gallery import GalleryStore
        from reid_dhm.gallery.store.writing import VideoWriter

        self._number += 1
        with GalleryStore(self._site) as gallery:
            video = NewVideo("d" * 16, "now.avi", 10.0, 64, 48)
            VideoWriter.open(gallery, "yard", video).add([_tracklet(self._number, OTHER)])


def _read(site: Path) -> None:
    from reid_dhm.gallery.store.gallery import GalleryStore

    with GalleryStore(site) as gallery:
        for found in gallery.tracklets():
            gallery.crops(found.key)


@contextmanager
def _repeating(act: Callable[[], None]) -> Iterator[None]:
    """Act again and again in a thread; raises what it raised."""
    ended = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            while not ended.is_set():
                act()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if errors:
        raise errors[0]


SUBJECTS = {"deletion": Deletion()}

if __name__ == "__main__":
    if len(sys.argv) == 2 and not sys.argv[1].startswith("-"):
        delete(Path(sys.argv[1]))
    else:
        sys.exit(main(__file__))
