"""Records are scored together as they are one by one."""

from __future__ import annotations

import numpy as np
import pytest
from small_files import dna
from tiny_variants import classifier, masked_model

from hf_genomics.sequence import as_letters
from hf_genomics.sequence_files.reference import strands_in_memory
from hf_genomics.variants.calibration import Background
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
