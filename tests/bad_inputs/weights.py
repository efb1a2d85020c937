"""Weight files of a model folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file
from small_models import change_header, overlap, saved_model, split_weights

from .case import Case

CASES: dict[str, Case] = {}


PREDICT = "predict --model model --input OK --output out.tsv"


def in_shards(**changes: str):
    """Return a function that writes a model in two files, and names other files in its index."""

    def make(work: Path) -> None:
        folder = saved_model(work)
        index = split_weights(folder)
        content = json.loads(index.read_text())
        for weight, file in changes.items():
            content["weight_map"][weight.replace("__", ".")] = file
        index.write_text(json.dumps(content))

    return make


def with_tensors(change: Callable[[dict], object]):
    """Return a function that copies a good model folder and changes its tensors."""

    def make(work: Path) -> None:
        file = saved_model(work) / "model.safetensors"
        tensors = load_file(file)
        change(tensors)
        save_file(tensors, file, metadata={"format": "pt"})

    return make


def with_bytes(change: Callable[[bytes], bytes]):
    """Return a function that copies a good model folder and changes the bytes of its weights."""

    def make(work: Path) -> None:
        file = saved_model(work) / "model.safetensors"
        file.write_bytes(change(file.read_bytes()))

    return make


def linked_away(work: Path) -> None:
    """Write a model in two files, one of which is a link out of the folder."""
    folder = saved_model(work)
    split_weights(folder)
    (folder / "b.safetensors").rename(work / "elsewhere.safetensors")
    (folder / "b.safetensors").symlink_to(work / "elsewhere.safetensors")


FIRST, DENSE = "bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.output.dense.weight"
WEIGHTS = "model.safetensors"

CASES |= {
    "shard_above_the_folder": Case(
        PREDICT, ("index.json", "'../../x.safetensors'"), in_shards(x="../../x.safetensors")
    ),
    "shard_by_a_whole_path": Case(PREDICT, ("index.json", "'/etc/passwd'"), in_shards(x="/etc/passwd")),
    "shard_by_a_path_of_windows": Case(PREDICT, ("index.json", "C:"), in_shards(x="C:\\x.safetensors")),
    "shard_in_a_folder_below": Case(PREDICT, ("index.json", "a/x.safetensors"), in_shards(x="a/x.safetensors")),
    "shard_is_the_folder": Case(PREDICT, ("index.json", "'.'"), in_shards(x=".")),
    "shard_is_missing": Case(PREDICT, ("index.json", "c.safetensors", "missing"), in_shards(x="c.safetensors")),
    "shard_is_a_link_away": Case(PREDICT, ("index.json", "b.safetensors", "link"), linked_away),
    "shard_lacks_a_weight": Case(
        PREDICT, ("a.safetensors", "no_such_weight"), in_shards(no_such_weight="a.safetensors")
    ),
    "shard_of_a_number": Case(PREDICT, ("index.json", "'x'", "3"), in_shards(x=3)),
    "shards_in_evaluate": Case(
        "evaluate --model model --data.test TABLE --output_dir out", ("'../x.bin'",), in_shards(x="../x.bin")
    ),
    "shards_in_finetune": Case(
        "finetune --pretrained model --data.train TABLE --trainer.output_dir out",
        ("'../x.bin'",),
        in_shards(x="../x.bin"),
    ),
    "shards_in_convert": Case(
        "convert model --to bert --output_dir out", ("index.json", "'../x.bin'"), in_shards(x="../x.bin")
    ),
    "shards_in_push": Case("push --model model --name a/b", ("index.json", "'../x.bin'"), in_shards(x="../x.bin")),
    "cut": Case(PREDICT, (WEIGHTS, "damaged"), with_bytes(lambda data: data[:-1])),
    "cut_in_the_header": Case(PREDICT, (WEIGHTS, "damaged"), with_bytes(lambda data: data[:200])),
    "empty": Case(PREDICT, (WEIGHTS, "0 bytes"), with_bytes(lambda data: b"")),
    "longer": Case(PREDICT, (WEIGHTS, "damaged"), with_bytes(lambda data: data + b"1234")),
    "length_of_the_header": Case(PREDICT, (WEIGHTS, "damaged"), with_bytes(lambda data: b"\xff" * 8 + data[8:])),
    "a_page_instead": Case(PREDICT, (WEIGHTS, "damaged"), with_bytes(lambda data: b"<!DOCTYPE html>" * 100)),
    "a_pointer_of_git_lfs": Case(PREDICT, (WEIGHTS, "damaged"), with_bytes(lambda data: b"version https://git-lfs\n")),
    "overlapping": Case(
        PREDICT, (WEIGHTS, "overlap"), with_bytes(lambda data: change_header(data, lambda entries: overlap(entries)))
    ),
    "unknown_type": Case(
        PREDICT,
        (WEIGHTS, "'Q4'"),
        with_bytes(lambda data: change_header(data, lambda entries: entries[FIRST].update(dtype="Q4"))),
    ),
    "other_shape": Case(
        PREDICT,
        (WEIGHTS, FIRST, "[32, 69]"),
        with_tensors(lambda tensors: tensors.update({FIRST: tensors[FIRST].T.contiguous()})),
    ),
    "whole_numbers": Case(
        PREDICT, (WEIGHTS, DENSE, "I8"), with_tensors(lambda tensors: tensors.update({DENSE: tensors[DENSE].char()}))
    ),
    "missing": Case(PREDICT, (WEIGHTS, "1 of", DENSE), with_tensors(lambda tensors: tensors.pop(DENSE))),
    "more_layers_than_config_json_says": Case(
        PREDICT,
        (WEIGHTS, "encoder.layer.1", "num_hidden_layers"),
        with_tensors(lambda tensors: tensors.update({DENSE.replace("layer.0", "layer.1"): tensors[DENSE] + 1})),
    ),
    "cut_in_finetune": Case(
        "finetune --pretrained model --data.train TABLE --trainer.output_dir out",
        (WEIGHTS, "damaged"),
        with_bytes(lambda data: data[:-1]),
    ),
    "cut_in_evaluate": Case(
        "evaluate --model model --data.test TABLE --output_dir out",
        (WEIGHTS, "damaged"),
        with_bytes(lambda data: data[:-1]),
    ),
    "cut_in_convert": Case(
        "convert model --to bert --output_dir out", (WEIGHTS, "damaged"), with_bytes(lambda data: data[:-1])
    ),
    "cut_in_push": Case("push --model model --name a/b", (WEIGHTS, "damaged"), with_bytes(lambda data: data[:-1])),
}


def _tables(work: Path) -> None:
    """Write tables to train and to evaluate on."""
    (work / "t.csv").write_text("sequence,label\n" + "ACGTACGTAC,a\nTTGACCATGA,b\n" * 3)


def _overflowing(work: Path) -> None:
    """Write a model whose weights are finite, but whose outputs are not, and a genome."""
    with_tensors(lambda tensors: tensors.update({DENSE: tensors[DENSE] * 1e38}))(work)
    (work / "g.fa").write_text(">a\nACGTTGCATTGACGGA\n")


def _deleted(name: str) -> Callable[[Path], object]:
    """Return what writes a model without one of its files."""
    return lambda work: (saved_model(work) / name).unlink()


_TUNE = "--data.train t.csv --trainer.output_dir out --trainer.max_steps 1"
CASES |= {
    "nan_in_predict": Case(
        "predict --model NAN --input OK --output p.tsv",
        named=("model.safetensors", "bert.encoder", "1 of", "NaN"),
        remedy="predict --model TUNED --input OK --output p.tsv",
    ),
    "infinity_in_predict": Case(
        "predict --model INFINITE --input OK --output p.tsv", named=("model.safetensors", "bert.encoder", "infinite")
    ),
    "nan_in_evaluate": Case(
        "evaluate --model NAN --data.test t.csv --output_dir out",
        named=("model.safetensors", "bert.encoder"),
        make=_tables,
    ),
    "nan_in_finetune": Case(
        f"finetune --pretrained NAN_MLM {_TUNE}", named=("model.safetensors", "bert.encoder"), make=_tables
    ),
    "infinity_in_finetune": Case(
        f"finetune --pretrained INFINITE {_TUNE}", named=("model.safetensors", "infinite"), make=_tables
    ),
    "nan_in_convert": Case(
        "convert NAN --output_dir out --to bert",
        named=("model.safetensors", "bert.encoder"),
        remedy="convert TUNED --output_dir out --to bert",
    ),
    "nan_in_convert_of_a_pretrained_model": Case(
        "convert NAN_MLM --output_dir out --to bert", named=("model.safetensors", "bert.encoder")
    ),
    "nan_in_push": Case("push --model NAN --name user/x", named=("model.safetensors", "bert.encoder", "NaN")),
    "infinity_in_push": Case("push --model INFINITE --name user/x", named=("model.safetensors", "infinite")),
    **{
        f"outputs_that_overflow_in_{command.split()[0]}": Case(
            f"{command} --model model", named=("model", "NaN or infinite", "earlier checkpoint"), make=_overflowing
        )
        for command in (
            "score-variants --fasta g.fa --region a:1-3 --output v.tsv",
            "explain --input g.fa --output_dir out --figures 0 --steps 1",
        )
    },
    "no_weights": Case(PREDICT, ("model: no weights", "copy"), _deleted("model.safetensors")),
    "no_weights_in_embed": Case(
        "embed --model model --input OK --output o.npy", ("model: no weights",), _deleted("model.safetensors")
    ),
    "no_weights_in_probe": Case(
        "probe --model model --data.train TABLE --data.test TABLE --output_dir out",
        ("model: no weights",),
        _deleted("model.safetensors"),
    ),
    "no_weights_in_score_variants": Case(
        "score-variants --model model --fasta OK --region r0:1-3 --output v.tsv",
        ("model: no weights",),
        _deleted("model.safetensors"),
    ),
    "damaged_in_push": Case("push --model DAMAGED --name user/x", named=("model.safetensors", "damaged")),
}
