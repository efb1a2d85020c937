"""A plan has passed every check, has built everything, and has written nothing."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from gc_tables import arguments, encoder, pretrained, tables, write_table
from transformers import AutoModelForSequenceClassification

from hf_genomics import HierarchicalKmerBertConfig, KmerBertConfig, KmerBertForMaskedLM, KmerTokenizer
from hf_genomics.errors import InputError
from hf_genomics.evaluation.evaluate import evaluate
from hf_genomics.finetuning.finetune import finetune
from hf_genomics.finetuning.head import Head
from hf_genomics.finetuning.plan import _num_parts, plan_finetuning
from hf_genomics.finetuning.run import run_finetuning
from hf_genomics.labelled.data import LabelledData

pytestmark = pytest.mark.usefixtures("empty_pictures")


def test_a_plan_builds_everything_and_writes_nothing_until_it_is_run(home, tmp_path):
    args, head = arguments(tmp_path / "out", max_steps=1), Head(pooling="mean", dropout=0.2)
    plan = plan_finetuning(pretrained(home), tables(home, "train", "test"), args, head, baseline_k=0)
    assert list(tmp_path.iterdir()) == []
    assert (len(plan.splits.training), plan.splits.validation, len(plan.splits.test)) == (160, None, 60)
    assert plan.network.config.classifier_dropout == 0.2 and plan.tokenizer.k == 3
    assert run_finetuning(plan)["test_sequences"] == 60 and (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.slow
def test_stretched_positions_take_longer_sequences(home, tmp_path):
    table = write_table(tmp_path / "long.csv", 8, 3)
    frame = pd.read_csv(table)
    frame.assign(sequence=frame["sequence"] * 3).to_csv(table, index=False)
    data, out = LabelledData(train=table, test=table), tmp_path / "out"
    with pytest.raises(InputError, match="takes 64; .*stretch_positions"):
        finetune(pretrained(home), data, arguments(out))
    with pytest.raises(InputError, match="100 nt .* takes 64; .*part_length"):
        finetune(pretrained(home), data, arguments(out), Head(part_length=100))
    with pytest.raises(InputError, match=r"head\.stretch_positions .* 64 tokens .* not 64"):
        finetune(pretrained(home), data, arguments(out), Head(stretch_positions=64))
    finetune(pretrained(home), data, arguments(out, max_steps=1, learning_rate=0.0), Head(stretch_positions=200))
    before, after = encoder(home / "pretrained"), encoder(out)
    name = next(name for name in after if "position_embeddings" in name)
    assert after[name].shape == (200, 32)
    assert torch.allclose(after[name][[0, -1]], before[name][[0, -1]])
    assert evaluate(str(out), data, str(tmp_path / "scores"))["accuracy"] >= 0
    twin = Head(stretch_positions=200, from_scratch=True)
    finetune(pretrained(home), data, arguments(tmp_path / "new", max_steps=1), twin)
    assert encoder(tmp_path / "new")[name].shape == (200, 32)


def test_positions_without_a_table_reach_as_far_as_they_are_asked_to(home, tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = KmerBertConfig(k=3, max_position_embeddings=20, position_embedding_type="rotary", **sizes)
    KmerBertForMaskedLM(config).save_pretrained(tmp_path / "rotary")
    KmerTokenizer(k=3).save_pretrained(tmp_path / "rotary")
    data, options = tables(home, "train"), arguments(tmp_path / "out", max_steps=1)
    finetune(str(tmp_path / "rotary"), data, options, Head(stretch_positions=64))
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").config.max_position_embeddings == 64


@pytest.mark.parametrize(
    ("head", "pretrained", "expected"),
    [
        (Head(), KmerBertConfig(k=3), 1),
        (Head(), HierarchicalKmerBertConfig(k=3, num_parts=4), 4),
        (Head(num_parts=2), HierarchicalKmerBertConfig(k=3, num_parts=4), 2),
        (Head(), HierarchicalKmerBertConfig(k=3, num_parts=4, part_length=10, aggregation="mean"), 1),
        (Head(part_length=10), KmerBertConfig(k=3), 1),
    ],
)
def test_every_part_of_the_shortest_sequence_has_a_kmer(head, pretrained, expected):
    assert _num_parts(head, pretrained) == expected
