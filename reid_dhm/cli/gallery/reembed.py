"""``reid-dhm gallery reembed``: the people of a gallery embedded with another model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reid_dhm.cli.options import (
    BackboneOption,
    DeviceOption,
    InputOption,
    JsonOption,
    NeckOption,
    SizeOption,
    write_json,
)
from reid_dhm.cli.options.tracklets import GalleryOption
from reid_dhm.cli.output import command_line, count_of, say


def reembed(
    folder: GalleryOption,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            help="The new model: as for index-video.",
            show_default="the package's model",
        ),
    ] = None,
    device: DeviceOption = "auto",
    json: JsonOption = None,
    backbone: BackboneOption = None,
    size: SizeOption = None,
    neck: NeckOption = None,
    input: InputOption = None,
) -> None:
    """Embed the people of a gallery with another model, from their stored images.

    Searches see the old embeddings until all new ones are there, then the new ones alone. An
    interrupted run is continued.

    Example: reid-dhm gallery reembed --gallery galleries/site
    --checkpoint person-reidentification-retail-0277
    """
    import time

    from reid_dhm.cli.options.query import find_model
    from reid_dhm.cli.output.progress import progress_bar
    from reid_dhm.gallery.store.gallery import GalleryStore

    with GalleryStore(folder) as store:
        others = {"backbone": backbone, "size": size, "neck": neck, "input": input}
        found = find_model(checkpoint, **others)

        from reid_dhm.gallery.ingest import reembed as reembedding
        from reid_dhm.inference.checkpoint_file import model_name
        from reid_dhm.inference.embedder import Embedder

        embedder = Embedder(found, device=device, precision="float32")
        model = {"--checkpoint": checkpoint} | {f"--{name}": v for name, v in others.items()}
        begin = time.perf_counter()
        with progress_bar("Embedding") as bar:
            count = reembedding.reembed(store, embedder, model_name(checkpoint), bar)
        seconds = time.perf_counter() - begin
        unfinished = [video for video in store.videos() if not video.complete]
        fingerprint = store.fingerprint
    name = checkpoint or "the package's model"
    if count:
        say(f"{folder}: {count_of(count, 'tracklet')} embedded with {name} in {seconds:.1f} s")
    else:
        say(f"{folder} holds the embeddings of {name} already: nothing to do")
    for video in unfinished:
        say(f"{video.source} is not indexed to its end: index it again with {name}", err=True)
    search = command_line("search", {"--gallery": folder, "--query": "PERSON.jpg", **model})
    say(f"next: {search}")
    if json is not None:
        write_json(json, {"tracklets": count, "fingerprint": fingerprint, "seconds": seconds})
