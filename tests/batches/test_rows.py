"""Rows with their letters end to end: a sequence of dictionaries to anyone who does not know them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizer

from hf_genomics import KmerTokenizer
from hf_genomics.batches.rows import JoinedRows, attention_mask, column_of, content_hash, encode_rows
from hf_genomics.sequence import as_letters, reverse_complement


def joined(*texts: str) -> JoinedRows:
    lengths = np.array([len(text) for text in texts])
    return JoinedRows(as_letters("".join(texts)).copy(), lengths, window_index=np.arange(len(texts)) + 3)


def texts(rows: JoinedRows) -> list[str]:
    return [row["sequence"].tobytes().decode() for row in rows]


def test_they_read_as_a_list_of_dictionaries() -> None:
    rows = joined("ACG", "", "TTGA")
    assert len(rows) == 3 and texts(rows) == ["ACG", "", "TTGA"]
    assert [row["window_index"] for row in rows] == [3, 4, 5] and type(rows[0]["window_index"]) is int
    assert rows[-1]["sequence"].tobytes() == b"TTGA" and [row["window_index"] for row in rows[1:]] == [4, 5]
    with pytest.raises(IndexError):
        rows[3]


@given(st.lists(st.tuples(st.text("ACGTNacgt", max_size=9), st.booleans()), min_size=1, max_size=9))
def test_some_rows_are_read_from_the_opposite_strand(rows: list[tuple[str, bool]]) -> None:
    batch = joined(*(text for text, _ in rows))
    batch.reverse_complement(np.array([turned for _, turned in rows]))
    assert texts(batch) == [reverse_complement(text) if turned else text for text, turned in rows]


def test_a_column_is_taken_or_collected_and_has_a_default() -> None:
    assert column_of(joined("A", "C"), "window_index", -1).tolist() == [3, 4]
    assert column_of(joined("A", "C"), "epoch", 7).tolist() == [7, 7]
    assert column_of([{"epoch": 2}, {}], "epoch", 7).tolist() == [2, 7]


@pytest.mark.parametrize(
    "kind",
    [list, lambda row: np.array(row, np.uint16), lambda row: np.array(row, np.int64)],
    ids=["lists", "uint16", "int64"],
)
def test_rows_of_ids_are_padded_whatever_holds_them(kind) -> None:
    ids, lengths = encode_rows(KmerTokenizer(3), [{"input_ids": kind(row)} for row in ([2, 9, 3], [2, 9, 9, 9, 3])], 4)
    assert ids.dtype == np.int64 and lengths.tolist() == [3, 5]
    assert ids.tolist() == [[2, 9, 3, 0, 0, 0, 0, 0], [2, 9, 9, 9, 3, 0, 0, 0]]


@pytest.mark.parametrize("sequence", ["acg [MASK] cgt", as_letters("acg [MASK] cgt")], ids=["text", "letters"])
def test_special_tokens_in_data_are_not_understood_by_foreign_tokenizers_either(sequence, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "acg", "cgt"]))
    foreign = BertTokenizer.from_pretrained(tmp_path)
    assert foreign("acg [MASK] cgt")["input_ids"] == [2, 5, 4, 6, 3]  # in text they are
    ids, lengths = encode_rows(foreign, [{"sequence": sequence}])
    assert ids.tolist() == [[2, 5, 1, 1, 1, 6, 3]] and lengths.tolist() == [7]  # "[", "MASK" and "]" are unknown words


def test_padding_is_marked_with_0() -> None:
    assert attention_mask(np.array([1, 3]), 3).tolist() == [[1, 0, 0], [1, 1, 1]]
    assert attention_mask(np.array([3, 3]), 3).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_a_hash_of_the_content_does_not_see_padding() -> None:
    ids = np.array([[5, 6, 7, 0, 0], [5, 6, 7, 8, 0]])
    one, other = content_hash(ids, np.array([3, 4]))
    assert content_hash(ids[:1, :3], np.array([3])) == one != other and min(one, other) >= 0
