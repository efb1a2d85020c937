"""What the command line says in one line: an error that means "your input, not our code" (exit code 2), and a stop."""


class InputError(ValueError):
    """The user's mistake: names file, record or row, value and rule, and says what to do about it."""


class StoppedError(Exception):
    """The run has stopped: it was told to and saved a checkpoint, or another of its processes has ended.

    Attributes:
        code: exit code; 128 + the number of the signal where there was one.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
