"""How text from outside is shown on a terminal, in a page and in a table."""

from __future__ import annotations

import os
import shlex


def printable(value: object, longest: int = 1000) -> str:
    r"""A value as one line of printable text of about ``longest`` characters at most.

    Control characters and bytes that are not UTF-8 appear escaped, such as ``\x1b``, so that a name
    cannot move the cursor, change colours or fail to print. The middle of a longer text is left
    out.
    """
    text = str(value)
    if len(text) > longest:
        text = f"{text[: longest // 2]} … {text[-(longest // 2) :]}"
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else _escaped(character) for character in text
    )


def shell_word(value: object) -> str:
    r"""A word of a command to suggest: printable, and the same name again when a shell reads it.

    Names with control characters or bytes that are not UTF-8 are written as ``$'\xff'``, which
    bash, zsh and ksh read.
    """
    text = str(value)
    if text.isprintable():
        return shlex.quote(text)
    shown = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}"
        for byte in os.fsencode(text)
    )
    return f"$'{shown}'"


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python stands for a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
