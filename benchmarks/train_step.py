"""Compare training steps on the CPU: KmerBert and transformers' BERT, packed rows and padded rows, and more.

    python benchmarks/train_step.py                       # all parts
    python benchmarks/train_step.py --parts packed --rounds 5 --steps 3

Parts:
    backend  attention backends, with and without keeping freed memory: 3 layers x 128, no dropout
    stock    BertForMaskedLM under a default Trainer, and KmerBertForMaskedLM: 4 layers, 8 rows of 512 tokens
    packed   32 windows of 5 to 512 tokens, padded to the longest or packed: 4 layers x 256
    classify sequence classification by [CLS], where the last layer computes every token or [CLS] only

15 % of the tokens are masked (none in classification). All runs have one thread. Settings take turns; those that keep
freed memory run in a process of their own. Medians of the CPU time of a step are compared, which other work on the
machine disturbs less than wall-clock time. Settings in bf16 are omitted on a processor that has no instructions for it
(the part "backend" then runs in fp32). "matrix products alone" computes the matrix products of our step, forward
and backward, and nothing else: no implementation of the same arithmetic can be faster on the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch

KMERS = 4101
BARE = "matrix products alone"
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def sizes(layers: int, hidden: int, head: int = 64) -> dict[str, int]:
    """Return the sizes of a model; ``head`` is the number of features per attention head."""
    heads = max(1, hidden // head)
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
    }


def multiplies_bf16() -> bool:
    """Return whether this processor has instructions for bf16; without them, a step in bf16 takes minutes."""
    facts = torch.cpu.get_capabilities()
    return bool(facts.get("avx512_bf16") or facts.get("amx_tile"))


def settings(part: str) -> Iterator[tuple[str, dict[str, dict]]]:
    """Iterate over the tables of a part: its title, and its settings by name, first the one to compare with."""
    if part == "backend":
        small = {"sizes": sizes(3, 128, head=32) | NO_DROPOUT, "bf16": multiplies_bf16(), "kind": "ours"}
        for rows, tokens in ((256, 27), (64, 166), (32, 417)):
            base = small | {"shape": (rows, tokens), "backend": "sdpa"}
            yield (
                f"{rows} rows of {tokens} tokens",
                {
                    "sdpa": base,
                    "eager attention": base | {"backend": "eager"},
                    "eager, freed memory kept": base | {"backend": "eager", "keep": True},
                },
            )
    if part == "stock":
        for hidden in (256, 512):
            stock = {"sizes": sizes(4, hidden), "shape": (8, 512), "kind": "stock", "backend": "sdpa", "bf16": False}
            same = stock | {"kind": "ours", "keep": True}
            lean = same | {"sizes": stock["sizes"] | NO_DROPOUT}
            yield (
                f"4 layers x {hidden}",
                {
                    "stock": stock,
                    "stock, bf16": stock | {"bf16": True},
                    "ours, the same recipe": same,
                    "ours, the same recipe, bf16": same | {"bf16": True, "backend": "eager"},
                    "ours, no dropout": lean,
                    "ours, no dropout, bf16": lean | {"bf16": True, "backend": "eager"},
                    BARE: lean | {"kind": "products"},
                    f"{BARE}, bf16": lean | {"kind": "products", "bf16": True},
                },
            )
    if part == "packed":
        for name, more in (
            ("fp32, sdpa", {"backend": "sdpa", "bf16": False}),
            ("bf16, eager", {"backend": "eager", "bf16": True}),
        ):
            ragged = {"sizes": sizes(4, 256) | NO_DROPOUT, "kind": "ours", "keep": True, "shape": "ragged"} | more
            yield (
                f"32 windows of 5 to 512 tokens, {name}",
                {
                    "padded": ragged,
                    "packed, rows of 512": ragged | {"pack": 512},
                    "packed, one row": ragged | {"pack": 0},
                },
            )

    if part == "classify":
        for layers, hidden, shape in ((3, 128, (128, 52)), (12, 768, (4, 147))):
            lean = sizes(layers, hidden) | NO_DROPOUT
            base = {"kind": "classifier", "backend": "sdpa", "bf16": False, "keep": True, "sizes": lean, "shape": shape}
            every = base | {"sizes": lean | {"output_hidden_states": True}}  # hidden states are needed of every token
            yield (
                f"{layers} layers x {hidden}, {shape[0]} rows of {shape[1]} tokens",
                {"every token": every, "[CLS] alone": base},
            )


def build(setting: dict) -> torch.nn.Module:
    """Build the model of a setting."""
    from transformers import BertConfig, BertForMaskedLM

    from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerBertForSequenceClassification

    kind, config = {
        "stock": (BertForMaskedLM, BertConfig),
        "ours": (KmerBertForMaskedLM, KmerBertConfig),
        "classifier": (KmerBertForSequenceClassification, KmerBertConfig),
    }[setting["kind"]]
    return kind._from_config(config(vocab_size=KMERS, **setting["sizes"]), attn_implementation=setting["backend"])


def draw(setting: dict) -> tuple[dict[str, torch.Tensor], int]:
    """Draw a batch, and count its tokens without padding."""
    import numpy as np

    from hf_genomics.batches.packing import pack_rows

    generator = np.random.default_rng(0)
    ragged = setting["shape"] == "ragged"
    lengths = generator.integers(5, 513, 32) if ragged else np.full(*setting["shape"])
    real = np.arange(lengths.max()) < lengths[:, None]
    ids = np.where(real, generator.integers(5, KMERS, real.shape), 0)
    labels = np.where(real & (generator.random(real.shape) < 0.15), ids, -100)
    if setting["kind"] == "classifier":
        labels = generator.integers(0, 2, len(ids))
    columns = {"input_ids": ids, "labels": labels, "attention_mask": real.astype(np.int64)}
    if "pack" in setting:
        columns = pack_rows(columns, lengths, setting["pack"] or None)
    return {name: torch.from_numpy(column) for name, column in columns.items()}, int(lengths.sum())


class Steps:
    """A data set whose only item is a whole batch."""

    def __init__(self, batch: dict[str, torch.Tensor]) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.batch


def products(sizes: dict[str, int], rows: int, tokens: int, masked: int) -> Iterator[tuple[int, int, int, int]]:
    """Iterate over the matrix products in the forward pass of our step.

    Yields:
        the number of equal products, and their sizes n, inner and columns: (n, inner) times (inner, columns).
    """
    layers, hidden, wide = (sizes[name] for name in ("num_hidden_layers", "hidden_size", "intermediate_size"))
    heads, size = sizes["num_attention_heads"] * rows, hidden // sizes["num_attention_heads"]
    # All layers but the last compute every token. The last layer computes keys and values of every token, but
    # everything else of the masked tokens only.
    for count, n in ((layers - 1, rows * tokens), (1, masked)):
        yield 2 * count, n, hidden, hidden  # query, output
        yield count, n, hidden, wide
        yield count, n, wide, hidden
        yield count * heads, n // rows, size, tokens
        yield count * heads, n // rows, tokens, size
    yield 2 * layers, rows * tokens, hidden, hidden
    yield 1, masked, hidden, hidden
    yield 1, masked, hidden, KMERS


def bare_rate(setting: dict, steps: int) -> float:
    """Compute the matrix products of a step, and return tokens per second of CPU time."""
    batch, tokens = draw(setting)
    random = partial(torch.randn, dtype=torch.bfloat16 if setting["bf16"] else torch.float32)
    seconds = 0.0
    shapes = products(setting["sizes"], *setting["shape"], int((batch["labels"] != -100).sum()))
    for count, n, inner, columns in shapes:
        left, right, gradient = random(n, inner), random(columns, inner), random(n, columns)
        outputs = [torch.empty_like(each) for each in (gradient, left, right)]
        calls = [(left, right.t()), (gradient, right), (gradient.t(), left)]  # the forward product, both gradients
        times = []
        for _ in range(steps + 1):
            begin = time.process_time()
            for _ in range(count):
                for (one, other), output in zip(calls, outputs, strict=True):
                    torch.mm(one, other, out=output)
            times.append(time.process_time() - begin)
        seconds += statistics.median(times[1:])
    return tokens / seconds


def rate(setting: dict, steps: int) -> float:
    """Train under a Trainer with its defaults; return tokens per second of CPU time (median over the steps)."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from hf_genomics.runs.memory import keep_freed_memory

    torch.manual_seed(0)
    torch.set_num_threads(1)
    if setting.get("keep"):
        keep_freed_memory()
    if setting["kind"] == "products":
        return bare_rate(setting, steps)
    batch, tokens = draw(setting)
    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            ends.append(time.process_time())

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=steps + 1,
            per_device_train_batch_size=1,
            use_cpu=True,
            bf16=setting["bf16"],
            save_strategy="no",
            disable_tqdm=True,
            logging_strategy="no",
        )
        take_it: Callable = lambda items: items[0]  # noqa: E731
        Trainer(
            build(setting), arguments, train_dataset=Steps(batch), data_collator=take_it, callbacks=[Clock()]
        ).train()
    return tokens / statistics.median(end - begin for begin, end in zip(ends, ends[1:], strict=False))


def measure(table: dict[str, dict], steps: int) -> dict[str, float]:
    """Measure settings one after the other in one process."""
    command = [sys.executable, __file__, "--steps", str(steps), "--these", json.dumps(table)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", default=["backend", "stock", "packed", "classify"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--these", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.these:
        print(json.dumps({name: rate(setting, arguments.steps) for name, setting in arguments.these.items()}))
        return
    for title, every in (table for part in arguments.parts for table in settings(part)):
        table = {name: setting for name, setting in every.items() if multiplies_bf16() or not setting["bf16"]}
        if not table:
            continue
        rates: dict[str, list[float]] = {name: [] for name in table}
        for _ in range(arguments.rounds):
            for keep in (False, True):
                these = {name: setting for name, setting in table.items() if setting.get("keep", False) == keep}
                for name, found in (measure(these, arguments.steps) if these else {}).items():
                    rates[name].append(found)
        medians = {name: statistics.median(values) for name, values in rates.items()}
        first = next(iter(medians.values()))
        print(f"\n{title}\n\n| setting | tokens per second of CPU | ratio |\n|---|---|---|")
        for name, median in medians.items():
            print(f"| {name} | {median:,.0f} | {median / first:.2f} |", flush=True)
        if BARE in medians:
            shares = {name: median / medians[BARE] for name, median in medians.items() if name.startswith("ours")}
            best = max(shares, key=shares.__getitem__)
            print(f"\n{best}: {shares[best]:.0%} of what the matrix products alone would allow in fp32")


if __name__ == "__main__":
    main()
