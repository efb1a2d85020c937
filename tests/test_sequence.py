"""Letters and k-mer arithmetic: laws, and the fast route against a three-line loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.sequence import (
    ALPHABET,
    CLS_ID,
    IUPAC,
    LETTER_CODE,
    MASK_ID,
    NUM_SPECIAL,
    PAD_ID,
    SEP_ID,
    SPECIAL_TOKENS,
    UNK_ID,
    as_letters,
    check_kmer,
    covered_nt,
    did_you_mean,
    hidden_nt,
    kmer_codes,
    kmer_digits,
    kmer_vocabulary,
    num_kmers,
    ranges,
    read_vocabulary,
    reverse_complement,
    reverse_complement_codes,
    rolling_any,
    rolling_codes,
    tile,
    tile_all,
    vocabulary_k,
    vocabulary_size,
)

DNA = st.text("ACGTacgt", max_size=80)
ANY_DNA = st.text(IUPAC + IUPAC.lower(), max_size=80)
K = st.integers(1, 12)


def codes_one_by_one(text: str, k: int, stride: int) -> list[int | None]:
    """Number k-mers the readable way; None where a k-mer touches something else than A, C, G, T, U."""
    kmers = [text[i : i + k].upper().replace("U", "T") for i in range(0, len(text) - k + 1, stride)]
    known = [kmer if set(kmer) <= set(ALPHABET) else None for kmer in kmers]
    return [kmer and sum(ALPHABET.index(base) * 4 ** (k - 1 - i) for i, base in enumerate(kmer)) for kmer in known]


@given(ANY_DNA)
def test_reverse_complement_undoes_itself(text: str) -> None:
    assert reverse_complement(reverse_complement(text)) == text
    assert reverse_complement(reverse_complement(text.encode())) == text.encode()
    assert np.array_equal(reverse_complement(reverse_complement(as_letters(text))), as_letters(text))


@given(ANY_DNA)
def test_reverse_complement_is_the_same_for_text_bytes_and_letters(text: str) -> None:
    turned = reverse_complement(text)
    assert type(turned) is str and type(reverse_complement(text.encode())) is bytes
    assert (
        reverse_complement(text.encode()).decode() == reverse_complement(as_letters(text)).tobytes().decode() == turned
    )
    assert [letter.isupper() for letter in turned] == [letter.isupper() for letter in reversed(text)]


@given(DNA, DNA)
def test_reverse_complement_of_two_parts_swaps_them(left: str, right: str) -> None:
    assert reverse_complement(left + right) == reverse_complement(right) + reverse_complement(left)


def test_reverse_complement_knows_every_iupac_code() -> None:
    meaning = dict(zip("ACGTRYSWKMBDHVN", "A C G T AG CT CG AT GT AC CGT AGT ACT ACG ACGT".split(), strict=True))
    for code, bases in meaning.items():
        opposite = {reverse_complement(base) for base in bases}
        assert set(meaning[reverse_complement(code)]) == opposite, code


def test_reverse_complement_reads_rna_as_dna_and_leaves_other_characters() -> None:
    assert reverse_complement("AACU") == "AGTT"
    assert reverse_complement("A-*é中") == "中é*-T"
    assert reverse_complement(np.frombuffer(b"A-*", np.uint8)).tobytes() == b"*-T"


def test_reverse_complement_of_a_batch_turns_every_row() -> None:
    rows = np.array([as_letters("AACG"), as_letters("TTTN")])
    assert [row.tobytes() for row in reverse_complement(rows)] == [b"CGTT", b"NAAA"]


@given(st.text(max_size=40))
def test_letters_have_one_place_per_character(text: str) -> None:
    letters = as_letters(text)
    assert letters.dtype == np.uint8 and len(letters) == len(text)
    assert all(chr(byte) == letter for byte, letter in zip(letters, text, strict=True) if ord(letter) < 256)
    assert all(byte == ord("?") for byte, letter in zip(letters, text, strict=True) if ord(letter) > 255)


def test_letters_are_not_copied_and_other_numbers_are_refused() -> None:
    letters = as_letters(b"ACGT")
    assert as_letters(letters) is letters
    assert as_letters(bytearray(b"AC")).tolist() == as_letters(memoryview(b"AC")).tolist() == [65, 67]
    with pytest.raises(TypeError, match="uint8 .ASCII., not int64"):
        as_letters(np.zeros(3, np.int64))


def test_the_complement_of_a_digit_is_its_low_bit_flipped() -> None:
    for base in "ACGTacgt":
        assert LETTER_CODE[ord(reverse_complement(base))] == LETTER_CODE[ord(base)] ^ 1
    assert [int(LETTER_CODE[ord(base)]) for base in ALPHABET] == [0, 1, 2, 3]
    assert LETTER_CODE[ord("U")] == LETTER_CODE[ord("u")] == LETTER_CODE[ord("T")]
    assert int((LETTER_CODE < 4).sum()) == 10


@given(st.text("ACGTacgtUuNRx-? ", max_size=60), K, st.integers(1, 15))
def test_kmer_codes_equal_those_of_a_loop(text: str, k: int, stride: int) -> None:
    codes, valid = kmer_codes(as_letters(text), k, stride)
    expected = codes_one_by_one(text, k, stride)
    assert [int(code) if good else None for code, good in zip(codes, valid, strict=True)] == expected
    assert len(codes) == num_kmers(len(text), k, stride)


@pytest.mark.parametrize("k", range(1, 13))
def test_rolling_codes_number_all_kmers_in_the_order_of_the_alphabet(k: int) -> None:
    digits = np.random.default_rng(k).integers(0, 4, (2, 200), dtype=np.uint8)
    codes = rolling_codes(digits, k)
    assert codes.dtype == (np.uint8 if k <= 4 else np.uint16 if k <= 8 else np.uint32)
    for row in range(2):
        slow = [sum(int(digits[row, i + j]) * 4 ** (k - 1 - j) for j in range(k)) for i in range(200 - k + 1)]
        assert codes[row].tolist() == slow


@pytest.mark.parametrize("k", range(1, 13))
def test_rolling_any_tells_whether_a_window_holds_a_flag(k: int) -> None:
    flags = np.random.default_rng(k).random((2, 90)) < 0.1
    slow = [[bool(row[i : i + k].any()) for i in range(90 - k + 1)] for row in flags]
    assert rolling_any(flags, k).tolist() == slow


@given(st.text(ALPHABET, min_size=1, max_size=40), K)
def test_reverse_complement_codes_are_the_codes_of_the_opposite_strand(text: str, k: int) -> None:
    codes, _ = kmer_codes(as_letters(text), k)
    turned, _ = kmer_codes(as_letters(reverse_complement(text)), k)
    assert reverse_complement_codes(codes[::-1], k).tolist() == turned.tolist()
    assert reverse_complement_codes(reverse_complement_codes(codes, k), k).tolist() == codes.tolist()


def test_reverse_complement_codes_leave_their_argument_alone() -> None:
    codes = np.array([7, 9])
    reverse_complement_codes(codes, 3)
    assert codes.tolist() == [7, 9]


def test_the_papers_numbers_of_tokens_come_out() -> None:
    assert [num_kmers(510, 6), num_kmers(150, 6), num_kmers(1000, 6, 3), num_kmers(18, 6), num_kmers(18, 6, 3)] == [
        505,
        145,
        332,
        13,
        5,
    ]
    assert num_kmers(5, 6) == num_kmers(0, 6) == num_kmers(5, 6, 6) == 0


def test_the_papers_hidden_nucleotides_come_out() -> None:
    base, mask8, stride3 = hidden_nt(6, 6), hidden_nt(8, 6), hidden_nt(3, 6, 3)
    assert (base, mask8, stride3) == (1, 3, 6)
    assert hidden_nt(3, 6) == 0, "shorter spans hide nothing: their neighbours show every letter"


@given(st.integers(1, 12), st.data())
def test_hidden_nucleotides_are_those_no_visible_kmer_covers(k: int, data: st.DataObject) -> None:
    stride, span, left = data.draw(st.integers(1, k)), data.draw(st.integers(1, 10)), 12
    starts = [token * stride for token in range(left + span + 12)]
    shown = {
        nt for token, start in enumerate(starts) if not left <= token < left + span for nt in range(start, start + k)
    }
    assert hidden_nt(span, k, stride) == len(set(range(starts[-1] + k)) - shown)


@given(st.integers(0, 300), st.integers(1, 12), st.integers(1, 15))
def test_covered_nt_leaves_a_tail_shorter_than_the_stride(length: int, k: int, stride: int) -> None:
    covered = covered_nt(num_kmers(length, k, stride), k, stride)
    tail = length - covered
    assert tail == ((length - k) % stride if length >= k else length) and 0 <= covered <= length


@given(st.lists(st.integers(0, 300)), st.integers(1, 12), st.integers(1, 15))
def test_kmers_of_many_lengths_are_counted_as_those_of_each(lengths: list[int], k: int, stride: int) -> None:
    counts = num_kmers(np.array(lengths, np.int64), k, stride)
    assert counts.tolist() == [num_kmers(length, k, stride) for length in lengths]
    assert covered_nt(counts, k, stride).tolist() == [covered_nt(count, k, stride) for count in counts.tolist()]
    assert all(type(num_kmers(length, k, stride)) is int for length in lengths)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, r"k must lie in 1..8, not 0"),
        ({"k": 9}, r"k must lie in 1..8, not 9"),
        ({"k": 6.0}, r"k must be a whole number of nt, not 6.0"),
        ({"k": "6"}, r"k must be a whole number of nt, not '6'"),
        ({"k": True}, r"k must be a whole number of nt, not True"),
        ({"k": 6, "stride": None}, r"stride must be a whole number of nt, not None"),
        ({"k": 6, "stride": 0}, r"stride must lie in 1..k \(k is 6\), not 0"),
        ({"k": 6, "stride": 7}, r"stride must lie in 1..k .* not 7.*allow_gaps=True"),
        ({"k": 6, "stride": -1, "allow_gaps": True}, r"stride must lie in 1..k"),
        ({"k": 13, "max_k": 12}, r"k must lie in 1..12, not 13"),
    ],
)
def test_impossible_kmers_are_refused_by_value_and_rule(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_kmer(**arguments)


def test_possible_kmers_are_accepted() -> None:
    for k in range(1, 9):
        for stride in range(1, k + 1):
            check_kmer(k, stride)
    check_kmer(np.int64(6), np.uint8(3))
    check_kmer(6, 20, allow_gaps=True)
    check_kmer(12, max_k=12)


def test_special_ids_stand_before_the_kmers_in_the_order_of_their_names() -> None:
    named = dict(zip(SPECIAL_TOKENS, (PAD_ID, UNK_ID, CLS_ID, SEP_ID, MASK_ID), strict=True))
    tokens = kmer_vocabulary(3)
    assert {token: tokens.index(token) for token in SPECIAL_TOKENS} == named
    assert tokens[NUM_SPECIAL] == "AAA"


@pytest.mark.parametrize("k", range(1, 7))
def test_the_size_of_a_vocabulary_tells_its_k(k: int) -> None:
    assert len(kmer_vocabulary(k)) == vocabulary_size(k)
    assert vocabulary_k(vocabulary_size(k)) == k


@pytest.mark.parametrize("size", [-4, 0, 5, 6, 68, 70, 4096])
def test_a_size_that_no_kmer_vocabulary_has_tells_no_k(size: int) -> None:
    with pytest.raises(ValueError, match=str(size)):
        vocabulary_k(size)


@pytest.mark.parametrize("k", range(1, 7))
def test_digits_of_kmers_spell_the_vocabulary(k: int) -> None:
    digits = kmer_digits(k)
    assert digits.shape == (4**k, k) and digits.dtype == np.uint8
    assert ["".join(ALPHABET[digit] for digit in kmer) for kmer in digits] == kmer_vocabulary(k)[NUM_SPECIAL:]
    assert rolling_codes(digits, k)[:, 0].tolist() == list(range(4**k))


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 9))))
def test_ranges_are_those_of_python_one_behind_the_other(pairs: list[tuple[int, int]]) -> None:
    starts, counts = np.array(pairs, np.int64).reshape(-1, 2).T
    joined = ranges(starts, counts)
    assert joined.tolist() == [number for start, count in pairs for number in range(start, start + count)]
    assert joined.dtype == np.int64


def tiles_one_by_one(length: int, window: int, step: int, end: str) -> list[tuple[int, int]]:
    """Cut windows the readable way: walk on until the end of the sequence is reached."""
    found, start = [], 0
    while start + window <= length:
        found.append((start, start + window))
        start += step
    reached = found[-1][1] if found else -1
    if end == "drop" or reached == length or (end == "short" and 0 < length <= start):
        return found
    return [*found, (start if end == "short" else max(0, length - window), length)]


@given(st.integers(0, 60), st.integers(1, 20), st.integers(1, 25), st.sampled_from(["drop", "short", "flush"]))
def test_tiles_are_those_of_a_walk_along_the_sequence(length: int, window: int, step: int, end: str) -> None:
    starts, ends = tile(length, window, step, end)
    assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == tiles_one_by_one(length, window, step, end)
    assert starts.dtype == ends.dtype == np.int64


@given(st.integers(1, 60), st.integers(1, 20), st.data())
def test_the_three_ends_of_tiles_keep_what_they_promise(length: int, window: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(1, window))
    dropped, short, flush = (
        [*zip(*tile(length, window, step, end), strict=True)] for end in ("drop", "short", "flush")
    )
    assert all(end - start == window for start, end in dropped)
    assert all(end - start == min(window, length) for start, end in flush)
    assert {nt for start, end in short for nt in range(start, end)} == set(range(length))
    assert {nt for start, end in flush for nt in range(start, end)} == set(range(length))
    assert short[: len(dropped)] == flush[: len(dropped)] == dropped
    assert len(short) == len(flush) <= len(dropped) + 1
    assert [end for _, end in short].count(length) == 1, "no window starts behind one that reaches the end"


def test_an_empty_sequence_has_one_empty_tile_or_none() -> None:
    assert [column.tolist() for column in tile(0, 4, 2, "drop")] == [[], []]
    assert [column.tolist() for column in tile(0, 4, 2, "short")] == [[0], [0]]
    assert [column.tolist() for column in tile(0, 4, 2, "flush")] == [[0], [0]]


@given(
    st.lists(st.integers(0, 40)), st.integers(1, 12), st.integers(1, 15), st.sampled_from(["drop", "short", "flush"])
)
def test_tiles_of_many_sequences_are_those_of_each(lengths: list[int], window: int, step: int, end: str) -> None:
    sequence, starts, ends = tile_all(np.array(lengths, np.int64), window, step, end)
    slow = [
        (owner, *tile) for owner, length in enumerate(lengths) for tile in tiles_one_by_one(length, window, step, end)
    ]
    assert list(zip(sequence.tolist(), starts.tolist(), ends.tolist(), strict=True)) == slow


@pytest.mark.parametrize(
    ("word", "meant"),
    [("strid", "stride"), ("STRIDE", "stride"), ("maxlength", "Max_Length"), ("k", "k"), ("xyz", None), ("", None)],
)
def test_a_misspelt_word_is_told_the_known_one_most_like_it(word: str, meant: str | None) -> None:
    known = ["k", "stride", "Max_Length", "errors"]
    assert did_you_mean(word, iter(known)) == (f"; did you mean {meant!r}?" if meant else "")


@pytest.mark.parametrize(
    "text", ["[]", "3", '{"model": null}', '{"model": {"vocab": [["a", 1]]}}', '{"model": {"vocab": {"a": "x"}}}']
)
def test_a_tokenizer_json_without_ids_is_an_error(tmp_path, text):
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(ValueError, match="maps no tokens to ids"):
        read_vocabulary(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("k", [16, 17, 32])
def test_codes_of_long_kmers_do_not_overflow(k):
    codes, _ = kmer_codes(as_letters("G" + "A" * (k - 1)), k)
    assert codes.tolist() == [3 * 4 ** (k - 1)]
