"""Surfaces of body parts: plain colours, patterned cloth, a face with hair.

A surface is a function from an angle and a height on the part to a colour.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.synthetic.people import Colour, Garment, Person

Floats = NDArray[np.floating[Any]]

Surface = Callable[[Floats, Floats], Floats]
"""Angle about the axis (0 in front, π/2 on the person's left) and distance from the part's start
in body heights, both (h, w), to colours (h, w, 3) or one colour (3,)."""


def plain(colour: Colour) -> Surface:
    """A single colour."""
    flat = np.array(colour, np.float32)
    return lambda angle, down: flat


def _mix(ground: Colour, accent: Colour, share: Callable[[Floats, Floats], Floats]) -> Surface:
    """Base colour where ``share(angle, down)`` is 0, accent where it is 1."""
    base = np.array(ground, np.float32)
    change = np.array(accent, np.float32) - base
    return lambda angle, down: base + change * share(angle, down)[..., None]


def cloth(garment: Garment) -> Surface:
    """A garment's colour and pattern on a body of radius 0.1."""
    if garment.pattern == "plain":
        return plain(garment.colour)
    turn = 2 * np.pi / garment.period
    around = turn * 0.1

    def share(angle: Floats, down: Floats) -> Floats:
        front = np.abs(np.arctan2(np.sin(angle), np.cos(angle)))  # 0 in front … π on the back
        match garment.pattern:
            case "hoops":
                return soft(np.sin(turn * down))
            case "pinstripes":
                return soft(np.sin(around * angle))
            case "checks":
                return 0.5 * (soft(np.sin(turn * down)) + soft(np.sin(around * angle)))
            case "block":
                return soft(60 * (down - 0.17))
            case "band":
                return soft(60 * (0.035 - np.abs(down - 0.13)))
            case "logo":
                return soft(6 * (0.6 - front)) * soft(60 * (0.045 - np.abs(down - 0.12)))
            case "print":
                return soft(6 * (front - np.pi + 0.75)) * soft(60 * (0.06 - np.abs(down - 0.13)))
            case "open":
                return soft(6 * (0.42 - front))
            case _:  # panels at the sides
                return soft(6 * (0.5 - np.abs(front - np.pi / 2)))

    return _mix(garment.colour, garment.accent, share)


def sleeve(person: Person) -> Surface:
    """The top's pattern if it continues on the arms, otherwise the sleeve colour."""
    if person.top.pattern in ("hoops", "checks"):
        return cloth(person.top)
    return plain(person.sleeve_colour)


def legwear(person: Person) -> Surface:
    """The leg colour, with side stripes if the accent differs."""
    if person.leg_accent == person.leg_colour:
        return plain(person.leg_colour)
    return _mix(
        person.leg_colour,
        person.leg_accent,
        lambda angle, down: soft(8 * (np.abs(np.sin(angle)) - 0.75)),
    )


def face(person: Person) -> Surface:
    """Skin in front, hair over the top and the back."""
    if person.hair == "bald":
        return plain(person.skin)

    def hair(angle: Floats, down: Floats) -> Floats:
        front = np.cos(angle)
        return np.maximum(
            soft(80 * (0.036 - down)), soft(8 * (0.12 - front)) * soft(60 * (0.1 - down))
        )

    return _mix(person.skin, person.hair_colour, hair)


def soft(edge: Floats) -> Floats:
    """0 below -0.5, 1 above 0.5, linear between: an anti-aliased edge."""
    return np.minimum(np.maximum(edge + 0.5, 0), 1)
