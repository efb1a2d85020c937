"""Every method explains every head, and batch size, padding and packing change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hf_genomics import KmerTokenizer, pack_rows
from hf_genomics.interpretation.attribution import baseline_embeddings, integrated_gradients, mean_kmer_embedding
from hf_genomics.interpretation.scoring import Settings, explain_windows, is_kmer, track_contributions
from hf_genomics.interpretation.targets import TargetFunction, choose_targets, replaced_embeddings

KINDS = ["classes", "value", "several", "nucleotides", "pairs", "parts", "tracks"]
METHODS = ["ig", "nt_ig", "ism", "occlusion", "rollout", "attention"]


@pytest.mark.parametrize(
    ("kind", "method"),
    [  # the heads differ in what they read and return, and each method is tried with the first
        pytest.param(kind, method, marks=[] if kind == "classes" or method in ("ig", "ism") else [pytest.mark.slow])
        for kind in KINDS
        for method in METHODS
    ],
)
def test_the_batch_changes_nothing_for_any_head_and_method(windows_for, kind, method):
    model, tokenizer, windows = windows_for(kind, [24, 40, 13])
    settings = {"method": method, "steps": 4, "most_steps": 4}
    together = list(explain_windows(model, tokenizer, windows, Settings(**settings, batch_size=3)))
    for one, window in zip(together, windows, strict=True):
        [single] = explain_windows(model, tokenizer, [window], Settings(**settings, batch_size=1))
        np.testing.assert_allclose(one.scores, single.scores, atol=1e-5)
        assert one.value == pytest.approx(single.value, abs=1e-5)
        assert len(one.scores) == len(window.row["sequence"]) + len(window.row.get("pair", ""))
        assert np.isfinite(one.scores).all()
        assert ("tracks" in one.columns) == (kind == "tracks")


@pytest.mark.parametrize("method", ["ig", "nt_ig"])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_add_up_to_the_difference_between_sequence_and_base(windows_for, kind, method):
    model, tokenizer, windows = windows_for(kind, [40, 17])
    for one in explain_windows(model, tokenizer, windows, Settings(method=method, steps=32)):
        assert one.error < 0.01 and one.special == 0
        expected = one.value - one.base_value
        assert one.scores.sum() == pytest.approx(expected, abs=one.error * abs(expected) + 1e-5)


def test_both_gradients_start_from_the_same_base(windows_for):
    model, tokenizer, windows = windows_for("classes", [30])
    tokens, letters = (next(explain_windows(model, tokenizer, windows, Settings(m, steps=2))) for m in ("ig", "nt_ig"))
    assert tokens.base_value == pytest.approx(letters.base_value, abs=1e-5)


@pytest.mark.parametrize("baseline", ["mask", "shuffled"])
def test_other_bases_are_complete_too(windows_for, baseline):
    model, tokenizer, windows = windows_for("classes", [40, 21])
    together = list(explain_windows(model, tokenizer, windows, Settings(baseline=baseline, steps=16)))
    for one, window in zip(together, windows, strict=True):
        assert one.error < 0.01
        [single] = explain_windows(model, tokenizer, [window], Settings(baseline=baseline, steps=16))
        np.testing.assert_allclose(one.scores, single.scores, atol=1e-5)


def test_substitutions_equal_predictions_of_changed_sequences(windows_for):
    model, tokenizer, windows = windows_for("classes", [15])
    [found] = explain_windows(model, tokenizer, windows, Settings("ism", target=1))
    text = windows[0].row["sequence"].tobytes().decode()
    logit = lambda text: model(**tokenizer([text], return_tensors="pt")).logits[0, 1].item()  # noqa: E731
    for place, column, letter in ((0, 0, "A"), (7, 3, "T"), (14, 2, "G")):
        changed = text[:place] + letter + text[place + 1 :]
        assert found.columns["letters"][place, column] == pytest.approx(logit(changed) - logit(text), abs=1e-5)


def test_unknown_letters_are_explained_as_their_tokens_are(windows_for):
    model, tokenizer, windows = windows_for("classes", [20])
    letters = windows[0].row["sequence"].copy()
    letters[9] = ord("N")
    window = windows[0]._replace(row={"sequence": letters})
    for method in METHODS:
        [one] = explain_windows(model, tokenizer, [window], Settings(method, steps=8))
        assert np.isfinite(one.scores).all()
    [one] = explain_windows(model, tokenizer, [window], Settings("nt_ig", steps=8))
    assert one.scores[9] == 0


def test_a_track_contributes_what_its_mean_takes_away(windows_for):
    from hf_genomics.inference.windows import collator_for

    model, tokenizer, windows = windows_for("tracks", [40, 20])
    batch = collator_for(model.config, tokenizer)([window.row for window in windows])
    with torch.no_grad():
        logits = model(**batch).logits
        neutral = model(**(batch | {"tracks": torch.zeros_like(batch["tracks"])})).logits
    found = track_contributions(TargetFunction(model, batch, choose_targets(logits, 1)))
    assert found.shape == (2, 2)
    np.testing.assert_allclose(found[:, 0], (logits - neutral)[:, 1].numpy(), atol=1e-6)


def gradients_of(model, batch, kmers, func):
    table = model.get_input_embeddings().weight.detach()
    embeddings = table[batch["input_ids"]]
    baselines = baseline_embeddings(embeddings, kmers, mean_kmer_embedding(table, 3))
    return integrated_gradients(func, embeddings, baselines, 8, 8).scores.sum(-1)


def test_packing_and_left_padding_change_nothing(model_of):
    model, _ = model_of("classes")
    tokenizer = KmerTokenizer(k=3)
    batch = dict(tokenizer(["ACGTTGCATG", "TTGACA"], padding=True, return_tensors="pt"))
    with torch.no_grad():
        targets = choose_targets(model(**batch).logits, 1)
    usual = gradients_of(model, batch, is_kmer(batch["input_ids"], 0), TargetFunction(model, batch, targets))
    lengths = batch["attention_mask"].sum(1)
    left = {name: torch.stack([row.roll(int(row.numel() - n)) for row, n in zip(column, lengths, strict=True)])
            for name, column in batch.items() if name != "token_type_ids"}  # fmt: skip
    left["position_ids"] = (left["attention_mask"].cumsum(1) - 1).clamp(min=0)
    found = gradients_of(model, left, is_kmer(left["input_ids"], 0), TargetFunction(model, left, targets))
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(found[row, -length:], usual[row, :length], atol=1e-5, rtol=1e-5)
    columns = {"input_ids": batch["input_ids"].numpy()}
    packed = {k: torch.from_numpy(v) for k, v in pack_rows(columns, lengths.numpy(), in_order=True).items()}

    def total(rows, embeddings):  # all sequences of the one row
        with replaced_embeddings(model, embeddings, None):
            return model(**packed).logits[:, 1].sum()[None]

    found = gradients_of(model, packed, is_kmer(packed["input_ids"], 0), total)[0]
    expected = torch.cat([usual[row, :length] for row, length in enumerate(lengths.tolist())])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_weights_can_be_trained_afterwards(windows_for):
    model, tokenizer, windows = windows_for("classes", [12])
    list(explain_windows(model, tokenizer, windows, Settings(steps=2)))
    assert all(weight.requires_grad for weight in model.parameters())
