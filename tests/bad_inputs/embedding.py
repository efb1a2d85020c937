"""Inputs of `hf-genomics embed`: outputs, poolings, columns, and sequences without a vector."""

from __future__ import annotations

from pathlib import Path

from .case import Case

RUN = "embed --model MLM --input"


def files(work: Path) -> None:
    """Write sequences, one of them too short, an output that exists, and what would lie beside one."""
    (work / "x.fa").write_text(">a\nACGTTGCATTGA\n>b\nAC\n>c\nACGTTGCATTGA\n>d\nTTGACC\n")
    (work / "old.npy").write_text("mine")
    (work / "y.png").write_text("mine")


PROBE = "probe --model MLM --output_dir out --data.train"
_PROBED = f"{PROBE} TABLE --data.test TABLE"


def labelled(work: Path) -> None:
    """Write a table with labels per nucleotide and a track, and one without rows to test."""
    (work / "nt.csv").write_text("sequence,nt,age,label\nACGTACGTAC,aaaaabbbbb,3,a\nTTGACCATGA,aaaaabbbbb,4,b\n")


_DONE = {"make": files, "remedy": f"{RUN} x.fa --output z.npy"}
CASES: dict[str, Case] = {
    "no_output": Case(f"{RUN} x.fa", ("output", ".npy"), **_DONE),
    "standard_output": Case(f"{RUN} x.fa --output -", ("not a file", ".parquet"), **_DONE),
    "another_suffix": Case(f"{RUN} x.fa --output z.csv", ("z.csv", ".parquet or .npy"), **_DONE),
    "output_exists": Case(
        f"{RUN} x.fa --output old.npy",
        ("old.npy", "exists", "--overwrite"),
        files,
        remedy=f"{RUN} x.fa --output old.npy --overwrite true",
    ),
    "picture_exists": Case(
        f"{RUN} x.fa --output y.npy",
        ("y.png", "exists"),
        files,
        remedy=f"{RUN} x.fa --output y.npy --picture false",
    ),
    "unknown_pooling": Case(f"{RUN} x.fa --output z.npy --pooling sum", ("pooling", "sum"), **_DONE),
    "no_batch": Case(f"{RUN} x.fa --output z.npy --batch_size 0", ("batch_size", "0"), **_DONE),
    "color_of_a_sequence_file": Case(f"{RUN} x.fa --output z.npy --color label", ("color", "'label'"), **_DONE),
    "color_without_column": Case(
        f"{RUN} TABLE --output z.npy --color kind",
        ("table.csv", "'kind'"),
        remedy=f"{RUN} TABLE --output z.npy --color label",
    ),
    "pairs": Case(f"{RUN} TABLE --output z.npy --columns.pair label", ("columns.pair",)),
    "tracks": Case(
        f"{RUN} TABLE --output z.npy --columns.tracks label",
        ("columns.tracks",),
        remedy=f"{RUN} TABLE --output z.npy",
    ),
    "protein": Case(f"{RUN} PROTEIN --output z.npy", ("protein.fa", "position 4")),
    "too_short": Case(
        f"{RUN} x.fa --output z.npy --strict true",
        ("x.fa", "record 2 ('b')", "2 nt"),
        files,
        remedy=f"{RUN} x.fa --output z.npy",
    ),
    "too_short_with_a_warning": Case(
        f"{RUN} x.fa --output z.npy",
        make=files,
        code=0,
        warned=("no vector for 1 of 4", "'b'"),
        leaves=("z.npy", "z.rows.tsv", "z.png"),
    ),
    "nan_weights": Case("embed --model NAN_MLM --input x.fa --output z.npy", ("nan_mlm", "NaN or infinite"), **_DONE),
    "no_model": Case("embed --model gone --input x.fa --output z.npy", ("gone", "no such folder"), **_DONE),
    "probe_tokens": Case(f"{_PROBED} --pooling tokens", ("pooling", "tokens"), remedy=f"{_PROBED} --pooling cls"),
    "probe_no_neighbours": Case(f"{_PROBED} --neighbours 0", ("neighbours", "0")),
    "probe_too_many_neighbours": Case(f"{_PROBED} --neighbours 1000", ("neighbours", "1,000")),
    "probe_long_kmers": Case(f"{_PROBED} --baseline_k 9", ("baseline_k", "9")),
    "probe_no_test": Case(f"{PROBE} TABLE", ("data.test",)),
    "probe_nothing_to_test": Case(f"{PROBE} TABLE --data.split 0.5 0.5 0", ("data.split", "test")),
    "probe_nucleotides": Case(
        f"{PROBE} nt.csv --data.test nt.csv --data.columns.nt_labels nt", ("nt.csv", "per nucleotide"), labelled
    ),
    "probe_tracks": Case(
        f"{PROBE} nt.csv --data.test nt.csv --data.columns.tracks age", ("nt.csv", "data.columns.tracks"), labelled
    ),
    "probe_other_class": Case(f"{PROBE} TABLE --data.test OTHER", ("other.csv", "'c'")),
    "probe_into_a_model": Case("probe --model MLM --data.train TABLE --data.test TABLE --output_dir MLM", ("mlm",)),
}
