"""Fetching a file whole and verified: resumed after an interruption, never half in place."""

from __future__ import annotations

import errno
from pathlib import Path

from reid_dhm.errors import (
    InputError,
    ReidError,
    StorageError,
    StorageFullError,
    UnsupportedError,
    first_line,
)
from reid_dhm.files import write_text
from reid_dhm.inference.engines.exported import file_digest
from reid_dhm.inference.zoo.entries import RemoteFile

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DownloadError(ReidError):
    """A file could not be fetched, or what came is not it: try again, or fetch it by hand."""


def fetch(file: RemoteFile, folder: Path) -> Path:
    """The file in ``folder``, fetched unless it is there; a partial one is continued.

    A file that is there, perhaps brought by hand, is compared with the checksum known here.

    Progress goes to stderr where that is a terminal. A second process waits for the first. Only a
    file of the expected size and SHA-256 gets its name: the one of the entry, else the one that the
    Hub gives, else the one of the first fetch, which is kept beside the file (``FILE.sha256``).

    Args:
        file: what to fetch.
        folder: where to; created if missing.

    Returns:
        The path of the verified file.

    Raises:
        UnsupportedError: offline mode (``HF_HUB_OFFLINE=1``).
        DownloadError: no connection, an answer that is another file, or another checksum.
        InputError: the file that is there is another one.
        StorageError: the folder cannot be written, or the disk is full.
    """
    target = folder / file.name
    if target.is_file():
        _check_present(file, target)
        return target
    from filelock import FileLock
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise UnsupportedError(
            f"{file.name} is not here and offline mode is on (HF_HUB_OFFLINE): switch it off, or "
            f"put the file of {file.url} into {folder}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.is_file():  # another process may have fetched it meanwhile
                _fetch_verified(file, target)
    except OSError as error:
        what = f"{target} cannot be written ({error.strerror or error})"
        if error.errno in _FULL:
            raise StorageFullError(f"{what}: free some space and run the command again") from error
        raise StorageError(f"{what}: make {folder} writable, or set REID_DHM_HOME") from error
    return target


def _check_present(file: RemoteFile, target: Path) -> None:
    expected, found = _known_digest(file, target), file_digest(target)
    if found != (expected or found):
        raise InputError(
            f"{target} is not the published file (its SHA-256 is {found[:12]}…, not "
            f"{expected[:12] if expected else ''}…): remove it and run the command again"
        )


def _fetch_verified(file: RemoteFile, target: Path) -> None:
    partial = target.with_name(f"{target.name}.partial")
    resumed = partial.is_file() and partial.stat().st_size > 0
    expected = _known_digest(file, target) or _published_digest(file, target.parent)
    if not (resumed and file_digest(partial) == expected):  # a process died before it was renamed
        _download(file, partial)
    if _is_web_page(partial):
        partial.unlink()
        raise _other_file(file, target.parent, "the answer is a web page, perhaps a proxy's")
    found = file_digest(partial)
    if found != (expected or found):
        partial.unlink()
        if resumed:  # what was there may be of another file
            return _fetch_verified(file, target)
        cause = f"its SHA-256 is {found[:12]}…, not {expected[:12] if expected else ''}…"
        raise _other_file(file, target.parent, cause)
    if expected is None:
        write_text(_pin(target), f"{found}  {target.name}\n")
    partial.replace(target)
    return None


def _download(file: RemoteFile, partial: Path) -> None:
    """Fetch what is missing of a file.

    Raises:
        DownloadError: the server cannot be reached, or sent less or more than it should.
        OSError: the file cannot be written.
    """
    from huggingface_hub import file_download

    if partial.is_file() and (
        _is_web_page(partial) or (file.size is not None and partial.stat().st_size > file.size)
    ):
        partial.unlink()
    with partial.open("ab") as stream:
        try:
            try:
                file_download.http_get(
                    file.url, stream, resume_size=stream.tell(), expected_size=file.size
                )
            except Exception as error:
                if not stream.tell() or not _is_beyond_the_end(error):
                    raise
                stream.truncate(0)
                file_download.http_get(file.url, stream, expected_size=file.size)
            stream.flush()
        except Exception as error:  # of whichever HTTP library the hub's client uses
            if isinstance(error, OSError) and error.errno in _FULL:
                raise
            stream.flush()
            cause = first_line(error)
            if _is_web_page(partial):
                partial.unlink()
                cause = "the answer is a web page, perhaps a proxy's"
            raise DownloadError(
                f"{file.url} cannot be fetched ({cause}): check the network or proxy and run the "
                f"command again, it continues; or put the file into {partial.parent}"
            ) from error


def _other_file(file: RemoteFile, folder: Path, cause: str) -> DownloadError:
    return DownloadError(
        f"{file.url} did not give the published file ({cause}): run the command again, or put the "
        f"file into {folder}"
    )


def _is_web_page(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(64).lstrip().lower()
    return head.startswith((b"<!doctype", b"<html"))


def _is_beyond_the_end(error: Exception) -> bool:
    """Whether a server answered that it has nothing after what is here (416)."""
    return getattr(getattr(error, "response", None), "status_code", None) == 416


def _pin(target: Path) -> Path:
    """The file that keeps the SHA-256 of a first fetch."""
    return target.with_name(f"{target.name}.sha256")


def _known_digest(file: RemoteFile, target: Path) -> str | None:
    """The SHA-256 of a file as far as this machine knows it."""
    if file.sha256 is None and _pin(target).is_file():
        return _pin(target).read_text(encoding="utf-8").split()[0]
    return file.sha256


def _published_digest(file: RemoteFile, folder: Path) -> str | None:
    """The SHA-256 that the Hub gives; None for a file of which nobody gives one."""
    if file.pinned_on_first_use:
        return None
    from huggingface_hub import get_hf_file_metadata

    try:
        etag = get_hf_file_metadata(file.url).etag or ""
    except Exception as error:  # of whichever HTTP library the hub's client uses
        raise DownloadError(
            f"{file.url} cannot be fetched ({first_line(error)}): check the network or proxy and "
            f"run the command again; or put the file into {folder}"
        ) from error
    if len(etag) != 64:
        raise InputError(f"{file.url}: its publisher gives no SHA-256; fetch it by hand and add it")
    return etag
