"""The errors of the package, by what the caller can do about them.

The command line prints their message as one line and exits with 1; the service answers with a
status. Nothing else decides by an error's text.
"""

_LONGEST = 4000


class ReidError(Exception):
    """Base class. The message is one sentence: the value, the file it came from, the remedy.

    The middle of a very long one is left out: names and values in it may have any length.
    """

    def __str__(self) -> str:
        """The message, of a bounded length."""
        text = super().__str__()
        if len(text) <= _LONGEST:
            return text
        return f"{text[: _LONGEST // 2]} … {text[-(_LONGEST // 2) :]}"


class InputError(ReidError, ValueError):
    """Something the user gave cannot be used: change it."""


class NotFoundError(InputError):
    """A file, folder, camera, tracklet or person that the input names does not exist."""


class UnsupportedError(InputError):
    """Valid, but not possible here: a missing library, codec, device or format."""


class ModelMismatchError(InputError):
    """Embeddings of different models would be compared."""


class NonFiniteLossError(InputError):
    """The training loss became NaN or infinite; the message names the batch's files."""


class LockedError(ReidError):
    """Another process holds what is needed: try again later."""


class StorageError(ReidError):
    """A disk or database failed or is damaged: repair it, or choose another place."""


class StorageFullError(StorageError):
    """The disk is full: free some space and try again."""


def first_line(error: BaseException) -> str:
    """A library's error message on one line; the error's type where the message is empty.

    OpenVINO's messages begin with places in its source (``Exception from …``) and end with the
    reason.
    """
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1 if lines[0].startswith("Exception from ") else 0]
