"""DNA as letters and as numbers: alphabet, reverse complement, k-mer arithmetic, windows.

* Letters are numpy uint8 arrays of ASCII; upper and lower case (soft-masked) are both DNA.
* A base is the digit A0 T1 C2 G3, in DNABERT's order, so the complement of a digit is ``digit ^ 1``.
* A k-mer is a base-4 number, its *code*, with the first letter as the highest digit; its *id* in the vocabulary is
  ``code + NUM_SPECIAL``.

Everything here is a pure function of its arguments; numpy is the only dependency. (`did_you_mean` has nothing to do
with DNA; it is here because every portable file may import this module.) docs/glossary.md explains k-mer, stride and
window.
"""

import difflib
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np

ALPHABET = "ATCG"
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NUM_SPECIAL = len(SPECIAL_TOKENS)
PAD_ID, UNK_ID, CLS_ID, SEP_ID, MASK_ID = range(NUM_SPECIAL)  # ids follow SPECIAL_TOKENS; k-mers begin at NUM_SPECIAL

#: Label of positions that losses and scores ignore: PyTorch's ``ignore_index``.
IGNORE_INDEX = -100

IUPAC = "ACGTRYSWKMBDHVN"
_COMPLEMENT = str.maketrans("ACGTURYSWKMBDHVNacgturyswkmbdhvn", "TGCAAYRSWMKVHDBNtgcaayrswmkvhdbn")

#: Digit of every byte: A0 T1 C2 G3 (U as T, both cases), 4 for anything else.
LETTER_CODE = np.full(256, 4, np.uint8)
for _digit, _letter in enumerate(ALPHABET):
    LETTER_CODE[[ord(_letter), ord(_letter.lower())]] = _digit
LETTER_CODE[[ord("U"), ord("u")]] = 1
_CODE_TABLE = LETTER_CODE.tobytes()

#: Complement of every byte, in the same case; bytes other than nucleotide codes map to themselves.
COMPLEMENT = np.array([ord(chr(byte).translate(_COMPLEMENT)) for byte in range(256)], np.uint8)

DNA = TypeVar("DNA", str, bytes, np.ndarray)  # a function returns the type it was given

#: What happens to the nucleotides after the last full window; see `tile`.
TileEnd = Literal["drop", "short", "flush"]


def as_letters(sequence: str | bytes | bytearray | memoryview | np.ndarray) -> np.ndarray:
    """View a sequence as uint8 letters, one per character, without a copy where possible.

    A character outside latin-1 becomes ``?``, which is not a nucleotide, so positions never shift.

    >>> as_letters("ACgt").tolist()
    [65, 67, 103, 116]

    Raises:
        TypeError: if an array of another type than uint8 is given.
    """
    if isinstance(sequence, np.ndarray):
        if sequence.dtype != np.uint8:
            raise TypeError(f"letters are uint8 (ASCII), not {sequence.dtype}; convert text with as_letters(str)")
        return sequence
    if isinstance(sequence, str):
        sequence = sequence.encode("latin-1", "replace")
    return np.frombuffer(sequence, np.uint8)


def reverse_complement(sequence: DNA) -> DNA:
    """Return the opposite strand, read 5'->3', in the same type, with case and IUPAC codes kept.

    The complement of U is A, so RNA comes back as DNA. An array is reversed along its last axis.

    >>> reverse_complement("AACgtN")
    'NacGTT'
    """
    if isinstance(sequence, np.ndarray):
        return COMPLEMENT[sequence[..., ::-1]]
    if isinstance(sequence, bytes):
        return COMPLEMENT[np.frombuffer(sequence, np.uint8)[::-1]].tobytes()
    return sequence.translate(_COMPLEMENT)[::-1]


@overload
def num_kmers(length: int, k: int, stride: int = 1) -> int: ...
@overload
def num_kmers(length: Any, k: int, stride: int = 1) -> Any: ...


def num_kmers(length: Any, k: int, stride: int = 1) -> Any:
    """Count the k-mers of a sequence of ``length`` nt without special tokens (GenomeNet-BERT, Figure 1).

    Args:
        length: length of the sequence in nt; a whole number, or an array of them.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.

    Returns:
        The number of k-mers; an array if ``length`` is one.

    >>> num_kmers(18, k=6, stride=1), num_kmers(18, k=6, stride=3), num_kmers(1000, k=6, stride=3)
    (13, 5, 332)
    """
    return ((length - k) // stride + 1) * (length >= k)  # the factor instead of max(): works for arrays too


@overload
def covered_nt(num_tokens: int, k: int, stride: int = 1) -> int: ...
@overload
def covered_nt(num_tokens: Any, k: int, stride: int = 1) -> Any: ...


def covered_nt(num_tokens: Any, k: int, stride: int = 1) -> Any:
    """Count the nucleotides from the start of the first to the end of the last of ``num_tokens`` k-mers.

    Args:
        num_tokens: how many k-mers there are, without special tokens; a whole number, or an array of them.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.

    Returns:
        The number of nucleotides; an array if ``num_tokens`` is one.

    >>> covered_nt(13, k=6), covered_nt(332, k=6, stride=3), covered_nt(0, k=6)
    (18, 999, 0)
    """
    return ((num_tokens - 1) * stride + k) * (num_tokens > 0)


def hidden_nt(span: int, k: int, stride: int = 1) -> int:
    """Count the nucleotides that no visible k-mer shows when ``span`` consecutive k-mers are masked.

    Args:
        span: how many consecutive k-mers are masked.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next, 1..k.

    >>> hidden_nt(6, k=6), hidden_nt(8, k=6), hidden_nt(3, k=6, stride=3)
    (1, 3, 6)

    Source: GenomeNet-BERT, Figure 1 (set-ups base, mask8 and stride3: 1, 3 and 6 nt per masking location).
    """
    # The last visible k-mer before the span ends k - stride nt after the span begins; the first one after it starts
    # span * stride nt after the span begins. What lies between is hidden: span * stride - (k - stride).
    return max(0, (span + 1) * stride - k)


def check_kmer(k: int, stride: int = 1, *, max_k: int = 8, allow_gaps: bool = False) -> None:
    """Check the two numbers that define a k-mer tokenisation.

    Args:
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.
        max_k: largest k to accept.
        allow_gaps: accept a stride larger than k.

    Raises:
        ValueError: if k or stride is not an integer, k is outside 1..max_k, or stride is outside 1..k (1 or more with
            ``allow_gaps``).
    """
    for name, value in (("k", k), ("stride", stride)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ValueError(f"{name} must be a whole number of nt, not {value!r}")
    if not 1 <= k <= max_k:
        raise ValueError(f"k must lie in 1..{max_k}, not {k}: the vocabulary has 4^k k-mers")
    if stride < 1:
        raise ValueError(f"stride must lie in 1..k (k is {k}), not {stride}")
    if stride > k and not allow_gaps:
        raise ValueError(
            f"stride must lie in 1..k (k is {k}), not {stride}: with a larger stride, no token shows the nucleotides "
            "between two k-mers; pass allow_gaps=True if that is what you want"
        )


def vocabulary_size(k: int) -> int:
    """Count the tokens of a k-mer vocabulary, special tokens included: 5 + 4^k.

    >>> vocabulary_size(3), vocabulary_size(6)
    (69, 4101)
    """
    return NUM_SPECIAL + 4**k


def kmer_vocabulary(k: int) -> list[str]:
    """List all tokens in the order of their ids: five special ones, then the k-mers (DNABERT's vocab.txt).

    >>> kmer_vocabulary(2)[4:10]
    ['[MASK]', 'AA', 'AT', 'AC', 'AG', 'TA']
    """
    return [*SPECIAL_TOKENS, *map("".join, itertools.product(ALPHABET, repeat=k))]


def vocabulary_k(vocab_size: int) -> int:
    """Return the k of a vocabulary of 4^k k-mers and five special tokens.

    Raises:
        ValueError: if no k-mer vocabulary has that size.

    >>> vocabulary_k(69), vocabulary_k(4101)
    (3, 6)
    """
    k = max(0, vocab_size - NUM_SPECIAL).bit_length() // 2  # 4^k has 2k + 1 bits
    if k < 1 or vocab_size != vocabulary_size(k):
        raise ValueError(
            f"a vocabulary of {vocab_size} tokens does not consist of all k-mers, 5 + 4^k tokens (69, 261, 1029 ...)"
        )
    return k


def read_vocabulary(path: Path) -> list[str]:
    """Read the vocabulary of a BERT.

    Args:
        path: a vocab.txt, or a tokenizer.json as transformers 5 writes it.

    Returns:
        The tokens in the order of their ids.

    Raises:
        ValueError: if the file is not text, or a .json file is not JSON or has no ids of tokens.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        return text.split()
    content = json.loads(text)
    model = content.get("model") if isinstance(content, dict) else None
    ids = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(ids, dict) or not all(isinstance(number, int) for number in ids.values()):
        raise ValueError("it maps no tokens to ids, as the tokenizer.json of a BERT does")
    return sorted(ids, key=ids.__getitem__)


def check_vocabulary(tokens: Iterable[str], k: int) -> None:
    """Check that a vocabulary is DNABERT's.

    With the tokens in another order, a model would read other k-mers than it was trained on, without an error.

    Args:
        tokens: the vocabulary, in the order of its ids.
        k: k-mer size in nt.

    Raises:
        ValueError: naming the first token that differs, counted from 1 as the lines of a vocab.txt are.
    """
    pairs = itertools.zip_longest(tokens, kmer_vocabulary(k))
    for number, (found, expected) in enumerate(pairs, start=1):
        if found != expected:
            raise ValueError(
                f"token {number} is {found or 'missing'}, where DNABERT's vocabulary of {k}-mers has "
                f"{expected or 'none'}; ids follow DNABERT's order of bases, A, T, C, G, and a vocabulary in any other "
                "order cannot be used"
            )


def kmer_codes(letters: np.ndarray, k: int, stride: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Compute the codes of the k-mers of a sequence.

    Args:
        letters: uint8 letters, shape (length,).
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.

    Returns:
        codes, shape (num_kmers,), of the narrowest unsigned integer type that holds them; and valid, bool, False where
        a k-mer contains anything but A, C, G, T, U (its code then has no meaning).

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
    """Compute the codes of all k-mers at stride 1.

    Args:
        digits: base-4 digits 0..3, uint8 (..., length).
        k: k-mer size in nt.

    Returns:
        Codes of the k-mers that start at each letter, unsigned integers (..., length - k + 1); see `code_dtype`.
    """
    # Doubling, so that the work per nucleotide grows with log2(k) instead of k. Read k in binary from its second bit:
    # each bit doubles the width, and a 1 adds one more letter. For k = 6 = 0b110:
    #     1-mers  ->  2-mers  ->  3-mers (bit 1: doubled, then one more letter)  ->  6-mers (bit 0: doubled)
    codes, width = digits, 1
    for bit in bin(k)[3:]:
        codes, width = _join(codes, codes, width, width), width * 2
        if bit == "1":
            codes, width = _join(codes, digits, width, 1), width + 1
    return codes


def rolling_any(flags: np.ndarray, k: int) -> np.ndarray:
    """Check for each k-mer at stride 1 whether any of its letters is flagged.

    Args:
        flags: one flag per letter, bool (..., length).
        k: k-mer size in nt.

    Returns:
        bool (..., length - k + 1).
    """
    # Doubling as in `rolling_codes`; but flags of two halves may overlap, so the last step is simply a shorter one.
    found, width = flags, 1
    while width < k:
        step = min(width, k - width)
        count = max(0, found.shape[-1] - step)
        found, width = found[..., :count] | found[..., step : step + count], width + step
    return found


def _join(high: np.ndarray, low: np.ndarray, high_width: int, low_width: int) -> np.ndarray:
    """Concatenate each ``high_width``-mer with the ``low_width``-mer that follows it."""
    # The bits of the two codes side by side:  hh...h ll...l  =  high * 4^low_width + low.
    count = max(0, low.shape[-1] - high_width)
    dtype = code_dtype(high_width + low_width)
    # numpy multiplies small integers faster than it shifts them, and widens them in the same pass.
    joined = np.multiply(high[..., :count], dtype(4**low_width), dtype=dtype)
    return np.add(joined, low[..., high_width : high_width + count], out=joined)


def code_dtype(k: int) -> type[np.unsignedinteger]:
    """Return the narrowest unsigned type that holds a k-mer's 2k bits, for k up to 32."""
    return np.uint8 if k <= 4 else np.uint16 if k <= 8 else np.uint32 if k <= 16 else np.uint64


def reverse_complement_codes(codes: np.ndarray, k: int) -> np.ndarray:
    """Reverse-complement k-mer codes by integer arithmetic.

    Args:
        codes: base-4 codes of k-mers, any shape and integer type.
        k: k-mer size in nt.

    Returns:
        The code of the reverse complement of each k-mer, same shape and type.

    >>> reverse_complement_codes(np.array([1, 0]), k=2).tolist()  # AT is its own reverse complement, AA becomes TT
    [1, 5]
    """
    rest, result = codes.copy(), np.zeros_like(codes)
    # A code is k digits of two bits. Each turn moves the last digit of `rest` to the end of `result`, which reverses
    # their order, and flips its low bit on the way, which swaps A (00) with T (01) and C (10) with G (11).
    for _ in range(k):
        result = (result << 2) | ((rest & 3) ^ 1)
        rest >>= 2
    return result


def kmer_digits(k: int) -> np.ndarray:
    """Spell all k-mers in the order of their codes, as digits.

    Args:
        k: k-mer size in nt.

    Returns:
        Digits A0 T1 C2 G3, first letter first, uint8 (4^k, k).

    >>> kmer_digits(2)[[0, 1, 4, 15]].tolist()  # AA, AT, TA, GG
    [[0, 0], [0, 1], [1, 0], [3, 3]]
    """
    shifts = 2 * np.arange(k - 1, -1, -1)
    return (np.arange(4**k)[:, None] >> shifts & 3).astype(np.uint8)


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Concatenate ranges of whole numbers.

    Args:
        starts: first number of each range, integer (ranges,).
        counts: how many numbers each range has, 0 or more, integer (ranges,).

    Returns:
        ``starts[0], starts[0] + 1, ...`` of the first range, then of the next, int64 (sum of counts,).

    >>> ranges(np.array([7, 2]), np.array([2, 3])).tolist()
    [7, 8, 2, 3, 4]
    """
    # Counting on through all ranges gives 0, 1, 2 ...; each range then needs one shift, from the number at which the
    # count enters it (how many numbers the ranges before it hold) to its own first number.
    return np.arange(int(counts.sum())) + np.repeat(starts - (np.cumsum(counts) - counts), counts)


def tile(length: int, window: int, step: int, end: TileEnd) -> tuple[np.ndarray, np.ndarray]:
    """Cut a sequence into windows of ``window`` nt that start every ``step`` nt.

    The three values of ``end`` differ in what happens to the nucleotides after the last full window, and to a sequence
    shorter than one window::

        10 nt, window 4, step 3     drop         0-4   3-7   6-10
        11 nt, window 4, step 3     drop         0-4   3-7   6-10            the last nucleotide is in no window
                                    short        0-4   3-7   6-10   9-11     the last window is shorter
                                    flush        0-4   3-7   6-10   7-11     the last window is moved back
         3 nt, window 4             drop         no window
                                    short/flush  0-3

    Args:
        length: length of the sequence in nt.
        window: length of a window in nt, 1 or more.
        step: nt from the start of one window to the start of the next, 1 or more.
        end: "drop" returns full windows only; "short" and "flush" go on until the end of the sequence is reached, and
            return at least one window for every sequence, even for an empty one.

    Returns:
        Start and end of each window in nt, 0-based, half-open, int64 (windows,) each.

    >>> [column.tolist() for column in tile(11, window=4, step=3, end="flush")]
    [[0, 3, 6, 7], [4, 7, 10, 11]]
    """
    _, starts, ends = tile_all(np.array([length]), window, step, end)
    return starts, ends


def tile_all(lengths: np.ndarray, window: int, step: int, end: TileEnd) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut many sequences into windows, each as `tile` does.

    Args:
        lengths: length of each sequence in nt, int64 (sequences,).
        window: length of a window in nt, 1 or more.
        step: nt from the start of one window to the start of the next, 1 or more.
        end: "drop", "short" or "flush"; see `tile`.

    Returns:
        Index of the sequence, start and end of each window, int64 (windows,) each, sequence after sequence.

    >>> [column.tolist() for column in tile_all(np.array([10, 3]), window=4, step=4, end="short")]
    [[0, 0, 0, 1], [0, 4, 8, 0], [4, 8, 10, 3]]
    """
    last_start = np.maximum(0, lengths - window)  # of a full window
    if end == "drop":
        counts = np.where(lengths < window, 0, last_start // step + 1)
    else:
        counts = -(-last_start // step) + 1  # -(-a // b) is a / b rounded up
    if end == "short":  # with a step longer than the window, the next start may already lie after the sequence
        counts = np.minimum(counts, np.maximum(1, -(-lengths // step)))
    sequence = np.repeat(np.arange(len(lengths)), counts)
    starts = ranges(np.zeros_like(counts), counts) * step
    if end == "flush":
        starts = np.minimum(starts, last_start[sequence])
    return sequence, starts, np.minimum(starts + window, lengths[sequence])


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Build the end of an error message that suggests the known word closest to a misspelt one, ignoring case.

    Args:
        word: what the user wrote.
        known: the words that would have been right.
        cutoff: lowest similarity that counts, 0..1; see ``difflib.get_close_matches``.

    Returns:
        ``"; did you mean 'x'?"``, or an empty string if no known word is similar.

    >>> did_you_mean("Strid", ["k", "stride"]), did_you_mean("nothing like it", ["k", "stride"])
    ("; did you mean 'stride'?", '')
    """
    spelled = {name.lower(): name for name in reversed(list(known))}  # if two differ only in case, the first one wins
    close = difflib.get_close_matches(word.lower(), list(spelled), n=1, cutoff=cutoff)
    return f"; did you mean {spelled[close[0]]!r}?" if close else ""
