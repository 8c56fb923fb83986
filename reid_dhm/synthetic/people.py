"""Synthetic people: their appearance and poses, drawn from a seed.

:mod:`reid_dhm.synthetic.rendering` renders them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

T = TypeVar("T")

Colour = tuple[int, int, int]
"""Red, green and blue, 0 … 255."""

Pattern = Literal[
    "plain", "hoops", "pinstripes", "checks", "block", "band", "logo", "print", "open", "panels"
]
Sleeves = Literal["none", "short", "long"]
Legwear = Literal["trousers", "shorts", "skirt"]
Hair = Literal["bald", "short", "long", "bun"]
Hat = Literal["none", "cap", "beanie"]
Bag = Literal["none", "backpack", "shoulder", "handbag"]

# Few colours on purpose: many people share colours and differ only in their arrangement, so a
# colour histogram cannot separate them.
CLOTH: tuple[Colour, ...] = (
    (38, 38, 44),
    (206, 204, 198),
    (122, 124, 128),
    (164, 46, 48),
    (44, 64, 128),
    (70, 112, 84),
    (196, 168, 104),
)
LEG_CLOTH: tuple[Colour, ...] = ((36, 38, 46), (58, 76, 118), (120, 112, 100), (172, 160, 138))
SHOES: tuple[Colour, ...] = ((28, 26, 28), (208, 206, 200), (112, 74, 50))
SKIN: tuple[Colour, ...] = (
    (240, 205, 180),
    (222, 180, 148),
    (192, 142, 106),
    (140, 96, 68),
    (92, 62, 46),
)
HAIR: tuple[Colour, ...] = (
    (26, 22, 22),
    (66, 44, 32),
    (124, 84, 48),
    (190, 154, 98),
    (140, 138, 136),
)

# Relative frequency of each kind.
_PATTERNS: tuple[tuple[Pattern, float], ...] = (
    ("plain", 3),
    ("hoops", 2),
    ("pinstripes", 1),
    ("checks", 1),
    ("block", 2),
    ("band", 2),
    ("logo", 2),
    ("print", 1),
    ("open", 2),
    ("panels", 1),
)
_SLEEVES: tuple[tuple[Sleeves, float], ...] = (("none", 1), ("short", 4), ("long", 4))
_LEGWEAR: tuple[tuple[Legwear, float], ...] = (("trousers", 5), ("shorts", 3), ("skirt", 2))
_HAIR: tuple[tuple[Hair, float], ...] = (("bald", 1), ("short", 5), ("long", 3), ("bun", 2))
_HATS: tuple[tuple[Hat, float], ...] = (("none", 7), ("cap", 2), ("beanie", 1))
_BAGS: tuple[tuple[Bag, float], ...] = (
    ("none", 4),
    ("backpack", 3),
    ("shoulder", 2),
    ("handbag", 1),
)


@dataclass(frozen=True, slots=True)
class Garment:
    """A piece of clothing.

    Attributes:
        colour: base colour.
        accent: colour of the pattern.
        pattern: ``logo`` and ``open`` are visible in front only, ``print`` on the back only.
        period: distance between stripes or checks, in body heights.
    """

    colour: Colour
    accent: Colour
    pattern: Pattern
    period: float


@dataclass(frozen=True, slots=True)
class Person:
    """The properties of a person that are the same in every camera.

    Lengths are fractions of the body height.

    Attributes:
        height: body height in metres.
        build: girth relative to the average, about 0.8 (slim) to 1.3 (broad).
        legs: height of the hips.
        shoulders: half of the shoulder width at average build.
        skin: skin colour.
        hair: cut of the hair.
        hair_colour: its colour.
        hat: kind of hat.
        hat_colour: its colour.
        top: shirt, jacket or coat.
        hem: length of the top below the hips.
        sleeves: length of the top's sleeves.
        sleeve_colour: colour of sleeves without the top's pattern.
        legwear: kind of legwear.
        leg_colour: its colour.
        leg_accent: colour of the side stripes; equal to ``leg_colour`` for none.
        shoes: colour of the shoes.
        bag: kind of bag.
        bag_colour: its colour.
        bag_side: +1 for a bag on the person's left, -1 on the right.
    """

    height: float
    build: float
    legs: float
    shoulders: float
    skin: Colour
    hair: Hair
    hair_colour: Colour
    hat: Hat
    hat_colour: Colour
    top: Garment
    hem: float
    sleeves: Sleeves
    sleeve_colour: Colour
    legwear: Legwear
    leg_colour: Colour
    leg_accent: Colour
    shoes: Colour
    bag: Bag
    bag_colour: Colour
    bag_side: int


@dataclass(frozen=True, slots=True)
class Pose:
    """Heading, walking phase and position of a person in one image.

    Attributes:
        yaw: heading in radians; 0 faces the camera, π/2 walks to the right of the image, π
            walks away.
        phase: of the walking cycle in radians; one cycle (two steps) is 2π.
        stride: swing of the thighs in radians; 0 stands still, 0.5 is a long stride.
        scale: body height over image height.
        shift: offset of the body's centre from the image's, to the right and down, as a fraction
            of the image height.
    """

    yaw: float = 0.0
    phase: float = 0.0
    stride: float = 0.35
    scale: float = 0.92
    shift: tuple[float, float] = (0.0, 0.0)


def draw_person(rng: np.random.Generator) -> Person:
    """Draw a person; equal generators give equal people."""
    colour, accent = _two(rng, CLOTH)
    leg_colour = _pick(rng, LEG_CLOTH)
    return Person(
        height=float(np.clip(rng.normal(1.71, 0.09), 1.48, 1.98)),
        build=float(np.clip(rng.normal(1.0, 0.13), 0.78, 1.35)),
        legs=float(rng.uniform(0.45, 0.52)),
        shoulders=float(rng.uniform(0.098, 0.122)),
        skin=_pick(rng, SKIN),
        hair=_weighted(rng, _HAIR),
        hair_colour=_pick(rng, HAIR),
        hat=_weighted(rng, _HATS),
        hat_colour=_pick(rng, CLOTH),
        top=Garment(colour, accent, _weighted(rng, _PATTERNS), float(rng.uniform(0.045, 0.1))),
        hem=float(rng.choice([0.02, 0.05, 0.14], p=[0.4, 0.4, 0.2])),
        sleeves=_weighted(rng, _SLEEVES),
        sleeve_colour=accent if rng.random() < 0.25 else colour,
        legwear=_weighted(rng, _LEGWEAR),
        leg_colour=leg_colour,
        leg_accent=_pick(rng, CLOTH) if rng.random() < 0.25 else leg_colour,
        shoes=_pick(rng, SHOES),
        bag=_weighted(rng, _BAGS),
        bag_colour=_pick(rng, CLOTH),
        bag_side=int(rng.choice([-1, 1])),
    )


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[rng.integers(len(colours))]


def _two(rng: np.random.Generator, colours: tuple[Colour, ...]) -> tuple[Colour, Colour]:
    first, second = rng.choice(len(colours), 2, replace=False)
    return colours[first], colours[second]


def _weighted(rng: np.random.Generator, kinds: tuple[tuple[T, float], ...]) -> T:
    weights = np.array([weight for _, weight in kinds])
    return kinds[rng.choice(len(kinds), p=weights / weights.sum())][0]
