"""Shares of unknown letters from runs, against counting letters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hf_genomics.genomes import unknown_letters as unknown
from hf_genomics.genomes.store import prepare
from hf_genomics.genomes.unknown_letters import UnknownLetters
from hf_genomics.sequence import as_letters


def share_unknown(letters: np.ndarray) -> float:
    """Count the letters that are not A, C, G, T or U, either case."""
    return sum(letter not in b"ACGTUacgtu" for letter in letters.tolist()) / len(letters)


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 22])
@pytest.mark.parametrize("chosen", [[0, 1, 2, 3], [1, 3], [2]])
def test_runs_give_the_share_that_counting_gives(tmp_path: Path, monkeypatch, chunk: int, chosen: list[int]) -> None:
    random = np.random.default_rng(0)
    contigs = ["NNACGNTTRYN", "".join(random.choice(list("ACgtNNNN"), 90)), "ACGT", "N" * 30 + "A" * 10]
    (tmp_path / "in.fa").write_text("".join(f">c{row}\n{text}\n" for row, text in enumerate(contigs)))
    store = prepare([str(tmp_path / "in.fa")], str(tmp_path / "store"))
    monkeypatch.setattr(unknown, "_CHUNK", chunk)
    found = UnknownLetters(store, np.array(chosen))
    places = [
        (contig, start, end - start)
        for contig, row in enumerate(chosen)
        for start in range(0, len(contigs[row]), 3)
        for end in range(start + 1, len(contigs[row]) + 1, 2)
    ]
    expected = [share_unknown(as_letters(contigs[chosen[at]][start : start + n])) for at, start, n in places]
    assert found.share(*np.array(places).T).tolist() == pytest.approx(expected)
    assert bool(found) == (chosen != [2])
