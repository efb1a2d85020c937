"""The errors that the command line reports in one line: a mistake in the input, and a run that was stopped."""


class InputError(ValueError):
    """A mistake in the input (exit code 2): the message names file, record or row, value and rule, and the remedy."""


class StoppedError(Exception):
    """The end of a run that saved a checkpoint after a signal, or in which another process has ended.

    Attributes:
        code: exit code: 128 + the number of the signal, or 1 if another process has ended.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
