"""Compare the estimated memory of a training step with the memory that real steps take on a CPU.

    python benchmarks/memory.py [NAME ...]

Every case trains for two steps in a process of its own, through ``pretrain`` or ``finetune``, and compares the growth
of its resident memory up to the peak with the estimate that was made before the first step. Runs on Linux only. Takes
about five minutes on one core and up to 4 GB.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
SMALL = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 512}
MIDDLE = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
# name: (sizes of the model, k, stride, nt in a window, windows in a batch, further options)
CASES: dict[str, tuple[dict[str, Any], int, int, int, int, dict[str, Any]]] = {
    "base, fp32": (BASE, 6, 1, 510, 2, {}),
    "base, fp32, padded": (BASE, 6, 1, 510, 2, {"packing": False}),
    "base, bf16": (BASE, 6, 1, 510, 2, {"bf16": True}),
    "base, stride 3, fp32": (BASE, 6, 3, 1000, 4, {}),
    "base, checkpointing": (BASE, 6, 1, 510, 4, {"gradient_checkpointing": True}),
    "base_cpu": (SMALL | STILL, 6, 1, 510, 64, {}),
    "base_cpu, bf16": (SMALL | STILL, 6, 1, 510, 64, {"bf16": True}),
    "base_cpu, dropout": (SMALL, 6, 1, 510, 64, {}),
    "base_cpu, dropout, padded": (SMALL, 6, 1, 510, 64, {"packing": False}),
    "stride3_cpu": (SMALL | STILL, 6, 3, 1000, 64, {}),
    "wide_cpu": (SMALL | STILL, 6, 6, 1000, 64, {}),
    "4 x 256": (MIDDLE, 6, 1, 510, 16, {}),
    "4 x 256, all logits": (MIDDLE | {"sparse_prediction": False}, 6, 1, 510, 16, {}),
    "4 x 256, local": (MIDDLE | {"sliding_window": 32, "position_embedding_type": "rotary"}, 6, 1, 510, 16, {}),
    "finetune, 150 nt": (SMALL | STILL, 6, 6, 150, 256, {"verb": "finetune"}),
    "finetune, 510 nt, dropout": (SMALL, 6, 1, 510, 64, {"verb": "finetune"}),
    "finetune, base, 150 nt": (BASE, 6, 1, 150, 8, {"verb": "finetune"}),
    "finetune, two parts": (SMALL, 6, 1, 1000, 32, {"verb": "finetune", "num_parts": 2}),
}


def measure(name: str) -> dict[str, float]:
    """Train a case in this process; return the MiB estimated and taken, without weights, which are there before."""
    import psutil
    from transformers import TrainingArguments

    from hf_genomics.runs import memory
    from hf_genomics.runs.exact_trainer import ExactTrainer

    found: dict[str, float] = {}
    estimate, train = memory.step_memory, ExactTrainer.train

    def noted(*args: Any, **kwargs: Any) -> Any:
        needed = estimate(*args, **kwargs)
        found["estimated"] = (needed.total - needed.weights) / 2**20
        return needed

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = psutil.Process().memory_info().rss
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak
        result = train(self, *args, **kwargs)
        status = Path("/proc/self/status").read_text()
        found["taken"] = int(status.split("VmHWM:")[1].split()[0]) / 2**10 - before / 2**20
        return result

    memory.step_memory, ExactTrainer.train = noted, watched  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        sizes, k, stride, length, batch, options = CASES[name]
        options = dict(options)
        verb = {key: options.pop(key) for key in ("verb", "packing", "num_parts") if key in options}
        trainer = TrainingArguments(
            f"{folder}/out",
            max_steps=2,
            per_device_train_batch_size=batch,
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            **options,
        )
        run = finetune_once if verb.pop("verb", None) else pretrain_once
        run(Path(folder), trainer, sizes, k, stride, length, **verb)
    return found


def pretrain_once(
    folder: Path, trainer: Any, sizes: dict[str, Any], k: int, stride: int, length: int, packing: bool = True
) -> None:
    """Pretrain on full windows of a random genome."""
    from hf_genomics import DataCollatorForSpanMasking, KmerBertConfig, KmerTokenizer, WindowSampling, prepare
    from hf_genomics.training.arguments import PretrainingArguments
    from hf_genomics.training.pretrain import PretrainingData, pretrain

    trainer = PretrainingArguments.of(trainer)
    trainer.packing = packing
    letters = np.random.default_rng(0).choice(list("ACGT"), 300_000)
    (folder / "genome.fa").write_text(f">g\n{''.join(letters)}\n")
    store = prepare([str(folder / "genome.fa")], str(folder / "store"))
    tokenizer = KmerTokenizer(k=k, stride=stride)
    pretrain(
        PretrainingData(str(store.path), train_split=None, valid_split=None),
        trainer,
        tokenizer,
        KmerBertConfig(k=k, stride=stride, **sizes),
        DataCollatorForSpanMasking(tokenizer, span=6 // stride, start_rate=0.15 / (6 // stride)),
        WindowSampling(length=length, min_length=length),
    )


def finetune_once(
    folder: Path, trainer: Any, sizes: dict[str, Any], k: int, stride: int, length: int, num_parts: int = 1
) -> None:
    """Fine-tune, on random sequences, a model that was not pretrained."""
    from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerTokenizer
    from hf_genomics.finetuning.finetune import finetune
    from hf_genomics.finetuning.head import Head
    from hf_genomics.labelled.data import LabelledData

    random = np.random.default_rng(0)
    rows = [f"{''.join(random.choice(list('ACGT'), length))},{'ab'[row % 2]}\n" for row in range(512)]
    (folder / "train.csv").write_text("sequence,label\n" + "".join(rows))
    KmerBertForMaskedLM(KmerBertConfig(k=k, stride=stride, **sizes)).save_pretrained(folder / "model")
    KmerTokenizer(k=k, stride=stride).save_pretrained(folder / "model")
    finetune(str(folder / "model"), LabelledData(train=str(folder / "train.csv")), trainer, Head(num_parts=num_parts))


def main(names: list[str]) -> None:
    """Print a table of the named cases; of all cases if none is named."""
    print(f"{'case':28} {'estimated':>10} {'taken':>10}  MiB   taken / estimated")
    for name in names or CASES:
        child = subprocess.run([sys.executable, __file__, "--child", name], capture_output=True, text=True)
        if child.returncode:
            print(f"{name:28} {child.stderr.splitlines()[-1]}")
            continue
        found = json.loads(child.stdout.splitlines()[-1])
        ratio = found["taken"] / found["estimated"]
        print(f"{name:28} {found['estimated']:10.0f} {found['taken']:10.0f}        {ratio:.2f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(measure(sys.argv[2])))
    else:
        main(sys.argv[1:])
