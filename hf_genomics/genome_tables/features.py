"""Read features from BED, GFF or GenBank, and place a window on each of them."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple, get_args

from ..errors import InputError
from ..io.files import input_errors, open_binary, shorten
from ..io.genome_tracks import Region as Feature
from ..io.genome_tracks import read_bed, read_gff
from ..sequence import did_you_mean

Anchor = Literal["center", "start", "end"]
LabelBy = Literal["type", "name"]

_MOST_TYPES = 6  # of features that an error message lists


@dataclass(frozen=True)
class FeatureRules:
    """Which features become rows of a table, and which stretch of the genome each row holds.

    Args:
        types: types of features to take from a GFF or GenBank file, such as gene or CDS; by default the only type that
            the file has.
        length: length of every row in nt; by default each row is a feature from its start to its end.
        around: anchor of a window of this length: the nucleotide at the "center" of the feature, or its first or last
            one ("start", "end"), read in the direction of its strand; without a strand, in that of the genome.
        before: nt of the window upstream of the anchor; by default half of the window.
        label: label of the features.
        label_by: take the label from the "type" or the "name" of each feature instead.
        background: label of the negatives.
        block: length in nt of the blocks that a chromosome is cut into for the column "group"; by default a whole
            chromosome is one group. Rows of one group stay together if the table is split.

    Raises:
        InputError: if a number or a word is out of range, or an option is given without the one it depends on.
    """

    types: list[str] | None = None
    length: int | None = None
    around: Anchor = "center"
    before: int | None = None
    label: str = "feature"
    label_by: LabelBy | None = None
    background: str = "background"
    block: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        for key, known in (("around", get_args(Anchor)), ("label_by", (None, *get_args(LabelBy)))):
            if (value := getattr(self, key)) not in known:
                raise InputError(f"features.{key} must be {' or '.join(map(str, known))}, not {value!r}")
        for key, value in (("length", self.length), ("block", self.block)):
            if value is not None and value < 1:
                raise InputError(f"features.{key} must be at least 1 nt, not {value}")
        if self.length is None and (self.around, self.before) != ("center", None):
            raise InputError("features.around and features.before place a window; set features.length, too")
        if self.length is not None and self.before is not None and not 0 <= self.before < self.length:
            raise InputError(f"features.before must lie in 0..{self.length - 1}, inside the window, not {self.before}")
        for key, value in (("label", self.label), ("background", self.background)):
            if not value:
                raise InputError(f"features.{key} is empty; name a class, such as {key}")
        if self.label_by is None and self.label == self.background:
            raise InputError(f"features.label and features.background are both {self.label!r}; name two classes")


class Window(NamedTuple):
    """A stretch of a contig that becomes a row.

    Attributes:
        start: first position, 0-based.
        end: position after the last one.
        strand: "+", "-" or "."; the row holds the reverse complement if it is "-".
        label: label of the row.
        name: name of the feature; its place if it has none.
    """

    start: int
    end: int
    strand: str
    label: str
    name: str


def read_features(genome: str, bed: str | None, gff: str | None, rules: FeatureRules) -> list[Feature]:
    """Read the features of the chosen types.

    Args:
        genome: file of the genome; a GenBank file holds its own features.
        bed: BED file.
        gff: GFF or GTF file.
        rules: which types are taken.

    Raises:
        InputError: if no file of features or more than one is given, a line is invalid, or the types are unclear.
    """
    if bed is not None and gff is not None:
        raise InputError("bed and gff both name features; give one of them")
    if bed is not None:
        if rules.types or rules.label_by == "type":
            key = "types" if rules.types else "label_by"
            raise InputError(f"features.{key}: a BED file has no types ({bed}); omit it, or give GFF or GenBank")
        return read_bed(bed)
    if gff is not None:
        return _of_types(read_gff(gff), rules.types, gff)
    if not _is_genbank(genome):
        raise InputError(
            "no features: name a BED or GFF file (bed, gff), or give the genome as GenBank, which has its own"
        )
    return _of_types(list(genbank_features(genome)), rules.types, genome)


def _is_genbank(path: str) -> bool:
    """Return whether a file is GenBank."""
    with input_errors(path), open_binary(path) as file:
        return file.peek(6)[:6] == b"LOCUS "


def _of_types(features: list[Feature], types: list[str] | None, path: str) -> list[Feature]:
    """Return the features of some types, which must be named if there are several."""
    counts = Counter(feature.kind for feature in features)
    shown = ", ".join(f"{kind} ({count:,})" for kind, count in counts.most_common(_MOST_TYPES))
    shown += ", ..." if len(counts) > _MOST_TYPES else ""
    for kind in types or []:
        if kind not in counts:
            hint = did_you_mean(kind, counts) or f"; it has {shown}"
            raise InputError(f"features.types: no feature of type {kind!r} in {path}{hint}")
    if not types and len(counts) > 1:
        common = counts.most_common(1)[0][0]
        raise InputError(f"{path}: features of several types: {shown}; choose, for instance --features.types {common}")
    return [feature for feature in features if not types or feature.kind in types]


def genbank_features(path: str) -> Iterator[Feature]:
    """Iterate over the features of a GenBank file; needs Biopython.

    A feature of several parts, such as a spliced CDS, reaches from the start of its first part to the end of its last.
    Left out are "source", which is the record itself, and features that continue over the origin of a circular record,
    such as ``join(900..1000,1..100)`` in a record of 1,000 nt. If a record does not state whether it is circular, a
    feature such as this one shows that it is.

    Args:
        path: the file, plain or gzipped.

    Raises:
        InputError: if the file has no feature or is damaged, or Biopython is not installed.
    """
    try:
        from Bio import SeqIO
    except ImportError as error:
        raise InputError(
            f"{path}: the features of GenBank need Biopython: pip install 'hf_genomics[download]', or give --gff"
        ) from error
    count = 0
    with input_errors(path), open_binary(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Biopython warns of unusual lines, which it still reads
        records = SeqIO.parse(io.TextIOWrapper(file, "utf-8", "backslashreplace"), "genbank")
        while (record := _next_record(records, path)) is not None:
            for region in _regions_of(record):
                count += 1
                yield region
    if not count:
        raise InputError(f"{path}: no feature in this file; give the features as BED or GFF (bed, gff)")


def _next_record(records: Iterator[Any], path: str) -> Any:
    """Return the next record that Biopython reads, None at the end; raise InputError where it fails."""
    try:
        return next(records, None)
    except (ValueError, AssertionError, LookupError, TypeError, AttributeError) as error:  # it expects a sound file
        raise InputError(f"{path}: damaged GenBank file ({shorten(str(error))}); fetch it again") from error


def _regions_of(record: Any) -> Iterator[Feature]:
    """Iterate over the features of a record that Biopython has read."""
    for feature in record.features:
        place = feature.location
        if place is None or feature.type == "source":
            continue
        if any(part.ref is not None for part in place.parts):
            continue  # the coordinates are those of another record
        start, end = int(place.start), int(place.end)
        if start >= end or _crosses_origin(place, len(record), record.annotations.get("topology", "")):
            continue
        strand = {1: "+", -1: "-"}.get(place.strand, ".")
        tags = ("gene", "locus_tag", "product", "label")
        name = next((feature.qualifiers[tag][0] for tag in tags if tag in feature.qualifiers), "")
        yield Feature(contig=record.id, start=start, end=end, strand=strand, name=name, line=0, kind=feature.type)


def _crosses_origin(place: Any, length: int, topology: str) -> bool:
    """Return whether a feature continues over the origin of a circular record.

    Args:
        place: location of the feature, of Biopython: its parts are in the order of transcription.
        length: length of the record in nt.
        topology: "circular" or "linear"; "" if the record does not say.
    """
    parts = place.parts[::-1] if place.strand == -1 else place.parts
    # The parts of a spliced feature ascend. Over the origin they do not: 900..1000 comes before 1..100.
    if topology == "linear" or all(int(left.start) <= int(right.start) for left, right in pairwise(parts)):
        return False
    start, end = int(place.start), int(place.end)
    if (start, end) == (0, length):  # an exon lies on the origin: one part ends at the record's end, one begins at 1
        return True
    # Otherwise an intron lies on the origin, or the parts are in the wrong order: take the shorter of the two ways from
    # the first part to the last one. (Parts on two strands are a trans-spliced gene, whose order says nothing.)
    over_origin = length - int(parts[0].start) + int(parts[-1].end)
    return topology == "circular" and place.strand is not None and over_origin < end - start


def by_contig(features: Iterable[Feature]) -> dict[str, list[Feature]]:
    """Return the features of each contig, in the order of their starts."""
    found: dict[str, list[Feature]] = {}
    for feature in sorted(features, key=lambda one: (one.start, one.end, one.strand)):
        found.setdefault(feature.contig, []).append(feature)
    return found


def window_of(feature: Feature, rules: FeatureRules) -> Window:
    """Return the window of a feature; it may extend over an end of the contig.

    ``rules.before`` nt of the window lie upstream of the anchor nucleotide, whichever strand the feature is on.

    Args:
        feature: the feature.
        rules: where windows lie, and what their labels are.

    >>> rules = FeatureRules(length=10, around="start", before=6)
    >>> window_of(Feature("chr1", 100, 200, "+"), rules)[:2], window_of(Feature("chr1", 100, 200, "-"), rules)[:2]
    ((94, 104), (196, 206))
    """
    start, end = feature.start, feature.end
    name = feature.name or f"{feature.contig}:{start}-{end}"
    label = {"type": feature.kind, "name": feature.name, None: rules.label}[rules.label_by]
    if rules.length is not None:
        before = rules.length // 2 if rules.before is None else rules.before
        is_reverse = feature.strand == "-"
        first, last = (end - 1, start) if is_reverse else (start, end - 1)
        # A feature of an even number of nt has two in its middle. The center is the second one, read along its strand.
        center = (start + end - is_reverse) // 2
        anchor = {"center": center, "start": first, "end": last}[rules.around]
        if is_reverse:  # upstream is to the right: the window ends ``before`` nt after the anchor
            start = anchor + 1 + before - rules.length
        else:
            start = anchor - before
        end = start + rules.length
    return Window(start, end, feature.strand, label, name)


def check_features(features: list[Feature], contig: str, length: int, path: str) -> None:
    """Check that features lie inside their contig.

    Args:
        features: the features of the contig.
        contig: name of the contig.
        length: its length in nt.
        path: file of the features, for the error message.

    Raises:
        InputError: naming the first feature that does not, which means that the files are of different genomes.
    """
    for feature in features:
        if feature.end > length:
            raise InputError(
                f"{where(feature, path)}: ends at {feature.end:,}, but {contig[:60]!r} has {length:,} nt; give the "
                "genome that the features were made for"
            )


def where(feature: Feature, path: str) -> str:
    """Return the file of a feature and its line, or else its name or place, for error messages."""
    name = feature.name or f"{feature.contig}:{feature.start}-{feature.end}"
    return f"{path}, line {feature.line}" if feature.line else f"{path}: feature {shorten(name)}"
