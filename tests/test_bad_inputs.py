"""Every bad input gets its verdict, its exit code and one line that names what is wrong, and leaves nothing behind."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from advice import unknown_in
from bad_inputs.case import Case

from hf_genomics.cli import main

pytestmark = pytest.mark.usefixtures("one_parser_per_verb")

KINDS = (
    "adapters",
    "checkpoints",
    "configurations",
    "demo",
    "embedding",
    "explain",
    "genome_tables",
    "model_folders",
    "motifs",
    "outputs",
    "pictures",
    "recipes",
    "sequence_files",
    "studies",
    "tables",
    "tokenizers",
    "tuning",
    "variants",
    "weights",
)
TABLES = {kind: importlib.import_module(f"bad_inputs.{kind}").CASES for kind in KINDS}
CASES: dict[str, Case] = {f"{kind}-{name}": case for kind in KINDS for name, case in TABLES[kind].items()}
PREFIX = "hf-genomics: error: "
BASES = re.compile(r"[ACGTUNacgtun]{31}")


def run(command: str, places: dict[str, str]) -> int:
    """Run a command line in which capitals stand for places."""
    return main([places.get(word, word) for word in command.split()])


#: These cost a run each. In the default suite, the first damaged checkpoint and other commands of `evaluate` stand for
#: them.
SLOW = {
    *[name for name in CASES if name.startswith("checkpoints-")][1:],
    "adapters-evaluated_without_a_base",
    "embedding-probe_tokens",
    "outputs-evaluate_into_a_model",
    "outputs-evaluate_twice",
    "outputs-finetune_over_another_model",
    "recipes-baselines_without_a_training_table",
    "recipes-rna_for_finetune",
    "sequence_files-evaluate_a_short_row",
    "sequence_files-evaluate_rna",
    "sequence_files-evaluate_unknown_rows",
    "tables-contradictory labels",
    "tables-the training table as test table",
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name, marks=[pytest.mark.slow] if name in SLOW else []) for name, case in CASES.items()],
)
def test_a_bad_input_gets_its_verdict(case, places, work, capfd, caplog):
    if case.make:
        case.make(work)
    before = {*work.rglob("*")}
    assert run(case.command, places) == case.code
    printed, error = capfd.readouterr()
    if case.code == 2:
        (line,) = error.splitlines()
        assert line.startswith(PREFIX)
        assert [word for word in case.named if word not in line] == [], line
        assert [*unknown_in(line, [case.command.split()[0]])] == [], line
    said = printed + error + caplog.text  # `check` prints its warnings below its table
    assert [word for word in case.warned if word not in said] == [], said
    assert not BASES.search(error)
    left = {Path(work, path) for path in case.leaves}
    assert {*work.rglob("*")} - before == left
    if case.repair:
        case.repair(work)
    if case.remedy or case.repair:
        assert run(case.remedy or case.command, places) == 0, capfd.readouterr().err
