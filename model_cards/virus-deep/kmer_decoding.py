"""Read and spell k-mers: the slow, readable twin of the encoding, and the conversion of tokens and ids back to letters.

docs/glossary.md explains k-mer, token, stride and twin.
"""

from collections.abc import Iterator

import numpy as np

from .kmer_encoding import BLANKS, OTHER_DIGIT
from .sequence import ALPHABET, CLS_ID, NUM_SPECIAL, PAD_ID, SEP_ID, covered_nt

_TO_BLANK = str.maketrans(dict.fromkeys(BLANKS.decode(), " "))
_SPELLING = (ALPHABET + "N").encode().ljust(256, b"N")  # digits 0..4 to letters; translate() wants 256 bytes


def is_kmer(token: str, k: int) -> bool:
    """Check whether a token is a k-mer of A, C, G and T.

    >>> is_kmer("ACG", 3), is_kmer("ACN", 3), is_kmer("[PAD]", 5)
    (True, False, False)
    """
    return len(token) == k and not token.strip(ALPHABET)


def split_into_kmers(text: str, k: int, stride: int, unknown: str) -> Iterator[str]:
    """Iterate over the k-mers of a text, letter by letter: the twin that the fast encoding is tested against.

    Args:
        text: words of DNA in upper or lower case, between blanks; U is read as T.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.
        unknown: what to return for a k-mer with any other character.

    >>> list(split_into_kmers("acgun TTT", 3, 1, "[UNK]"))
    ['ACG', 'CGT', '[UNK]', 'TTT']
    """
    # Latin-1, as in `sequence.as_letters`: one byte per character, so that all later letters keep their places.
    for word in text.encode("latin-1", "replace").decode("latin-1").translate(_TO_BLANK).split(" "):
        for start in range(0, len(word) - k + 1, stride):
            kmer = word[start : start + k].upper().replace("U", "T")
            # Replaced here and not later: the text "[PAD]" has five letters; with k = 5 it would be passed on as a
            # k-mer and then be taken for the padding token.
            yield kmer if is_kmer(kmer, k) else unknown


def kmer_to_code(kmer: str) -> int:
    """Compute the code of a k-mer: its letters are the digits of a number in base 4, where A, T, C, G are 0, 1, 2, 3.

    >>> kmer_to_code("AAT"), kmer_to_code("GGG")
    (1, 63)
    """
    code = 0
    for letter in kmer:
        code = code * 4 + ALPHABET.index(letter)
    return code


def code_to_kmer(code: int, k: int) -> str:
    """Spell the k-mer of a code, the inverse of `kmer_to_code`.

    >>> code_to_kmer(1, 3), code_to_kmer(63, 3)
    ('AAT', 'GGG')
    """
    return "".join(ALPHABET[code >> 2 * position & 3] for position in reversed(range(k)))


def merge_kmers(tokens: list[str], k: int, stride: int) -> list[str]:
    """Merge k-mers, from left to right, into words of DNA; a k-mer that contradicts the word so far begins a new one.

    Args:
        tokens: k-mers. Any other token stands for ``k`` unknown letters, some of which are filled in by the k-mers that
            overlap them.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.

    >>> merge_kmers(["ACG", "[UNK]", "[UNK]", "[UNK]", "TTA", "GGG"], k=3, stride=1)
    ['ACGNTTA', 'GGG']
    """
    words: list[list[str]] = []
    for token in tokens:
        known = is_kmer(token, k)
        start = len(words[-1]) - k + stride if words else 0  # of this k-mer in the current word
        overlap = words[-1][start:] if words else []
        continues = not known or all(letter in ("N", mine) for letter, mine in zip(overlap, token, strict=False))
        if not words or not continues:
            words.append(list(token) if known else ["N"] * k)
        else:
            word = words[-1]
            word += ["N"] * (start + k - len(word))  # also the gap before it, where the stride is larger than k
            if known:
                word[start:] = token
    return ["".join(word) for word in words]


def spell(ids: np.ndarray, k: int, stride: int) -> str | None:
    """Merge k-mer ids, from left to right, into the DNA from which they were cut: the fast form of `merge_kmers`.

    Args:
        ids: ids of k-mers and [UNK] only, (tokens,), at least one.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.

    Returns:
        The DNA, with N where no k-mer shows the letter; None if neighbouring k-mers contradict each other.

    >>> spell(np.array([16, 50, 1]), 3, 1)
    'ACGTN'
    """
    # Letter `position` of every k-mer at once: k views of the result, each with a step of one stride.
    #
    #     digits        0 1 2 3 4 5 6           k = 3, stride 2, three k-mers
    #     views[0]      .   .   .
    #     views[1]        .   .   .
    #     views[2]          .   .   .
    known, codes = ids >= NUM_SPECIAL, ids - NUM_SPECIAL
    shown = [(codes >> 2 * (k - 1 - position) & 3).astype(np.uint8) for position in range(k)]
    digits = np.full(covered_nt(len(ids), k, stride), OTHER_DIGIT, np.uint8)
    views = [digits[position : position + (len(ids) - 1) * stride + 1 : stride] for position in range(k)]
    for view, letters in zip(views, shown, strict=True):
        np.copyto(view, letters, where=known)
    # Where two k-mers show different letters, the later view has overwritten the earlier one.
    if any(((view != letters) & known).any() for view, letters in zip(views, shown, strict=True)):
        return None
    return digits.tobytes().translate(_SPELLING).decode("ascii")


def mirrored_positions(ids: np.ndarray) -> np.ndarray:
    """Compute for each position in rows of ids the position of its mirror image.

    [PAD], [CLS] and [SEP] keep their positions. Each run of other tokens between them, or at either end, is reversed.

    Args:
        ids: ids of tokens, (..., tokens).

    Returns:
        Positions, int64 (..., tokens).

    >>> mirrored_positions(np.array([2, 10, 11, 12, 3, 0])).tolist()
    [0, 3, 2, 1, 4, 5]
    """
    position = np.broadcast_to(np.arange(ids.shape[-1]), ids.shape)
    fixed = (ids == PAD_ID) | (ids == CLS_ID) | (ids == SEP_ID)
    # The nearest fixed positions on both sides; between positions b and a, the mirror image of p is b + a - p. A fixed
    # position is its own nearest one on both sides, and therefore its own mirror image.
    before = np.maximum.accumulate(np.where(fixed, position, -1), -1)
    after = np.minimum.accumulate(np.where(fixed, position, ids.shape[-1])[..., ::-1], -1)[..., ::-1]
    return before + after - position
