"""Small pieces of HTML for notebooks."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of text, escaped."""
    lines = ["<table><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in header) + "</tr>"]
    for row in rows:
        lines.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
    return "\n".join([*lines, "</table>"])


def image(jpeg: bytes, caption: str, height: int = 128) -> str:
    """A JPEG with a caption below it."""
    data = b64encode(jpeg).decode()
    return (
        '<figure style="display:inline-block;margin:4px;text-align:center">'
        f'<img src="data:image/jpeg;base64,{data}" style="height:{height}px">'
        f'<figcaption style="font-size:smaller">{escape(caption)}</figcaption></figure>'
    )
