"""``reid-dhm index-video`` into a gallery on shared storage: here, or on a Ray cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid_dhm.cli.options import write_json
from reid_dhm.cli.output import command_line, count_of, say, suggest
from reid_dhm.errors import InputError, StorageError

if TYPE_CHECKING:
    from reid_dhm.cluster.indexing import ClusterOptions, SourceResult


def index_into_shared(
    given: Sequence[str],
    camera: str | None,
    start: str | None,
    how: ClusterOptions,
    ray: str | None,
    needs: tuple[float, float],
    json: Path | None,
) -> None:
    """Index sources and hand them over; exits with 1 if any failed, after all others are done.

    Args:
        given: as the user gives them.
        camera, start: of sources without a manifest.
        how: how each is indexed.
        ray: address of a cluster; None indexes one after the other in this process.
        needs: CPUs and GPUs of a source on a cluster.
        json: where to write what was done.

    Raises:
        InputError: a gallery in a folder, which one machine writes.
        StorageError: sources that failed.
    """
    from reid_dhm.cli.output.progress import progress_bar
    from reid_dhm.cluster.indexing import index_source, index_sources
    from reid_dhm.cluster.manifest import list_sources
    from reid_dhm.gallery.address import shared_address
    from reid_dhm.gallery.opening import open_gallery
    from reid_dhm.gallery.records import wall_clock

    if shared_address(how.gallery) is None:
        raise InputError(
            f"{how.gallery} is a folder, which one machine indexes one video at a time: give "
            "--gallery s3://BUCKET/PREFIX or lance:FOLDER, or one SOURCE without --ray"
        )
    moment = None if start is None else wall_clock(start)
    sources = list_sources(given, camera, moment)
    open_gallery(how.gallery, create=True).close()  # a wrong address ends this, not every task
    with progress_bar("Indexing") as bar:
        if ray is not None:
            results = index_sources(sources, how, ray, *needs, report=bar)
        else:
            results = []
            for number, source in enumerate(sources, 1):
                results.append(index_source(source, how))
                bar(number, len(sources))
    _print(results, how.gallery)
    if json is not None:
        write_json(json, [_figures(result) for result in results])
    failed = sum(result.failure is not None for result in results)
    if failed:
        raise StorageError(
            f"{failed} of {count_of(len(results), 'source')} failed: the reasons stand above; run "
            "the same command again for these, what was handed over is recognised"
        )


def _print(results: Sequence[SourceResult], gallery: Path) -> None:
    for result in results:
        if result.failure is not None:
            say(f"failed: {result.failure}", err=True)
    done = [result for result in results if result.failure is None]
    new = [result for result in done if not result.known]
    by_camera = Counter({result.source.camera: 0 for result in new})
    for result in new:
        by_camera[result.source.camera] += result.tracklets
    for camera, count in sorted(by_camera.items()):
        say(f"{camera}: {count_of(count, 'tracklet')}")
    known = len(done) - len(new)
    say(
        f"{count_of(len(new), 'video')} indexed, {sum(r.frames for r in new)} frames, "
        f"{count_of(sum(by_camera.values()), 'tracklet')}"
        + (f"; {known} there already" if known else "")
    )
    suggest(command_line("gallery compact", {"--gallery": gallery}), "index the new tracklets")


def _figures(result: SourceResult) -> dict[str, Any]:
    start = result.source.start
    return {
        "source": result.source.name,
        "camera": result.source.camera,
        "start": start.isoformat() if start else None,
        "tracklets": result.tracklets,
        "frames": result.frames,
        "known": result.known,
        "failure": result.failure,
    }
