"""Keep the explanations of windows on disk while they are computed, so that an interrupted run can be continued.

A folder holds ``windows.jsonl``, one line per window, and one file of float32 numbers for each array. A line states
where the window's numbers end in each file; whatever lies behind the last whole line is cut off by a resumed run.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import InputError
from ..io.writing import write_json
from .scoring import Explanation

#: Columns of one row of each array, if an array has more than one: four letters.
_WIDTHS = {"letters": 4}


class Record(NamedTuple):
    """An explanation as it was read back.

    Attributes:
        facts: id, start, end, target and the numbers of `Explanation`; "length" of the sequence's first part if it is a
            pair, and "shape" of its attention heads.
        dna: uint8 (nt,), the letters.
        scores: float32 (nt,).
        columns: further arrays, as in `Explanation`.
    """

    facts: dict[str, Any]
    dna: np.ndarray
    scores: np.ndarray
    columns: dict[str, np.ndarray]


class Records:
    """Explanations in a folder; use it in a ``with`` block while explanations are added.

    Args:
        folder: the folder; it is created with the first explanation.
        settings: everything that the explanations depend on: model, input, options.
        resume: keep the explanations of an interrupted run.

    Attributes:
        facts: facts of all windows so far.
        settings: the settings.

    Raises:
        InputError: if the interrupted run had other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], resume: bool) -> None:
        self.folder, self.settings = folder, settings
        self.facts: list[dict[str, Any]] = []
        self._files: dict[str, BinaryIO] = {}
        if resume and (folder / "windows.jsonl").is_file():
            _check_settings(folder, settings)
            self.facts = list(_whole_lines(folder))
            for name, end in (self.facts[-1]["ends"] if self.facts else {}).items():
                os.truncate(folder / name, end)
            lines = "".join(json.dumps(line) + "\n" for line in self.facts)
            (folder / "windows.jsonl").write_text(lines, encoding="utf-8")

    def add(self, one: Explanation) -> None:
        """Append an explanation."""
        if not self.facts and not self._files:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_json(self.folder / "settings.json", self.settings)
        given = one.window.row
        dna = np.concatenate([given[name] for name in ("sequence", "pair") if name in given])
        arrays = {"dna": dna, "scores": np.asarray(one.scores, np.float32)}
        arrays |= {name: np.asarray(values, np.float32) for name, values in one.columns.items()}
        ends = {name: self._append(name, values.tobytes()) for name, values in arrays.items()}
        facts = {
            "id": one.window.name,
            "sequence_index": one.window.sequence_index,
            "start": one.window.start,
            "end": one.window.end,
            "target": one.target,
            **{name: getattr(one, name) for name in ("value", "base_value", "special", "error", "steps")},
            "sum": float(np.sum(one.scores)),
            "pair": len(given["pair"]) if "pair" in given else None,
            "shape": list(one.columns["entropy"].shape) if "entropy" in one.columns else None,
            "tracks": one.columns["tracks"].tolist() if "tracks" in one.columns else [],
            "ends": ends,
        }
        self.facts.append(facts)
        self._append("windows.jsonl", (json.dumps(facts) + "\n").encode())

    def _append(self, name: str, content: bytes) -> int:
        """Append to a file, pass it to the operating system, and return the file's size."""
        if name not in self._files:
            self._files[name] = open(self.folder / name, "ab")
        self._files[name].write(content)
        self._files[name].flush()
        return self._files[name].tell()

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.facts)

    def read(self, number: int) -> Record:
        """Read an explanation back; only its own numbers are read."""
        facts = self.facts[number]
        before = self.facts[number - 1]["ends"] if number else {}
        arrays = {}
        for name, end in facts["ends"].items():
            start, dtype = before.get(name, 0), np.uint8 if name == "dna" else np.float32
            count = (end - start) // np.dtype(dtype).itemsize
            arrays[name] = np.fromfile(self.folder / name, dtype, count, offset=start)
        if "letters" in arrays:
            arrays["letters"] = arrays["letters"].reshape(-1, _WIDTHS["letters"])
        if "entropy" in arrays:
            arrays["entropy"] = arrays["entropy"].reshape(facts["shape"])
        return Record(facts, arrays.pop("dna"), arrays.pop("scores"), arrays)

    def __iter__(self) -> Iterator[Record]:
        """Iterate over all explanations."""
        return map(self.read, range(len(self)))

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *error: object) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()


def _check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Raise InputError if an interrupted run had other settings."""
    try:
        before = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    for name, value in json.loads(json.dumps(settings)).items():
        if before.get(name) != value:
            raise InputError(
                f"{folder}: the interrupted run had {name} {before.get(name)}, this one has {value}; use the same "
                "again, or omit resume to start from the beginning"
            )


def _whole_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """Iterate over the windows of an interrupted run whose numbers are complete."""
    for line in (folder / "windows.jsonl").read_bytes().splitlines(keepends=True):
        try:
            facts = json.loads(line)
        except ValueError:  # the run was killed while it wrote this line
            return
        files = [(folder / name, end) for name, end in facts["ends"].items()]
        if not line.endswith(b"\n") or not all(path.is_file() and path.stat().st_size >= end for path, end in files):
            return
        yield facts
