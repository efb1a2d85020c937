"""Store explanations on disk while they are computed, and write them in standard formats.

While a run computes, its folder holds ``windows.jsonl``, one line per window, and one file of float32 numbers for each
array. A line states where the window's numbers end in each file; a resumed run cuts off whatever lies beyond the last
whole line. The finished run writes bedGraph, bigWig, Parquet, NPZ for TF-MoDISco, and a table.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..inference.growing_table import check_settings
from ..io.genome_tracks import Region, Stretch, column_of, merge_stretches, place_of, write_bedgraph, write_bigwig
from ..io.writing import write_json, write_tsv
from ..sequence import COMPLEMENT, as_letters
from .scoring import Explanation

_ACGT = as_letters("ACGT")

#: Columns of one row of each array, if an array has more than one: four letters.
_WIDTHS = {"letters": 4}


class Record(NamedTuple):
    """An explanation read back from disk.

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
            check_settings(folder / "settings.json", settings)
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


class Placed:
    """The explanations of a run in the order of the genome.

    Args:
        records: the explanations.
        place: function of a sequence's name and length that returns where the sequence lies.
    """

    def __init__(self, records: Records, place: Callable[[str, int], Region] = place_of) -> None:
        self.records, self.names = records, sorted(records.facts[0]["ends"].keys() - {"windows.jsonl"})
        self.regions: list[Region] = []  # of each window, in its genome
        for _, group in groupby(records.facts, lambda facts: facts["sequence_index"]):
            windows = list(group)
            whole = place(windows[0]["id"], windows[-1]["end"])
            for facts in windows:
                if whole.strand == "-":
                    start, end = whole.end - facts["end"], whole.end - facts["start"]
                else:
                    start, end = whole.start + facts["start"], whole.start + facts["end"]
                contig = f"{whole.contig}/1" if facts["pair"] is not None else whole.contig
                self.regions.append(Region(contig, start, end, whole.strand, facts["id"]))

    def stretches(self) -> Iterator[Stretch]:
        """Iterate over the genome: contigs in the order of the input, positions in their order, overlaps averaged.

        The columns of the values are the letter (its code), the score, and four further columns if there are any.
        """
        contigs = {contig: number for number, contig in enumerate(dict.fromkeys(one.contig for one in self.regions))}
        order = sorted(range(len(self.regions)), key=lambda row: (contigs[self.regions[row].contig], self.regions[row]))
        pairs = any(facts["pair"] is not None for facts in self.records.facts)
        pieces = (self._stretch(row, second=False) for row in order)
        yield from merge_stretches(pieces)
        if pairs:
            yield from merge_stretches(self._stretch(row, second=True) for row in order)

    def _stretch(self, row: int, second: bool) -> Stretch:
        """Return the values of a window along its genome; of a pair, of its first or its second sequence."""
        record, region = self.records.read(row), self.regions[row]
        values = np.column_stack([record.dna & 0xDF, record.scores, *record.columns.get("letters", np.empty((0, 0))).T])
        if record.facts["pair"] is not None:
            cut = len(record.dna) - record.facts["pair"]
            values = values[cut:] if second else values[:cut]
        if region.strand == "-":
            values = values[::-1]
            values[:, 0] = COMPLEMENT[values[:, 0].astype(np.uint8)]
            values[:, 2:] = values[:, 2:][:, ::-1]  # the complements of A C G T are T G C A
        contig = f"{region.contig[:-1]}2" if second else region.contig
        return Stretch(contig, region.start, values)


def write_tracks(folder: Path, placed: Placed, sizes: dict[str, int] | None) -> None:
    """Write ``scores.bedgraph``, and ``scores.bw`` if the lengths of the contigs are known.

    Args:
        folder: existing folder.
        placed: the explanations.
        sizes: length of each contig; None if they are not known.
    """
    with open(folder / "scores.bedgraph", "w", encoding="utf-8", newline="\n") as file:
        write_bedgraph(file, column_of(placed.stretches(), 1))
    if sizes is not None:
        used = dict.fromkeys(region.contig for region in placed.regions)
        ordered = {contig: sizes[contig] for contig in used} | sizes
        write_bigwig(folder / "scores.bw", column_of(placed.stretches(), 1), ordered)


def write_parquet(path: Path, placed: Placed) -> None:
    """Write a row per nucleotide: contig, position (0-based), letter, score, and A C G T if there are such columns.

    Args:
        path: the file.
        placed: the explanations.
    """
    numbers = ["score", *("ACGT" if "letters" in placed.names else "")]
    fields = [("contig", pa.dictionary(pa.int32(), pa.string())), ("position", pa.int64()), ("letter", pa.string())]
    schema = pa.schema(fields + [(name, pa.float32()) for name in numbers])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for contig, start, values in placed.stretches():
            codes = pa.array(np.zeros(len(values), np.int32))
            columns = [
                pa.DictionaryArray.from_arrays(codes, pa.array([contig])),
                pa.array(np.arange(start, start + len(values))),
                pa.array(values[:, 0].astype(np.uint8).view("S1").astype("U1")),
                *(pa.array(column.astype(np.float32)) for column in values[:, 1:].T),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def write_modisco(folder: Path, records: Records) -> None:
    """Write the two files that TF-MoDISco reads: ``ohe.npz`` and ``attr.npz``, (windows, 4, nt) each, rows A C G T.

    Windows are in reading direction; shorter ones are filled up with 0 at their ends.

    Args:
        folder: existing folder.
        records: explanations with hypothetical scores.
    """

    def bases(record: Record) -> np.ndarray:
        return (record.dna & 0xDF)[:, None] == _ACGT

    def hypothetical(record: Record) -> np.ndarray:
        letters = record.columns["letters"]
        return letters - letters.mean(1, keepdims=True)

    width = max(facts["end"] - facts["start"] + (facts["pair"] or 0) for facts in records.facts)
    for name, rows in (("ohe", bases), ("attr", hypothetical)):
        with (
            zipfile.ZipFile(folder / f"{name}.npz", "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("arr_0.npy", "w", force_zip64=True) as file,
        ):
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(records), 4, width)}
            np.lib.format.write_array_header_1_0(file, header)
            for record in records:
                padded = np.zeros((4, width), "<f4")
                padded[:, : len(record.dna)] = rows(record).T
                file.write(padded.tobytes())


def write_windows(path: Path, placed: Placed, names: list[str], tracks: list[str]) -> None:
    """Write a row per window: where it lies, what is explained, and how complete the explanation is.

    Args:
        path: the TSV file.
        placed: the explanations.
        names: names of the classes, labels or values.
        tracks: names of the tracks.
    """
    header = "id contig start end strand target value base_value sum special completeness_error steps".split()
    write_tsv(path, header + [f"track_{name}" for name in tracks], _window_rows(placed, names))


def _window_rows(placed: Placed, names: list[str]) -> Iterator[list[Any]]:
    """Iterate over the rows of the table of windows; a number that a method does not have is an empty cell."""
    for facts, region in zip(placed.records.facts, placed.regions, strict=True):
        numbers = [facts[name] for name in ("value", "base_value", "sum", "special", "error")]
        cells = ["" if number != number else float(number) for number in numbers]
        row = [facts["id"], region.contig, region.start, region.end, region.strand, names[facts["target"]]]
        yield [*row, *cells, facts["steps"] or "", *map(float, facts["tracks"])]


def mean_entropy(records: Records) -> np.ndarray | None:
    """Return the mean entropy of each attention head over all windows, (layers, heads); None without attention."""
    total: Any = 0.0
    for record in records:
        if "entropy" not in record.columns:
            return None
        total = total + record.columns["entropy"].astype(np.float64)
    return total / len(records)
