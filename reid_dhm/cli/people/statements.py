"""``reid-dhm people link|name|split|merge``: finding people, and saying who is who."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from reid_dhm.cli.options.tracklets import GalleryOption
from reid_dhm.cli.output import command_line, count_of, say, suggest
from reid_dhm.errors import InputError

if TYPE_CHECKING:
    from reid_dhm.gallery.store.gallery import GalleryStore

PersonArgument = Annotated[
    str, typer.Argument(metavar="PERSON", help="Number or name, as `people list` prints it.")
]
TRACKLETS = "As `people show` or `gallery list tracklets` prints them."


def link(
    folder: GalleryOption,
    tracklets: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help=TRACKLETS, show_default=False)
    ] = None,
    travel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CAMERA,CAMERA=SECONDS",
            help="Nobody gets from one camera to the other in less time; repeatable. Kept for "
            "later; 0 forgets it.",
        ),
    ] = None,
    new: Annotated[
        bool,
        typer.Option("--new", help="Only tracklets without a person get one; nobody else changes."),
    ] = False,
) -> None:
    """Find the people of the whole gallery; with tracklet ids, record that they are one person.

    What users said is kept: confirmed tracklets stay with their person, and tracklets that were
    split stay apart. People who were there before keep their numbers and names.

    Example: reid-dhm people link --gallery galleries/site

    Example: reid-dhm people link --gallery galleries/site 9f86d081884c7d65-12 9f86d081884c7d65-31
    """
    from reid_dhm.gallery.records import TrackletId
    from reid_dhm.gallery.store import statements
    from reid_dhm.gallery.store.gallery import GalleryStore

    if tracklets:
        if travel or new:
            option = "--travel" if travel else "--new"
            raise typer.BadParameter(f"{option} has no effect with tracklet ids: leave them out")
        ids = [TrackletId.parse(text) for text in tracklets]
        with GalleryStore(folder) as store:
            number = statements.link(store, ids)
            say(f"{count_of(len(set(ids)), 'tracklet')} confirmed: {_described(store, number)}")
        return
    from reid_dhm.gallery.people.linking.run import link_gallery

    times = dict(map(_travel_time, travel or ()))
    with GalleryStore(folder) as store:
        count = store.count()
        done = link_gallery(store, times, new_only=new)
    say(f"{count_of(count, 'tracklet')}: {count_of(done.people, 'person', 'people')}")
    say(
        f"{done.new} new, {done.gone} gone; {count_of(done.added, 'tracklet')} added, "
        f"{done.moved} moved from one person to another"
    )
    suggest(command_line("people list", {"--gallery": folder}))


def name(
    folder: GalleryOption,
    person: PersonArgument,
    new_name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The new name.", show_default=False)
    ] = None,
    unname: Annotated[bool, typer.Option("--unname", help="Remove the name.")] = False,
) -> None:
    """Give a person a name, or take it away.

    Example: reid-dhm people name --gallery galleries/site 7 "blue jacket"
    """
    from reid_dhm.gallery.store import statements
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.gallery.store.people import find_person

    if (new_name is None) != unname:
        raise typer.BadParameter("give either a NAME or --unname")
    with GalleryStore(folder) as store:
        found = find_person(store, person)
        statements.name(store, found, new_name)
        say(_described(store, found.id))


def split(
    folder: GalleryOption,
    person: PersonArgument,
    tracklets: Annotated[list[str], typer.Argument(metavar="ID...", help=TRACKLETS)],
) -> None:
    """Record that tracklets are not this person; together they become a new one.

    They never come back to what is left of the person, unless you merge the two.

    Example: reid-dhm people split --gallery galleries/site 7 9f86d081884c7d65-12
    """
    from reid_dhm.gallery.records import TrackletId
    from reid_dhm.gallery.store import statements
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.gallery.store.people import find_person

    ids = [TrackletId.parse(text) for text in tracklets]
    with GalleryStore(folder) as store:
        found = find_person(store, person)
        number = statements.split(store, found, ids)
        say(f"new: {_described(store, number)}")
        say(f"left: {_described(store, found.id)}")


def merge(
    folder: GalleryOption,
    persons: Annotated[
        list[str], typer.Argument(metavar="PERSON...", help="Numbers or names, two or more.")
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name to keep, where several have one.")
    ] = None,
) -> None:
    """Record that people are one: the first, whom the others join.

    Example: reid-dhm people merge --gallery galleries/site 7 12
    """
    from reid_dhm.gallery.store import statements
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.gallery.store.people import find_person

    with GalleryStore(folder) as store:
        number = statements.merge(store, [find_person(store, text) for text in persons], name)
        say(_described(store, number))


def _described(store: GalleryStore, number: int) -> str:
    """``person 7 (Anna): 5 tracklets, 2 confirmed``."""
    from reid_dhm.gallery.store.people import find_person

    person = find_person(store, number)
    return (
        f"{person.title}: {count_of(person.num_tracklets, 'tracklet')}, "
        f"{person.num_confirmed} confirmed"
    )


def _travel_time(text: str) -> tuple[tuple[str, str], float]:
    """Names of two cameras and the least seconds between them.

    Raises:
        InputError: another form.
    """
    names, _, seconds = text.rpartition("=")
    pair = [name.strip() for name in names.split(",")]
    try:
        least = float(seconds)
    except ValueError:
        least = -1.0
    if len(pair) != 2 or pair[0] == pair[1] or not 0 <= least < 1e7:
        raise InputError(
            f"--travel {text[:60]!r} is not two cameras and seconds: give, for example, "
            "gate,door=20"
        )
    return (pair[0], pair[1]), least
