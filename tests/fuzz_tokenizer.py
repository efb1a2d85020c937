"""Compare KmerTokenizer with its readable twin on a million random strings: `make fuzz`.

    python tests/fuzz_tokenizer.py --strings 1000000 --seed 0

Each batch draws k, stride, the options of the call and its strings: DNA, IUPAC codes, bytes, any unicode, k-mer text,
names of special tokens. The ids and columns of the fast route are compared with transformers' own route over
`_tokenize`, offsets and soft masking with a loop over letters, bytes with text, and decoding with merging tokens one by
one. The exit code is 1 if anything differs; the first differences are printed with the batch that repeats them.
"""

from __future__ import annotations

import argparse
import random
import re
import string
import sys
import warnings

from tqdm import tqdm
from transformers import PreTrainedTokenizer
from transformers.utils import logging

from hf_genomics import KmerTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<gap>", "[", "]", "MASK"]
BATCH = 50


class ReadableTokenizer(KmerTokenizer):
    """The same tokenizer on transformers' own route, one string per token."""

    _encode_plus = PreTrainedTokenizer._encode_plus


def draw_text(rng: random.Random, k: int) -> str:
    """Draw one string of a random kind."""
    length = rng.choice([0, 1, k - 1, k, k + 1, rng.randint(0, 60)])
    kind = rng.randrange(8)
    if kind == 0:
        return "".join(chr(rng.randrange(256)) for _ in range(length))
    if kind == 1:
        return "".join(chr(rng.randrange(0x110000)) for _ in range(length))
    if kind == 2:
        return "".join(rng.choices([*SPECIAL, "ACGT", "acg", " ", "N"], k=min(length, 12)))
    if kind == 3:
        dna = "".join(rng.choices("ACGT", k=length))
        return " ".join(dna[start : start + k] for start in range(len(dna) - k + 1))
    letters = ("ACGT", "ACGTacgtNUu", "ACGTRYSWKMBDHVNacgtryswkmbdhvn", "ACGT \t\n\v\f\r-*." + string.printable)[
        kind - 4
    ]
    return "".join(rng.choices(letters, k=length))


def draw_call(rng: random.Random) -> dict:
    """Draw the options of a call."""
    call = {
        "padding": rng.choice([False, True, "max_length"]),
        "padding_side": rng.choice(["left", "right"]),
        "truncation": rng.random() < 0.5,
        "max_length": rng.randint(4, 40),
        "add_special_tokens": rng.random() < 0.7,
        "split_special_tokens": rng.random() < 0.7,
        "return_special_tokens_mask": rng.random() < 0.5,
        "return_length": rng.random() < 0.5,
    }
    if rng.random() < 0.3 and call["padding"]:
        call["pad_to_multiple_of"] = 8
        call["max_length"] = 8 * rng.randint(1, 5)
    return call


def letters_covered(text: str, k: int, stride: int) -> list[tuple[int, int]]:
    """Find the k-mers of a text letter by letter."""
    words = (match.span() for match in re.finditer(r"[^ \t\n\r\v\f]+", text))
    return [(start, start + k) for first, last in words for start in range(first, last - k + 1, stride)]


def faults(rng: random.Random) -> list[str]:
    """Draw one batch and list the checks that fail on it."""
    k = rng.randint(1, 8)
    stride = rng.randint(1, k)
    fast, readable = KmerTokenizer(k, stride), ReadableTokenizer(k, stride)
    side = rng.choice(["left", "right"])
    for tokenizer in (fast, readable):
        tokenizer.truncation_side = side
        tokenizer.add_tokens(["<gap>"])
    texts, call = [draw_text(rng, k) for _ in range(BATCH)], draw_call(rng)
    found = []
    if fast(texts, **call).data != readable(texts, **call).data:
        found.append("columns")
    plain = [text for text in texts if "<gap>" not in text]
    extra = {"return_offsets_mapping": True, "return_soft_masked": True}
    encoding = fast(plain, add_special_tokens=False, split_special_tokens=True, **extra)
    spans = [letters_covered(text, k, stride) for text in plain]
    if encoding["offset_mapping"] != spans:
        found.append("offsets")
    lower = set(string.ascii_lowercase)
    if encoding["soft_masked"] != [
        [int(not lower.isdisjoint(text[first:last])) for first, last in row]
        for text, row in zip(plain, spans, strict=True)
    ]:
        found.append("soft masking")
    narrow = [text for text in texts if all(ord(letter) < 256 for letter in text)]
    coded = [text.encode("latin-1") for text in narrow]
    if narrow and fast(coded).data != fast(narrow, split_special_tokens=True).data:
        found.append("bytes")
    for ids in fast(texts)["input_ids"]:
        if fast.decode(ids) != fast.convert_tokens_to_string(fast.convert_ids_to_tokens(ids)):
            found.append("decoding")
            break
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strings", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    logging.set_verbosity_error()  # most strings are not DNA, which causes one warning
    warnings.simplefilter("ignore")  # transformers: a max_length without truncation
    count = 0
    batches = -(-chosen.strings // BATCH)
    for batch in tqdm(range(batches), unit="batch", disable=None):
        for fault in faults(random.Random(f"{chosen.seed} {batch}")):
            count += 1
            if count <= 10:
                tqdm.write(f"fault: {fault} in batch {batch} of seed {chosen.seed}")
    print(f"{batches * BATCH:,} strings, {count} faults")
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
