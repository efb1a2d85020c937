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
}
