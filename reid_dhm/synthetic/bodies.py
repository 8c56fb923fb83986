"""The body of a synthetic person in a pose, as solids between joints, with clothes and a bag.

:mod:`reid_dhm.synthetic.rendering` projects and paints them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reid_dhm.synthetic.people import Person, Pose
from reid_dhm.synthetic.surfaces import Surface, cloth, face, legwear, plain, sleeve

Point = NDArray[np.float64]
"""x to the person's left, y up from the ground, z forward, in body heights."""


@dataclass(frozen=True, slots=True)
class Part:
    """A solid of revolution between two joints.

    Attributes:
        start: upper end of the axis.
        end: lower end of the axis.
        radii: half-widths at even steps from start to end, in body heights.
        surface: its colours.
        flat: depth over width; 1 is round.
        rounded: whether the ends are half-spheres; otherwise they are flat.
        lift: added to the depth of its middle when parts are sorted, so that clothes are painted
            over the body from every side.
    """

    start: Point
    end: Point
    radii: tuple[float, ...]
    surface: Surface
    flat: float = 1.0
    rounded: bool = True
    lift: float = 0.0


_CROWN, _CHIN, _NECK, _SHOULDER, _ANKLE = 1.0, 0.868, 0.835, 0.793, 0.04
_EGG = (0.01, 0.035, 0.046, 0.051, 0.053, 0.052, 0.047, 0.039, 0.022)
_DOME = (0.014, 0.035, 0.046, 0.053, 0.057, 0.058)


def body(person: Person, pose: Pose) -> list[Part]:
    """All parts of a person in a pose, unsorted, with the lower foot on the ground."""
    legs = [*_leg(person, pose, 1), *_leg(person, pose, -1)]
    arms = [*_arm(person, pose, 1), *_arm(person, pose, -1)]
    parts = [*legs, *arms, *_torso(person), *_head(person), *_bag(person)]
    sink = np.array([0.0, min(part.end[1] for part in legs) - 0.01, 0.0])
    return [replace(part, start=part.start - sink, end=part.end - sink) for part in parts]


def _at(x: float, y: float, z: float) -> Point:
    return np.array([x, y, z])


def _hanging(forward: float, outward: float = 0.0) -> Point:
    """Unit vector down, turned forward and to the person's left by angles in radians."""
    level = math.cos(outward)
    return _at(math.sin(outward), -math.cos(forward) * level, math.sin(forward) * level)


def _shoulder_width(person: Person) -> float:
    return person.shoulders * (0.55 + 0.45 * person.build)


def _hip_width(person: Person) -> float:
    return 0.098 * person.build


def _leg(person: Person, pose: Pose, side: int) -> list[Part]:
    """Foot, shin and thigh of the left (side 1) or right (-1) leg, dressed."""
    phase = pose.phase if side > 0 else pose.phase + math.pi
    swing = pose.stride * math.sin(phase)
    bend = 1.6 * pose.stride * max(0.0, math.cos(phase))  # as the leg comes forward
    length = person.legs - _ANKLE
    hip = _at(side * 0.047 * person.build, person.legs, 0)
    knee = hip + 0.52 * length * _hanging(swing)
    ankle = knee + 0.48 * length * _hanging(swing - bend)
    toe = ankle + _at(side * 0.012, -0.022, 0.085)

    girth = 0.08 + 0.92 * person.build
    skin, fabric = plain(person.skin), legwear(person)
    long = person.legwear == "trousers"
    loose = 1.12 * girth if long else girth
    shin = (0.036 * loose, 0.037 * loose, 0.032 * girth if long else 0.026 * girth)
    above = skin if person.legwear == "skirt" else fabric
    parts = [
        Part(ankle, toe, (0.024, 0.022, 0.016), plain(person.shoes), lift=-0.06),
        Part(knee, ankle, shin, fabric if long else skin, lift=-0.06),
        Part(hip, knee, (0.058 * loose, 0.042 * loose), above, lift=-0.055),
    ]
    if person.legwear == "shorts":
        hem = knee + 0.03 * _hanging(swing - bend)
        radii = (0.06 * girth, 0.054 * girth)
        parts.append(Part(hip, hem, radii, fabric, rounded=False, lift=-0.054))
    return parts


def _arm(person: Person, pose: Pose, side: int) -> list[Part]:
    """Hand, forearm and upper arm of the left (side 1) or right (-1) arm, dressed."""
    phase = pose.phase + math.pi if side > 0 else pose.phase  # arms swing against the legs
    swing = 0.9 * pose.stride * math.sin(phase)
    bend = 0.35 + 0.4 * max(0.0, swing)
    shoulder = _at(side * _shoulder_width(person), _SHOULDER, 0)
    elbow = shoulder + 0.168 * _hanging(swing, side * 0.13)
    wrist = elbow + 0.145 * _hanging(swing + bend, side * 0.02)
    fingers = wrist + 0.03 * _hanging(swing + bend)

    girth = 0.6 + 0.4 * person.build
    loose = girth * {"none": 1.0, "short": 1.25, "long": 1.15}[person.sleeves]
    skin, fabric = plain(person.skin), sleeve(person)
    above = skin if person.sleeves == "none" else fabric
    below = fabric if person.sleeves == "long" else skin
    return [
        Part(wrist, fingers, (0.017, 0.015), skin, lift=0.082),
        Part(elbow, wrist, (0.025 * girth, 0.019 * girth), below, lift=0.083),
        Part(shoulder, elbow, (0.032 * loose, 0.026 * loose), above, lift=0.084),
    ]


def _torso(person: Person) -> list[Part]:
    """Neck, top, and the hips in trousers, shorts or a skirt."""
    shoulders, hips = _shoulder_width(person), _hip_width(person)
    waist = 0.35 * shoulders + 0.6 * hips
    top = (0.045, shoulders, 1.02 * shoulders, 0.98 * shoulders, waist, waist, hips, 1.04 * hips)
    neck, hem = _at(0, _NECK, 0), _at(0, person.legs - person.hem, 0)
    parts = [
        Part(_at(0, _CHIN + 0.02, -0.005), neck, (0.03, 0.034), plain(person.skin), lift=0.03),
        Part(neck, hem, top, cloth(person.top), flat=0.68, rounded=False, lift=0.06),
    ]
    if person.legwear == "skirt":
        high, low = _at(0, person.legs + 0.04, 0), _at(0, 0.55 * person.legs, 0)
        radii: tuple[float, ...] = (0.85 * hips, hips, 1.15 * hips, 1.3 * hips)
    else:
        high, low = _at(0, person.legs + 0.03, 0), _at(0, person.legs - 0.035, 0)
        radii = (hips, hips, 0.9 * hips)
    parts.append(Part(high, low, radii, legwear(person), flat=0.8, rounded=False, lift=0.055))
    return parts


def _head(person: Person) -> list[Part]:
    """Head, hair that hangs or is tied, and hat."""
    crown, chin = _at(0, _CROWN, 0.008), _at(0, _CHIN, 0.012)
    parts = [Part(crown, chin, _EGG, face(person), flat=1.2, rounded=False, lift=0.07)]
    hair, felt = plain(person.hair_colour), plain(person.hat_colour)
    if person.hair == "long":
        high, ends = _at(0, 0.975, -0.02), _at(0, 0.775, -0.052)
        parts.append(Part(high, ends, (0.05, 0.058, 0.055, 0.045), hair, flat=0.6, lift=0.05))
    if person.hair == "bun":
        high, low = _at(0, 0.985, -0.055), _at(0, 0.97, -0.06)
        parts.append(Part(high, low, (0.028, 0.028), hair, lift=0.07))
    if person.hat != "none":
        top, rim = _at(0, 1.008, 0), _at(0, 0.955 if person.hat == "cap" else 0.94, 0.002)
        parts.append(Part(top, rim, _DOME, felt, flat=1.15, rounded=False, lift=0.09))
    if person.hat == "cap":
        brow, peak = _at(0, 0.955, 0.042), _at(0, 0.949, 0.087)
        parts.append(Part(brow, peak, (0.018, 0.012), felt, lift=0.09))
    return parts


def _bag(person: Person) -> list[Part]:
    """The bag, with its straps where it has them."""
    fabric, side, width = plain(person.bag_colour), person.bag_side, _shoulder_width(person)
    match person.bag:
        case "none":
            return []
        case "backpack":
            straps = [
                (_at(0.6 * x, 0.815, 0.06), _at(0.66 * x, 0.66, 0.085)) for x in (width, -width)
            ]
            high, low = _at(0, 0.8, -0.115), _at(0, 0.575, -0.125)
            sack = Part(high, low, (0.06, 0.082, 0.086, 0.08), fabric, flat=0.75)
        case "shoulder":
            x, y = side * (width + 0.012), person.legs + 0.03
            straps = [(_at(-0.6 * side * width, 0.82, z), _at(x, y, z)) for z in (0.075, -0.075)]
            high, low = _at(x, y, 0), _at(x, y - 0.085, 0)
            sack = Part(high, low, (0.05, 0.055), fabric, flat=1.3, rounded=False, lift=0.09)
        case "handbag":
            x, y = side * (width + 0.035), person.legs - 0.06
            straps = []
            high, low = _at(x, y, 0.03), _at(x, y - 0.1, 0.03)
            radii = (0.012, 0.05, 0.055, 0.055)
            sack = Part(high, low, radii, fabric, flat=1.2, rounded=False, lift=0.09)
    return [sack, *(Part(*strap, (0.011, 0.011), fabric, lift=0.02) for strap in straps)]
