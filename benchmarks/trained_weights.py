"""Compare fine-tuning steps that train all weights, some of them, or adapters, on the CPU.

    python benchmarks/trained_weights.py --rounds 5 --steps 4

Windows of 150 nt (25 tokens of stride 6) in batches of 128, 3 layers x 128 with dropout 0.1, one thread. Settings take
turns; medians of the CPU time of a step are compared, which other work on the machine disturbs less than wall-clock
time. The setting "head, with dropout" freezes the same weights as "head" and runs the frozen layers in training mode.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import torch
from transformers import TrainingArguments

from hf_genomics import KmerBertConfig, KmerBertForSequenceClassification
from hf_genomics.finetuning.head import Head
from hf_genomics.finetuning.trained_weights import FinetuningTrainer, choose_trained

SETTINGS = ("all", "last:2", "last:1", "head", "head, with dropout", "lora")
SIZES = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 512}


def build(setting: str, folder: str, dropout: float) -> FinetuningTrainer:
    """Build a Trainer that trains what the setting names."""
    torch.manual_seed(0)
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    config = KmerBertConfig(k=6, stride=6, classifier_pooling="mean", num_labels=2, **SIZES, **rates)
    network, frozen = choose_trained(
        KmerBertForSequenceClassification(config), Head(train=setting.partition(",")[0]), "none", seed=0
    )
    options = TrainingArguments(folder, use_cpu=True, report_to="none", max_steps=1000)
    trainer = FinetuningTrainer(model=network, args=options, frozen=[] if "," in setting else frozen)
    trainer.create_optimizer()
    return trainer


def step(trainer: FinetuningTrainer, batch: dict[str, torch.Tensor]) -> float:
    """Take a step, and return its CPU seconds."""
    begin = time.process_time()
    trainer.model.train()
    trainer.compute_loss(trainer.model, dict(batch)).backward()
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    return time.process_time() - begin


def main() -> None:
    """Print the median CPU milliseconds of a step for each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    batch = {"input_ids": torch.randint(5, 4101, (128, 27)), "labels": torch.randint(0, 2, (128,))}
    with tempfile.TemporaryDirectory() as folder:
        trainers = {setting: build(setting, folder, given.dropout) for setting in SETTINGS}
        seconds: dict[str, list[float]] = {setting: [] for setting in SETTINGS}
        for number in range(given.rounds + 1):  # the first round warms up
            for setting, trainer in trainers.items():
                taken = [step(trainer, batch) for _ in range(given.steps)]
                seconds[setting] += taken if number else []
    whole = statistics.median(seconds["all"])
    print(f"{'trained':<20} {'ms':>8} {'of all':>8} {'trained weights':>16}")
    for setting, taken in seconds.items():
        count = sum(weight.numel() for weight in trainers[setting].model.parameters() if weight.requires_grad)
        median = statistics.median(taken)
        print(f"{setting:<20} {1e3 * median:8.1f} {median / whole:8.2f} {count:16,}")


if __name__ == "__main__":
    main()
