"""Printing what a search found: people with their candidates, and where likely matches end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reid_dhm.cli.output import count_of, say

if TYPE_CHECKING:
    from reid_dhm.gallery.records import Tracklet
    from reid_dhm.gallery.search.candidates import Candidate, Candidates

_NO_PROOF = "a similarity is not proof of identity: look at the images before you decide"


def print_candidates(found: Candidates, basis: str | None, everything: bool = False) -> None:
    """Print candidates by person, the most similar person first, and what to think of them.

    Args:
        found: the most similar first.
        basis: what match probabilities rest on; None without.
        everything: also print candidates that are not likely.
    """
    from reid_dhm.cli.output.tables import print_rows

    ranked = list(enumerate(found, 1))
    shown = [(n, c) for n, c in ranked if everything or basis is None or c.is_likely]
    rows = [_row(rank, candidate, basis is not None) for rank, candidate in _by_person(shown)]
    if not any(row["person"] for row in rows):
        for row in rows:
            del row["person"]
    if rows or not found:
        print_rows(rows, "no matching tracklets")
    if not found:
        return
    if basis is None:
        _say_drop(found)
    else:
        likely = sum(candidate.is_likely for candidate in found)
        people = len({c.tracklet.person_id or c.tracklet.id for c in found if c.is_likely})
        of = f" of {count_of(people, 'person', 'people')}" if likely else ""
        say(f"{likely or 'none'} likely (match probability of 50% or more){of}")
        if rest := len(found) - len(shown):
            say(f"{count_of(rest, 'less likely candidate')} left out: --all shows everything")
        say(f"probabilities: {basis}")
    say(_NO_PROOF)


def _say_drop(found: Candidates) -> None:
    from reid_dhm.gallery.search.candidates import largest_drop

    place = largest_drop(found)
    if place is not None:
        above, below = found[place - 1].similarity, found[place].similarity
        say(f"largest drop: from {above:.3f} to {below:.3f}, after candidate {place}")


def _by_person(ranked: Sequence[tuple[int, Candidate]]) -> list[tuple[int, Candidate]]:
    """Candidates of one person together, in the order of each person's best."""
    groups: dict[object, list[tuple[int, Candidate]]] = {}
    for rank, candidate in ranked:
        found = candidate.tracklet
        groups.setdefault(found.person_id or found.id, []).append((rank, candidate))
    return [each for group in groups.values() for each in group]


def _row(rank: int, candidate: Candidate, with_probability: bool) -> dict[str, Any]:
    found = candidate.tracklet
    row = {
        "": rank,
        "tracklet": found.id,
        "camera": found.camera,
        "seen": _seen(found, with_length=not with_probability),
        "person": found.person or "",
        "similarity": f"{candidate.similarity:.3f}",
    }
    if with_probability:
        shown = candidate.probability
        row["match"] = "" if shown is None else f"{shown:.1%}"
    return row


def _seen(found: Tracklet, with_length: bool) -> str:
    """When it begins, and for how long; short, so that a row fits a terminal."""
    if found.start_time is None:
        return f"{found.start:.1f} to {found.end:.1f} s"
    length = f", {found.end - found.start:.0f} s" if with_length else ""
    return f"{found.start_time:%Y-%m-%d %H:%M:%S}{length}"
