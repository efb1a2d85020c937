"""The errors that the command line reports in one line: a mistake in the input, and a run that was stopped."""


class InputError(ValueError):
    """A mistake in the input (exit code 2): the message names file, record or row, value and rule, and the remedy."""


class StoppedError(Exception):
    """The end of a run that was told to stop and saved a checkpoint, or of which another process has ended.

    Attributes:
        code: exit code; after a signal, 128 + its number.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
