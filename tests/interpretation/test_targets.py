"""Every kind of head gives one number per sequence, of the class that the user named or the model predicts."""

from __future__ import annotations

import pytest
import torch

from hf_genomics import (
    InputError,
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerBertForTokenClassification,
    KmerTokenizer,
)
from hf_genomics.interpretation.targets import (
    Targets,
    choose_targets,
    class_number,
    load_explained,
    read_targets,
    replaced_embeddings,
)


def config(**settings):
    names = {"id2label": {0: "other", 1: "phage"}, "label2id": {"other": 0, "phage": 1}}
    return KmerBertConfig(
        k=3, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, **names | settings
    )


def test_the_predicted_class_is_the_default_and_a_named_class_wins():
    logits = torch.tensor([[1.0, 2.0], [5.0, 3.0]])
    assert choose_targets(logits, None).classes.tolist() == [1, 0]
    assert read_targets(logits, choose_targets(logits, 1)).tolist() == [2, 3]


def test_positions_of_the_class_are_averaged_and_padding_does_not_count():
    logits = torch.tensor([[[0.0, 1.0], [0.0, 3.0], [9.0, 0.0], [9.0, 0.0], [9.0, 0.0]]])
    targets = choose_targets(logits, None, torch.tensor([[True, True, True, False, False]]))
    assert targets.classes.tolist() == [1] and read_targets(logits, targets).tolist() == [2]
    assert read_targets(logits[:, :3], targets).tolist() == [2]


def test_a_class_that_is_nowhere_predicted_is_averaged_over_all_positions():
    logits = torch.tensor([[[4.0, 1.0], [4.0, 3.0]]])
    assert read_targets(logits, choose_targets(logits, 1, torch.ones(1, 2, dtype=torch.bool))).tolist() == [2]


def test_targets_of_repeated_rows():
    targets = Targets(torch.tensor([0, 1]), torch.eye(2)).of(torch.tensor([1, 1]))
    assert targets.classes.tolist() == [1, 1] and targets.weights.tolist() == [[0, 1], [0, 1]]


def test_a_wrong_name_is_refused_with_the_classes():
    with pytest.raises(InputError, match="'phagee'.*'phage'.*'other'"):
        class_number(config(), "phagee")
    assert class_number(config(), "phage") == 1 and class_number(config(), None) is None


def test_several_values_need_a_name_and_one_value_does_not():
    with pytest.raises(InputError, match="several values"):
        class_number(config(problem_type="regression"), None)
    assert class_number(config(problem_type="regression"), "phage") == 1
    one = config(problem_type="regression", id2label={0: "value"}, label2id={"value": 0})
    assert class_number(one, None) == 0


def test_a_masked_language_model_is_refused(tmp_path):
    KmerBertForMaskedLM(config()).save_pretrained(tmp_path)
    KmerTokenizer(k=3).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="finetune"):
        load_explained(str(tmp_path))


def test_a_model_per_token_is_loaded(tmp_path):
    KmerBertForTokenClassification(config()).save_pretrained(tmp_path)
    KmerTokenizer(k=3).save_pretrained(tmp_path)
    assert isinstance(load_explained(str(tmp_path))[0], KmerBertForTokenClassification)


@pytest.mark.parametrize("kind", ["classes", "token"])
def test_a_model_with_a_weight_that_is_no_number_is_refused(tmp_path, kind):
    model = (KmerBertForTokenClassification if kind == "token" else KmerBertForSequenceClassification)(config())
    torch.nn.init.constant_(model.get_input_embeddings().weight, float("nan"))
    model.save_pretrained(tmp_path)
    KmerTokenizer(k=3).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="word_embeddings"):
        load_explained(str(tmp_path))


def test_a_model_without_the_weights_of_its_head_is_refused(tmp_path):
    KmerBertForMaskedLM(config()).save_pretrained(tmp_path)
    KmerTokenizer(k=3).save_pretrained(tmp_path)
    config(architectures=["KmerBertForSequenceClassification"]).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="missing"):
        load_explained(str(tmp_path))


@pytest.mark.parametrize("kind", ["classes", "nucleotides", "pairs", "parts", "tracks"])
def test_embeddings_of_the_ids_give_the_same_logits_in_every_head(windows_for, kind):
    from hf_genomics.inference.windows import collator_for

    model, tokenizer, windows = windows_for(kind, [40, 23])
    batch = collator_for(model.config, tokenizer)([window.row for window in windows])
    embeddings = model.get_input_embeddings().weight[batch["input_ids"]]
    with torch.no_grad():
        expected = model(**batch).logits
        with replaced_embeddings(model, embeddings, batch["attention_mask"]):
            found = model(**batch).logits
        assert torch.equal(found, expected)
        with replaced_embeddings(model, embeddings * 0, batch["attention_mask"]):
            assert not torch.equal(model(**batch).logits, expected)
        assert torch.equal(model(**batch).logits, expected)  # the hook is gone
