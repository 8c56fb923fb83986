"""How text from outside is shown on a terminal, in a page and in a table."""

from __future__ import annotations


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


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python stands for a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
