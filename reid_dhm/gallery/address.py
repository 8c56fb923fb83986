"""Where a gallery lies: a folder, or tables on storage that several machines share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from reid_dhm.errors import InputError

_S3, _LANCE = "s3:", "lance:"


@dataclass(frozen=True, slots=True)
class SharedAddress:
    """A gallery on shared storage.

    Attributes:
        text: as users write it: ``s3://BUCKET/PREFIX`` or ``lance:FOLDER``.
        uri: as Lance opens it.
    """

    text: str
    uri: str

    def __str__(self) -> str:
        return self.text

    @property
    def name(self) -> str:
        """Its last part."""
        return self.uri.rsplit("/", 1)[-1]


def shared_address(place: Path | str) -> SharedAddress | None:
    """The shared gallery that a path names; None for a folder.

    Args:
        place: as given on the command line; a :class:`~pathlib.Path` has only one of the slashes
            of ``s3://``.

    Raises:
        InputError: ``s3:`` without a bucket and a prefix, ``lance:`` without a folder.
    """
    text = str(place)
    if text.startswith(_S3):
        parts = [part for part in text.removeprefix(_S3).split("/") if part]
        if len(parts) < 2:
            raise InputError(
                f"s3://{''.join(parts)} names no gallery on S3: give a bucket and a prefix, such "
                "as s3://footage/site"
            )
        uri = "s3://" + "/".join(parts)
        return SharedAddress(uri, uri)
    if text.startswith(_LANCE):
        folder = text.removeprefix(_LANCE)
        if not folder:
            raise InputError("lance: names no folder: give one, such as lance:/mnt/footage/site")
        path = os.path.normpath(Path(folder).expanduser().absolute())
        return SharedAddress(_LANCE + folder, path)
    return None
