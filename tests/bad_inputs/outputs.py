"""Places to write to."""

from __future__ import annotations

import os
from pathlib import Path

from small_models import saved_model

from .case import Case

CASES: dict[str, Case] = {}


def _files(work: Path) -> None:
    """Write an input with links to it, a table, an old output, and things that are no files."""
    (work / "in.fa").write_text(">r\nACGTTGCATTGA\n")
    (work / "t.csv").write_text("sequence,label\n" + "ACGTACGTAC,a\nTTGACCATGA,b\n" * 3)
    (work / "old.tsv").write_text("mine\n")
    (work / "folder").mkdir()
    (work / "link.fa").symlink_to("in.fa")
    (work / "loop").symlink_to("loop")
    os.link(work / "in.fa", work / "hard.fa")
    (work / "full").symlink_to("/dev/full")


def _evaluated(work: Path) -> None:
    """Write a folder that holds an evaluation, one that holds a run, and tables."""
    _files(work)
    for folder, name in (("scores", "metrics.json"), ("drawn", "confusion.png"), ("run", "config.json")):
        (work / folder).mkdir()
        (work / folder / name).write_text("{}")
    (work / "stopped" / "checkpoint-9").mkdir(parents=True)
    (work / "data").mkdir()
    (work / "data" / "predictions.tsv").write_text("sequence\tlabel\n" + "ACGTACGTAC\ta\nTTGACCATGA\tb\n" * 3)
    (work / "linked").symlink_to("run")


def _copied(work: Path) -> None:
    """Write a fine-tuned model, and a folder whose metrics.json is a link to the model's."""
    _files(work)
    saved_model(work, "copy")
    (work / "copy" / "metrics.json").write_text("{}")
    (work / "copy" / "checkpoint-1").mkdir()
    (work / "copy" / "checkpoint-1" / "model.safetensors").write_text("weights")
    (work / "copy" / "results").mkdir()
    (work / "copy" / "results" / "p.tsv").write_text("old")
    (work / "scored").mkdir()
    (work / "scored" / "metrics.json").symlink_to("../copy/metrics.json")


_PREDICT = "predict --model TUNED --input in.fa --output"
_EVALUATE = "evaluate --model TUNED --data.test t.csv --output_dir"
_TUNE = "--trainer.max_steps 1 --trainer.report_to none --baseline_k 0"
CASES |= {
    "exists": Case(
        f"{_PREDICT} old.tsv",
        named=("old.tsv", "exists", "--overwrite"),
        make=_files,
        remedy=f"{_PREDICT} old.tsv --overwrite true",
    ),
    "exists_although_resumed": Case(f"{_PREDICT} old.tsv --resume true", named=("old.tsv", "exists"), make=_files),
    "the_input": Case(
        f"{_PREDICT} in.fa --overwrite true", named=("in.fa", "read"), make=_files, remedy=f"{_PREDICT} new.tsv"
    ),
    "the_input_by_another_spelling": Case(
        f"{_PREDICT} folder/../in.fa --overwrite true", named=("in.fa", "read"), make=_files
    ),
    "the_input_by_a_link": Case(f"{_PREDICT} link.fa --overwrite true", named=("link.fa", "in.fa"), make=_files),
    "the_input_by_a_hard_link": Case(f"{_PREDICT} hard.fa --overwrite true", named=("hard.fa", "in.fa"), make=_files),
    "a_folder": Case(f"{_PREDICT} folder", named=("folder", "is a folder"), make=_files),
    "a_folder_that_is_not_there": Case(f"{_PREDICT} new/", named=("new/", "folder"), make=_files),
    "below_a_file": Case(f"{_PREDICT} old.tsv/p.tsv", named=("old.tsv", "is a file"), make=_files),
    "full_disk": Case(f"{_PREDICT} /dev/full", named=("/dev/full", "No space"), make=_files),
    "full_disk_by_a_link": Case(f"{_PREDICT} full", named=("full", "No space"), make=_files),
    "weights_below_the_model": Case(
        "predict --model copy --input in.fa --output copy/checkpoint-1/model.safetensors --overwrite true",
        named=("copy/checkpoint-1/model.safetensors", "read"),
        make=_copied,
        remedy="predict --model copy --input in.fa --output copy/results/p.tsv --overwrite true",
    ),
    "a_store_below_a_file": Case(
        "prepare in.fa --output_dir old.tsv/store",
        named=("old.tsv", "is a file"),
        make=_files,
        remedy="prepare in.fa --output_dir store",
    ),
    "a_descriptor_that_is_not_open": Case(f"{_PREDICT} /dev/fd/987", named=("/dev/fd/987",), make=_files),
    "a_stream_is_not_resumed": Case(
        f"{_PREDICT} /dev/null --resume true",
        named=("/dev/null", "resume"),
        make=_files,
        remedy=f"{_PREDICT} /dev/null",
    ),
    "standard_output_is_not_resumed": Case(f"{_PREDICT} - --resume true", named=("resume",), make=_files),
    "check_exists": Case(
        "check in.fa --output old.tsv",
        named=("old.tsv", "exists"),
        make=_files,
        remedy="check in.fa --output old.tsv --overwrite true",
    ),
    "check_the_input": Case("check in.fa --output link.fa --overwrite true", named=("link.fa", "in.fa"), make=_files),
    "check_the_metadata": Case(
        "check in.fa --metadata old.tsv --output old.tsv --overwrite true", named=("old.tsv", "read"), make=_files
    ),
    "check_a_folder": Case("check in.fa --output folder", named=("folder", "is a folder"), make=_files),
    "check_full_disk": Case("check in.fa --output /dev/full", named=("/dev/full", "No space"), make=_files),
    "evaluate_into_a_model": Case(
        f"{_EVALUATE} run --overwrite true",
        named=("run", "holds a model", "run/evaluation"),
        make=_evaluated,
        remedy=f"{_EVALUATE} run/evaluation",
    ),
    "evaluate_into_a_model_by_a_link": Case(f"{_EVALUATE} linked", named=("linked", "holds a model"), make=_evaluated),
    "evaluate_into_a_stopped_run": Case(f"{_EVALUATE} stopped", named=("stopped", "holds a model"), make=_evaluated),
    "evaluate_into_its_own_model": Case(
        "evaluate --model TUNED --data.test t.csv --output_dir TUNED", named=("tuned", "holds a model"), make=_files
    ),
    "evaluate_twice": Case(
        f"{_EVALUATE} scores",
        named=("scores/metrics.json", "--overwrite"),
        make=_evaluated,
        remedy=f"{_EVALUATE} scores --overwrite true",
    ),
    "evaluate_over_a_picture": Case(f"{_EVALUATE} drawn", named=("drawn/confusion.png",), make=_evaluated),
    "evaluate_over_its_table": Case(
        "evaluate --model TUNED --data.test data/predictions.tsv --output_dir data --overwrite true",
        named=("data/predictions.tsv", "read"),
        make=_evaluated,
    ),
    "evaluate_over_its_model_by_a_link": Case(
        "evaluate --model copy --data.test t.csv --output_dir scored --overwrite true",
        named=("scored/metrics.json", "copy", "read"),
        make=_copied,
    ),
    "evaluate_into_standard_output": Case(f"{_EVALUATE} -", named=("standard output", "folder"), make=_evaluated),
    "a_link_to_itself": Case(f"{_PREDICT} loop", named=("loop", "leads to itself"), make=_files),
    "a_pipe_as_input": Case(
        "predict --model TUNED --input pipe --output new.tsv",
        named=("pipe", "write it to a file"),
        make=lambda work: os.mkfifo(work / "pipe"),
    ),
    "evaluate_into_a_file": Case(f"{_EVALUATE} old.tsv", named=("old.tsv", "is a file"), make=_files),
    "evaluate_into_a_device": Case(f"{_EVALUATE} /dev/null", named=("/dev/null", "not a folder"), make=_files),
    "finetune_over_its_table": Case(
        f"finetune --pretrained MLM --data.train data/predictions.tsv --trainer.output_dir data {_TUNE} "
        "--overwrite true",
        named=("data.train", "data/predictions.tsv"),
        make=_evaluated,
    ),
    "finetune_over_its_model": Case(
        f"finetune --pretrained MLM --data.train t.csv --trainer.output_dir MLM {_TUNE}",
        named=("pretrained", "mlm"),
        make=_files,
    ),
    "convert_into_a_file": Case("convert TUNED --output_dir old.tsv --to bert", named=("old.tsv",), make=_files),
    "prepare_over_something": Case("prepare in.fa --output_dir folder", named=("folder",), make=_evaluated),
    "quickstart_with_a_model_that_is_gone": Case(
        "quickstart --config QUICKSTART --pretrained gone --output_dir qs", named=("gone", "no such folder")
    ),
    "quickstart_into_a_model": Case(
        "quickstart --config QUICKSTART --data.genomes recipes --output_dir run",
        named=("run", "config.json"),
        make=lambda work: (
            _evaluated(work),
            (work / "recipes").mkdir(),
            (work / "recipes/metadata.tsv").write_text(""),
        ),
    ),
}


def _linked_outputs(work: Path) -> None:
    """Write a genome, a model's folder, and outputs that are links or no files."""
    _files(work)
    saved_model(work, "copy")
    (work / "full.tsv").symlink_to("/dev/full")
    os.mkfifo(work / "pipe.tsv")
    (work / "run").mkdir()
    (work / "run" / "pytorch_model.bin").write_text("mine")


_SCORE = "score-variants --model MLM --fasta in.fa --region r:1-9 --output"
_TUNED = f"finetune --pretrained MLM --data.train t.csv {_TUNE} --trainer.use_cpu true --trainer.save_strategy no"
CASES |= {
    "scores_into_a_full_device_by_a_link": Case(
        f"{_SCORE} full.tsv", ("full.tsv", "not a file"), _linked_outputs, remedy=f"{_SCORE} new.tsv"
    ),
    "scores_into_a_pipe": Case(f"{_SCORE} pipe.tsv", ("pipe.tsv", "not a file"), _linked_outputs),
    "finetune_over_another_model": Case(
        f"{_TUNED} --trainer.output_dir copy",
        ("copy", "model.safetensors", "--overwrite true"),
        _linked_outputs,
        remedy=f"{_TUNED} --trainer.output_dir copy --overwrite true",
    ),
    "finetune_again_and_again_over_another_model": Case(
        f"{_TUNED} --trainer.output_dir run --resume auto", ("run", "pytorch_model.bin"), _linked_outputs
    ),
    "pretrain_over_another_model": Case(
        "pretrain --data.store STORE --tokenizer.k 3 --windows.length 60 --trainer.output_dir copy",
        ("copy", "model.safetensors"),
        _linked_outputs,
    ),
    "finetune_into_standard_output": Case(
        f"{_TUNED} --trainer.output_dir -", ("standard output", "folder"), _linked_outputs
    ),
    "finetune_into_a_link_to_itself": Case(
        f"{_TUNED} --trainer.output_dir loop", ("loop", "leads to itself"), _linked_outputs
    ),
    "finetune_below_a_file": Case(f"{_TUNED} --trainer.output_dir old.tsv/x", ("old.tsv", "file"), _linked_outputs),
    "a_table_that_is_a_link_to_itself": Case(
        f"{_TUNED.replace('t.csv', 'loop')} --trainer.output_dir out", ("loop",), _linked_outputs
    ),
}


def _for_tracks(work: Path) -> None:
    """Write sequences of one name, a part of a contig, a table, and a finished track."""
    (work / "two.fa").write_text(">c\nACGTTGCATTGA\n>c\nACGTTGCATTGA\n")
    (work / "part.fa").write_text(">chr1:100-112\nACGTTGCATTGA\n")
    (work / "in.fa").write_text(">r\nACGTTGCATTGA\n")
    (work / "x.a.bw").write_text("mine")
    (work / "p.tsv").write_text("mine")


_TRACK = "predict --model TUNED --input"
CASES |= {
    "two_tracks_of_one_name": Case(
        f"{_TRACK} two.fa --output y.bw",
        named=("two.fa", "two sequences", "'c'"),
        make=_for_tracks,
        remedy=f"{_TRACK} two.fa --output y.tsv",
    ),
    "a_bigwig_of_a_part": Case(
        f"{_TRACK} part.fa --output y.bw",
        named=("part.fa", "chr1:100-112", ".bedgraph"),
        make=_for_tracks,
        remedy=f"{_TRACK} part.fa --output y.bedgraph",
    ),
    "a_track_that_exists": Case(
        f"{_TRACK} in.fa --output x.bw",
        named=("x.a.bw", "exists"),
        make=_for_tracks,
        remedy=f"{_TRACK} in.fa --output x.bw --overwrite true",
    ),
    "no_output": Case(f"{_TRACK} in.fa", named=("output", "predictions.tsv"), make=_for_tracks),
    "auto_over_another_file": Case(
        f"{_TRACK} in.fa --output p.tsv --resume auto",
        named=("p.tsv", "which run", "--overwrite"),
        make=_for_tracks,
        remedy=f"{_TRACK} in.fa --output p.tsv --resume auto --overwrite true",
    ),
    "resume_maybe": Case(f"{_TRACK} in.fa --output y.tsv --resume maybe", named=("resume",), make=_for_tracks),
    "windows_is_a_number": Case(f"{_TRACK} in.fa --output y.tsv --windows 3", named=("windows",), make=_for_tracks),
}
