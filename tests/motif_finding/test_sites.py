"""Refinement finds what was planted; sites are listed once, on their strand."""

from __future__ import annotations

import numpy as np
import pytest

from hf_genomics.motif_finding.matrices import matrix_of_word, similarity
from hf_genomics.motif_finding.sequences import ScoredSequences
from hf_genomics.motif_finding.sites import (
    Site,
    distances_from_centre,
    evaluate_motif,
    in_stretches,
    make_motifs,
    refine,
    sites_of,
)
from hf_genomics.motif_finding.words import compare_words
from hf_genomics.sequence import as_letters, reverse_complement

PLANTED = "GGTGACTCAT"
EXACT = matrix_of_word(PLANTED, 1.0)


def test_a_matrix_grows_from_a_part_of_the_word_to_all_of_it(planted):
    motif = refine(matrix_of_word(PLANTED[2:8]), planted(60, 0), planted(200, 1, ""), threshold=1.5)
    assert motif.sites == 60 and similarity(motif.matrix, EXACT) > 0.99
    assert motif.matrix.sum(1) == pytest.approx(1) and len(motif.name) == len(motif.matrix) <= 12


@pytest.mark.parametrize(("count", "is_kept"), [(400, True), (30, False)])
def test_a_poor_outer_position_is_kept_if_there_are_sites_enough_to_tell_it_from_chance(count, is_kept):
    random = np.random.default_rng(0)
    letters = random.choice(as_letters("ACGT"), (count, 30))
    letters[:, 10:20] = as_letters(PLANTED)
    letters[:, 21] = np.resize(as_letters("GGGGGACTAT"), count)  # half of them G: 0.24 bits
    some = ScoredSequences.of([str(row) for row in range(count)], list(letters))
    controls = ScoredSequences.of(list("n" * 200), list(random.choice(as_letters("ACGT"), (200, 30))))
    motif = refine(EXACT, some, controls)
    assert len(motif.matrix) == (12 if is_kept else 10) and similarity(motif.matrix, EXACT) > 0.99


def test_a_word_without_sites_gives_no_motif(planted):
    assert refine(matrix_of_word("AAAAAAAA"), planted(60, 0), planted(200, 1, ""), threshold=1.5) is None


def test_only_sites_of_high_scores_make_the_matrix():
    # The same word with low scores differs in its last letter; it must not be counted.
    random = np.random.default_rng(0)
    letters, scores = random.choice(as_letters("ACGT"), (40, 50)), np.zeros((40, 50))
    letters[:, 5:15], letters[:, 30:40] = as_letters(PLANTED), as_letters(PLANTED[:-1] + "G")
    scores[:, 5:15] = 1
    background = ScoredSequences.of(list("n" * 200), list(random.choice(as_letters("ACGT"), (200, 50))))
    some = ScoredSequences.of([str(row) for row in range(40)], list(letters), list(scores))
    assert similarity(refine(matrix_of_word(PLANTED), some, background, 0.5).matrix, EXACT) > 0.99


def test_a_site_needs_half_of_its_nucleotides_in_a_run():
    some = ScoredSequences.of(["a"], [as_letters("ACGTAC")], [np.array([0, 0, 1, 1, 0, 0])])
    assert in_stretches(some, 0.5, 4).tolist() == [True, True, True, False, False, False, False]
    assert in_stretches(some, 0.5, 9).tolist() == [False] * 7


def test_all_words_of_one_motif_are_joined_and_the_other_half_tests_it(planted):
    first, second = planted(60, 0), planted(60, 1)
    controls = planted(60, 2, ""), planted(60, 3, "")
    words = [one for one in compare_words(first, 1.5, second, controls[1], 2) if one.q < 0.05]
    [motif] = make_motifs(words, first, controls[0], 1.5, most=5)
    assert len(motif.words) > 5 and motif.words[0] == words[0]
    tested = evaluate_motif(motif, second, controls[1])
    assert tested.positives == 60 and tested.negatives <= 3 and tested.p < 1e-20


def test_sites_are_listed_once_on_their_strand_with_their_score(planted):
    some = planted(20, 0)
    motif = refine(matrix_of_word(PLANTED[1:9]), planted(60, 1), planted(200, 2, ""), 1.5)
    sites = sites_of(motif, some)
    assert sites == sorted(sites) and {site.sequence for site in sites} == set(range(20))
    for site in sites:
        start = some.starts[site.sequence]
        text = "".join("ATCGN"[digit] for digit in some.digits[start + site.start : start + site.end])
        text = reverse_complement(text) if site.is_reverse else text
        expected = sum(motif.odds[place, "ACGT".index(letter)] for place, letter in enumerate(text))
        assert site.score == pytest.approx(expected) and site.score > motif.threshold
        here = some.scores[start + site.start : start + site.end]
        assert site.contribution == pytest.approx(here.mean(), rel=1e-6)
    apart = zip(sites, sites[1:], strict=False)
    assert all(a.end <= b.start for a, b in apart if a.sequence == b.sequence)


def test_the_distance_is_that_of_the_best_site():
    sites = [Site(0, 0, 10, False, 5.0, 0.0), Site(0, 40, 50, False, 9.0, 0.0), Site(1, 5, 15, True, 1.0, 0.0)]
    assert distances_from_centre(sites, np.array([100, 20])).tolist() == [5, 0]
