"""Rendered people and cameras: what is the same from view to view, and what is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reid_dhm.synthetic import (
    Camera,
    Garment,
    Person,
    Pose,
    draw_camera,
    draw_person,
    photograph,
    render_person,
    render_scene,
)

SIZE = (256, 192)
RED, WHITE = (200, 30, 30), (220, 220, 220)


@pytest.fixture
def camera() -> Camera:
    """Level, upright, lit from the front, and changing nothing but what a test sets."""
    return replace(
        draw_camera(np.random.default_rng(0)),
        tilt=0.0,
        shear=0.0,
        light=0.0,
        exposure=1.0,
        white_balance=(1.0, 1.0, 1.0),
        gamma=1.0,
        saturation=1.0,
        haze=0.0,
        blur=0.0,
        noise=0.0,
    )


@pytest.fixture
def person() -> Person:
    return replace(
        draw_person(np.random.default_rng(1)),
        top=Garment(WHITE, WHITE, "plain", 0.07),
        sleeve_colour=WHITE,
        bag="none",
        hat="none",
        hair="short",
    )


def reddish(image: np.ndarray, mask: np.ndarray) -> int:
    """Number of pixels of the person that are clearly red."""
    red, green, blue = image.astype(int).transpose(2, 0, 1)
    return int(((red > 2 * green) & (red > 2 * blue) & (mask > 0.9)).sum())


def test_a_seed_fixes_people_and_cameras_and_another_changes_them() -> None:
    for draw in (draw_person, draw_camera):
        assert draw(np.random.default_rng(3)) == draw(np.random.default_rng(3))
        assert len({draw(np.random.default_rng(seed)) for seed in range(40)}) == 40


def test_people_share_colours_that_they_wear_differently() -> None:
    people = [draw_person(np.random.default_rng(seed)) for seed in range(200)]
    outfits = [(person.top.colour, person.leg_colour) for person in people]
    assert max(map(outfits.count, outfits)) >= 5


def test_mask_covers_the_body_from_head_to_foot(person: Person, camera: Camera) -> None:
    image, mask = render_person(person, camera, Pose(stride=0.0, scale=0.75), SIZE)
    assert image.shape == (*SIZE, 3)
    assert image.dtype == np.uint8
    assert mask.shape == SIZE
    assert mask.min() == 0
    assert mask.max() == pytest.approx(1)
    rows = np.flatnonzero((mask > 0.5).any(axis=1))
    assert len(rows) / SIZE[0] == pytest.approx(0.75, abs=0.02)
    assert rows.mean() == pytest.approx(SIZE[0] / 2, abs=5)
    assert (mask[mask.shape[0] // 2 - 30, 90:102] > 0.99).all()  # the trunk is solid
    assert not image[mask == 0].any()


def test_the_image_scales_with_its_size(person: Person, camera: Camera) -> None:
    _, small = render_person(person, camera, Pose(), (128, 64))
    _, large = render_person(person, camera, Pose(), (512, 256))
    halves = large.reshape(128, 4, 64, 4).mean(axis=(1, 3))
    assert np.abs(small - halves).mean() < 0.01


def test_a_body_off_the_image_leaves_it_empty(person: Person, camera: Camera) -> None:
    _, mask = render_person(person, camera, Pose(shift=(3.0, 0.0)), SIZE)
    assert not mask.any()


def test_the_walking_phase_moves_the_legs_and_comes_round(person: Person, camera: Camera) -> None:
    def legs(phase: float) -> np.ndarray:
        side_on = Pose(yaw=np.pi / 2, phase=phase, stride=0.5)
        return render_person(person, camera, side_on, SIZE)[1][160:]

    apart, together = legs(np.pi / 2), legs(0.0)
    width = [np.ptp(np.flatnonzero(mask.any(axis=0))) for mask in (apart, together)]
    assert width[0] > 1.5 * width[1]
    np.testing.assert_allclose(legs(np.pi / 2 + 2 * np.pi), apart, atol=1e-3)


@pytest.mark.parametrize(
    ("pattern", "front", "back"),
    [("logo", True, False), ("open", True, False), ("print", False, True), ("hoops", True, True)],
)
def test_what_is_worn_in_front_is_not_seen_from_behind(
    person: Person, camera: Camera, pattern: str, front: bool, back: bool
) -> None:
    dressed = replace(person, top=Garment(WHITE, RED, pattern, 0.07))  # type: ignore[arg-type]
    for yaw, seen in ((0.0, front), (np.pi, back)):
        assert (reddish(*render_person(dressed, camera, Pose(yaw), SIZE)) > 50) == seen


def test_a_backpack_hides_behind_its_bearer(person: Person, camera: Camera) -> None:
    packed = replace(person, bag="backpack", bag_colour=RED)
    red = [reddish(*render_person(packed, camera, Pose(yaw), SIZE)) for yaw in (0.0, np.pi)]
    assert red[1] > 5 * red[0] > 0  # from the front, the straps alone


def test_a_bag_on_the_left_shows_when_walking_to_the_left(person: Person, camera: Camera) -> None:
    bearer = replace(person, bag="handbag", bag_colour=RED, bag_side=1)
    red = {
        yaw: reddish(*render_person(bearer, camera, Pose(yaw, stride=0.0), SIZE))
        for yaw in (np.pi / 2, -np.pi / 2)
    }
    assert red[-np.pi / 2] > 2 * red[np.pi / 2]


def test_cameras_see_different_scenes() -> None:
    cameras = [draw_camera(np.random.default_rng(seed)) for seed in range(4)]
    scenes = [render_scene(camera, (96, 160)).astype(int) for camera in cameras]
    np.testing.assert_array_equal(scenes[0], render_scene(cameras[0], (96, 160)))
    for index, scene in enumerate(scenes):
        assert all(np.abs(scene - other).mean() > 8 for other in scenes[:index])


@pytest.mark.parametrize(
    ("look", "brighter"),
    [
        ({"white_balance": (1.3, 1.0, 0.7)}, (True, None, False)),
        ({"exposure": 1.4}, (True, True, True)),
        ({"gamma": 1.6}, (False, False, False)),
        ({"haze": 0.3}, (True, True, True)),
    ],
)
def test_a_camera_gives_its_light_and_cast(
    camera: Camera, look: dict[str, float], brighter: tuple[bool | None, ...]
) -> None:
    grey = np.full((64, 32, 3), 90, np.uint8)
    plain, looked = (
        photograph(one, grey, np.random.default_rng(0)).mean(axis=(0, 1))
        for one in (camera, replace(camera, **look))
    )
    for change, expected in zip(looked - plain, brighter, strict=True):
        assert abs(change) < 1 if expected is None else (change > 8) == expected


def test_blur_smooths_and_noise_roughens(camera: Camera) -> None:
    edge = np.zeros((64, 32, 3), np.uint8)
    edge[:, 16:] = 180

    def steepest(one: Camera) -> int:
        return int(
            np.abs(
                np.diff(photograph(one, edge, np.random.default_rng(0)).astype(int), axis=1)
            ).max()
        )

    assert steepest(replace(camera, blur=0.02)) < 0.6 * steepest(camera)
    grey = np.full((64, 32, 3), 120, np.uint8)
    noisy = photograph(replace(camera, noise=6.0), grey, np.random.default_rng(0))
    assert noisy.std(axis=(0, 1)) == pytest.approx([6.0] * 3, rel=0.1)
