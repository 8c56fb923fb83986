"""Fetching a file whole and verified: resumed after an interruption, never half in place."""

from __future__ import annotations

import hashlib
from pathlib import Path

from reid_dhm.errors import InputError, ReidError, UnsupportedError, first_line
from reid_dhm.inference.zoo.entries import RemoteFile

_BLOCK = 2**20


class DownloadError(ReidError):
    """A file could not be fetched, or what came is not it: try again, or fetch it by hand."""


def fetch(file: RemoteFile, folder: Path) -> Path:
    """The file in ``folder``, fetched unless it is there; a partial one is continued.

    Progress goes to stderr where that is a terminal. Only a file of the expected size and SHA-256
    gets its name; the Hub's own SHA-256 serves where none is known beforehand.

    Args:
        file: what to fetch.
        folder: where to; created if missing.

    Returns:
        The path of the verified file.

    Raises:
        UnsupportedError: offline mode (``HF_HUB_OFFLINE=1``).
        DownloadError: no connection, an answer that is another file, or another checksum.
    """
    target = folder / file.name
    if target.is_file():
        return target
    from huggingface_hub import constants, file_download

    if constants.HF_HUB_OFFLINE:
        raise UnsupportedError(
            f"{file.name} is not here and offline mode is on (HF_HUB_OFFLINE): switch it off, or "
            f"put the file of {file.url} into {folder}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    try:
        expected = file.sha256 or _published_checksum(file.url)
        if file.size is not None and partial.is_file() and partial.stat().st_size > file.size:
            partial.unlink()
        with partial.open("ab") as stream:
            file_download.http_get(
                file.url, stream, resume_size=stream.tell(), expected_size=file.size
            )
    except ReidError:
        raise
    except Exception as error:  # of whichever HTTP library the hub's client uses
        raise DownloadError(
            f"{file.url} cannot be fetched ({first_line(error)}): check the network or proxy and "
            f"run the command again, it continues; or put the file into {folder}"
        ) from error
    found = _sha256(partial)
    if found != expected:
        head = partial.open("rb").read(64).lstrip().lower()
        partial.unlink()
        cause = (
            "the answer is a web page, perhaps a proxy's"
            if head.startswith((b"<!doctype", b"<html"))
            else f"its SHA-256 is {found[:12]}…, not {expected[:12]}…"
        )
        raise DownloadError(
            f"{file.url} did not give the published file ({cause}): run the command again, or put "
            f"the file into {folder}"
        )
    partial.replace(target)
    return target


def _published_checksum(url: str) -> str:
    """The SHA-256 that the Hugging Face Hub gives for a file of its large-file storage."""
    from huggingface_hub import get_hf_file_metadata

    etag = get_hf_file_metadata(url).etag or ""
    if len(etag) != 64:
        raise InputError(f"{url}: its publisher gives no SHA-256; fetch it by hand and add it")
    return etag


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
