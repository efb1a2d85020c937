"""Records are scored together as they are one by one."""

from __future__ import annotations

import numpy as np
import pytest
from small_files import dna
from tiny_variants import classifier, masked_model

from hf_genomics.sequence import as_letters
from hf_genomics.sequence_files.reference import strands_in_memory
from hf_genomics.variants.calibration import Background
from hf_genomics.variants.effects import class_logits, cut_alleles
from hf_genomics.variants.likelihood import on_strand
from hf_genomics.variants.score_variants import window_rule
from hf_genomics.variants.scoring import Scorer
from hf_genomics.variants.sources import Record, make_allele

CONTIG = dna(120)
BOTH = strands_in_memory("c", as_letters(CONTIG))


def record(start, width, *alts):
    ref = CONTIG[start : start + width]
    alleles = tuple(make_allele(start, ref, alt, 3) for alt in alts)
    return Record("", "c", start + 1, ".", ref, alleles, BOTH, True)


RECORDS = [
    record(40, 1, "A", "C", "G", "T", "<DEL>"),
    record(41, 1, "A", "C", "G", "T"),
    record(60, 1, CONTIG[60] + "TTG"),
    record(61, 4, CONTIG[61]),
    record(70, 5, "TTTTT"),
    record(80, 60, CONTIG[80]),
]


@pytest.mark.parametrize("stride", [1, 3])
def test_records_alone_have_the_scores_they_have_together(stride):
    model, tokenizer = masked_model(3, stride)
    scorer = Scorer(model, tokenizer, window_rule(model, tokenizer, 30), effects=("embedding", "influence"))
    together = scorer.score(RECORDS)
    for one, scored in zip(RECORDS, together, strict=True):
        [alone] = scorer.score([one])
        assert alone.flags == scored.flags
        for first, second in zip(alone.scores, scored.scores, strict=True):
            assert first.keys() == second.keys()
            np.testing.assert_allclose(list(first.values()), list(second.values()), atol=1e-5)
    assert together[-1].flags == ["too_long"]


def test_a_background_adds_a_calibrated_score_and_a_quantile_to_single_substitutions():
    model, tokenizer = masked_model(3, 1)
    background = Background({}, np.array([-100.0, 0.0, 100.0]))
    scorer = Scorer(model, tokenizer, window_rule(model, tokenizer, 30), background=background)
    scored = scorer.score(RECORDS[:3])
    assert "llr_quantile" in scorer.columns()
    values = [one["llr_quantile"] for one in scored[0].scores if one]
    assert all(value in (1 / 3, 2 / 3) for value in values) and np.isnan(scored[2].scores[0]["llr_quantile"])


def test_a_classifier_has_three_columns_for_every_class():
    model, tokenizer = classifier()
    scorer = Scorer(model, tokenizer, window_rule(model, tokenizer, None))
    assert scorer.columns()[:3] == ["ref_logit_a b", "ref_logit_a-b", "ref_logit_c"] and len(scorer.columns()) == 9
    [scored] = scorer.score([RECORDS[2]])
    assert set(scored.scores[0]) == set(scorer.columns())


def beside_n(*places):
    """The record of a substitution at 60, with N at some places."""
    letters = "".join("N" if index in places else letter for index, letter in enumerate(CONTIG))
    allele = make_allele(60, letters[60], "A" if letters[60] != "A" else "C", 3)
    return Record("", "c", 61, ".", letters[60], (allele,), strands_in_memory(str(places), as_letters(letters)), True)


def test_the_effects_of_a_variant_that_no_token_shows_are_empty_not_zero():
    model, tokenizer = masked_model(3, 1)
    scorer = Scorer(model, tokenizer, window_rule(model, tokenizer, 30), effects=("embedding", "influence"))
    [scored] = scorer.score([beside_n(59, 61)])
    assert scored.flags == ["ref_n"] and np.isnan(list(scored.scores[0].values())).all()


def test_at_a_larger_stride_only_a_strand_whose_tokens_show_the_variant_counts():
    model, tokenizer = classifier(3, 3)
    scorer = Scorer(model, tokenizer, window_rule(model, tokenizer, 30))
    # The token that shows place 60 begins there, on either strand, so an N behind it hides it on the forward strand.
    found = [scorer.score([beside_n(place)])[0].scores[0] for place in (59, 61)]
    for scores, is_reverse in zip(found, (False, True), strict=True):
        record = beside_n(61 if is_reverse else 59)
        strand = record.strands[is_reverse]
        window = cut_alleles(on_strand(record.alleles[0].events[0], strand), strand, 30)
        ref, alt = class_logits(model, tokenizer, [window.ref, window.alt])[:, 2]
        assert scores["delta_logit_c"] == pytest.approx(alt - ref, abs=1e-5) and abs(alt - ref) > 1e-5
    [hidden] = scorer.score([beside_n(59, 61)])
    assert hidden.flags == ["ref_n"]


def test_a_classifier_scores_no_change_that_reaches_beyond_its_windows():
    model, tokenizer = classifier()
    scorer = Scorer(model, tokenizer, window_rule(model, tokenizer, 30))
    inserted = {length: record(60, 1, CONTIG[60] + "T" * length) for length in (14, 15, 200)}
    for length, scored in zip(inserted, scorer.score(list(inserted.values())), strict=True):
        # Half a window is 15 nt, the base before the insertion included.
        assert scored.flags == (["indel"] if length == 14 else ["too_long"])
        assert np.isnan(list(scored.scores[0].values())).all() == (length > 14)
    [deleted] = scorer.score([RECORDS[-1]])
    assert deleted.flags == ["too_long"] and np.isnan(list(deleted.scores[0].values())).all()


def test_an_effect_of_a_change_that_reaches_beyond_the_window_is_empty():
    model, tokenizer = masked_model(3, 1)
    scorer = Scorer(model, tokenizer, window_rule(model, tokenizer, 30), effects=("embedding",))
    short, long = scorer.score([RECORDS[2], record(60, 1, CONTIG[60] + "T" * 40)])
    assert short.scores[0]["emb_l2"] > 0 and np.isnan(long.scores[0]["emb_l2"])


@pytest.mark.parametrize(("start", "alt"), [(0, f"G{CONTIG[0]}"), (len(CONTIG) - 1, f"{CONTIG[-1]}G")])
def test_an_insertion_before_the_first_or_behind_the_last_letter_has_scores(start, alt):
    model, tokenizer = classifier(3, 1)
    scorer = Scorer(model, tokenizer, window_rule(model, tokenizer, 30))
    [scored] = scorer.score([record(start, 1, alt)])
    assert scored.flags == ["indel"] and np.isfinite(scored.scores[0]["delta_logit_c"])
