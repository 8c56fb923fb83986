"""Text from outside is shown as data, whatever it holds."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid_dhm.errors import InputError, StorageError
from reid_dhm.text import printable, shell_word


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a/café.jpg", "a/café.jpg"),
        ("a/caf\udce9.jpg", r"a/caf\xe9.jpg"),  # a byte that is not UTF-8
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("two\nlines\t", r"two\nlines\t"),
        ("\u202egnp.exe", r"\u202egnp.exe"),  # right-to-left override
        ("\ud800", r"\ud800"),
        (12, "12"),
    ],
)
def test_what_is_not_printable_is_escaped(value, shown):
    assert printable(value) == shown


@given(st.text(st.characters(), max_size=200))
def test_every_text_becomes_one_line_that_can_be_encoded(text):
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode().decode() == shown


def test_the_middle_of_a_long_text_is_left_out():
    shown = printable("a" * 50_000 + "b" * 50_000, longest=20)
    assert shown == "a" * 10 + " … " + "b" * 10


@pytest.mark.parametrize("kind", [InputError, StorageError])
def test_a_message_with_a_very_long_value_keeps_its_beginning_and_its_remedy(kind):
    shown = str(kind(f"runs/{'a' * 200_000}.yaml: does not exist: give another name"))
    assert len(shown) < 5000
    assert shown.startswith("runs/aaa")
    assert shown.endswith(".yaml: does not exist: give another name")
    assert str(kind("gone: does not exist")) == "gone: does not exist"


@pytest.mark.parametrize(
    "name",
    ["plain", "my site", "it's", '"$HOME"', "a\\b", "é", "\udcff\udcfe.mp4", "a\nb'\x1b[31m"],
)
def test_a_word_of_a_suggested_command_is_printable_and_names_the_same(name):
    word = shell_word(name)
    assert word.isprintable()
    shown = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert shown.stdout == os.fsencode(name)
