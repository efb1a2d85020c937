"""The two errors that end with one line."""

from __future__ import annotations

import pytest

from hf_genomics.cli import main
from hf_genomics.errors import InputError, StoppedError


def test_a_mistake_of_the_users_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="line"):
        raise InputError("line")


@pytest.mark.parametrize(("error", "code"), [(InputError("why"), 2), (StoppedError("why", 143), 143)])
def test_both_end_with_their_line_and_exit_code(error: Exception, code: int, monkeypatch, capsys) -> None:
    def push(model: str) -> None:
        raise error

    monkeypatch.setattr("hf_genomics.push", push, raising=False)
    assert main(["push", "--model", "x"]) == code
    assert capsys.readouterr().err == "hf-genomics: error: why\n"
