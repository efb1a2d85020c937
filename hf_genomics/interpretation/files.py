"""Store explanations on disk while they are computed, and write them in standard formats.

While a run computes, its folder holds ``windows.jsonl``, one line per window, and one file of float32 numbers for each
array. A line states where the window's numbers end in each file; a resumed run cuts off whatever lies beyond the last
whole line. Windows are read back one by one, so memory does not grow with their number, except by one number for each
window where they have to be sorted. The finished run writes bedGraph, bigWig, Parquet, NPZ for TF-MoDISco, and a table.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..inference.growing_table import check_settings
from ..io.genome_tracks import Region, Stretch, column_of, merge_stretches, place_of, write_bedgraph, write_bigwig
from ..io.writing import write_json, write_row
from ..runs.output_folder import empty_folder
from ..sequence import COMPLEMENT, as_letters
from .scoring import Explanation

_ACGT = as_letters("ACGT")

#: Columns of one row of each array, if an array has more than one: four letters.
_WIDTHS = {"letters": 4}
#: Place of a window, for sorting: number of the contig, start and end.
_PLACE = np.dtype([("contig", "<i8"), ("start", "<i8"), ("end", "<i8")])


class Record(NamedTuple):
    """An explanation read back from disk.

    Attributes:
        facts: id, sequence_index, start, end, left_out_after, target and the numbers of `Explanation`; their "sum";
            "pair", the length of the second sequence (None if there is none); "shape" of the attention heads; "tracks";
            and "ends", where its numbers end in each file.
        dna: uint8 (nt,), the letters.
        scores: float32 (nt,).
        columns: further arrays, as in `Explanation`.
    """

    facts: dict[str, Any]
    dna: np.ndarray
    scores: np.ndarray
    columns: dict[str, np.ndarray]


class Facts(Sequence[dict[str, Any]]):
    """The lines of ``windows.jsonl`` as dictionaries, read when they are used; ``windows.index`` holds their ends.

    Args:
        folder: folder of the two files; the index has an int64 number, in bytes, for each line.

    Attributes:
        num_windows: number of windows.
    """

    def __init__(self, folder: Path) -> None:
        self._lines, self._index = folder / "windows.jsonl", folder / "windows.index"
        self.num_windows = 0

    def __len__(self) -> int:
        """Return the number of windows."""
        return self.num_windows

    def __getitem__(self, number: Any) -> Any:
        """Return the facts of a window; a negative number counts from the end."""
        row = number + self.num_windows if number < 0 else number
        if not 0 <= row < self.num_windows:
            raise IndexError(number)
        first = max(0, row - 1)
        ends = np.fromfile(self._index, "<i8", row + 1 - first, offset=8 * first).tolist()
        begin = ends[0] if row else 0
        with open(self._lines, "rb") as file:
            file.seek(begin)
            return json.loads(file.read(ends[-1] - begin))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the facts of all windows."""
        if self.num_windows:
            with open(self._lines, "rb") as file:
                yield from map(json.loads, islice(file, self.num_windows))

    def restore(self) -> dict[str, int]:
        """Count the windows of an interrupted run whose numbers are complete, and cut off the rest.

        Returns:
            Where the numbers of the last of these windows end in each file.
        """
        offset = 0
        ends: dict[str, int] = {}
        with open(self._lines, "rb") as lines, open(self._index, "wb") as index:
            for line in lines:
                facts = _whole(line, self._lines.parent)
                if facts is None:
                    break
                offset, ends, self.num_windows = offset + len(line), facts["ends"], self.num_windows + 1
                index.write(offset.to_bytes(8, "little"))
        os.truncate(self._lines, offset)
        return ends


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
        self.facts = Facts(folder)
        self._files: dict[str, BinaryIO] = {}
        if resume and (folder / "windows.jsonl").is_file():
            check_settings(folder / "settings.json", settings)
            for name, end in self.facts.restore().items():
                os.truncate(folder / name, end)

    def add(self, one: Explanation) -> None:
        """Append an explanation."""
        if not self.facts and not self._files:
            self.folder.mkdir(parents=True, exist_ok=True)
            empty_folder(self.folder)
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
            "left_out_after": one.window.left_out_after,
            "target": one.target,
            **{name: getattr(one, name) for name in ("value", "base_value", "special", "error", "steps")},
            "sum": float(np.sum(one.scores)),
            "pair": len(given["pair"]) if "pair" in given else None,
            "shape": list(one.columns["entropy"].shape) if "entropy" in one.columns else None,
            "tracks": one.columns["tracks"].tolist() if "tracks" in one.columns else [],
            "ends": ends,
        }
        end = self._append("windows.jsonl", (json.dumps(facts) + "\n").encode())
        self._append("windows.index", end.to_bytes(8, "little"))
        self.facts.num_windows += 1

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
        return self._read(self.facts[number], self.facts[number - 1]["ends"] if number else {})

    def _read(self, facts: dict[str, Any], before: dict[str, int]) -> Record:
        """Read the numbers of a window that begin where those of the one before end."""
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
        before: dict[str, int] = {}
        for facts in self.facts:
            yield self._read(facts, before)
            before = facts["ends"]

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *error: object) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()


def length_of(facts: dict[str, Any]) -> int:
    """Return the length of a sequence in nt, given the facts of its last window.

    Args:
        facts: as in `Record`; a sequence may end with windows that were left out.
    """
    return facts["end"] + facts.get("left_out_after", 0)  # an interrupted run of an earlier version has no such number


def _whole(line: bytes, folder: Path) -> dict[str, Any] | None:
    """Return the facts of a line of an interrupted run, or None if it or the numbers of its window are incomplete."""
    try:
        facts = json.loads(line)
    except ValueError:  # the run was killed while it wrote this line
        return None
    files = [(folder / name, end) for name, end in facts["ends"].items()]
    is_whole = line.endswith(b"\n") and all(path.is_file() and path.stat().st_size >= end for path, end in files)
    return facts if is_whole else None


class Placed:
    """The explanations of a run in the order of the genome.

    Args:
        records: the explanations.
        place: function of a sequence's name and length that returns where the sequence lies.
    """

    def __init__(self, records: Records, place: Callable[[str, int], Region] = place_of) -> None:
        self.records, self._place = records, place
        self.names = sorted(records.facts[0]["ends"].keys() - {"windows.jsonl"})
        self._lengths = records.folder / "lengths"  # of the sequence of each window
        self._places = records.folder / "places"  # of each window, as _PLACE
        self._write_lengths()
        contigs: dict[str, int] = {}
        is_sorted, before = True, (0, 0, 0)
        with open(self._places, "wb") as file:
            for one in self.regions():
                now = (contigs.setdefault(one.contig, len(contigs)), one.start, one.end)
                is_sorted, before = is_sorted and now >= before, now
                file.write(np.array(now, "<i8").tobytes())
        self.contigs = list(contigs)
        self._is_sorted = is_sorted

    def _write_lengths(self) -> None:
        """Write the length of the sequence of each window."""
        with open(self._lengths, "wb") as file:
            for _, group in groupby(self.records.facts, lambda facts: facts["sequence_index"]):
                count, end = 0, 0
                for facts in group:
                    count, end = count + 1, length_of(facts)
                for _ in range(count):
                    file.write(end.to_bytes(8, "little"))

    def region(self, row: int) -> Region:
        """Return where a window lies in its genome."""
        [length] = np.fromfile(self._lengths, "<i8", 1, offset=8 * row).tolist()
        return self._region(self.records.facts[row], length)

    def regions(self) -> Iterator[Region]:
        """Iterate over the places of all windows, in the order of the input."""
        with open(self._lengths, "rb") as file:
            for facts in self.records.facts:
                yield self._region(facts, int.from_bytes(file.read(8), "little"))

    def _region(self, facts: dict[str, Any], length: int) -> Region:
        """Return the place of a window of a sequence of this length."""
        whole = self._place(facts["id"], length)
        if whole.strand == "-":
            start, end = whole.end - facts["end"], whole.end - facts["start"]
        else:
            start, end = whole.start + facts["start"], whole.start + facts["end"]
        contig = f"{whole.contig}/1" if facts["pair"] is not None else whole.contig
        return Region(contig, start, end, whole.strand, facts["id"])

    def _order(self) -> Iterable[int]:
        """Return the numbers of the windows in the order of the genome."""
        if self._is_sorted:
            return range(len(self.records))
        places = np.memmap(self._places, _PLACE, "r")
        return map(int, np.lexsort([places["end"], places["start"], places["contig"]]))

    def stretches(self) -> Iterator[Stretch]:
        """Iterate over the genome: contigs in the order of the input, positions in their order, overlaps averaged.

        The columns of the values are the letter (its code), the score, and further columns: see `columns`.
        """
        yield from merge_stretches(self._stretch(row, second=False) for row in self._order())
        if self.records.facts[0]["pair"] is not None:
            yield from merge_stretches(self._stretch(row, second=True) for row in self._order())

    @property
    def columns(self) -> list[str]:
        """Names of the columns of numbers: score, A C G T if there are scores of letters, received (attention)."""
        letters = list("ACGT") if "letters" in self.names else []
        return ["score", *letters, *(["received"] if "received" in self.names else [])]

    def _stretch(self, row: int, second: bool) -> Stretch:
        """Return the values of a window along its genome; of a pair, of its first or its second sequence."""
        record, region = self.records.read(row), self.region(row)
        further = [*record.columns.get("letters", np.empty((0, 0))).T]
        further += [record.columns["received"]] if "received" in record.columns else []
        values = np.column_stack([record.dna & 0xDF, record.scores, *further])
        if record.facts["pair"] is not None:
            cut = len(record.dna) - record.facts["pair"]
            values = values[cut:] if second else values[:cut]
        if region.strand == "-":
            values = values[::-1]
            values[:, 0] = COMPLEMENT[values[:, 0].astype(np.uint8)]
            if "letters" in record.columns:
                values[:, 2:6] = values[:, 2:6][:, ::-1]  # the complements of A C G T are T G C A
        contig = f"{region.contig[:-1]}2" if second else region.contig
        return Stretch(contig, region.start, values)


def write_tracks(folder: Path, placed: Placed, sizes: dict[str, int] | None) -> None:
    """Write ``scores.bedgraph``, and ``scores.bw`` if the lengths of the contigs are known; the same of "received".

    Args:
        folder: existing folder.
        placed: the explanations.
        sizes: length of each contig; None if they are not known.
    """
    names = {"scores": 1} | ({"received": 2} if "received" in placed.columns else {})
    for name, column in names.items():
        with open(folder / f"{name}.bedgraph", "w", encoding="utf-8", newline="\n") as file:
            write_bedgraph(file, column_of(placed.stretches(), column))
        if sizes is not None:
            ordered = {contig: sizes[contig] for contig in placed.contigs} | sizes
            write_bigwig(folder / f"{name}.bw", column_of(placed.stretches(), column), ordered)


def write_parquet(path: Path, placed: Placed) -> None:
    """Write a row per nucleotide: contig, position (0-based), letter, and the columns of the explanations.

    Args:
        path: the file.
        placed: the explanations.
    """
    fields = [("contig", pa.dictionary(pa.int32(), pa.string())), ("position", pa.int64()), ("letter", pa.string())]
    schema = pa.schema(fields + [(name, pa.float32()) for name in placed.columns])
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
    with open(path, "w", encoding="utf-8", newline="") as file:
        write_row(file, header + [f"track_{name}" for name in tracks])
        for row in _window_rows(placed, names):
            write_row(file, row)


def _window_rows(placed: Placed, names: list[str]) -> Iterator[list[Any]]:
    """Iterate over the rows of the table of windows; a number that a method does not have is an empty cell."""
    for facts, region in zip(placed.records.facts, placed.regions(), strict=True):
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
