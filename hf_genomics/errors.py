"""The one error that means "your input, not our code": the command line prints it in one line and exits with 2."""


class InputError(ValueError):
    """The user's mistake: names file, record or row, value and rule, and says what to do about it."""
