"""With --private nothing but tables names a record, nothing shows a sequence, and only the owner can read the files."""

from __future__ import annotations

import logging
import os
import re
import stat
from pathlib import Path

import pytest
from small_files import dna

from hf_genomics import errors
from hf_genomics.cli import main
from hf_genomics.io.progress import CommandLog

NAMES = [f"patient_{number:02d}|Meier" for number in range(24)]
ROWS = [dna(60, seed) for seed in range(24)]
#: Files that hold names or sequences, because that is their purpose; the rest must not.
TABLES = {".tsv", ".parquet", ".bedgraph", ".npz", ".bw", ".bin"}
SMALL = "--model.hidden_size 32 --model.num_hidden_layers 1 --model.num_attention_heads 2 --model.intermediate_size 32"
QUICK = "--trainer.max_steps 2 --trainer.use_cpu true --trainer.bf16 false"


@pytest.fixture
def log():
    """What a command logs, as it would on a terminal: pytest's own handlers would show it as it is."""
    handler = CommandLog()
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def data(work, log):
    """Sequences of patients, good and bad ones, as tables and FASTA."""
    rows = [f"{name},{row},{'ab'[number % 2]}" for number, (name, row) in enumerate(zip(NAMES, ROWS, strict=True))]
    for file, part in {"train": rows[:16], "test": rows[16:]}.items():
        Path(f"{file}.csv").write_text("\n".join(["id,sequence,label", *part]) + "\n")
    twice = [*rows[:3], rows[2]]
    Path("twice.csv").write_text("\n".join(["id,sequence,label", *twice]) + "\n")
    records = [f">{name} ward 7\n{row}\n" for name, row in zip(NAMES, ROWS, strict=True)]
    Path("all.fa").write_text("".join(records))
    Path("some.fa").write_text(f">{NAMES[0]}\nAC\n>{NAMES[1]}\n{ROWS[1]}\n>{NAMES[2]}\nNNNNNN\n")
    Path("bad.fa").write_text(f"{records[0]}>{NAMES[1]}\nACGT!{ROWS[1]}\n{records[0]}")
    Path("two_names.fq").write_text(f"@{NAMES[0]}\n{ROWS[0]}\n+{NAMES[1]}\n{ROWS[0]}\n")
    Path("without_header.fa").write_text(f"{NAMES[0]} x\n{ROWS[0]}\n{records[1]}")
    return work


def run(places, capfd, command: str) -> tuple[int, str]:
    """Run a private command, and return its exit code and what it showed."""
    code = main([places.get(word, word) for word in f"{command} --private".split()])
    printed = capfd.readouterr()
    return code, printed.out + printed.err


def leaks(text: str) -> list[str]:
    """List the names, and stretches of 12 nt, that a text shows."""
    kmers = {row[start : start + 12] for row in ROWS for start in range(len(row) - 11)}
    found = [run[start : start + 12] for run in re.findall(r"[ACGT]{12,}", text) for start in range(len(run) - 11)]
    return [name for name in NAMES if name in text or "Meier" in text] + [kmer for kmer in found if kmer in kmers]


def check_files(folder: Path) -> None:
    """Check modes, names and content of all files below a folder."""
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        if path.is_file() and path.suffix not in TABLES:
            assert leaks(path.read_bytes().decode("latin-1")) == [], path
        assert "Meier" not in path.name and "logo" not in path.name


def test_predictions_name_patients_in_their_table_only(places, data, capfd):
    code, shown = run(places, capfd, "predict --model TUNED --input some.fa --output p.tsv")
    assert code == 0 and "some.fa" in shown and leaks(shown) == []
    assert re.search(r"'#[0-9a-f]{8}'", shown) and NAMES[1] in Path("p.tsv").read_text()
    assert stat.S_IMODE(Path("p.tsv").stat().st_mode) == 0o600


@pytest.mark.slow
def test_whole_runs_name_no_patient_and_show_no_sequence(places, data, capfd):
    table = "--data.test test.csv --data.columns.id id"
    for folder, command in {
        "tuned": f"finetune --pretrained MLM --data.train train.csv {table} {QUICK} --output_dir tuned",
        "evaluated": f"evaluate --model TUNED {table} --output_dir evaluated",
        "explained": "explain --model TUNED --input all.fa --method ism --output_dir explained --options.figures 2",
        "store": "prepare --fasta all.fa --split 0.5 0.25 0.25 --output_dir store",
        "made": f"pretrain --data.store store --tokenizer.k 3 --windows.length 60 {SMALL} {QUICK} --output_dir made",
        "vectors": "embed --model MLM --input all.fa --output vectors/v.parquet",
        "checked": "check all.fa test.csv --columns.id id",
    }.items():
        code, shown = run(places, capfd, command)
        assert code == 0 and leaks(shown) == [], shown
        check_files(data / folder)
    for written in ("tuned/README.md", "made/README.md", "explained/report.html", "vectors/v.parquet"):
        assert (data / written).is_file()


@pytest.mark.parametrize(
    "command",
    [
        "check bad.fa",
        "check twice.csv --columns.id id",
        "check two_names.fq",
        "check without_header.fa",
        "predict --model TUNED --input bad.fa --output p.tsv --strict true",
        "prepare --fasta bad.fa --output_dir store",
        "finetune --pretrained MLM --data.train twice.csv --data.columns.id id --output_dir out",
        "explain --model TUNED --input bad.fa --output_dir out",
    ],
)
def test_an_error_names_no_patient(places, data, capfd, command):
    code, shown = run(places, capfd, command)
    assert code == 2 and leaks(shown) == [] and "#" in shown, shown


def test_a_private_run_leaves_the_process_as_it_was(places, data, capfd):
    before = os.umask(0o022)
    try:
        run(places, capfd, "check all.fa")
        assert os.umask(0o022) == 0o022 and not errors.is_private()
        assert main(["check", "bad.fa"]) == 2 and NAMES[1] in capfd.readouterr().out
    finally:
        os.umask(before)


def test_an_old_output_that_others_could_read_is_replaced_by_one_that_they_cannot(places, data, capfd):
    Path("p.tsv").write_text("old")
    Path("p.tsv").chmod(0o644)
    assert run(places, capfd, "predict --model TUNED --input all.fa --output p.tsv --overwrite true")[0] == 0
    assert stat.S_IMODE(Path("p.tsv").stat().st_mode) == 0o600


def test_the_heat_map_of_a_region_is_refused(places, data, capfd):
    words = "score-variants --model MLM --fasta all.fa --region x:1-9 --output v.tsv --picture v.png"
    code, shown = run(places, capfd, words)
    assert code == 2 and "--picture" in shown


def test_push_keeps_its_own_private_which_is_about_the_repository(monkeypatch):
    seen = []
    monkeypatch.setattr("hf_genomics.cli.run_verb", lambda function, words: seen.append((words, errors.is_private())))
    words = ["folder", "--name", "user/model", "--private", "true"]
    main(["push", *words])
    main(["card", "folder", "--private"])
    main(["card", "--private", "true", "folder"])
    assert seen == [(words, False), (["folder"], True), (["folder"], True)]
