"""Make a table of labelled sequences from the features of a genome: the verb `table`."""

from __future__ import annotations

import csv
import io
import logging
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from ..errors import InputError
from ..genomes.shuffling import dinucleotide_shuffle
from ..io.genome_tracks import Region
from ..io.streams import is_stream
from ..io.text_tables import list_names
from ..io.writing import check_output_file, output_errors, writing_file
from ..sequence import did_you_mean, letter_digits, reverse_complement
from ..sequence_files.fasta import read_records
from .features import FeatureRules, Window, by_contig, check_features, read_features, where, window_of
from .negatives import GcCounts, gaps_of, matched_places, unknown_runs

logger = logging.getLogger(__name__)

Negatives = Literal["gc_matched", "dinucleotide_shuffled", "none"]

COLUMNS = ("sequence", "label", "group", "chromosome", "start", "end", "strand", "name", "source")
_SUFFIXES = (".csv", ".tsv")
_MOST_NEGATIVES = 1000  # of a feature
_UPPER = np.uint8(0xDF)  # clears the bit in which lower-case ASCII differs


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        window: where its letters come from, and its label.
        letters: its letters, capitals, 5'->3' on the strand of the window, uint8 (nt,).
        source: "feature", "gc_matched" or "dinucleotide_shuffled".
    """

    window: Window
    letters: np.ndarray
    source: str


@dataclass
class GenomeTable:
    """What `table` wrote.

    Attributes:
        path: the file.
        rows: number of rows of each label.
        gc: share of G and C in the rows of each label.
        left_out: number of features without a row, by reason.
    """

    path: Path
    rows: dict[str, int] = field(default_factory=dict)
    gc: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass
class _Tally:
    """Counts of what was written and left out.

    Attributes:
        rows: rows of each label.
        nt: nucleotides of each label.
        gc: G and C of each label.
        left_out: features without a row, by reason.
    """

    rows: Counter[str] = field(default_factory=Counter)
    nt: Counter[str] = field(default_factory=Counter)
    gc: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        """Count a row."""
        label, digits = row.window.label, letter_digits(row.letters)
        self.rows[label] += 1
        self.nt[label] += len(digits)
        self.gc[label] += int(((digits == 2) | (digits == 3)).sum())


def table(
    genome: str,
    output: str,
    bed: str | None = None,
    gff: str | None = None,
    features: FeatureRules = FeatureRules(),  # noqa: B008 (frozen)
    negatives: Negatives = "gc_matched",
    per_feature: int = 1,
    seed: int = 0,
    overwrite: bool = False,
) -> GenomeTable:
    """Make a table of labelled sequences from the features of a genome, with negatives that are matched to them.

    The table is what `finetune` reads: a row holds the letters of a feature, or of a window around it, read on its
    strand, or a negative. A model that only learns the GC or the length of the sequences cannot tell a feature from its
    negatives. Features that extend over the end of their contig as windows, that have letters other than A, C, G and T,
    or that repeat an earlier one are left out, and so are features without a negative; the log says how many.

    Args:
        genome: FASTA, GenBank or 2bit file, plain or gzipped; one contig at a time is in memory.
        output: CSV file to write, or TSV if its name ends with .tsv; "-" for standard output. Its columns: sequence (in
            capitals), label, group (what must stay together when the table is split), chromosome, start, end (0-based,
            half-open), strand, name, and source: "feature" or the kind of the negative.
        bed: BED file of the features.
        gff: GFF or GTF file of the features. Without either file, the features of a GenBank genome are taken.
        features: which features become rows, which stretch of the genome each row holds, and their labels.
        negatives: "gc_matched": stretches of the same contig, of the length, the strand and (within two percentage
            points) the GC of their feature, that overlap neither a feature, an unknown letter nor each other;
            "dinucleotide_shuffled": the letters of the feature, shuffled so that each pair of neighbouring letters
            occurs as often; "none".
        per_feature: number of negatives for each feature.
        seed: seed of the negatives; those of one contig do not depend on other contigs.
        overwrite: replace an existing output.

    Returns:
        The number and GC of the rows of each label, and how many features were left out.

    Raises:
        InputError: if a file cannot be read, a feature does not lie in the genome, or no row remains; nothing has been
            written then.
    """
    if negatives not in get_args(Negatives):
        raise InputError(f"negatives must be {' or '.join(get_args(Negatives))}, not {negatives!r}")
    if per_feature < 1 and negatives != "none":
        raise InputError(f"per_feature must be at least 1, not {per_feature}; set negatives to none for no negatives")
    if per_feature > _MOST_NEGATIVES:
        raise InputError(f"per_feature must be at most {_MOST_NEGATIVES}, not {per_feature}; ask for fewer negatives")
    if seed < 0:
        raise InputError(f"seed must be at least 0, not {seed}")
    target = check_output_file(output, [genome, bed, gff], overwrite=overwrite)
    if target.suffix.lower() not in _SUFFIXES and not is_stream(target):
        raise InputError(f"{output}: the table is written as CSV or TSV; name a file .csv or .tsv")
    found = read_features(genome, bed, gff, features)
    named = bed or gff or genome
    _check_labels(found, features, negatives, named)
    tally = _Tally()
    maker = _RowMaker(features, negatives, per_feature, seed, tally.left_out)
    with output_errors(target), writing_file(target) as binary:
        file = io.TextIOWrapper(binary, "utf-8", newline="")
        writer = csv.writer(file, delimiter="\t" if target.suffix.lower() == ".tsv" else ",", lineterminator="\n")
        writer.writerow(COLUMNS)
        for contig, letters, here in _contigs(genome, by_contig(found), named):
            for row in maker.rows_of(contig, letters, here):
                tally.add(row)
                writer.writerow(_cells(row, contig, features.block))
        file.detach()  # flushes, and leaves the file below open
        _check_rows(tally, named, negatives)
    made = _summary(target, tally)
    _log(made)
    return made


def _check_labels(features: list[Region], rules: FeatureRules, negatives: str, path: str) -> None:
    """Check that every feature has a label, and none that of the negatives."""
    for feature in features if rules.label_by else ():
        label = feature.kind if rules.label_by == "type" else feature.name
        if not label:
            raise InputError(
                f"{where(feature, path)}: no {rules.label_by} to take the label from; fill it in, or omit "
                "features.label_by"
            )
        if label == rules.background and negatives != "none":
            raise InputError(f"{where(feature, path)}: {label!r} is features.background, too; give that another name")


def _contigs(
    genome: str, features: dict[str, list[Region]], path: str
) -> Iterator[tuple[str, np.ndarray, list[Region]]]:
    """Iterate over the contigs that have features, with their letters and features.

    Args:
        genome: file of the genome.
        features: features by contig.
        path: file of the features, for error messages.

    Raises:
        InputError: if a feature lies on another contig, or beyond the end of its own.
    """
    names = []
    for record in read_records(genome):
        names.append(record.name)
        here = features.get(record.name)
        if here:
            check_features(here, record.name, len(record.letters), path)
            yield record.name, record.letters, here
    for contig in features.keys() - set(names):
        first = min(features[contig], key=lambda feature: feature.line)
        near = [name for name in names if name.removeprefix("chr") == contig.removeprefix("chr")]
        hint = f"; it has {near[0]!r}: rename one of them" if near else did_you_mean(contig, names)
        raise InputError(
            f"{where(first, path)}: no contig {contig[:60]!r} in {genome}{hint or f'; it has {list_names(names, 3)}'}"
        )


class _RowMaker:
    """Makes the rows of one contig after another.

    Args:
        rules: which stretches become rows.
        negatives: kind of the negatives.
        per_feature: number of negatives for each feature.
        seed: seed of the negatives.
        left_out: counts features without a row, by reason.
    """

    def __init__(
        self, rules: FeatureRules, negatives: Negatives, per_feature: int, seed: int, left_out: Counter[str]
    ) -> None:
        self._rules, self._negatives, self._per_feature, self._seed = rules, negatives, per_feature, seed
        self._left_out = left_out

    def rows_of(self, contig: str, letters: np.ndarray, features: list[Region]) -> Iterator[Row]:
        """Iterate over the rows of a contig, each feature followed by its negatives.

        Args:
            contig: name of the contig.
            letters: its letters, uint8 (nt,).
            features: its features.
        """
        digits = letter_digits(letters)
        unknown = unknown_runs(digits)
        windows = self._usable([window_of(feature, self._rules) for feature in features], len(letters), unknown)
        random = np.random.default_rng([self._seed, zlib.crc32(contig.encode())])
        places = np.zeros((len(windows), 0), np.int64)
        if self._negatives == "gc_matched" and windows:
            places = self._matched(windows, features, digits, unknown, random)
        for window, starts in zip(windows, places, strict=True):
            negatives = list(self._negatives_of(window, starts[starts >= 0], letters, random))
            if not negatives and self._negatives != "none":
                self._left_out["without a negative of their length and GC"] += 1
                continue
            yield Row(window, _read(letters, window), "feature")
            yield from negatives

    def _usable(self, windows: list[Window], length: int, unknown: tuple[np.ndarray, np.ndarray]) -> list[Window]:
        """Return the windows that lie inside the contig, have known letters only, and are not repeated."""
        seen: set[tuple[int, int, bool, str]] = set()
        usable = []
        for window in windows:
            row = (window.start, window.end, window.strand == "-", window.label)  # "." is read as "+" is
            if window.start < 0 or window.end > length:
                self._left_out["whose window reaches over the end of the contig"] += 1
            elif _touches(window, *unknown):
                self._left_out["with letters other than A, C, G and T"] += 1
            elif row in seen:
                self._left_out["that repeat an earlier one"] += 1
            else:
                seen.add(row)
                usable.append(window)
        return usable

    def _matched(
        self,
        windows: list[Window],
        features: list[Region],
        digits: np.ndarray,
        unknown: tuple[np.ndarray, np.ndarray],
        random: np.random.Generator,
    ) -> np.ndarray:
        """Return the starts of the negatives of each window, int64 (windows, per_feature); -1 for a missing one."""
        starts, ends = np.array([window[:2] for window in windows]).T
        whole = np.array([feature[1:3] for feature in features]).T  # also what lies outside the window
        gaps = gaps_of(len(digits), [unknown, (whole[0], whole[1]), (starts, ends)])
        places = matched_places(
            np.tile(starts, self._per_feature), np.tile(ends, self._per_feature), GcCounts(digits), gaps, random
        )
        return places.reshape(self._per_feature, -1).T

    def _negatives_of(
        self, window: Window, starts: np.ndarray, letters: np.ndarray, random: np.random.Generator
    ) -> Iterator[Row]:
        """Iterate over the negatives of a window, of which those that lie elsewhere start at ``starts``."""
        negative = window._replace(label=self._rules.background)
        for start in starts.tolist():
            place = negative._replace(start=start, end=start + window.end - window.start)
            yield Row(place, _read(letters, place), self._negatives)
        if self._negatives == "dinucleotide_shuffled":
            for _ in range(self._per_feature):
                yield Row(negative, dinucleotide_shuffle(_read(letters, window), random), self._negatives)


def _touches(window: Window, starts: np.ndarray, ends: np.ndarray) -> bool:
    """Return whether a window overlaps one of some sorted stretches."""
    index = int(np.searchsorted(ends, window.start, side="right"))  # the first that ends after the window's start
    return index < len(starts) and int(starts[index]) < window.end


def _read(letters: np.ndarray, window: Window) -> np.ndarray:
    """Return the letters of a window on its strand, in capitals."""
    found = letters[window.start : window.end] & _UPPER
    return reverse_complement(found) if window.strand == "-" else found


def _cells(row: Row, contig: str, block: int | None) -> tuple[object, ...]:
    """Return the cells of a row, in the order of `COLUMNS`."""
    window = row.window
    group = contig
    if block is not None:
        first = (window.start + window.end) // 2 // block * block
        group = f"{contig}:{first}-{first + block}"
    text = row.letters.tobytes().decode("ascii")
    place = (contig, window.start, window.end, window.strand)
    return text, window.label, group, *place, window.name, row.source


def _check_rows(tally: _Tally, path: str, negatives: str) -> None:
    """Check that there are rows; raise InputError that says why there are none."""
    if tally.rows:
        return
    reasons = "; ".join(f"{count:,} {reason}" for reason, count in tally.left_out.items())
    unmatched = "without a negative of their length and GC" in tally.left_out and negatives == "gc_matched"
    remedy = "set negatives to dinucleotide_shuffled" if unmatched else "choose a shorter features.length"
    raise InputError(f"{path}: no feature is left ({reasons}); {remedy}, or give other features")


def _summary(path: Path, tally: _Tally) -> GenomeTable:
    """Return what was written."""
    gc = {label: tally.gc[label] / tally.nt[label] for label in tally.rows}
    return GenomeTable(path, dict(tally.rows), gc, dict(tally.left_out))


def _log(made: GenomeTable) -> None:
    """Log what was written and what was left out."""
    labels = [f"{label} {count:,} (GC {made.gc[label]:.3f})" for label, count in made.rows.items()]
    logger.info("%s: %s rows: %s", made.path, f"{sum(made.rows.values()):,}", ", ".join(labels))
    for reason, count in made.left_out.items():
        logger.warning("left out: %s %s", f"{count:,} feature{'s' * (count > 1)}", reason)
