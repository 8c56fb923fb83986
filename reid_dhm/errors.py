"""The one error type that the command line prints as a single line instead of a traceback."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one sentence that names the value, the file it came from, and the mend.
    """


class NonFiniteLossError(InputError):
    """The training loss became NaN or infinite; the message names the batch's files."""
