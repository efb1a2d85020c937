"""Change files of model folders and recipes at random; every verb ends with exit code 0 or 2: `make fuzz-folders`.

    python tests/fuzz_model_folder.py --cases 4000 --seed 0

Each case copies a folder (a classifier, one in shards, a DNABERT, a hierarchical model) or a recipe, changes one file,
and runs a verb in a process of its own, with limits of time and memory. A case fails if the verb ends with another exit
code (a traceback is 1), is stopped by a limit, or says more than one line. The number of each failing case is printed;
`--only NUMBER` repeats it, with what the verb wrote. Recipes are planned, not trained.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import logging
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS, MEMORY = 60, 3 * 2**30  # of one case; bytes beyond what the process has at its start
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 3, 7, 1.5, -0.5, 10**4, 10**9, 2**31, 2**63, 10**30, -(10**12), 1e30, 1e-300),
    *(float("nan"), float("inf"), -float("inf"), "", "x", "4e-4", "1", "../../x", "/etc/passwd", "a/b", "\x00"),
    *([], {}, [1], ["x"], [None], [[]], {"a": 1}, {"0": "x"}, {"x": None}, "x" * 5000, "org/kernel", "x/y--m.C"),
    *([0] * 9, "\u202e"),
]
FIELDS = (
    "attn_implementation _attn_implementation_internal _attn_implementation quantization_config architectures auto_map "
    "dtype torch_dtype tokenizer_class id2label label2id transformers_weights base_model_tp_plan pruned_heads "
    "custom_pipelines max_length chat_template added_tokens_decoder num_labels problem_type per_layer_config to_dict "
    "text_config rope_scaling rope_parameters is_decoder use_cache output_attentions configuration_files subfolder "
    "model_type layer_types num_windows pooling global_attention_every attention_window extra_special_tokens revision "
    "gguf_file vocab_file tokenizer_file name_or_path additional_special_tokens model_input_names processor_class "
    "token_type_ids_pattern special_tokens_pattern k stride model_max_length init_inputs experts_implementation".split()
)
RECIPE = """
data: {store: STORE, train_split: train, valid_split: valid, valid_windows: 8}
trainer: {output_dir: OUT, max_steps: 3, per_device_train_batch_size: 2, learning_rate: 1.0e-3, warmup_steps: 1,
  logging_steps: 1, save_steps: 2, save_total_limit: 2, eval_strategy: steps, eval_steps: 2, seed: 3,
  weight_decay: 0.01, gradient_accumulation_steps: 1, dataloader_num_workers: 0, lr_scheduler_type: linear,
  adam_beta2: 0.98, max_grad_norm: 1.0, num_train_epochs: 1.0, schedule_steps: 5, peak_tflops: 1.0, eval_delay: 0}
tokenizer: {k: 3, stride: 1}
model: {hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32, sliding_window: 9,
  max_position_embeddings: 64, hidden_dropout_prob: 0.0, position_embedding_type: absolute, layer_norm_eps: 1.0e-12}
masking: {span: 3, start_rate: 0.05}
windows: {length: 40, min_length: 20, rc_probability: 0.5, coverage: 1.0}
"""


# Places.


def make_folders(home: Path) -> dict[str, Path]:
    """Write the folders that are copied and changed."""
    import torch
    from places import SIZES, make_places
    from transformers import BertConfig, BertForMaskedLM

    import hf_genomics as hg
    from hf_genomics.configuration_kmer_bert import HierarchicalKmerBertConfig
    from hf_genomics.modeling_hierarchical import HierarchicalKmerBertForSequenceClassification
    from hf_genomics.sequence import kmer_vocabulary

    make_places(home)
    shared = {"k": 3, "max_position_embeddings": 64, "num_labels": 2, "problem_type": "single_label_classification"}
    model = hg.KmerBertForSequenceClassification(hg.KmerBertConfig(**shared, **SIZES))
    model.save_pretrained(home / "shards", max_shard_size="20KB")
    parts = HierarchicalKmerBertForSequenceClassification(HierarchicalKmerBertConfig(**shared, **SIZES, part_length=30))
    parts.save_pretrained(home / "parts")
    for name in ("shards", "parts"):
        hg.KmerTokenizer(k=3).save_pretrained(home / name)
    bert = BertForMaskedLM(BertConfig(vocab_size=69, max_position_embeddings=64, **SIZES))
    (home / "dnabert").mkdir()
    torch.save(bert.state_dict(), home / "dnabert" / "pytorch_model.bin")
    settings = json.loads(bert.config.to_json_string()) | {"split": 10, "rnn": "lstm", "num_rnn_layer": 1}
    (home / "dnabert" / "config.json").write_text(json.dumps(settings))
    (home / "dnabert" / "vocab.txt").write_text("\n".join(kmer_vocabulary(3)))
    (home / "recipe").mkdir()
    (home / "recipe" / "recipe.yaml").write_text(RECIPE.replace("STORE", str(home / "store")))
    return {name: home / name for name in ("tuned", "mlm", "shards", "parts", "dnabert", "recipe")}


def command_of(kind: str, rng: random.Random, home: Path, folder: Path, out: Path) -> list[str]:
    """Return the words of a verb that reads a folder."""
    table = str(home / "table.csv")
    tune = ["finetune", "--pretrained", str(folder), "--data.train", table, "--trainer.output_dir", str(out)]
    if kind == "recipe":
        return ["pretrain", "--config", str(folder / "recipe.yaml")]
    if kind == "dnabert":
        return ["convert", str(folder), "--output_dir", str(out)]
    if kind == "mlm":
        return tune
    return rng.choice(
        [
            ["predict", "--model", str(folder), "--input", str(home / "ok.fa"), "--output", str(out)],
            ["evaluate", "--model", str(folder), "--data.test", table],
            ["convert", str(folder), "--output_dir", str(out), "--to", "bert"],
            tune,
        ]
    )


# Changes.


def change_value(content: Any, rng: random.Random) -> Any:
    """Change, delete, rename or add one value of nested dictionaries and lists."""
    places = [content]
    for value in places:
        inner = value.values() if isinstance(value, dict) else value
        places += [each for each in inner if isinstance(each, dict | list)]
    place = rng.choice(places)
    if isinstance(place, list):
        place.insert(rng.randint(0, len(place)), _value(rng))
        return content
    action = rng.choice(["set", "set", "set", "delete", "add", "add", "rename"])
    name = rng.choice(sorted(place, key=str)) if place else "x"
    if action == "delete":
        place.pop(name, None)
    elif action == "rename":
        place[rng.choice([*FIELDS, f"{name}s", str(name)[1:], str(name).upper()])] = place.pop(name, None)
    else:
        place[name if action == "set" else rng.choice(FIELDS)] = _value(rng)
    return content


def _value(rng: random.Random) -> Any:
    """Return one of the values, as a copy: later changes may reach into it, and other cases must not see them."""
    return copy.deepcopy(rng.choice(VALUES))


def change_text(data: bytes, rng: random.Random) -> bytes:
    """Change the bytes of a text file."""
    at = rng.randint(0, len(data))
    text = data.decode("utf-8", "replace")
    return rng.choice(
        [
            lambda: data[:at],
            lambda: data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :],
            lambda: b"\xef\xbb\xbf" + data,
            lambda: text.encode("utf-16"),
            lambda: b"",
            lambda: b"[" * rng.choice([50, 100_000]),
            lambda: data.replace(b'"', b"'"),
            lambda: data + data,
            lambda: data.replace(b"1", b"1" * rng.choice([3, 30, 5000]), 1),
            lambda: data.replace(b"{", b'{"model_type": 3, "model_type": 4, ', 1),
            lambda: data.replace(b": 1", b": NaN", 1),
            lambda: (
                b"a: &a [x,x,x,x,x,x,x,x,x]\n"
                + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 107))
                + data
            ),
        ]
    )()


def change_weights(data: bytes, rng: random.Random) -> bytes:
    """Damage the header or the length of a safetensors file; its numbers stay as they are."""
    length = struct.unpack("<Q", data[:8])[0]
    at = rng.randrange(8 + length)

    def other_header() -> bytes:
        header = change_value(json.loads(data[8 : 8 + length]), rng)
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + length :]

    return rng.choice(
        [
            lambda: data[: rng.randrange(len(data))],
            lambda: data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :],
            lambda: data + b"\0" * rng.choice([1, 8, 1000]),
            lambda: struct.pack("<Q", rng.choice([0, 1, 2**31, 2**63, length + 1])) + data[8:],
            other_header,
            other_header,
        ]
    )()


def change_folder(folder: Path, rng: random.Random) -> str:
    """Change one file of a folder, and return its name."""
    kinds = (".json", ".safetensors", ".bin", ".yaml", ".txt")
    files = sorted(path for path in folder.iterdir() if path.suffix in kinds)
    file = rng.choice([*files, *[path for path in files if "config" in path.name] * 2])
    data = file.read_bytes()
    if file.suffix == ".safetensors":
        changed = change_weights(data, rng)
    elif file.suffix in (".bin", ".txt"):
        at = rng.randrange(len(data))
        changed = rng.choice([data[:at], data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]])
    elif rng.random() < 0.3:
        changed = change_text(data, rng)
    else:
        changed = _change_values(data, file.suffix, rng)
    file.write_bytes(changed)
    return file.name


def _change_values(data: bytes, suffix: str, rng: random.Random) -> bytes:
    import yaml

    content = json.loads(data) if suffix == ".json" else yaml.safe_load(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        content = change_value(content, rng)
    return (json.dumps(content) if suffix == ".json" else yaml.safe_dump(content)).encode("utf-8", "replace")


# Cases.


def run_case(number: int, seed: int, folders: dict[str, Path], show: bool) -> tuple[str, list[str], int]:
    """Run one case; return what was changed, what is wrong with its end, and its exit code."""
    rng = random.Random(seed * 1_000_003 + number)
    kind = rng.choice(["tuned", "tuned", "mlm", "shards", "parts", "dnabert", "recipe", "recipe"])
    home = folders[kind].parent
    work = Path(tempfile.mkdtemp())
    folder, out, log = work / "folder", work / "out", work / "log"
    shutil.copytree(folders[kind], folder)
    if kind == "recipe":
        text = (folder / "recipe.yaml").read_text().replace("OUT", str(out))
        (folder / "recipe.yaml").write_text(text)
    words = command_of(kind, rng, home, folder, out)
    what = f"case {number}: {words[0]} of {kind}, {change_folder(folder, rng)} changed"
    code = _in_child(words, log, work)
    written = log.read_text(errors="replace")
    errors = [line for line in written.splitlines() if line.startswith("hf-genomics: error: ")]
    wrong = []
    if code not in (0, 2):
        wrong.append(f"exit code {code}: {' '.join(written.split())[-300:]}")
    if code == 2 and (len(errors) != 1 or len(errors[0]) > 1000):
        wrong.append(f"{len(errors)} error lines of {[len(line) for line in errors]} characters")
    if show:
        sys.stdout.write(f"{written}\n{(folder / 'recipe.yaml').read_text()[:3000] if kind == 'recipe' else ''}\n")
    shutil.rmtree(work)
    return what, wrong, code


def _in_child(words: list[str], log: Path, work: Path) -> int:
    """Run a command line in a process with limits, and return its exit code; negative for a signal."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chdir(work)
            out = os.open(log, os.O_WRONLY | os.O_CREAT)
            os.dup2(out, 1)
            os.dup2(out, 2)
            size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
            signal.alarm(SECONDS)
            from hf_genomics.cli import main

            code = main(words)
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def only_plan() -> None:
    """Make training verbs end after their checks: a recipe may rightly ask for years of training."""
    import jsonargparse  # noqa: F401 (loaded once, not in each case)
    import peft  # noqa: F401
    import yaml  # noqa: F401

    import hf_genomics.finetuning.finetune
    import hf_genomics.inference.predict
    import hf_genomics.options.run_verb
    import hf_genomics.sharing.dnabert
    import hf_genomics.training.pretrain

    finish: Callable[[Any], dict] = lambda plan: {"planned": True}  # noqa: E731 (one line for both)
    hf_genomics.training.pretrain.run_pretraining = finish
    hf_genomics.finetuning.finetune.run_finetuning = finish


def main() -> int:
    """Run the cases; return 1 if any of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", type=int, help="run this case only, and show what the verb wrote")
    args = parser.parse_args()
    logging.disable(logging.NOTSET)
    only_plan()
    numbers = range(args.start, args.start + args.cases) if args.only is None else [args.only]
    failed, start = 0, time.monotonic()
    ends: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as home:
        with contextlib.redirect_stdout(sys.stderr):
            folders = make_folders(Path(home))
        for number in numbers:
            what, wrong, code = run_case(number, args.seed, folders, args.only is not None)
            failed += bool(wrong)
            ends[code] = ends.get(code, 0) + 1
            if wrong:
                sys.stdout.write(f"{what}: {'; '.join(wrong)}\n")
                sys.stdout.flush()
    seconds = time.monotonic() - start
    sys.stdout.write(
        f"{len(numbers)} cases in {seconds:.0f} s, {failed} failed (seed {args.seed}); exit codes {ends}\n"
    )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
