"""Tokens, ids and decoding: DNABERT's vocabulary without a dictionary, and letters back from ids."""

from __future__ import annotations

import hashlib
import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AddedToken, AutoTokenizer, PreTrainedTokenizer

from hf_genomics import KmerBertForMaskedLM, KmerTokenizer
from hf_genomics.sequence import covered_nt, reverse_complement

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
KMERS = [(k, stride) for k in range(1, 9) for stride in range(1, k + 1)]
FAST = {kmer: KmerTokenizer(*kmer) for kmer in KMERS}
DNA = st.text("ACGT", max_size=60)


@pytest.mark.parametrize(("k", "digest"), [(3, "868b0b1c"), (4, "a78f8d49"), (5, "3d422649"), (6, "d8f61c24")])
def test_the_vocabulary_is_dnaberts_to_the_byte(k: int, digest: str) -> None:
    vocabulary = KmerTokenizer(k).get_vocab()
    lines = sorted(vocabulary, key=vocabulary.get)
    text = "\n".join(lines) + (
        "\n" if k == 6 else ""
    )  # DNABERT's file for k = 6 ends with a newline, the others do not
    assert hashlib.sha256(text.encode()).hexdigest()[:8] == digest
    assert list(vocabulary.values()) == list(range(4**k + 5))


@pytest.mark.parametrize("k", range(1, 7))
def test_ids_and_tokens_are_each_others_inverse(k: int) -> None:
    tokenizer = KmerTokenizer(k)
    tokens = SPECIAL + ["".join(letters) for letters in itertools.product("ATCG", repeat=k)]
    assert len(tokenizer) == tokenizer.vocab_size == len(tokens) == 4**k + 5
    assert tokenizer.convert_tokens_to_ids(tokens) == list(range(len(tokens)))
    assert tokenizer.convert_ids_to_tokens(list(range(len(tokens)))) == tokens


def test_special_tokens_have_berts_places() -> None:
    tokenizer = KmerTokenizer()
    ids = [tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id]
    assert [*ids, tokenizer.mask_token_id] == [0, 1, 2, 3, 4] and sorted(tokenizer.all_special_ids) == [0, 1, 2, 3, 4]
    assert tokenizer.convert_ids_to_tokens([4101, 10**6]) == ["[UNK]", "[UNK]"]
    assert tokenizer.convert_tokens_to_ids(["ACGTACG", "acgtac", ""]) == [1, 1, 1]


@given(st.sampled_from(KMERS), DNA)
def test_decoding_gives_the_dna_back_up_to_the_tail(kmer: tuple, text: str) -> None:
    ids = FAST[kmer](text)["input_ids"]
    covered = covered_nt(len(ids) - 2, *kmer)
    assert FAST[kmer].decode(ids, skip_special_tokens=True) == text[:covered]
    assert FAST[kmer].decode(ids).split() == ["[CLS]", *([text[:covered]] if covered else []), "[SEP]"]


@given(st.sampled_from(KMERS), st.text("ACGTN", max_size=60))
def test_decoding_keeps_the_place_of_every_known_nucleotide(kmer: tuple, text: str) -> None:
    ids = FAST[kmer](text)["input_ids"]
    decoded = FAST[kmer].decode(ids, skip_special_tokens=True)
    assert len(decoded) == covered_nt(len(ids) - 2, *kmer)
    assert all(there in (letter, "N") for letter, there in zip(text, decoded, strict=False))
    for start, token in zip(range(0, len(text), kmer[1]), ids[1:-1], strict=False):
        if token != 1:
            assert decoded[start : start + kmer[0]] == text[start : start + kmer[0]]


def test_decoding_marks_special_tokens_and_new_words() -> None:
    tokenizer = KmerTokenizer(3)
    ids = tokenizer("ACGT", "TTTT")["input_ids"]
    assert tokenizer.decode(ids) == "[CLS] ACGT [SEP] TTTT [SEP]"
    assert tokenizer.decode([16, 4, 50]) == "ACG [MASK] CGT"
    assert tokenizer.decode([]) == "" and tokenizer.decode(16) == "ACG"
    assert tokenizer.batch_decode(torch.tensor([ids, ids]), skip_special_tokens=True) == ["ACGT TTTT"] * 2


@settings(max_examples=300)
@given(st.integers(1, 4), st.integers(1, 5), st.lists(st.integers(-2, 300), max_size=20), st.data())
def test_decoding_any_ids_equals_merging_their_tokens(k: int, stride: int, ids: list, data) -> None:
    tokenizer = KmerTokenizer(k, stride, allow_gaps=True)
    tokenizer.add_tokens(["<gap>"])
    if data.draw(st.booleans()):  # mostly k-mers that continue each other
        ids = tokenizer(data.draw(st.text("ACGTN ", max_size=20)))["input_ids"] + ids[:3]
    assert tokenizer.decode(ids) == tokenizer.convert_tokens_to_string(tokenizer.convert_ids_to_tokens(ids))


def test_decoding_fills_gaps_with_n() -> None:
    tokenizer = KmerTokenizer(3, stride=5, allow_gaps=True)
    assert tokenizer.decode(tokenizer("ACGTTACGTT")["input_ids"], skip_special_tokens=True) == "ACGNNACG"


@given(st.sampled_from(KMERS), st.lists(st.integers(0, 12), min_size=1, max_size=3), st.booleans(), st.data())
def test_reverse_complement_of_ids_is_the_ids_of_the_reverse_complement(kmer, extra, special, data) -> None:
    lengths = [kmer[0] + more * kmer[1] for more in extra]
    texts = [data.draw(st.text("ACGTN", min_size=length, max_size=length)) for length in lengths]
    call = {"add_special_tokens": special, "padding": True, "return_tensors": "pt"}
    ids = FAST[kmer](texts, **call)["input_ids"]
    turned = FAST[kmer]([reverse_complement(text) for text in texts], **call)["input_ids"]
    result = FAST[kmer].reverse_complement_ids(ids)
    assert result.dtype == torch.int64 and torch.equal(result, turned)
    assert np.array_equal(FAST[kmer].reverse_complement_ids(ids.numpy()), turned.numpy())
    assert torch.equal(FAST[kmer].reverse_complement_ids(result), ids)


def test_reverse_complement_of_ids_keeps_pairs_apart_and_turns_masks() -> None:
    tokenizer = KmerTokenizer(3)
    ids = np.array(tokenizer("ACGTA", "TTTG")["input_ids"])
    turned = tokenizer("TACGT", "CAAA")["input_ids"]
    assert tokenizer.reverse_complement_ids(ids).tolist() == turned
    ids[1] = tokenizer.mask_token_id
    assert tokenizer.reverse_complement_ids(ids).tolist() == [*turned[:3], 4, *turned[4:]]


def test_added_tokens_are_understood_and_come_after_the_kmers() -> None:
    tokenizer = KmerTokenizer(3)
    assert tokenizer.add_tokens(["<gap>", "[MASK]"]) == 1 and len(tokenizer) == 70
    for text in ("ACGT<gap>ACGT", "ACGT <gap> ACGT"):
        assert tokenizer(text)["input_ids"] == tokenizer([text])["input_ids"][0] == [2, 16, 50, 69, 16, 50, 3]
    assert tokenizer("ACGTTA")["input_ids"] == KmerTokenizer(3)("ACGTTA")["input_ids"]
    assert tokenizer.decode([16, 50, 69, 16, 50]) == "ACGT <gap> ACGT"
    assert tokenizer("ACGT<gap>", errors="raise")["input_ids"][-2] == 69


def test_special_tokens_may_have_other_names(tmp_path: Path) -> None:
    KmerTokenizer(3, mask_token="<mask>", unk_token="<unk>").save_pretrained(tmp_path)
    tokenizer = KmerTokenizer.from_pretrained(tmp_path)
    assert (tokenizer.mask_token, tokenizer.mask_token_id, tokenizer.unk_token_id, len(tokenizer)) == (
        "<mask>",
        4,
        1,
        69,
    )
    assert tokenizer.decode(tokenizer("ACGTN")["input_ids"]) == "[CLS] ACGTN [SEP]"


def test_the_vocabulary_is_never_built_unless_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(self: KmerTokenizer) -> dict:
        raise AssertionError("the vocabulary was built")

    monkeypatch.setattr(KmerTokenizer, "get_vocab", refuse)
    tracemalloc.start()
    KmerTokenizer(8).save_pretrained(tmp_path)
    tokenizer = KmerTokenizer.from_pretrained(tmp_path)
    ids = tokenizer(["ACGTACGTACGT"], padding=True, return_tensors="pt")["input_ids"]
    assert tokenizer.batch_decode(ids, skip_special_tokens=True) == ["ACGTACGTACGT"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(tokenizer) == 65541 and peak < 20e6


@pytest.mark.parametrize("k", [9, 10, 12])
def test_larger_k_works_where_it_is_asked_for(k: int, tmp_path: Path) -> None:
    tokenizer = KmerTokenizer(k, stride=4, allow_large_k=True)
    text = "ACGTTGCATTACGGATCCGTAAACG"
    ids = tokenizer(text)["input_ids"]
    starts = range(0, len(text) - k + 1, 4)
    assert ids[1:-1] == [tokenizer.convert_tokens_to_ids(text[start : start + k]) for start in starts]
    assert (
        len(tokenizer) == 4**k + 5
        and tokenizer.decode(ids, skip_special_tokens=True) == text[: covered_nt(len(ids) - 2, k, 4)]
    )
    tokenizer.save_pretrained(tmp_path)
    assert KmerTokenizer.from_pretrained(tmp_path)(text)["input_ids"] == ids
    assert tokenizer.add_tokens(["<gap>"]) == 1 and tokenizer.convert_tokens_to_ids("<gap>") == 4**k + 5


class Textbook(PreTrainedTokenizer):
    """The same vocabulary as a dictionary, so that transformers' own way of adding tokens is at work."""

    def __init__(self, k: int, **kwargs: object) -> None:
        self.vocabulary = KmerTokenizer(k).get_vocab()
        names = ["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"]
        super().__init__(**dict(zip(names, SPECIAL, strict=True)), **kwargs)

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary)

    def get_vocab(self) -> dict[str, int]:
        return self.vocabulary | self.added_tokens_encoder

    def _convert_token_to_id(self, token: str) -> int:
        return self.vocabulary.get(token, 1)

    def _convert_id_to_token(self, index: int) -> str:
        return dict(map(reversed, self.vocabulary.items())).get(index, "[UNK]")


TOKEN = st.sampled_from(["<gap>", "<strand>", "[MASK]", "ACG", "ACGT", "<gap>", ""])
ADDED = st.one_of(
    TOKEN,
    st.builds(AddedToken, TOKEN.filter(bool), single_word=st.booleans(), special=st.booleans()),
)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.lists(ADDED, max_size=3), st.booleans()), max_size=3))
def test_tokens_are_added_as_transformers_adds_them(calls: list) -> None:
    ours, theirs = KmerTokenizer(2), Textbook(2)
    for tokens, special in calls:
        assert ours.add_tokens(tokens, special_tokens=special) == theirs.add_tokens(tokens, special_tokens=special)
    assert len(ours) == len(theirs) and ours.get_vocab() == theirs.get_vocab()
    assert ours.all_special_tokens == theirs.all_special_tokens and ours.all_special_ids == theirs.all_special_ids
    added = [
        [(i, t.content, t.special, t.single_word) for i, t in tokenizer.added_tokens_decoder.items()]
        for tokenizer in (ours, theirs)
    ]
    assert added[0] == added[1] == [(n.id, n.text, n.special, n.whole_word) for n in ours.added_names]
    assert ours.names_spell_dna == any(name.text in ("ACG", "ACGT") for name in ours.added_names)


def test_what_is_not_a_token_is_not_added() -> None:
    with pytest.raises(TypeError, match="7"):
        KmerTokenizer(3).add_tokens([7])


@pytest.mark.parametrize(
    "add",
    [
        lambda tokenizer: tokenizer.add_tokens(["[HUMAN]"]),
        lambda tokenizer: tokenizer.add_tokens(["[HUMAN]"], special_tokens=True),
        lambda tokenizer: tokenizer.add_special_tokens({"additional_special_tokens": ["[HUMAN]"]}),
        lambda tokenizer: tokenizer.add_special_tokens({"extra_special_tokens": ["[HUMAN]"]}),
        lambda tokenizer: setattr(tokenizer, "extra_special_tokens", ["[HUMAN]"]),
        lambda tokenizer: setattr(tokenizer, "additional_special_tokens", ["[HUMAN]"]),
        lambda tokenizer: setattr(tokenizer, "bos_token", "[HUMAN]"),
        lambda tokenizer: setattr(tokenizer, "mask_token", "[HUMAN]"),
    ],
    ids=["token", "special", "additional", "extra", "extra_attribute", "additional_attribute", "bos", "mask"],
)
def test_an_added_token_is_one_token_however_it_was_added(add, tmp_path) -> None:
    tokenizer = KmerTokenizer(3)
    add(tokenizer)
    assert len(tokenizer) == 70 and tokenizer.convert_tokens_to_ids("[HUMAN]") == 69
    for text in ("[HUMAN]ACGT", "[HUMAN] ACGT", "[HUMAN]acgt"):
        assert tokenizer(text)["input_ids"] == [2, 69, 16, 50, 3]
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert len(again) == 70 and again("ACG[HUMAN]CGT")["input_ids"] == [2, 16, 69, 50, 3]


@pytest.mark.parametrize("name", ["species", "species_token"])
def test_a_special_token_with_a_name_of_its_own_is_found_again(name, tmp_path) -> None:
    KmerTokenizer(3, extra_special_tokens={name: "[HUMAN]"}).save_pretrained(tmp_path / "1")
    for folder in ("1", "2"):
        again = AutoTokenizer.from_pretrained(tmp_path / folder)
        assert getattr(again, name) == "[HUMAN]" and "[HUMAN]" in again.all_special_tokens
        assert len(again) == 70 and again("ACG[HUMAN]CGT")["input_ids"] == [2, 16, 69, 50, 3]
        again.save_pretrained(tmp_path / "2")


def test_an_unknown_setting_of_a_file_is_still_refused(tmp_path) -> None:
    KmerTokenizer(3, extra_special_tokens={"species": "[HUMAN]"}).save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(path.read_text().replace('"stride"', '"strid"'))
    with pytest.raises(TypeError, match="'strid'.*'stride'"):
        AutoTokenizer.from_pretrained(tmp_path)


def test_a_model_learns_an_added_token(tiny_config, tmp_path) -> None:
    tokenizer = KmerTokenizer(3)
    tokenizer.add_special_tokens({"extra_special_tokens": ["[HUMAN]"]})
    model = KmerBertForMaskedLM(tiny_config)
    model.resize_token_embeddings(len(tokenizer))
    inputs = tokenizer("[HUMAN]ACGT", return_tensors="pt")
    expected = model.eval()(**inputs).logits
    assert expected.shape[-1] == model.config.vocab_size == 70
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path)
    assert torch.equal(KmerBertForMaskedLM.from_pretrained(tmp_path)(**inputs).logits, expected)
