"""``reid-dhm benchmark people``: how well people are told apart, and how that grows."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reid_dhm.cli.options import JsonOption, write_json

if TYPE_CHECKING:
    from reid_dhm.benchmarks.people.footage import KnownGallery, PeopleFigures

_CORRECTIONS = 3, 2  # pairs that a user would link, and split


def people(
    gallery: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A gallery of footage whose people --truth knows."),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="True boxes of its only camera, as MOTChallenge lines."),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            "--people", metavar="FILE", help="Ids of one person, a line each: `coat: 3 11`."
        ),
    ] = None,
    rendered: Annotated[
        int | None,
        typer.Option(metavar="N", min=2, help="Render N people before four cameras instead."),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Model of --rendered; default: the packaged one."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of --rendered and --tracklets.", show_default="1"),
    ] = None,
    tracklets: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=100, help="Time N synthetic tracklets; repeatable."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Find people and compare them with the truth: on a gallery, rendered footage, or in number.

    Rendering and indexing 40 people takes about ten minutes on two cores.

    Example: reid-dhm benchmark people --tracklets 10000 --tracklets 30000
    """
    modes = {"--gallery": gallery, "--rendered": rendered, "--tracklets": tracklets}
    given = [name for name, value in modes.items() if value]
    if len(given) != 1:
        raise typer.BadParameter("give one of --gallery, --rendered and --tracklets")
    for name, value, whose in (
        ("--truth", truth, ["--gallery"]),
        ("--people", names, ["--gallery"]),
        ("--checkpoint", checkpoint, ["--rendered"]),
        ("--seed", seed, ["--rendered", "--tracklets"]),
    ):
        if value is not None and given[0] not in whose:
            raise typer.BadParameter(f"{name} goes with {' or '.join(whose)}, not with {given[0]}")
    if gallery is not None and truth is None:
        raise typer.BadParameter("--gallery needs --truth FILE, the true boxes of its camera")
    seed = 1 if seed is None else seed
    if tracklets:
        result: Any = _sizes(tracklets, seed)
    elif gallery is not None and truth is not None:
        result = _known_footage(gallery, truth, names)
    else:
        result = _rendered(rendered or 0, checkpoint, seed)
    if json is not None:
        write_json(json, result)


def _sizes(counts: list[int], seed: int) -> list[dict[str, Any]]:
    from reid_dhm.benchmarks.people.size import measure_size
    from reid_dhm.cli.benchmark.sets import gibibytes
    from reid_dhm.cli.output.tables import print_rows

    found = [measure_size(count, seed=seed) for count in counts]
    print_rows(
        [
            {
                "tracklets": figures.tracklets,
                "people": figures.people,
                "found": figures.found,
                "precision": f"{figures.precision:.3f}",
                "recall": f"{figures.recall:.3f}",
                "full pass": f"{figures.seconds:.1f} s",
                "memory": gibibytes(figures.peak),
                "last hour": figures.hour,
                "assigned in": f"{figures.hour_seconds:.1f} s",
                "rightly": f"{figures.hour_right:.3f}",
            }
            for figures in found
        ],
        "",
    )
    return [asdict(figures) for figures in found]


def _known_footage(folder: Path, truth: Path, names: Path | None) -> dict[str, Any]:
    import numpy as np

    from reid_dhm.benchmarks.footage.pairs import read_boxes, read_people
    from reid_dhm.benchmarks.people.footage import KnownGallery
    from reid_dhm.errors import InputError
    from reid_dhm.gallery.store.gallery import GalleryStore

    boxes = read_boxes(truth)
    if names is not None:
        of = read_people(names)
        if missing := set(boxes.ids.tolist()) - of.keys():
            raise InputError(f"{names} does not say who id {min(missing)} of {truth} is")
        boxes = boxes.renamed(np.array([of[id] for id in boxes.ids.tolist()], np.int64))
    with GalleryStore(folder) as store:
        cameras = store.cameras()
        if len(cameras) != 1:
            raise InputError(f"{folder} has {len(cameras)} cameras: --truth is of one")
        return _compare(KnownGallery(store, {cameras[0].name: boxes}))


def _rendered(num_people: int, checkpoint: str | None, seed: int) -> dict[str, Any]:
    import tempfile

    from reid_dhm.benchmarks.people.rendered import rendered_gallery
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.inference.checkpoints import open_checkpoint
    from reid_dhm.inference.default import DEFAULT_CHECKPOINT
    from reid_dhm.inference.embedder import Embedder

    embedder = Embedder(open_checkpoint(checkpoint or str(DEFAULT_CHECKPOINT)), precision="float32")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with GalleryStore(folder / "gallery", create=True) as store:
            return _compare(rendered_gallery(folder, store, embedder, num_people, seed))


def _compare(known: KnownGallery) -> dict[str, Any]:
    import numpy as np

    from reid_dhm.benchmarks.people.footage import ceiling, linked
    from reid_dhm.cli.output.tables import print_rows
    from reid_dhm.gallery.people.thresholds.calibration import calibrate

    found = linked(known)
    corrections = known.corrected(found, *_CORRECTIONS)
    said = len(corrections.must) + len(corrections.cannot)
    figures = {
        "every tracklet a person": known.figures(np.arange(len(found))),
        "found": known.figures(found),
        f"after {said} corrections": known.figures(linked(known, corrections)),
        "known": ceiling(known),
    }
    print_rows([{"people": name, **_cells(each)} for name, each in figures.items()], "")
    bands = known.bands(calibrate(known.appearances))
    print_rows(
        [
            {
                "stated probability": f"{band.low:.0%} to {band.high:.0%}",
                "pairs": band.pairs,
                "of one person": f"{band.right:.1%}" if band.pairs else "",
            }
            for band in bands
        ],
        "",
    )
    return {
        "figures": {name: asdict(each) for name, each in figures.items()},
        "probability": [
            band._asdict() | {"right": None if band.right != band.right else band.right}
            for band in bands
        ],
    }


def _cells(figures: PeopleFigures) -> dict[str, Any]:
    return {
        "IDF1": f"{figures.idf1:.3f}",
        "precision": f"{figures.precision:.3f}",
        "recall": f"{figures.recall:.3f}",
        "wrong pairs": figures.wrong_pairs,
        "over 2 s": figures.people,
        "true": figures.true_people,
    }
