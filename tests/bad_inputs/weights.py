"""Weight files of a model folder."""

from __future__ import annotations

from pathlib import Path

from .case import Case

CASES: dict[str, Case] = {}


def _tables(work: Path) -> None:
    """Write tables to train and to evaluate on."""
    (work / "t.csv").write_text("sequence,label\n" + "ACGTACGTAC,a\nTTGACCATGA,b\n" * 3)


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
    "damaged_in_push": Case("push --model DAMAGED --name user/x", named=("model.safetensors", "damaged")),
}
