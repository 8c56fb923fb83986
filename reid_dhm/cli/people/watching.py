"""``reid-dhm people watch|unwatch``: whose appearances are announced."""

from __future__ import annotations

from typing import Annotated

import typer

from reid_dhm.cli.options.tracklets import GalleryOption
from reid_dhm.cli.output import say
from reid_dhm.cli.people.statements import PersonArgument


def watch(
    folder: GalleryOption,
    person: Annotated[
        str | None,
        typer.Argument(
            metavar="[PERSON]",
            help="Number or name; without one, lists who is watched.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Announce a person's appearances from now on; without a person, list who is watched.

    index-video and serve announce them with --alerts, --webhook or --mqtt.

    Example: reid-dhm people watch --gallery galleries/site "blue jacket"
    """
    from reid_dhm.cli.output.tables import print_rows
    from reid_dhm.gallery.store import watching
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.gallery.store.people import find_person

    with GalleryStore(folder) as store:
        if person is not None:
            found = find_person(store, person)
            watching.watch(store, found)
            say(f"watched from now on: {found.title}")
            return
        rows = [{"person": p.id, "name": p.name or ""} for p in watching.watched(store)]
    print_rows(rows, "nobody is watched")


def unwatch(folder: GalleryOption, person: PersonArgument) -> None:
    """Announce a person no longer.

    Example: reid-dhm people unwatch --gallery galleries/site "blue jacket"
    """
    from reid_dhm.gallery.store import watching
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.gallery.store.people import find_person

    with GalleryStore(folder) as store:
        found = find_person(store, person)
        was = watching.unwatch(store, found)
    say(f"no longer watched: {found.title}" if was else f"was not watched: {found.title}")
