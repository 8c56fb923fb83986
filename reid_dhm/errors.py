"""The one error type that the command line prints as a single line instead of a traceback."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one sentence that names the value, the file it came from, and the mend.
    """


def first_line(error: BaseException) -> str:
    """What a library's error says, on one line; its type where it says nothing.

    OpenVINO's errors begin with places in its source (``Exception from …``) and end with what is
    the matter.
    """
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1 if lines[0].startswith("Exception from ") else 0]


class NonFiniteLossError(InputError):
    """The training loss became NaN or infinite; the message names the batch's files."""
