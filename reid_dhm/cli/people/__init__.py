"""``reid-dhm people``: who is who in a gallery."""

from __future__ import annotations

import typer

from reid_dhm.cli.people.answers import count, list_, show
from reid_dhm.cli.people.export import export
from reid_dhm.cli.people.statements import link, merge, name, split
from reid_dhm.cli.people.watching import unwatch, watch

people = typer.Typer(
    help="Who is who in a gallery: find people over all cameras, correct them, count them.",
    no_args_is_help=True,
)
people.command("link")(link)
people.command("list")(list_)
people.command("show")(show)
people.command("count")(count)
people.command("name")(name)
people.command("split")(split)
people.command("merge")(merge)
people.command("watch")(watch)
people.command("unwatch")(unwatch)
people.command("export")(export)
