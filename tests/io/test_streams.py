"""Streams and links: what an output path leads to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hf_genomics.errors import InputError
from hf_genomics.io.streams import STDOUT, destination, is_stream, open_stream, output_path
from hf_genomics.io.writing import check_output, check_output_file, output_errors, replacing, write_text


def test_a_dash_is_standard_output_and_a_file_of_that_name_has_a_folder():
    assert output_path("-") == STDOUT and output_path("./-") == Path("-") and output_path("x") == Path("x")


def test_files_and_folders_are_no_streams_and_pipes_and_devices_are(tmp_path):
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    for name, target in (("to_file", "file"), ("to_pipe", "pipe"), ("to_null", "/dev/null"), ("nowhere", "none")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / "loop").symlink_to("loop")
    found = {path.name for path in tmp_path.iterdir() if is_stream(path)}
    assert found == {"pipe", "to_pipe", "to_null"} and not is_stream(tmp_path) and not is_stream(tmp_path / "none")
    assert is_stream(STDOUT) and is_stream(Path("/dev/fd/1")) and is_stream(Path(f"/proc/{os.getpid()}/fd/1"))
    assert not is_stream(Path("x" * 5000)) and not is_stream(Path("a\0b")), "no file has such a name"


def test_an_open_file_is_continued_where_it_stands(tmp_path):
    """As in `{ echo before; hf-genomics ... --output /dev/stdout; } > file`."""
    code = (
        "import sys; from pathlib import Path; from hf_genomics.io.writing import write_text\n"
        "print('before'); write_text(Path(sys.argv[1]), 'text\\n'); print('after')"
    )
    (tmp_path / "link").symlink_to("/dev/stdout")
    for path in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"):
        with open(tmp_path / "out", "w") as out:
            command = [sys.executable, "-c", code, path]
            subprocess.run(command, stdout=out, check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.getcwd()})
        assert (tmp_path / "out").read_text() == "before\ntext\nafter\n"
    assert Path("/dev/stdout").is_symlink() and (tmp_path / "link").is_symlink()


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_text(tmp_path / "pipe", "text")
    assert os.read(reader, 100) == b"text" and os.listdir(tmp_path) == ["pipe"]
    os.close(reader)


def test_a_closed_descriptor_is_an_error(tmp_path):
    with pytest.raises(OSError):
        open_stream(Path("/dev/fd/987"))


@pytest.mark.parametrize("depth", [1, 3])
def test_links_stay_links_and_what_they_lead_to_is_written(tmp_path, depth):
    target = tmp_path / "real"
    for number in range(depth):
        (tmp_path / f"link{number}").symlink_to(target)
        target = tmp_path / f"link{number}"
    write_text(target, "text")
    assert target.is_symlink() and (tmp_path / "real").read_text() == "text" and destination(target).name == "real"
    (tmp_path / "folder_link").symlink_to("folder")
    with replacing(tmp_path / "folder_link") as folder:
        (folder / "x").write_text("")
    assert (tmp_path / "folder_link").is_symlink() and os.listdir(tmp_path / "folder") == ["x"]


def test_permissions_of_what_is_replaced_are_kept(tmp_path):
    write_text(tmp_path / "file", "old")
    (tmp_path / "file").chmod(0o604)
    (tmp_path / "folder").mkdir(mode=0o750)
    write_text(tmp_path / "file", "new")
    with replacing(tmp_path / "folder"):
        pass
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "file", tmp_path / "folder")] == [0o604, 0o750]


def test_a_file_output_is_refused_for_what_would_be_lost(tmp_path):
    (tmp_path / "in").write_text("mine")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    inputs = [str(tmp_path / "in"), str(tmp_path / "model"), None, "user/model"]
    for name, part in {
        "in": "is read as an input",
        "./in": "is read as an input",
        "model/../in": "is read as an input",
        "model/config.json": "is read as an input",
        "model": "is a folder",
        "new/": "names a folder",
        "in/x": "is a file, not a folder",
    }.items():
        with pytest.raises(InputError, match=part):
            check_output_file(f"{tmp_path}/{name}", inputs, overwrite=True)
    (tmp_path / "old").write_text("mine")
    with pytest.raises(InputError, match="--overwrite true"):
        check_output_file(str(tmp_path / "old"), inputs, overwrite=False)
    for name in ("old", "new", "new/er", "model/new"):
        assert check_output_file(f"{tmp_path}/{name}", inputs, overwrite=True) == tmp_path / name
    assert check_output_file("-", inputs, overwrite=False) == STDOUT
    assert check_output_file(tmp_path / "new", inputs, overwrite=False) == tmp_path / "new"
    with pytest.raises(InputError, match="not a folder"):
        check_output(Path("/dev/null"), folder=True)


def test_errors_of_writing_name_the_output_and_a_closed_pipe_is_none():
    with pytest.raises(InputError, match="out: cannot be written: No space"), output_errors(Path("out")):
        raise OSError(28, "No space left on device")
    with pytest.raises(BrokenPipeError), output_errors(Path("out")):
        raise BrokenPipeError
    with pytest.raises(InputError, match=r"/dev/full: cannot be written: No space"), output_errors(Path("/dev/full")):
        write_text(Path("/dev/full"), "text")


def test_a_process_without_standard_output_gets_an_error_of_the_system(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdout", None)
    with open(tmp_path / "x", "wb") as file, open_stream(Path(f"/dev/fd/{file.fileno()}")) as stream:
        stream.write(b"row")
    assert (tmp_path / "x").read_bytes() == b"row"
