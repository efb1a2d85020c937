"""Read and spell k-mers: the slow, readable twin of the encoding, and the way from tokens and ids back to letters."""

from collections.abc import Iterator

import numpy as np

from .kmer_encoding import BLANKS, OTHER_DIGIT
from .sequence import ALPHABET, CLS_ID, NUM_SPECIAL, PAD_ID, SEP_ID, covered_nt

_TO_BLANK = str.maketrans(dict.fromkeys(BLANKS.decode(), " "))
_SPELLING = (ALPHABET + "N").encode().ljust(256, b"N")  # from digits 0..4 back to letters


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
    # Latin-1 as in `as_letters`: one byte per character, so that no character changes the places behind it.
    for word in text.encode("latin-1", "replace").decode("latin-1").translate(_TO_BLANK).split(" "):
        for start in range(0, len(word) - k + 1, stride):
            kmer = word[start : start + k].upper().replace("U", "T")
            # Replaced here and not later, because "[PAD]" would be a "k-mer" of k = 5 and then read as the token.
            yield kmer if is_kmer(kmer, k) else unknown


def kmer_to_code(kmer: str) -> int:
    """Compute the code of a k-mer, letter by letter.

    >>> kmer_to_code("AAT"), kmer_to_code("GGG")
    (1, 63)
    """
    code = 0
    for letter in kmer:
        code = code * 4 + ALPHABET.index(letter)
    return code


def code_to_kmer(code: int, k: int) -> str:
    """Spell the k-mer of a code, letter by letter.

    >>> code_to_kmer(1, 3), code_to_kmer(63, 3)
    ('AAT', 'GGG')
    """
    return "".join(ALPHABET[code >> 2 * place & 3] for place in reversed(range(k)))


def merge_kmers(tokens: list[str], k: int, stride: int) -> list[str]:
    """Merge k-mers in reading order into words of DNA; a k-mer that contradicts the one before it begins a new word.

    Args:
        tokens: k-mers; anything else stands for ``k`` unknown letters, which neighbouring k-mers fill in as far as they
            reach.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.

    >>> merge_kmers(["ACG", "[UNK]", "[UNK]", "[UNK]", "TTA", "GGG"], k=3, stride=1)
    ['ACGNTTA', 'GGG']
    """
    words: list[list[str]] = []
    for token in tokens:
        known = is_kmer(token, k)
        start = (len(words[-1]) - k + stride) if words else 0  # of this k-mer in the current word
        overlap = words[-1][start:] if words and start >= 0 else []
        continues = not known or all(letter in ("N", mine) for letter, mine in zip(overlap, token, strict=False))
        if not words or start < 0 or not continues:
            words.append(list(token) if known else ["N"] * k)
        else:
            word = words[-1]
            word += ["N"] * (start + k - len(word))  # also the gap before it, where the stride is larger than k
            if known:
                word[start:] = token
    return ["".join(word) for word in words]


def spell(ids: np.ndarray, k: int, stride: int) -> str | None:
    """Merge k-mer ids in reading order into the DNA from which they were cut: the fast twin of `merge_kmers`.

    Args:
        ids: ids of k-mers and [UNK] only, (tokens,), at least one.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.

    Returns:
        The DNA, with N where no k-mer shows the letter; None if neighbouring k-mers contradict each other.

    >>> spell(np.array([16, 50, 1]), 3, 1)
    'ACGTN'
    """
    # Letter `place` of every k-mer at once: k views of the result, each with a step of one stride.
    #
    #     digits        0 1 2 3 4 5 6           k = 3, stride 2, three k-mers
    #     views[0]      .   .   .
    #     views[1]        .   .   .
    #     views[2]          .   .   .
    known, codes = ids >= NUM_SPECIAL, ids - NUM_SPECIAL
    shown = [(codes >> 2 * (k - 1 - place) & 3).astype(np.uint8) for place in range(k)]
    digits = np.full(covered_nt(len(ids), k, stride), OTHER_DIGIT, np.uint8)
    views = [digits[place : place + (len(ids) - 1) * stride + 1 : stride] for place in range(k)]
    for view, letters in zip(views, shown, strict=True):
        np.copyto(view, letters, where=known)
    # Where two k-mers show different letters, the later view has overwritten the earlier one.
    if any(((view != letters) & known).any() for view, letters in zip(views, shown, strict=True)):
        return None
    return digits.tobytes().translate(_SPELLING).decode("ascii")


def mirrored(ids: np.ndarray) -> np.ndarray:
    """Compute for each place of rows of ids the place of its mirror image.

    [PAD], [CLS] and [SEP] keep their places; the tokens between two of them are reversed.

    Args:
        ids: ids of tokens, (..., tokens).

    Returns:
        Places, int64 (..., tokens).

    >>> mirrored(np.array([2, 10, 11, 12, 3, 0])).tolist()
    [0, 3, 2, 1, 4, 5]
    """
    place = np.broadcast_to(np.arange(ids.shape[-1]), ids.shape)
    fixed = (ids == PAD_ID) | (ids == CLS_ID) | (ids == SEP_ID)
    # The nearest fixed places on both sides; between places b and a, the mirror image of p is b + a - p. A fixed place
    # is its own nearest on both sides and so stays.
    before = np.maximum.accumulate(np.where(fixed, place, -1), -1)
    after = np.minimum.accumulate(np.where(fixed, place, ids.shape[-1])[..., ::-1], -1)[..., ::-1]
    return before + after - place
