"""Shuffle sequences so that they keep their dinucleotides: negatives with the same composition."""

from __future__ import annotations

import numpy as np

_TRIES = 100  # of random exits, before they are chosen by walks; four or five are usual


def dinucleotide_shuffle(letters: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a sequence with as many of every pair of neighbouring letters, in a random order.

    All sequences that have these pairs, the same first and the same last letter are equally likely. Such negatives
    differ from the positives in their longer words only, not in their composition or their number of CpGs.

    Args:
        letters: uint8 (nt,); soft-masked letters count as their capitals.
        generator: source of random numbers.

    Returns:
        uint8 (nt,), capitals.

    Source: Altschul and Erickson 1985: a random Euler path; the last exits of the letters form a tree whose root is the
    last letter.
    """
    letters = letters & 0xDF
    if len(letters) < 3:
        return letters
    followers = {int(letter): letters[1:][letters[:-1] == letter] for letter in np.unique(letters[:-1])}
    last_exits = _last_exits(followers, int(letters[-1]), generator)
    queues = {}
    for letter, follow in followers.items():
        if letter in last_exits:
            rest = np.delete(follow, np.flatnonzero(follow == last_exits[letter])[0])
            queues[letter] = iter([*generator.permutation(rest).tolist(), last_exits[letter]])
        else:
            queues[letter] = iter(generator.permutation(follow).tolist())
    shuffled = [int(letters[0])]
    while len(shuffled) < len(letters):
        shuffled.append(next(queues[shuffled[-1]]))
    return np.array(shuffled, np.uint8)


def _last_exits(followers: dict[int, np.ndarray], end: int, generator: np.random.Generator) -> dict[int, int]:
    """Choose by which letter each letter is left for the last time, so that all lead to the end of the sequence."""
    for _ in range(_TRIES):
        exits = {letter: int(generator.choice(follow)) for letter, follow in followers.items() if letter != end}
        if all(_leads_to(end, letter, exits) for letter in exits):
            return exits
    return _exits_by_walks(followers, end, generator)


def _exits_by_walks(followers: dict[int, np.ndarray], end: int, generator: np.random.Generator) -> dict[int, int]:
    """Choose exits that lead to the end, with the same probabilities, also where random exits almost never do.

    After long runs of a letter, such as N, almost every random exit leads to that letter again.

    Source: Wilson 1996: from each letter a random walk to the tree; the last exits of the walk, without its loops, join
    the tree.
    """
    # A step from a letter to itself is a loop, so it changes no exit.
    others = {letter: follow[follow != letter] for letter, follow in followers.items()}
    exits: dict[int, int] = {}
    tree = {end}
    for start in others:
        letter = start
        while letter not in tree:
            exits[letter] = int(generator.choice(others[letter]))
            letter = exits[letter]
        letter = start
        while letter not in tree:
            tree.add(letter)
            letter = exits[letter]
    return exits


def _leads_to(end: int, letter: int, exits: dict[int, int]) -> bool:
    """Check that the exits lead from a letter to the end."""
    for _ in range(len(exits) + 1):
        if letter == end:
            return True
        letter = exits[letter]
    return False
