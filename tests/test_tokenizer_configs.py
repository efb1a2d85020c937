"""The folders of tokenizer_configs/ load by name, say what they are, and are what KmerTokenizer writes today."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

import hf_genomics  # noqa: F401 (registers the tokenizer)
from hf_genomics import KmerTokenizer

FOLDER = Path(__file__).resolve().parents[1] / "tokenizer_configs"
CONFIGS = {
    "k3_stride1": (3, 1, 512),
    "k4_stride1": (4, 1, 512),
    "k5_stride1": (5, 1, 512),
    "k6_stride1": (6, 1, 512),
    "k6_stride3": (6, 3, 340),
    "k6_stride6": (6, 6, 512),
}
DNA = "GAGTTTTATCGCTTCCATGACGCAGAAG"

IN_A_NEW_PROCESS = """
import json, pathlib, sys
import hf_genomics
from transformers import AutoTokenizer

folders = sorted(path.parent for path in pathlib.Path(sys.argv[1]).glob("*/tokenizer_config.json"))
print(json.dumps({path.name: AutoTokenizer.from_pretrained(path)(sys.argv[2])["input_ids"] for path in folders}))
"""


def test_every_folder_is_known_here_and_in_the_readme() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} == set(CONFIGS)
    assert set(re.findall(r"\| `(\w+)` \|", (FOLDER / "README.md").read_text())) == set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_folder_holds_nothing_but_its_tokenizer_config(name: str) -> None:
    assert [path.name for path in (FOLDER / name).iterdir()] == ["tokenizer_config.json"]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_folder_loads_by_auto_tokenizer(name: str) -> None:
    k, stride, positions = CONFIGS[name]
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / name)
    assert type(tokenizer) is KmerTokenizer
    assert (tokenizer.k, tokenizer.stride, tokenizer.model_max_length) == (k, stride, positions)
    assert len(tokenizer) == 4**k + 5
    kmers = [DNA[start : start + k] for start in range(0, len(DNA) - k + 1, stride)]
    assert tokenizer.convert_ids_to_tokens(tokenizer(DNA)["input_ids"]) == ["[CLS]", *kmers, "[SEP]"]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_folder_is_what_the_tokenizer_writes_today(name: str, tmp_path: Path) -> None:
    k, stride, positions = CONFIGS[name]
    KmerTokenizer(k, stride, model_max_length=positions).save_pretrained(tmp_path)
    written, kept = (json.loads((path / "tokenizer_config.json").read_text()) for path in (tmp_path, FOLDER / name))
    del written["auto_map"]  # names code beside the file, which these folders do without
    assert written == kept


def test_the_stride3_limit_holds_the_papers_window() -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "k6_stride3")
    assert tokenizer.num_tokens(1000) == 334 <= tokenizer.model_max_length


def test_all_folders_load_in_a_new_process(tmp_path: Path) -> None:
    paths = [str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", IN_A_NEW_PROCESS, str(FOLDER), DNA],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    ids = json.loads(done.stdout)
    assert ids == {name: KmerTokenizer(k, stride)(DNA)["input_ids"] for name, (k, stride, _) in CONFIGS.items()}
