"""Opening files: by content, with a callback for all bytes, and errors that name the file."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from hf_genomics.errors import InputError
from hf_genomics.io.files import input_errors, open_binary, sha256_of, shorten


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", ["x.fa", "x.fa.gz"])
def test_compression_is_recognised_by_content(tmp_path: Path, name: str, zipped: bool) -> None:
    content = b">a\n" + b"ACGT" * 100_000
    on_disk = gzip.compress(content) if zipped else content
    (tmp_path / name).write_bytes(on_disk)
    seen = bytearray()
    with open_binary(tmp_path / name, seen.extend) as file:
        assert file.read() == content
    assert bytes(seen) == on_disk


@pytest.mark.parametrize(
    ("raised", "fact"),
    [
        (FileNotFoundError(2, "No such file"), "no such file"),
        (IsADirectoryError(21, "Is a directory"), "folder"),
        (NotADirectoryError(20, "Not a directory"), "no such file"),
        (EOFError("end"), "gzip"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "UTF-8"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (InputError("x: as it is"), "x: as it is"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_errors_of_reading_become_one_line_that_names_the_file(raised: Exception, fact: str) -> None:
    with pytest.raises(InputError) as error, input_errors("x"):
        raise raised
    assert str(error.value).startswith("x: ") and fact in str(error.value) and "\n" not in str(error.value)


def test_an_error_of_our_own_code_is_not_translated() -> None:
    with pytest.raises(AttributeError), input_errors("x"):
        raise AttributeError


def test_a_quotation_is_one_short_line() -> None:
    assert shorten("a\nb") == r"'a\nb'" and len(shorten("x" * 1000)) == 62


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content := b"ACGT" * (1 << 19))
    assert sha256_of(tmp_path / "x") == hashlib.sha256(content).hexdigest()
