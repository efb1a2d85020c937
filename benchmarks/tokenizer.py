"""Compare the speed of KmerTokenizer with that of a tokenizer written as the documentation of transformers teaches.

    python benchmarks/tokenizer.py

Both turn lists of 256 strings into padded batches of tensors, with k = 6, in turn, on one thread. The "textbook"
tokenizer is a PreTrainedTokenizer with a vocabulary dictionary, a method _tokenize that slices a string, and a method
_convert_token_to_id that looks up each token. Numbers are medians over the rounds.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import torch
from transformers import PreTrainedTokenizer

from hf_genomics import KmerTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


class TextbookKmerTokenizer(PreTrainedTokenizer):
    """The k-mer tokenizer that most people would write first."""

    def __init__(self, k: int = 6, stride: int = 1, **kwargs: object) -> None:
        self.k, self.stride = k, stride
        tokens = SPECIAL + ["".join(letters) for letters in itertools.product("ATCG", repeat=k)]
        self.vocabulary = {token: index for index, token in enumerate(tokens)}
        names = dict(zip(["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"], SPECIAL, strict=True))
        super().__init__(**names, special_tokens_pattern="cls_sep", **kwargs)

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return len(self.vocabulary)

    def get_vocab(self) -> dict[str, int]:
        """Return the id of each token."""
        return dict(self.vocabulary)

    def _tokenize(self, text: str, **kwargs: object) -> list[str]:
        text = text.upper()
        return [text[start : start + self.k] for start in range(0, len(text) - self.k + 1, self.stride)]

    def _convert_token_to_id(self, token: str) -> int:
        return self.vocabulary.get(token, self.vocabulary["[UNK]"])

    def _convert_id_to_token(self, index: int) -> str:
        return next(token for token, number in self.vocabulary.items() if number == index)


def rate(call: Callable[[], object], nt: int, seconds: float) -> float:
    """Repeat a call for about ``seconds`` seconds; return nt per second."""
    calls, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds or calls == 0:
        call()
        calls += 1
    return nt * calls / (time.perf_counter() - begin)


def compare(name: str, sequences: list[str] | str, stride: int, goal: float, rounds: int) -> None:
    """Print one row: both rates and their ratio."""
    ours, theirs = KmerTokenizer(k=6, stride=stride), TextbookKmerTokenizer(k=6, stride=stride)
    options = {"padding": True, "return_tensors": "pt"}
    assert torch.equal(ours(sequences, **options)["input_ids"], theirs(sequences, **options)["input_ids"])
    nt = len(sequences) if isinstance(sequences, str) else sum(map(len, sequences))
    fast, slow = [], []
    for _ in range(rounds):
        fast.append(rate(lambda: ours(sequences, **options), nt, 0.3) / 1e6)
        slow.append(rate(lambda: theirs(sequences, **options), nt, 0.3) / 1e6)
    ratio = statistics.median(fast) / statistics.median(slow)
    fast_median, slow_median = statistics.median(fast), statistics.median(slow)
    print(f"| {name} | {fast_median:.1f} | {slow_median:.3f} | {ratio:.0f} | {goal:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)

    def reads(lengths: np.ndarray) -> list[str]:
        return ["".join(rng.choice(list("ACGT"), length)) for length in lengths]

    even, ragged = reads(np.full(256, 512)), reads(rng.integers(5, 513, 256))
    print("| input | KmerTokenizer, Mnt/s | textbook, Mnt/s | ratio | goal |\n|---|---|---|---|---|")
    compare("512 nt, stride 1", even, 1, 250, rounds)
    compare("5..512 nt, stride 1", ragged, 1, 100, rounds)
    compare("512 nt, stride 3", even, 3, 120, rounds)
    compare("512 nt, stride 6", even, 6, 120, rounds)
    compare("one read of 512 nt", even[0], 1, 10, rounds)
    contig = "".join(even) * 38  # 5 Mnt
    tokenizer = KmerTokenizer(k=6)
    rates = [rate(lambda: tokenizer(even, padding=True, return_tensors="pt"), 131072, 0.3) for _ in range(5)]
    batch = statistics.median(rates)
    whole = statistics.median(rate(lambda: tokenizer(contig, return_tensors="pt"), len(contig), 0.5) for _ in range(5))
    tracemalloc.start()
    columns = tokenizer(contig, return_tensors="pt", return_token_type_ids=False, return_attention_mask=False)
    peak = tracemalloc.get_traced_memory()[1] - columns["input_ids"].nbytes
    ratio = f"batch rate / contig rate {batch / whole:.2f} (goal 3)"
    print(f"\none contig of {len(contig) / 1e6:.1f} Mnt: {whole / 1e6:.1f} Mnt/s, {ratio}")
    tracemalloc.stop()
    print(f"peak memory beyond the ids {peak / len(contig):.1f} bytes per nt (goal 12)")
    load()


def load() -> None:
    """Print the time and memory of loading a tokenizer of 8-mers, with 65,541 tokens."""
    with tempfile.TemporaryDirectory() as folder:
        KmerTokenizer(8).save_pretrained(folder)
        seconds = []
        for _ in range(9):
            begin = time.perf_counter()
            KmerTokenizer.from_pretrained(folder)
            seconds.append(time.perf_counter() - begin)
        tracemalloc.start()
        KmerTokenizer.from_pretrained(folder)
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    print(f"loading k = 8: {statistics.median(seconds) * 1e3:.1f} ms (goal 50), {peak:.2f} MB (goal 20)")


if __name__ == "__main__":
    main()
