"""DNA as letters and as numbers: alphabet, reverse complement and k-mer arithmetic.

Letters are numpy uint8 arrays of ASCII; upper and lower case (soft-masked) are both DNA. A base is the digit
A0 T1 C2 G3, DNABERT's order, so that the complement of a digit is ``digit ^ 1`` and a k-mer is a base-4 number, first
letter highest. Everything here is a pure function of its arguments; numpy is the only dependency.
"""

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np

ALPHABET = "ATCG"
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
IUPAC = "ACGTRYSWKMBDHVN"
_COMPLEMENT = str.maketrans("ACGTURYSWKMBDHVNacgturyswkmbdhvn", "TGCAAYRSWMKVHDBNtgcaayrswmkvhdbn")

#: Digit of every byte: A0 T1 C2 G3 (U as T, both cases), 4 for anything else.
LETTER_CODE = np.full(256, 4, np.uint8)
for _digit, _letter in enumerate(ALPHABET):
    LETTER_CODE[[ord(_letter), ord(_letter.lower())]] = _digit
LETTER_CODE[[ord("U"), ord("u")]] = 1
_CODE_TABLE = LETTER_CODE.tobytes()

#: Complement of every byte, case kept; bytes that are no nucleotide stay as they are.
COMPLEMENT = np.array([ord(chr(byte).translate(_COMPLEMENT)) for byte in range(256)], np.uint8)

Sequence = TypeVar("Sequence", str, bytes, np.ndarray)


def as_letters(sequence: str | bytes | bytearray | memoryview | np.ndarray) -> np.ndarray:
    """View a sequence as uint8 letters, one per character, without a copy where possible.

    A character outside latin-1 becomes ``?``, which is no nucleotide, so that positions never shift.

    >>> as_letters("ACgt").tolist()
    [65, 67, 103, 116]

    Raises:
        TypeError: if an array is given that does not hold uint8.
    """
    if isinstance(sequence, np.ndarray):
        if sequence.dtype != np.uint8:
            raise TypeError(f"letters are uint8 (ASCII), not {sequence.dtype}; convert text with as_letters(str)")
        return sequence
    if isinstance(sequence, str):
        sequence = sequence.encode("latin-1", "replace")
    return np.frombuffer(sequence, np.uint8)


def reverse_complement(sequence: Sequence) -> Sequence:
    """Return the opposite strand, read 5'->3'; same type as given, case and IUPAC codes kept.

    U is complemented to A, so RNA comes back as DNA. An array is reversed along its last axis.

    >>> reverse_complement("AACgtN")
    'NacGTT'
    """
    if isinstance(sequence, np.ndarray):
        return COMPLEMENT[sequence[..., ::-1]]
    if isinstance(sequence, bytes):
        return COMPLEMENT[np.frombuffer(sequence, np.uint8)[::-1]].tobytes()
    return sequence.translate(_COMPLEMENT)[::-1]


def num_kmers(length: int, k: int, stride: int = 1) -> int:
    """Count the k-mer tokens of a sequence of ``length`` nt (GenomeNet-BERT, Figure 1), special tokens not counted.

    >>> num_kmers(18, k=6, stride=1), num_kmers(18, k=6, stride=3), num_kmers(1000, k=6, stride=3)
    (13, 5, 332)
    """
    return max(0, (length - k) // stride + 1)


def covered_nt(num_tokens: int, k: int, stride: int = 1) -> int:
    """Count the nucleotides from the first to the end of the last of ``num_tokens`` k-mers.

    >>> covered_nt(13, k=6), covered_nt(332, k=6, stride=3), covered_nt(0, k=6)
    (18, 999, 0)
    """
    return (num_tokens - 1) * stride + k if num_tokens > 0 else 0


def hidden_nt(span: int, k: int, stride: int = 1) -> int:
    """Count the nucleotides that no visible k-mer shows when ``span`` k-mers in a row are masked (stride <= k).

    >>> hidden_nt(6, k=6), hidden_nt(8, k=6), hidden_nt(3, k=6, stride=3)
    (1, 3, 6)

    Source: GenomeNet-BERT, Figure 1 (base 1, mask8 3, stride3 6 nt per masking location).
    """
    return max(0, (span + 1) * stride - k)


def check_kmer(k: int, stride: int = 1, *, max_k: int = 8, allow_gaps: bool = False) -> None:
    """Check the two numbers that define a k-mer tokenisation.

    Raises:
        ValueError: if k or stride is no integer, k outside 1..max_k, or stride outside 1..k (1.. with allow_gaps).
    """
    for name, value in (("k", k), ("stride", stride)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ValueError(f"{name} must be a whole number of nt, not {value!r}")
    if not 1 <= k <= max_k:
        raise ValueError(f"k must lie in 1..{max_k}, not {k}: the vocabulary has 4^k k-mers")
    if stride < 1 or (stride > k and not allow_gaps):
        raise ValueError(
            f"stride must lie in 1..k (k is {k}), not {stride}: a larger stride leaves nucleotides between k-mers that "
            "no token shows; pass allow_gaps=True if that is what you want"
        )


def kmer_vocabulary(k: int) -> list[str]:
    """List all tokens in the order of their ids: five special ones, then the k-mers (DNABERT's vocab.txt).

    >>> kmer_vocabulary(2)[4:10]
    ['[MASK]', 'AA', 'AT', 'AC', 'AG', 'TA']
    """
    return [*SPECIAL_TOKENS, *map("".join, itertools.product(ALPHABET, repeat=k))]


def vocabulary_k(vocab_size: int) -> int:
    """Give the k of a vocabulary of 4^k k-mers and five special tokens.

    Raises:
        ValueError: if there is none.

    >>> vocabulary_k(69), vocabulary_k(4101)
    (3, 6)
    """
    kmers = vocab_size - len(SPECIAL_TOKENS)
    k = max(0, kmers).bit_length() // 2
    if k < 1 or kmers != 4**k:
        raise ValueError(
            f"a vocabulary of {vocab_size} tokens is not one of k-mers, which has 5 + 4^k (69, 261, 1029 ...)"
        )
    return k


def read_vocabulary(path: Path) -> list[str]:
    """Read the tokens of a BERT, in the order of their ids: a vocab.txt, or the tokenizer.json that is written today.

    Raises:
        ValueError: if the file is not text, or not JSON.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        return text.split()
    ids = json.loads(text).get("model", {}).get("vocab", {})
    return sorted(ids, key=ids.get)


def check_vocabulary(tokens: Iterable[str], k: int) -> None:
    """Check that a vocabulary is DNABERT's: weights trained on another order would give wrong numbers without a word.

    Args:
        tokens: in the order of their ids.
        k: nt.

    Raises:
        ValueError: naming the first token (from 1, so the line of a vocab.txt) that differs.
    """
    pairs = itertools.zip_longest(tokens, kmer_vocabulary(k))
    for number, (found, expected) in enumerate(pairs, start=1):
        if found != expected:
            raise ValueError(
                f"token {number} is {found or 'missing'}, where DNABERT's vocabulary of {k}-mers has "
                f"{expected or 'none'}; ids follow its order (A, T, C, G), so a model of another one cannot be read"
            )


def kmer_codes(letters: np.ndarray, k: int, stride: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Number the k-mers of a sequence: base-4 codes, first letter highest.

    k-mers are built by doubling (1-mers to 2-mers to 4-mers ...), so the work per nucleotide grows with log2(k).

    Args:
        letters: uint8 letters, shape (length,).
        k, stride: nt.

    Returns:
        codes, shape (num_kmers,), an unsigned integer type just wide enough; and valid, bool, False where a k-mer
        touches anything but A, C, G, T, U (its code is then without meaning).

    >>> codes, valid = kmer_codes(as_letters("AATNGG"), k=2)
    >>> codes[valid].tolist(), valid.tolist()
    ([0, 1, 15], [True, True, False, False, True])
    """
    digits = letter_digits(letters)
    codes = rolling_codes(digits & 3, k)[::stride]
    if not len(digits) or digits.max() <= 3:
        return codes, np.ones(len(codes), bool)
    return codes, ~rolling_any(digits > 3, k)[::stride]


def letter_digits(letters: np.ndarray) -> np.ndarray:
    """Look up the digit of every letter, (length,) uint8: A0 T1 C2 G3, 4 for anything else.

    >>> letter_digits(as_letters("ATCGun-")).tolist()
    [0, 1, 2, 3, 1, 4, 4]
    """
    return np.frombuffer(letters.tobytes().translate(_CODE_TABLE), np.uint8)  # faster than indexing


def rolling_codes(digits: np.ndarray, k: int) -> np.ndarray:
    """Combine base-4 digits (uint8, last axis) into the codes of all k-mers at stride 1, by doubling."""
    codes, width = digits, 1
    for bit in bin(k)[3:]:
        codes, width = _join(codes, codes, width, width), width * 2
        if bit == "1":
            codes, width = _join(codes, digits, width, 1), width + 1
    return codes


def rolling_any(flags: np.ndarray, k: int) -> np.ndarray:
    """Tell for each k-mer at stride 1 (last axis) whether any of its letters is flagged, by doubling."""
    found, width = flags, 1
    while width < k:
        step = min(width, k - width)
        count = max(0, found.shape[-1] - step)
        found, width = found[..., :count] | found[..., step : step + count], width + step
    return found


def _join(high: np.ndarray, low: np.ndarray, high_width: int, low_width: int) -> np.ndarray:
    """Concatenate each ``high_width``-mer with the ``low_width``-mer that follows it."""
    count = max(0, low.shape[-1] - high_width)
    dtype = code_dtype(high_width + low_width)
    # numpy multiplies small integers faster than it shifts them, and widens them on the way without another pass.
    joined = np.multiply(high[..., :count], dtype(4**low_width), dtype=dtype)
    return np.add(joined, low[..., high_width : high_width + count], out=joined)


def code_dtype(k: int) -> type[np.unsignedinteger]:
    """Return the narrowest unsigned type that holds a k-mer's 2k bits."""
    return np.uint8 if k <= 4 else np.uint16 if k <= 8 else np.uint32


def complement_codes(codes: np.ndarray, k: int) -> np.ndarray:
    """Reverse-complement k-mer codes by integer arithmetic: swap the digits end for end and flip the low bit of each.

    >>> complement_codes(np.array([1]), k=2).tolist()  # AT is its own reverse complement
    [1]
    """
    rest, result = codes.copy(), np.zeros_like(codes)
    for _ in range(k):
        result = (result << 2) | ((rest & 3) ^ 1)
        rest >>= 2
    return result
