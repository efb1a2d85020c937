"""The folders of tokenizer_configs/ load by name, match the README, and are what the code writes today."""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
)

import hf_genomics  # noqa: F401 (registers the tokenizer)
from hf_genomics import KmerTokenizer

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tokenizer_configs"
CONFIGS = {
    "k3_stride1": (3, 1, 512),
    "k4_stride1": (4, 1, 512),
    "k5_stride1": (5, 1, 512),
    "k6_stride1": (6, 1, 512),
    "k6_stride3": (6, 3, 340),
    "k6_stride6": (6, 6, 512),
}
FAST = ("nt_6mers", "bpe_4096")
SLOW_TO_TRAIN = sorted({*CONFIGS, *FAST} - {"bpe_4096", "k6_stride3"})
DNA = "GAGTTTTATCGCTTCCATGACGCAGAAG"  # the first letters of phiX174

IN_A_NEW_PROCESS = """
import json, pathlib, sys
from transformers import AutoTokenizer

ids = {}
sys.modules["hf_genomics"] = None  # as if it were not installed
for folder in sorted(path.parent for path in pathlib.Path(sys.argv[1]).glob("*/tokenizer.json")):
    ids[folder.name] = AutoTokenizer.from_pretrained(folder)(sys.argv[2])["input_ids"]
del sys.modules["hf_genomics"]
import hf_genomics

for folder in sorted(path.parent for path in pathlib.Path(sys.argv[1]).glob("*/tokenizer_config.json")):
    ids.setdefault(folder.name, AutoTokenizer.from_pretrained(folder)(sys.argv[2])["input_ids"])
print(json.dumps(ids))
"""


def genome(accession):
    with gzip.open(ROOT / "recipes" / "data" / "quickstart" / f"{accession}.fasta.gz", "rt") as handle:
        return "".join(line.strip() for line in handle if not line.startswith(">"))


# k-mers of KmerTokenizer


def test_every_folder_is_known_here_and_in_the_readme() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} == {*CONFIGS, *FAST}
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert {name: int(positions) for name, positions in rows} == {
        path.name: AutoTokenizer.from_pretrained(path).model_max_length for path in FOLDER.iterdir() if path.is_dir()
    }


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
    del written["auto_map"]  # names code beside the file, which these folders do not have
    assert written == kept


def test_the_stride3_limit_holds_the_papers_window() -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "k6_stride3")
    assert tokenizer.num_tokens(1000) == 334 <= tokenizer.model_max_length


@pytest.mark.slow
def test_all_folders_load_in_a_new_process_the_fast_ones_without_the_package() -> None:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", IN_A_NEW_PROCESS, str(FOLDER), DNA],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        name: KmerTokenizer(k, stride)(DNA)["input_ids"] for name, (k, stride, _) in CONFIGS.items()
    } | {name: AutoTokenizer.from_pretrained(FOLDER / name)(DNA)["input_ids"] for name in FAST}


# plain fast tokenizers, each beside a slow twin written from its description


@pytest.fixture(scope="module", params=FAST)
def fast(request):
    return AutoTokenizer.from_pretrained(FOLDER / request.param)


@pytest.fixture(scope="module")
def six_mers():
    return AutoTokenizer.from_pretrained(FOLDER / "nt_6mers")


@pytest.fixture(scope="module")
def bpe():
    return AutoTokenizer.from_pretrained(FOLDER / "bpe_4096")


def pieces(text, cut):
    """Runs of A, C, G, T, cut into tokens by ``cut``, and every other letter alone."""
    text = text.translate(str.maketrans("acgtnuU", "ACGTNTT"))
    return [token for run in re.findall(r"[ACGT]+|[^ACGT]", text) for token in cut(run)]


def six_mers_slowly(text):
    def cut(run):
        whole = len(run) // 6 * 6
        return [run[start : start + 6] for start in range(0, whole, 6)] + list(run[whole:])

    order = ["<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>"]
    number = {token: place for place, token in enumerate(order)}
    number |= {token: 4102 + place for place, token in enumerate("ATCGN")}

    def of(token):
        if len(token) == 6:
            return 6 + sum("ATCG".index(letter) * 4 ** (5 - place) for place, letter in enumerate(token))
        return number.get(token, 0)

    return [3, *map(of, pieces(text, cut))]


def bpe_slowly(text):
    file = json.loads((FOLDER / "bpe_4096" / "tokenizer.json").read_text())["model"]
    rank = {tuple(pair): place for place, pair in enumerate(file["merges"])}

    def cut(run):
        tokens = list(run)
        while True:
            found = [
                (rank.get(pair, len(rank)), place) for place, pair in enumerate(zip(tokens, tokens[1:], strict=False))
            ]
            best, place = min(found, default=(len(rank), 0))
            if best == len(rank):
                return tokens
            tokens[place : place + 2] = [tokens[place] + tokens[place + 1]]

    return [2, *(file["vocab"].get(token, 1) for token in pieces(text, cut)), 3]


SLOWLY = {4107: six_mers_slowly, 4096: bpe_slowly}


@pytest.mark.parametrize("name", FAST)
def test_a_fast_folder_holds_tokenizer_and_settings_alone(name):
    assert sorted(path.name for path in (FOLDER / name).iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    assert sum(path.stat().st_size for path in (FOLDER / name).iterdir()) < 130_000
    assert isinstance(AutoTokenizer.from_pretrained(FOLDER / name), PreTrainedTokenizerFast)


def test_the_six_mers_have_the_nucleotide_transformers_ids(six_mers):
    assert len(six_mers) == 4107
    names = ["<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>", "AAAAAA", "AAAAAT", "AAAAAC", "AAAAAG", "AAAATA"]
    assert six_mers.convert_ids_to_tokens(range(11)) == names
    assert six_mers.convert_ids_to_tokens(range(4101, 4107)) == ["GGGGGG", "A", "T", "C", "G", "N"]
    special = (six_mers.unk_token_id, six_mers.pad_token_id, six_mers.mask_token_id, six_mers.cls_token_id)
    assert special == (0, 1, 2, 3) and (six_mers.eos_token_id, six_mers.bos_token_id) == (4, 5)


def test_six_mers_of_real_dna_have_these_ids(six_mers):
    assert genome("NC_001422")[: len(DNA)] == DNA
    # GAGTTT TATCGC TTCCAT GACGCA GAAG
    assert six_mers(DNA)["input_ids"] == [3, 3291, 1140, 1447, 3262, 4105, 4102, 4102, 4105]
    text = genome("NC_001416")
    assert six_mers(text)["input_ids"] == six_mers_slowly(text)


def test_pairs_of_real_dna_have_these_ids(bpe):
    assert len(bpe) == 4096
    assert bpe.convert_ids_to_tokens(range(9)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "A", "C", "G", "T"]
    # G AGTTTT ATCG CTTCC ATGACG CAGAAG
    assert bpe(DNA)["input_ids"] == [2, 7, 383, 95, 231, 940, 577, 3]
    dna = genome("NC_001422") + genome("NC_001416")[:3000]
    for text in (dna[start : start + 500] for start in range(0, len(dna), 500)):
        assert bpe(text)["input_ids"] == bpe_slowly(text)


@given(st.text(st.sampled_from("ACGTACGTACGTacgtNnUuRY- [MASK]<mask>é"), max_size=60))
def test_fast_and_slow_agree_on_any_text(fast, text):
    encoded = fast(text, return_offsets_mapping=True)
    assert encoded["input_ids"] == SLOWLY[len(fast)](text)
    special = fast.get_special_tokens_mask(encoded["input_ids"], already_has_special_tokens=True)
    inside = [place for place, (start, end) in enumerate(encoded["offset_mapping"]) if end > start]
    # The offsets tile the text: every letter has one token, at its place.
    ends = [end for _, end in encoded["offset_mapping"] if end]
    assert [encoded["offset_mapping"][place][0] for place in inside] == [0, *ends][: len(ends)]
    assert not text or ends[-1] == len(text)
    known = [place for place in inside if not special[place]]
    read = text.translate(str.maketrans("acgtnuU", "ACGTNTT"))
    tokens = fast.convert_ids_to_tokens(encoded["input_ids"])
    assert all(tokens[place] == read[slice(*encoded["offset_mapping"][place])] for place in known)


def test_lower_case_and_u_are_read_as_dna(fast):
    assert fast(DNA.lower())["input_ids"] == fast(DNA.replace("T", "U"))["input_ids"] == fast(DNA)["input_ids"]


def test_n_keeps_its_place_and_reading_starts_anew_behind_it(fast):
    first, second = DNA[:10], DNA[10:]
    one, two = (fast(part, add_special_tokens=False)["input_ids"] for part in (first, second))
    n = fast.convert_tokens_to_ids("N")  # the unknown token where there is none
    assert (n == 4106) == (len(fast) == 4107) and (n == fast.unk_token_id) == (len(fast) == 4096)
    assert fast(f"{first}NN{second}", add_special_tokens=False)["input_ids"] == [*one, n, n, *two]


def test_special_tokens_in_text_are_data(fast):
    for token in fast.all_special_tokens:
        assert set(fast(token, add_special_tokens=False)["input_ids"]).isdisjoint(
            set(fast.all_special_ids) - {fast.unk_token_id}
        )


def test_decoding_gives_the_dna_back(fast):
    text = genome("NC_001422")
    assert fast.decode(fast(text)["input_ids"], skip_special_tokens=True) == text


@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_are_padded_and_cut(fast, side):
    fast.padding_side = side
    batch = fast([DNA, DNA[:7]], padding=True, truncation=True, max_length=5, return_tensors="np")
    fast.padding_side = "right"
    assert batch["input_ids"].shape == (2, 5) and set(batch) == {"input_ids", "attention_mask"}
    pads = batch["input_ids"] == fast.pad_token_id
    assert (pads == (batch["attention_mask"] == 0)).all() and pads[1].any()
    assert pads[1, 0 if side == "left" else -1] and not pads[0].any()
    assert (batch["input_ids"][1][~pads[1]] == fast(DNA[:7])["input_ids"]).all()


# one line to change


@pytest.mark.parametrize(
    "name", ["bpe_4096", "k6_stride3", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_TO_TRAIN)]
)
def test_the_readmes_script_trains_with_every_folder(name, tmp_path, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", (FOLDER / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    before = 'folder = "tokenizer_configs/bpe_4096"'
    (code,) = (block for block in blocks if before in block)
    for path in ("tokenizer_configs", "recipes"):
        (tmp_path / path).symlink_to(ROOT / path)
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(code.replace(before, f'folder = "tokenizer_configs/{name}"'), scope)
    (loss,) = (entry["train_loss"] for entry in scope["trainer"].state.log_history if "train_loss" in entry)
    assert scope["trainer"].state.global_step == 2 and 3 < loss < 9  # about the log of the vocabulary's size


@pytest.mark.parametrize("name", [*CONFIGS, *FAST])
def test_transformers_own_collator_and_bert_take_every_folder(name):
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / name)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **sizes))
    rows = [tokenizer(DNA * count) for count in (1, 2, 3)]
    batch = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.5)(rows)
    assert abs(model(**batch).loss.item() - math.log(len(tokenizer))) < 1
