"""Indexes a video, or embeds a gallery again, in processes that are killed.

Run by ``test_kills.py`` and ``test_reembed.py``.

Reads lines ``FOLDER SECONDS`` and answers each with how its process ended: the signal's number, or
0. Everything is imported once, here, and every process is a fork that did nothing before.
"""

import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

from reid_dhm.gallery.detect.factory import build_detector
from reid_dhm.gallery.detect.mot import MotDetections  # noqa: F401
from reid_dhm.gallery.detect.motion import MotionDetector  # noqa: F401 (imported before the fork)
from reid_dhm.gallery.footage.sources import open_source
from reid_dhm.gallery.ingest import reembed
from reid_dhm.gallery.ingest.ingest import ingest
from reid_dhm.gallery.ingest.options import IndexingOptions
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.track.tracking import Tracker

conftest = Path(__file__).parents[1] / "conftest.py"
spec = importlib.util.spec_from_file_location("footage", conftest)
assert spec is not None
assert spec.loader is not None
footage = importlib.util.module_from_spec(spec)
spec.loader.exec_module(footage)


def index(folder: str, video: str, detector: str) -> None:
    with GalleryStore(folder, create=True) as gallery:
        gallery.claim_model(footage.MODEL, footage.DIM, "stripes")
        source = open_source(video)
        options = IndexingOptions(chunk=8)
        ingest(gallery, "gate", source, build_detector(detector), footage.stripes, options)


def embed_again(folder: str) -> None:
    reembed._TRACKLETS = 1
    with GalleryStore(folder) as gallery:
        reembed.reembed(gallery, footage.Halves(), "halves")


def main(*arguments: str) -> None:
    """A video and a detector, to index; or nothing, to embed a gallery again."""
    Tracker("bytetrack", 10, 0.5, 0.5)  # imports the trackers
    print("ready", flush=True)
    for line in sys.stdin:
        folder, seconds = line.split()
        child = os.fork()
        if child == 0:
            index(folder, *arguments) if arguments else embed_again(folder)
            os._exit(0)
        print(end_of(child, float(seconds)), flush=True)


def end_of(child: int, seconds: float) -> int:
    """How a process ends that is killed after so many seconds, never if they are negative."""
    end = time.monotonic() + seconds
    while seconds >= 0 and time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.001)
    if seconds >= 0:
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


if __name__ == "__main__":
    main(*sys.argv[1:])
