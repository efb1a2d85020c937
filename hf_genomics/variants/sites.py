"""What a variant changes, and which window and tokens of each strand show it: pure arithmetic, no model.

Positions are counted along one strand, 5' to 3'. With a stride above 1, where a window starts decides at which index of
its token a variant stands. This index is called the frame, in nt (it has nothing to do with reading frames); a score is
the mean over several frames.

Two changed letters in a window of 12 nt, for k 4 and stride 2 (see `place_event`). Token 3 starts one nucleotide before
them, so the frame is 1:

    position    4  5  6  7  8  9 10 11 12 13 14 15
    changed                          ^  ^
    token 2                 |--------|                shows one of them: "covering"
    token 3                       |--------|          shows both: "covering" and "whole"
    token 4                             |--------|    shows one of them: "covering"

The model must not see the changed letters, so all covering tokens are masked. What it predicts for the whole ones is
compared between the alleles.

A window depends only on the start of the variant's token. So neighbouring variants in one token share a window, and are
scored in one pass through the model, with the same result as alone. Each strand has its own window by the same rule, so
a genome and its reverse complement have the same scores.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from ..sequence import ALPHABET, num_kmers, reverse_complement

#: Why an allele has no score, or how its score differs from that of a single substitution.
Flag = Literal[
    # Never scored:
    "symbolic",  # a name instead of letters, such as <DEL>
    "star",  # "*": another variant deletes this place
    "breakend",  # a join with a distant place, such as G]chr2:321681]
    "ambiguous",  # letters other than A, C, G and T
    "no_change",  # both alleles are equal
    "no_alt",  # "."
    # Not scorable at this place of the genome, or by this model:
    "ref_mismatch",  # the genome has other letters than REF
    # The genome has N there, or no token that shows the place is free of N (or another such letter), for instance in a
    # contig that is shorter than a k-mer.
    "ref_n",
    "too_long",  # an insertion, a deletion or a longer substitution that fills more than half a window
    # Scored:
    "mnv",  # multi-nucleotide variant: a substitution of 2 to k nt
    "mnv_long",  # a substitution of more than k nt, scored like an insertion or a deletion
    "indel",  # an insertion or a deletion, possibly with replaced letters
    "several",  # two sequences of a table differ by substitutions in several places: the sum of their scores
]

_LETTERS = re.compile(r"[ACGTacgt]+")


class Event(NamedTuple):
    """A change of letters on the forward strand of a contig.

    The letters that both alleles share at their ends are left out: CAG to CTG is the event A to T. Only in a repeat do
    some stay (see `trim`).

    Attributes:
        start: position of the first changed letter, 0-based.
        ref: letters of the reference that are replaced, upper case; empty for an insertion.
        alt: letters in their place, upper case; empty for a deletion.
    """

    start: int
    ref: str
    alt: str

    @property
    def end(self) -> int:
        """Position after the last replaced letter, 0-based."""
        return self.start + len(self.ref)

    @property
    def is_substitution(self) -> bool:
        """Whether both alleles have the same length."""
        return len(self.ref) == len(self.alt)

    def reversed(self, length: int) -> Event:
        """Return the event as the opposite strand of a contig of ``length`` nt shows it."""
        return Event(length - self.end, reverse_complement(self.ref), reverse_complement(self.alt))


class WindowRule(NamedTuple):
    """How windows are cut for a model.

    Attributes:
        k: k-mer size in nt.
        stride: nt from the start of one token to the start of the next.
        length: length of a window in nt.
        frames: frames that are averaged, in nt, each below the stride.
    """

    k: int
    stride: int
    length: int
    frames: tuple[int, ...]

    @property
    def left(self) -> int:
        """Number of nt in a window before the variant's token, see `place_event`; a multiple of the stride."""
        return self.length // 2 // self.stride * self.stride


class Place(NamedTuple):
    """A window on a strand, and the tokens in it that show an event.

    Attributes:
        start: start of the window in nt.
        end: end of the window in nt.
        covering: indices of the tokens that show any changed letter, from the first k-mer of the window; they are
            masked.
        whole: indices of those that show all changed letters; they are scored.
    """

    start: int
    end: int
    covering: tuple[int, ...]
    whole: tuple[int, ...]


def classify(ref: str, alt: str) -> Flag | None:
    """Return why an allele of a VCF file is never scored, or None if it is a change of plain letters.

    Args:
        ref: column REF.
        alt: one allele of column ALT.

    >>> classify("A", "<DEL>"), classify("A", "*"), classify("A", "T")
    ('symbolic', 'star', None)
    """
    if alt in ("", "."):
        return "no_alt"
    if alt == "*":
        return "star"
    if alt.startswith("<"):
        return "symbolic"
    if "[" in alt or "]" in alt or "." in alt:
        return "breakend"
    if not _LETTERS.fullmatch(ref) or not _LETTERS.fullmatch(alt):
        return "ambiguous"
    return "no_change" if ref.upper() == alt.upper() else None


def trim(start: int, ref: str, alt: str) -> Event:
    """Build the event of two alleles without the letters that they share at their ends.

    In a repeat, a shared letter belongs to both ends: ``ATT`` is ``AT`` with a T inserted before its T, or after it.
    Such letters stay in the event (``T`` to ``TT``), so that the opposite strand gives the same one. Equal alleles stay
    whole; `classify` sorts them out.

    Args:
        start: position of the first letter of ``ref``, 0-based.
        ref: reference allele.
        alt: alternative allele.

    >>> trim(10, "CAG", "CTG"), trim(10, "AT", "ATT")
    (Event(start=11, ref='A', alt='T'), Event(start=11, ref='T', alt='TT'))
    """
    ref, alt = ref.upper(), alt.upper()
    most = min(len(ref), len(alt))
    head = next((index for index in range(most) if ref[index] != alt[index]), most)
    tail = next((index for index in range(most) if ref[-1 - index] != alt[-1 - index]), most)
    # Letters that belong to both head and tail are trimmed at neither end: both sides use the counts from above.
    head, tail = min(head, most - tail), min(tail, most - head)
    return Event(start + head, ref[head : len(ref) - tail], alt[head : len(alt) - tail])


def spread_frames(k: int, stride: int, frames: int) -> tuple[int, ...]:
    """Choose frames that are spread evenly over one stride; all of them, if there are no more than ``frames``.

    >>> spread_frames(6, 6, 3), spread_frames(6, 3, 3), spread_frames(6, 1, 3)
    ((0, 2, 4), (0, 1, 2), (0,))
    """
    possible = min(k, stride)  # at a stride above k, a letter k nt or more after the start of its token is in a gap
    chosen = min(frames, possible)
    return tuple(index * possible // chosen for index in range(chosen))


def place_event(start: int, width: int, contig_length: int, rule: WindowRule, frame: int) -> Place | None:
    """Place the window of a frame around changed letters; it is cut short at the ends of the contig.

    Args:
        start: position of the first changed letter on the strand.
        width: number of changed letters, 1 or more.
        contig_length: length of the contig in nt.
        rule: how windows are cut.
        frame: nt from the start of a token to the first changed letter.

    Returns:
        The place; None if no token shows all changed letters.
    """
    k, stride = rule.k, rule.stride
    token = start - frame  # start of the token that shows the first letter at index ``frame``
    # A window starts a multiple of the stride before this token, because its tokens are counted from its start. Near
    # the start of the contig, where a window cannot reach as far to the left, it starts at the lowest such position.
    begin = max(token - rule.left, token % stride)
    end = min(token - rule.left + rule.length, contig_length)
    last = num_kmers(end - begin, k, stride) - 1 if end > begin else -1
    # A token covers the first letter if it starts at most k - 1 nt before it. The division by the stride is rounded up:
    # -(-a // b) is a / b rounded up.
    nt_before = start - (k - 1) - begin
    first_covering = max(0, -(-nt_before // stride))
    last_covering = min(last, (start + width - 1 - begin) // stride)
    covering = tuple(range(first_covering, last_covering + 1))
    starts = [begin + index * stride for index in covering]
    whole = tuple(index for index, at in zip(covering, starts, strict=True) if at <= start and start + width <= at + k)
    return Place(begin, end, covering, whole) if whole else None


@lru_cache(maxsize=64)  # the alternatives of a position, on either strand, follow one another
def place_frames(start: int, width: int, contig_length: int, rule: WindowRule) -> tuple[Place, ...]:
    """Place the windows of those frames at which one token shows all changed letters.

    Near the end of a contig, or if several letters change, there may be no such token at any of the rule's frames. Then
    all frames are tried.

    Args:
        start: position of the first changed letter on the strand.
        width: number of changed letters, 1 or more.
        contig_length: length of the contig in nt.
        rule: how windows are cut.
    """
    for frames in (rule.frames, range(rule.stride)):
        found = [place_event(start, width, contig_length, rule, frame) for frame in frames]
        if places := tuple(place for place in found if place is not None):
            return places
    return ()


def id_shift(event: Event, token_start: int, k: int) -> int:
    """Compute by how much the id of a token changes if it shows the alternative letters.

    The letters of a k-mer are the digits of its id, a number in base 4 (plus a constant). So the id with the
    alternative letters is the id with those of the reference plus this number: no second sequence has to be tokenized.

    Args:
        event: substitution inside the token, on the token's strand.
        token_start: position of the first letter of the token.
        k: k-mer size in nt.

    >>> id_shift(Event(5, "A", "G"), token_start=3, k=3)  # AAA -> AAG: digits A0 T1 C2 G3
    3
    """
    shift = 0
    for index, (ref, alt) in enumerate(zip(event.ref, event.alt, strict=True)):
        exponent = k - 1 - (event.start + index - token_start)  # the first letter is the highest digit
        shift += (ALPHABET.index(alt) - ALPHABET.index(ref)) * 4**exponent
    return shift


def widen(event: Event, letters: np.ndarray, origin: int) -> tuple[int, int]:
    """Return start and end of the interval in which an insertion or deletion can be written without a difference.

    In a repeat, several records describe the same change. All of them have the same interval. It is scored with the
    same number of letters on either side, so the score does not depend on how the file writes the change.

    Args:
        event: the event, trimmed.
        letters: letters of the reference around it, uint8.
        origin: position of the first of these letters in the contig.

    One A of the reference CAAAG is deleted. Whether the file names the first or the last A, the interval holds all of
    them:

    >>> letters = np.frombuffer(b"CAAAG", np.uint8)
    >>> widen(trim(0, "CA", "C"), letters, origin=0), widen(trim(3, "AG", "G"), letters, origin=0)
    ((1, 4), (1, 4))
    """
    short, long = sorted((event.ref, event.alt), key=len)
    if not (long.startswith(short) and long.endswith(short)):  # letters are replaced, too: there is one place only
        return event.start, event.end
    text = letters.tobytes().decode("latin-1").upper()
    start, end = event.start - origin, event.end - origin
    # The letters that are inserted or deleted, written at the right end of the event. If the next letter of the contig
    # equals the first of them, they may as well be written one letter further right: in CAGAGT, deleting the first AG
    # leaves the same as deleting GA or the second AG. So each step moves their first letter to their end.
    unit = long[len(short) :]
    while end < len(text) and text[end] == unit[0]:
        end, unit = end + 1, unit[1:] + unit[0]
    unit = long[: len(long) - len(short)]  # the same towards the left
    while start > 0 and text[start - 1] == unit[-1]:
        start, unit = start - 1, unit[-1] + unit[:-1]
    return origin + start, origin + end
