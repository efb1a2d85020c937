"""The errors that the command line reports in one line: a mistake in the input, and a run that was stopped."""


class InputError(ValueError):
    """A mistake in the input (exit code 2): the message names file, record or row, value and rule, and the remedy."""


class StoppedError(BaseException):
    """The end of a command that a signal stopped, or of a run in which another process has ended.

    Like KeyboardInterrupt it is no Exception, so that code that survives any Exception does not swallow the stop.

    Attributes:
        code: exit code: 128 + the number of the signal, or 1 if another process has ended.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
