"""The models in model_cards/: complete, small, and as good as their cards say, also where the package is missing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from elsewhere import NOT_INSTALLED

from hf_genomics.reports.card_file import check_card
from hf_genomics.sequence_files.fasta import read_records

ROOT = Path(__file__).resolve().parents[1]
MODELS = sorted(path.parent for path in ROOT.glob("model_cards/*/config.json"))
NAMES = [folder.name for folder in MODELS]
#: The line of a card's notes that this test repeats: windows, name of the score, score.
PROMISE = re.compile(r"On ([\d,]+) windows of 150 nt from the bundled genomes[^.]*: ([\w ]+) (\d\.\d+)")

# Scores one folder on windows of the bundled genomes; prints the number of windows and the score.
SCORE = (
    NOT_INSTALLED
    + """
folder, windows, labels = sys.argv[1], *json.loads(sys.stdin.read())
trust = {"trust_remote_code": True}
tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **trust)
config = transformers.AutoConfig.from_pretrained(folder, **trust)
head = config.architectures[0]
auto = "AutoModelForMaskedLM" if head.endswith("MaskedLM") else "AutoModelForSequenceClassification"
model = getattr(transformers, auto).from_pretrained(folder, **trust).eval()
ids = tokenizer(windows, return_tensors="pt")["input_ids"]
with torch.no_grad():
    if head.endswith("MaskedLM"):
        hidden = torch.zeros_like(ids, dtype=torch.bool)
        hidden[:, 4:-1:6] = True
        logits = model(torch.where(hidden, tokenizer.mask_token_id, ids)).logits[hidden]
        score = torch.nn.functional.cross_entropy(logits, ids[hidden]).item()
    else:
        positive = model.config.label2id[model.config.positive_class]
        chosen = model(ids).logits.softmax(-1)[:, positive] >= (model.config.decision_threshold or 0.5)
        names = [model.config.id2label[positive if yes else 1 - positive] for yes in chosen.tolist()]
        recalls = [
            sum(name == label for name, truth in zip(names, labels) if truth == label) / labels.count(label)
            for label in sorted(set(labels))
        ]
        score = sum(recalls) / len(recalls)
print(json.dumps([len(windows), score]))
"""
)


@pytest.fixture(scope="module")
def windows() -> dict[str, list[list[str]]]:
    """Windows of 150 nt, 600 nt apart, of all bundled genomes and of viruses only, and their labels."""
    data = ROOT / "recipes" / "data" / "quickstart"
    header, *rows = (line.split("\t") for line in (data / "metadata.tsv").read_text().splitlines())
    genomes = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    found = [
        (record.letters[start : start + 150].tobytes().decode(), genomes[record.name]["label"], record.name)
        for path in sorted(data.glob("*.fasta.gz"))
        for record in read_records(path)
        for start in range(0, len(record.letters) - 150, 600)
    ]
    viruses = [row for row in found if genomes[row[2]]["kind"] in ("phage", "virus")]
    return {
        kind: [list(column) for column in zip(*these, strict=True)][:2]
        for kind, these in (("all", found), ("viruses", viruses))
    }


def test_models_are_bundled_and_stay_small_together() -> None:
    assert {"virus-wide", "phage-150nt", "ecoli-wide"} <= set(NAMES)
    assert sum(path.stat().st_size for folder in MODELS for path in folder.iterdir()) < 25e6


@pytest.mark.parametrize("folder", MODELS, ids=NAMES)
def test_a_bundled_model_has_all_files_a_sound_card_and_no_path_of_a_machine(folder: Path) -> None:
    check_card(folder)
    names = {path.name for path in folder.iterdir()}
    assert {
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer_config.json",
        "metrics.json",
        "run.json",
    } <= names
    assert not names & {"training_args.bin", "optimizer.pt", "trainer_state.json"}
    text = "".join((folder / name).read_text() for name in names if name.endswith((".json", ".md")))
    assert not re.search(r"(?<![\w.:/])/(work|home|tmp|root|Users)/", text)


@pytest.mark.parametrize("folder", MODELS, ids=NAMES)
def test_the_code_in_a_bundled_model_is_that_of_the_package(folder: Path) -> None:
    differing = [
        path.name
        for path in folder.glob("*.py")
        if path.read_bytes() != (ROOT / "hf_genomics" / path.name).read_bytes()
    ]
    assert not differing, "`make cards` copies the package's code into the folders"


@pytest.mark.parametrize(
    "folder",
    [pytest.param(path, marks=[pytest.mark.slow] * (path.name != "phage-150nt")) for path in MODELS],
    ids=NAMES,
)
def test_a_bundled_model_scores_what_its_card_says_where_the_package_is_not_installed(folder: Path, windows) -> None:
    promised = PROMISE.search(" ".join((folder / "README.md").read_text().split()))
    command = [sys.executable, "-c", SCORE, str(folder)]
    run = subprocess.run(
        command,
        input=json.dumps(windows["viruses" if "phage" in folder.name else "all"]),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    number, score = json.loads(run.stdout.splitlines()[-1])
    assert promised, (number, score)
    assert int(promised[1].replace(",", "")) == number and float(promised[3]) == pytest.approx(score, abs=6e-4)
