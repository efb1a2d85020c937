"""Messages with advice that no command line of the tests follows, each with the reason."""

from __future__ import annotations

#: Modules and texts that are no messages, although options seem to stand in them.
NO_MESSAGES = {
    "hf_genomics.reports.html",  # CSS has names such as --page
    "--tf32 requires",  # what transformers says, to be recognised
}
#: Module below the package, and a part of the message -> why no test follows its advice.
UNREACHED: dict[tuple[str, str], str] = {}

#: Case -> why what its message advises cannot be tried by changing the command line.
NOT_FOLLOWED: dict[str, str] = {}
