"""KmerBert: BertModel's numbers with BertModel's weights, honest losses, and the k-mer start."""

from __future__ import annotations

import copy
import math
import os
import stat
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)

from hf_genomics import (
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerBertForTokenClassification,
    KmerBertModel,
    KmerTokenizer,
)
from hf_genomics.initialisation import kmer_embeddings, neighbour_offsets
from hf_genomics.losses import label_loss
from hf_genomics.positions import sinusoidal_positions
from hf_genomics.sharing.dnabert import to_bert

TWINS = {
    KmerBertModel: BertModel,
    KmerBertForMaskedLM: BertForMaskedLM,
    KmerBertForSequenceClassification: BertForSequenceClassification,
    KmerBertForTokenClassification: BertForTokenClassification,
}
HEADS = list(TWINS)[1:]
AUTO = {
    KmerBertModel: AutoModel,
    KmerBertForMaskedLM: AutoModelForMaskedLM,
    KmerBertForSequenceClassification: AutoModelForSequenceClassification,
    KmerBertForTokenClassification: AutoModelForTokenClassification,
}


def built(kind: type, config: KmerBertConfig, attention: str = "sdpa") -> torch.nn.Module:
    """Build a model whose every weight, biases and norms too, is far from its start, so that none can be forgotten."""
    torch.manual_seed(0)
    model = kind._from_config(copy.deepcopy(config), attn_implementation=attention).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def inputs_for(config: KmerBertConfig, rows: int = 4, tokens: int = 19) -> dict[str, Tensor]:
    """Draw ids, a padding mask that leaves each row another length, and token types."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.arange(tokens, tokens - 3 * rows, -3)
    return {
        "input_ids": torch.randint(1, config.vocab_size, (rows, tokens), generator=generator),
        "attention_mask": (torch.arange(tokens) < lengths[:, None]).long(),
        "token_type_ids": torch.randint(0, 2, (rows, tokens), generator=generator),
    }


def labels_for(kind: type, inputs: dict[str, Tensor], num_labels: int = 2) -> Tensor:
    """Draw labels that fit the head; of the tokens, about a third has one, each row another number of them."""
    generator = torch.Generator().manual_seed(2)
    ids = inputs["input_ids"]
    if kind is KmerBertForSequenceClassification:
        return torch.randint(0, num_labels, (len(ids),), generator=generator)
    classes = ids if kind is KmerBertForMaskedLM else torch.randint(0, num_labels, ids.shape, generator=generator)
    chosen = torch.rand(ids.shape, generator=generator) < torch.linspace(0.1, 0.6, len(ids))[:, None]
    chosen[:, 1] = True
    return classes.where(chosen, torch.tensor(-100))


def differs_by(left: Tensor, right: Tensor) -> float:
    """Give the largest absolute difference."""
    assert left.shape == right.shape and left.dtype == right.dtype
    return (left - right).abs().max().item()


def bert_twin(model: torch.nn.Module, attention: str) -> torch.nn.Module:
    """Build transformers' own model with the same sizes and weights."""
    names = set(BertConfig().to_dict()) & set(model.config.to_dict()) - {"model_type", "architectures"}
    config = BertConfig(**{name: getattr(model.config, name) for name in names}, num_labels=model.config.num_labels)
    twin = TWINS[type(model)]._from_config(config, attn_implementation=attention).eval()
    twin.load_state_dict(model.state_dict())
    return twin


# The same numbers as BERT.


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("columns", [("input_ids",), ("input_ids", "attention_mask", "token_type_ids")])
@pytest.mark.parametrize("kind", TWINS)
def test_with_the_same_weights_the_numbers_are_berts(kind: type, columns: tuple, attention: str, tiny_config) -> None:
    tiny_config.sparse_prediction = False
    model = built(kind, tiny_config, attention)
    twin = bert_twin(model, attention)
    assert model.config._attn_implementation == twin.config._attn_implementation == attention
    inputs = inputs_for(tiny_config)
    given_columns = {name: inputs[name] for name in columns}
    labels = {} if kind is KmerBertModel else {"labels": labels_for(kind, inputs)}
    ours, theirs = model(**given_columns, **labels), twin(**given_columns, **labels)
    assert set(ours) == set(theirs)
    for name in ours:
        assert differs_by(ours[name], theirs[name]) < 1e-5, name


def test_hidden_states_and_attentions_are_recorded_as_berts_are(tiny_config: KmerBertConfig) -> None:
    model = built(KmerBertModel, tiny_config, "eager")
    call = {**inputs_for(tiny_config), "output_hidden_states": True, "output_attentions": True}
    ours, theirs = model(**call), bert_twin(model, "eager")(**call)
    assert len(ours.hidden_states) == 3 and len(ours.attentions) == 2
    for name in ("hidden_states", "attentions"):
        for mine, other in zip(ours[name], theirs[name], strict=True):
            assert differs_by(mine, other) < 1e-5
    assert ours.attentions[0].shape == (4, 4, 19, 19)
    assert torch.allclose(ours.attentions[1].sum(-1), torch.ones(4, 4, 19))
    assert differs_by(ours.hidden_states[-1], ours.last_hidden_state) == 0


@pytest.mark.parametrize("kind", HEADS)
def test_heads_pass_hidden_states_and_attentions_on(kind: type, tiny_config: KmerBertConfig) -> None:
    outputs = built(kind, tiny_config, "eager")(
        **inputs_for(tiny_config), output_hidden_states=True, output_attentions=True
    )
    assert len(outputs.hidden_states) == 3 and len(outputs.attentions) == 2


@pytest.mark.parametrize("kind", TWINS)
def test_padding_changes_nothing(kind: type, tiny_config: KmerBertConfig) -> None:
    model, inputs = built(kind, tiny_config), inputs_for(tiny_config)
    whole = model(**inputs)[0]
    for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
        alone = model(**{name: column[row : row + 1, :length] for name, column in inputs.items()})[0][0]
        assert differs_by(alone, whole[row][:length] if alone.ndim == 2 else whole[row]) < 1e-5


def test_ready_embeddings_give_what_their_ids_give(tiny_config: KmerBertConfig) -> None:
    model, ids = built(KmerBertModel, tiny_config), inputs_for(tiny_config)["input_ids"]
    embedded = model.get_input_embeddings()(ids)
    assert differs_by(model(inputs_embeds=embedded).last_hidden_state, model(ids).last_hidden_state) == 0
    for wrong in ({}, {"input_ids": ids, "inputs_embeds": embedded}):
        with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
            model(**wrong)


def test_outputs_come_as_a_tuple_when_asked_for(tiny_config: KmerBertConfig) -> None:
    model, inputs = built(KmerBertForSequenceClassification, tiny_config), inputs_for(tiny_config)
    loss, logits = model(**inputs, labels=torch.tensor([0, 1, 1, 0]), return_dict=False)
    assert loss.ndim == 0 and logits.shape == (4, 2)


@pytest.mark.parametrize("kind", TWINS)
def test_an_input_longer_than_the_positions_is_refused_with_both_numbers(kind: type, tiny_config) -> None:
    with pytest.raises(ValueError, match=r"input of 65 tokens, but the model has 64 positions; .*stride"):
        built(kind, tiny_config)(torch.ones(1, 65, dtype=torch.long))
    assert built(kind, tiny_config)(torch.ones(1, 64, dtype=torch.long))[0] is not None


def test_a_packed_window_longer_than_the_positions_is_refused_with_both_numbers(tiny_config: KmerBertConfig) -> None:
    positions = torch.cat([torch.arange(3), torch.arange(65)])[None]
    with pytest.raises(ValueError, match="input of 65 tokens, but the model has 64 positions"):
        built(KmerBertModel, tiny_config)(torch.ones_like(positions), position_ids=positions)


# Losses.


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_sparse_logits_are_the_full_logits_at_the_labelled_places(attention: str, tiny_config) -> None:
    model, inputs = built(KmerBertForMaskedLM, tiny_config, attention), inputs_for(tiny_config)
    labels = labels_for(KmerBertForMaskedLM, inputs)
    sparse, full = (model(**inputs, labels=labels, sparse_prediction=flag) for flag in (True, False))
    assert sparse.logits.shape == (int((labels != -100).sum()), 69) and full.logits.shape == (4, 19, 69)
    assert differs_by(sparse.logits, full.logits[labels != -100]) < 1e-5
    assert differs_by(sparse.loss, full.loss) < 1e-5
    recorded = model(**inputs, labels=labels, sparse_prediction=True, output_hidden_states=True)
    assert differs_by(recorded.logits, sparse.logits) < 1e-5
    without = model(**inputs, sparse_prediction=True).logits
    assert differs_by(without, full.logits) < 1e-5, "without labels there are logits for every token"


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_logits_are_sparse_by_default_in_training_only(training: bool, flag: bool, tiny_config) -> None:
    tiny_config.sparse_prediction = flag
    model, inputs = built(KmerBertForMaskedLM, tiny_config).train(training), inputs_for(tiny_config)
    logits = model(**inputs, labels=labels_for(KmerBertForMaskedLM, inputs)).logits
    assert logits.ndim == (2 if training and flag else 3)


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("kind", [KmerBertForMaskedLM, KmerBertForTokenClassification])
def test_no_labelled_token_gives_no_loss_and_never_nan(kind: type, sparse: bool, tiny_config: KmerBertConfig) -> None:
    tiny_config.sparse_prediction = sparse
    model, inputs = built(kind, tiny_config).train(), inputs_for(tiny_config)
    loss = model(**inputs, labels=torch.full_like(inputs["input_ids"], -100)).loss
    assert loss.item() == 0
    loss.backward()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert gradients and all((gradient == 0).all() for gradient in gradients)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("size", [2, 4])
def test_the_loss_of_a_step_is_the_sum_over_its_micro_batches(kind: type, size: int, tiny_config) -> None:
    model, inputs = built(kind, tiny_config), inputs_for(tiny_config, rows=8, tokens=30)
    labels = labels_for(kind, inputs)
    items = (labels != -100).sum()
    whole = model(**inputs, labels=labels, num_items_in_batch=items).loss
    assert differs_by(whole, model(**inputs, labels=labels).loss) < 1e-6, "alone, a step divides by its own labels"
    parts = [
        model(
            **{name: column[first : first + size] for name, column in inputs.items()},
            labels=labels[first : first + size],
            num_items_in_batch=items,
        ).loss
        for first in range(0, 8, size)
    ]
    assert abs(sum(parts).item() - whole.item()) < 1e-5


def test_the_kind_of_problem_follows_from_labels_or_configuration(tiny_config: KmerBertConfig) -> None:
    inputs = inputs_for(tiny_config)
    tiny_config.num_labels = 3
    model = built(KmerBertForSequenceClassification, tiny_config)
    several = torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
    outputs = model(**inputs, labels=several)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(outputs.logits, several)
    assert differs_by(outputs.loss, expected) < 1e-6
    model.config.problem_type = "multi_label_classification"
    assert differs_by(model(**inputs, labels=several.long()).loss, expected) < 1e-6
    model.config.problem_type = "regression"
    outputs = model(**inputs, labels=several)
    assert differs_by(outputs.loss, torch.nn.functional.mse_loss(outputs.logits, several)) < 1e-6
    tiny_config.num_labels = 1
    model = built(KmerBertForSequenceClassification, tiny_config)
    outputs = model(**inputs, labels=torch.tensor([0.5, 1.0, -2.0, 3.0]))
    expected = torch.nn.functional.mse_loss(outputs.logits[:, 0], torch.tensor([0.5, 1.0, -2.0, 3.0]))
    assert differs_by(outputs.loss, expected) < 1e-6


@given(st.lists(st.sampled_from([-100, 0, 1, 2]), min_size=1, max_size=12), st.integers(1, 20))
def test_label_loss_equals_a_loop(labels: list[int], items: int) -> None:
    logits = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(3))
    nats = [-row.log_softmax(0)[label].item() for row, label in zip(logits, labels, strict=True) if label != -100]
    mean = sum(nats) / len(nats) if nats else 0
    assert math.isclose(label_loss(logits, torch.tensor(labels)).item(), mean, abs_tol=1e-5)
    assert math.isclose(label_loss(logits, torch.tensor(labels), items).item(), sum(nats) / items, abs_tol=1e-5)


def test_the_loss_is_taken_in_float32(tiny_config: KmerBertConfig) -> None:
    model, inputs = built(KmerBertForMaskedLM, tiny_config).bfloat16(), inputs_for(tiny_config)
    outputs = model(**inputs, labels=labels_for(KmerBertForMaskedLM, inputs))
    assert outputs.logits.dtype == torch.bfloat16 and outputs.loss.dtype == torch.float32


# Training.


@pytest.mark.parametrize("kind", HEADS)
def test_gradient_checkpointing_gives_the_same_gradients(kind: type, tiny_config: KmerBertConfig) -> None:
    inputs = inputs_for(tiny_config)
    gradients = []
    for checkpointing in (False, True):
        model = built(kind, tiny_config).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
            assert model.is_gradient_checkpointing
        model(**inputs, labels=labels_for(kind, inputs)).loss.backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient is not None, f"{name} is not trained"
        assert differs_by(gradient, gradients[1][name]) < 1e-6, name


def test_dropout_acts_in_training_only(tiny_config: KmerBertConfig) -> None:
    tiny_config.hidden_dropout_prob = tiny_config.attention_probs_dropout_prob = 0.5
    model, inputs = built(KmerBertModel, tiny_config), inputs_for(tiny_config)
    first, second = (model(**inputs).last_hidden_state for _ in range(2))
    assert differs_by(first, second) == 0
    model.train()
    first, second = (model(**inputs).last_hidden_state for _ in range(2))
    assert differs_by(first, second) > 0.1


# Saving and loading.


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_saved_weights_can_be_read_by_whom_the_umask_lets(tiny_config, tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        KmerBertForMaskedLM(tiny_config).save_pretrained(tmp_path)
        KmerBertForMaskedLM(tiny_config).save_pretrained(tmp_path / "shards", max_shard_size="20KB")
        to_bert(KmerBertForMaskedLM(tiny_config), tmp_path / "bert")
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.suffix == ".safetensors" for path in files) > 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}


@pytest.mark.parametrize("kind", TWINS)
def test_a_saved_model_loads_by_its_auto_class_with_the_same_output(kind: type, tiny_config, tmp_path: Path) -> None:
    model, inputs = built(kind, tiny_config), inputs_for(tiny_config)
    model.save_pretrained(tmp_path)
    loaded = AUTO[kind].from_pretrained(tmp_path)
    assert type(loaded) is kind and not loaded.training
    assert differs_by(loaded(**inputs)[0], model(**inputs)[0]) == 0
    assert {name: value for name, value in loaded.config.to_dict().items() if name != "_name_or_path"} == {
        name: value for name, value in model.config.to_dict().items() if name != "_name_or_path"
    }


def test_pretraining_is_masked_language_modelling(tiny_config: KmerBertConfig) -> None:
    assert type(AutoModelForPreTraining.from_config(tiny_config)) is KmerBertForMaskedLM


def test_the_tied_decoder_is_saved_once_and_stays_tied(tiny_config: KmerBertConfig, tmp_path: Path) -> None:
    model = built(KmerBertForMaskedLM, tiny_config)
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    tables = [name for name, weight in saved.items() if weight.shape == (69, 32)]
    assert tables == ["bert.embeddings.word_embeddings.weight"]
    assert sum(weight.shape == (69,) for weight in saved.values()) == 1
    for tied in (model, KmerBertForMaskedLM.from_pretrained(tmp_path)):
        predictions = tied.cls.predictions
        assert predictions.decoder.weight is tied.bert.embeddings.word_embeddings.weight
        assert predictions.decoder.bias is predictions.bias


def test_an_untied_decoder_has_weights_of_its_own(tiny_config: KmerBertConfig, tmp_path: Path) -> None:
    tiny_config.tie_word_embeddings = False
    model, inputs = built(KmerBertForMaskedLM, tiny_config), inputs_for(tiny_config)
    decoder = model.cls.predictions.decoder.weight
    assert decoder is not model.bert.embeddings.word_embeddings.weight
    assert 0.015 < KmerBertForMaskedLM(tiny_config).cls.predictions.decoder.weight.std() < 0.025
    model.save_pretrained(tmp_path)
    loaded = KmerBertForMaskedLM.from_pretrained(tmp_path)
    assert differs_by(loaded(**inputs).logits, model(**inputs).logits) == 0


@pytest.mark.parametrize("kind", [KmerBertForSequenceClassification, KmerBertForTokenClassification, KmerBertModel])
def test_fine_tuning_starts_from_the_pretrained_encoder(kind: type, tiny_config, tmp_path: Path) -> None:
    pretrained = built(KmerBertForMaskedLM, tiny_config)
    pretrained.save_pretrained(tmp_path)
    model = kind.from_pretrained(tmp_path)
    encoder = getattr(model, "bert", model).state_dict()
    for name, weight in pretrained.bert.state_dict().items():
        assert differs_by(encoder[name], weight) == 0, name


def test_the_embeddings_grow_with_added_tokens(tiny_config: KmerBertConfig) -> None:
    tokenizer = KmerTokenizer(3)
    tokenizer.add_tokens(["<gap>", "<end>"])
    model = built(KmerBertForMaskedLM, tiny_config)
    before = model(**inputs_for(tiny_config)).logits
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    after = model(**inputs_for(tiny_config)).logits
    assert after.shape == (4, 19, 71) and differs_by(after[..., :69], before) < 1e-5
    predictions = model.cls.predictions
    assert predictions.bias.shape == (71,) and predictions.decoder.bias is predictions.bias
    assert predictions.decoder.weight is model.get_input_embeddings().weight


# The start.


def start(**values: object) -> KmerBertForMaskedLM:
    """Build a model at its start."""
    torch.manual_seed(4)
    sizes = {"hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 512}
    return KmerBertForMaskedLM(KmerBertConfig(k=5, **sizes, **values))


def test_bert_initialisation_has_its_standard_deviation_everywhere() -> None:
    model = start(initialisation="bert")
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            assert (weight == 0).all(), name
        elif "LayerNorm" in name:
            assert (weight == 1).all(), name
        elif weight.numel() > 1000:
            assert abs(weight.std().item() - 0.02) < 1e-3 and abs(weight.mean().item()) < 1e-3, name
    assert (model.bert.embeddings.word_embeddings.weight[0] == 0).all()


def test_kmer_initialisation_changes_embeddings_positions_and_where_heads_look_only() -> None:
    plain, kmer = (dict(start(initialisation=name).named_parameters()) for name in ("bert", "kmer"))
    changed = ("word_embeddings.weight", "position_embeddings.weight", "query.weight", "key.weight")
    for name, weight in kmer.items():
        if name.endswith(changed):
            assert weight.std() > 2 * plain[name].std(), name
        elif name.endswith("token_type_embeddings.weight"):
            assert (weight[:, :64] == 0).all() and abs(weight[:, 64:].std().item() - 0.02) < 2e-3
        elif not name.endswith("bias") and "LayerNorm" not in name:
            assert abs(weight.std().item() - plain[name].std().item()) < 2e-3, name
        elif name.endswith("bias"):
            assert (weight == 0).all(), name
    special = kmer["bert.embeddings.word_embeddings.weight"][[1, 3, 4]]
    assert abs(special.std().item() - 0.02) < 3e-3, "special tokens start as BERT's, but for [CLS]"


@pytest.mark.parametrize("stride", [1, 3, 6])
@pytest.mark.parametrize("positions", ["absolute", "sinusoidal", "rotary"])
@pytest.mark.parametrize("heads", [4, 8])
def test_heads_start_looking_at_their_neighbours(positions: str, stride: int, heads: int) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": heads, "intermediate_size": 64}
    config = KmerBertConfig(k=6, stride=stride, position_embedding_type=positions, **sizes)
    model = KmerBertModel._from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        attentions = model(torch.randint(5, 4101, (16, 80)), output_attentions=True).attentions
    for weights in attentions:  # (rows, heads, tokens, tokens)
        near = [weights.diagonal(away, 2, 3)[..., 10:-10].mean((0, 2)) for away in range(-10, 11)]
        looks = torch.stack(near, 1)  # (heads, 21): how much each head sees of the token so far away, on average
        assert ((looks.argmax(1) - 10 - neighbour_offsets(heads, 6, stride)).abs() <= 0.7).all()
        assert (looks.max(1).values > 0.06).all(), "1 of 80 by chance"


@pytest.mark.parametrize("positions", ["absolute", "sinusoidal"])
def test_the_token_for_the_whole_sequence_starts_looking_everywhere(positions: str) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = KmerBertConfig(position_embedding_type=positions, **sizes)
    model = KmerBertModel._from_config(config, attn_implementation="eager").eval()
    ids = torch.randint(5, 4101, (8, 80))
    ids[:, 0] = 2
    with torch.no_grad():
        first, second = model(ids, output_attentions=True).attentions
    assert first[:, :, 0].max() < 6 / 80 and second[:, :, 0].max() < 20 / 80
    assert first[:, :, 40].max() > 0.4, "as other tokens do not"


def test_without_the_kmer_start_heads_look_everywhere() -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    model = KmerBertModel._from_config(
        KmerBertConfig(initialisation="bert", **sizes), attn_implementation="eager"
    ).eval()
    weights = model(torch.randint(5, 4101, (4, 80)), output_attentions=True).attentions[0]
    assert weights.max() < 2 / 80


def test_kmer_embeddings_start_at_the_documented_scale() -> None:
    words = start().bert.embeddings.word_embeddings.weight[5:]
    assert abs(words[:, 64:].std().item() - 0.1) < 0.01
    assert abs(words[:, :64].std().item() - 0.002) < 2e-4, "left to the positions"
    assert (
        abs(start(position_embedding_type="rotary").bert.embeddings.word_embeddings.weight[5:, :64].std() - 0.1) < 0.01
    )
    noise = kmer_embeddings(5, 64, scale=0.0)
    assert abs(noise.std().item() - 0.002) < 2e-4
    positions = start().bert.embeddings.position_embeddings.weight
    assert positions.abs().max() <= 0.084 and abs(positions.square().mean().sqrt().item() - 0.084 / 2**0.5) < 1e-3
    assert torch.equal(positions, sinusoidal_positions(512, 256))


def test_kmers_that_share_letters_start_closer() -> None:
    tokenizer = KmerTokenizer(5)
    words = start().bert.embeddings.word_embeddings.weight
    kmers = ["AAAAA", "AAAAC", "AAACC", "AACCC", "ACCCC", "CCCCC"]
    vectors = words[tokenizer.convert_tokens_to_ids(kmers)]
    distances = (vectors - vectors[0]).norm(dim=1)
    assert (distances.diff() > 0).all(), "the more letters differ, the farther"
    # Each of m differing letters adds a difference of two draws of variance 0.1^2 / 5 in 192 dimensions.
    assert torch.allclose(distances[1:], 0.1 * (2 * 192 * torch.arange(1, 6) / 5).sqrt(), rtol=0.15)


@pytest.mark.parametrize("foreign", [{"vocab_size": 500}, {"vocab_size": 4107, "pad_token_id": 1}], ids=["500", "NT"])
def test_a_foreign_vocabulary_gets_berts_start_but_sinusoids(foreign: dict) -> None:
    model = start(**foreign)
    assert abs(model.bert.embeddings.word_embeddings.weight.std().item() - 0.02) < 1e-3
    assert torch.equal(model.bert.embeddings.position_embeddings.weight, sinusoidal_positions(512, 256))


def test_a_seed_fixes_the_start() -> None:
    first, second = start().state_dict(), start().state_dict()
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())


# Positions.


def test_sinusoidal_and_rotary_positions_have_no_weights_and_no_longest_input(tiny_config: KmerBertConfig) -> None:
    learned = set(KmerBertModel(tiny_config).state_dict())
    for positions in ("sinusoidal", "rotary"):
        tiny_config.position_embedding_type = positions
        model = built(KmerBertModel, tiny_config)
        assert learned - set(model.state_dict()) == {"embeddings.position_embeddings.weight"}
        assert model(torch.ones(1, 3 * 64, dtype=torch.long)).last_hidden_state.isfinite().all()
        with pytest.raises(ValueError, match=f"{positions} positions have no table"):
            model.resize_position_embeddings(128)


@pytest.mark.parametrize("positions", ["absolute", "sinusoidal", "rotary"])
def test_the_order_of_tokens_matters(positions: str, tiny_config: KmerBertConfig) -> None:
    tiny_config.position_embedding_type = positions
    model, ids = built(KmerBertModel, tiny_config), inputs_for(tiny_config)["input_ids"]
    turned = model(ids.flip(1)).last_hidden_state.flip(1)
    assert differs_by(model(ids).last_hidden_state, turned) > 0.1


def test_rotary_positions_see_distances_only(tiny_config: KmerBertConfig) -> None:
    tiny_config.position_embedding_type = "rotary"
    model, ids = built(KmerBertModel, tiny_config), inputs_for(tiny_config)["input_ids"]
    places = torch.arange(19)[None]
    shifted = model(ids, position_ids=places + 1000).last_hidden_state
    assert differs_by(model(ids, position_ids=places).last_hidden_state, shifted) < 1e-3
    tiny_config.position_embedding_type = "sinusoidal"
    model = built(KmerBertModel, tiny_config)
    shifted = model(ids, position_ids=places + 1000).last_hidden_state
    assert differs_by(model(ids, position_ids=places).last_hidden_state, shifted) > 1e-2


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
def test_other_positions_and_windows_survive_saving(positions: str, tiny_config, tmp_path: Path) -> None:
    tiny_config.position_embedding_type, tiny_config.sliding_window = positions, 3
    model, inputs = built(KmerBertForMaskedLM, tiny_config), inputs_for(tiny_config)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert loaded.config.sliding_window == 3 and loaded.config.position_embedding_type == positions
    assert differs_by(loaded(**inputs).logits, model(**inputs).logits) == 0


def test_learned_positions_are_stretched_on_load(tiny_config: KmerBertConfig, tmp_path: Path) -> None:
    model = built(KmerBertForMaskedLM, tiny_config)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path, stretch_positions=127)
    before, after = (m.bert.embeddings.position_embeddings.weight for m in (model, loaded))
    assert loaded.config.max_position_embeddings == 127 and after.requires_grad
    assert differs_by(after[::2], before) < 1e-6, "63 steps become 126: every second position is an old one"
    assert differs_by(after[1::2], (before[1:] + before[:-1]) / 2) < 1e-6
    assert loaded(torch.ones(1, 127, dtype=torch.long)).logits.shape == (1, 127, 69)
    loaded.save_pretrained(tmp_path / "longer")
    again = KmerBertForMaskedLM.from_pretrained(tmp_path / "longer")
    assert differs_by(again.bert.embeddings.position_embeddings.weight, after) == 0
    with pytest.raises(ValueError, match=r"to 3 \(\[CLS\], one k-mer, \[SEP\]\) or more, not 0"):
        KmerBertForMaskedLM.from_pretrained(tmp_path, stretch_positions=0)


# Several processes.


@pytest.mark.parametrize("kind", HEADS)
def test_the_loss_of_a_step_is_the_sum_over_its_processes(kind: type, tiny_config: KmerBertConfig) -> None:
    """As the Trainer has it: labels are counted over all processes, gradients averaged, the loss multiplied by them."""
    inputs = inputs_for(tiny_config, rows=8, tokens=30)
    labels = labels_for(kind, inputs)
    items = (labels != -100).sum()
    whole = built(kind, tiny_config)
    whole(**inputs, labels=labels, num_items_in_batch=items).loss.backward()
    gradients = []
    for rank in range(2):
        model = built(kind, tiny_config)
        share = {name: column[rank::2] for name, column in inputs.items()}
        (2 * model(**share, labels=labels[rank::2], num_items_in_batch=items).loss).backward()
        gradients.append([weight.grad for weight in model.parameters()])
    for name_and_weight, first, second in zip(whole.named_parameters(), *gradients, strict=True):
        assert differs_by((first + second) / 2, name_and_weight[1].grad) < 1e-5, name_and_weight[0]
