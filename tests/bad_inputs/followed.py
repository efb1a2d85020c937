"""Command lines whose messages are followed by test_advice.py, and which it runs only for that.

Each is refused for one option; the message says how to go on, and the command lines that follow it must get past it.
Names in capitals are places, as in test_messages.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from small_files import dna, fasta

_FT = "finetune --pretrained MLM --data.train TABLE --trainer.output_dir out"
_FV = f"{_FT} --data.valid TABLE"
_VALUES = "finetune --pretrained MLM --data.train values.csv --trainer.output_dir out"
_STORE = "finetune --pretrained MLM --data.store STORE --trainer.output_dir out"
_PT = (
    "pretrain --data.store STORE --trainer.output_dir out --tokenizer.k 3 --windows.length 60 --model.hidden_size 32 "
    "--model.num_hidden_layers 1 --model.num_attention_heads 2 --trainer.per_device_train_batch_size 1"
)
_EVALUATE = "evaluate --model TUNED --data.test TABLE --output_dir out"
_PREDICT = "predict --model TUNED --input OK --output p.tsv"
_MOTIFS = "motifs --model TUNED --input p.fa --target b --output_dir out --steps 1 --attention false"
_PROBE = "probe --model MLM --data.train TABLE --data.test TABLE --output_dir out"
_SWEEP = (
    f"{_FV} --trainer.max_steps 1 --trainer.use_cpu true --trainer.eval_strategy epoch --trainer.save_strategy epoch "
    "--trainer.load_best_model_at_end true"
)
_TABLE = "table --genome g.fa --bed f.bed --output t.csv"


def make(folder: Path) -> None:
    """Write what the commands read besides the places."""
    fasta(folder / "p.fa", **{f"p{row}": dna(30, row) for row in range(20)})
    fasta(folder / "g.fa", chr1=dna(300))
    (folder / "f.bed").write_text("chr1\t20\t60\n")
    values = "".join(f"{dna(20, row)},{row / 7:.3f}\n" for row in range(12))
    (folder / "values.csv").write_text(f"sequence,label\n{values}")
    (folder / "genes.bed").write_text("r0\t0\t20\tgene\n")
    (folder / "meta.tsv").write_text("accession\tsplit\n" + "".join(f"r{row}\ttrain\n" for row in range(6)))


#: What is trained, and how long: options of transformers' Trainer.
_OF_THE_TRAINER = """
max_steps 0|max_steps=-5|num_train_epochs 0|save_steps 0|eval_do_concat_batches false|save_only_model true
ignore_data_skip true|auto_find_batch_size true|batch_eval_metrics true|label_smoothing_factor 0.1
use_liger_kernel true|label_names [x]|debug underflow_overflow|dataloader_persistent_workers true|hub_token x
hub_revision x|hub_private_repo true|hub_strategy end|fp16 true|fp16_full_eval true|adam_beta2 1|data_seed=-1
weight_decay 5000|max_grad_norm=-1|train_sampling_strategy group_by_length|log_level loud
dataloader_multiprocessing_context fork|optim_args foo=1|optim_target_modules all-linear|torch_compile_mode fast
include_for_metrics x|report_to nothing_known|eval_strategy steps|metric_for_best_model f9|per_device_eval_batch_size 0
save_total_limit 0|dataloader_num_workers=-1|eval_delay=-1|warmup_steps=-1
"""
_OF_THE_HEAD = """
rc_probability 2|dropout 1|focal_gamma=-1|train some|lora_rank 0|layer_decay 0|layer_decay 2|early_stopping 0
early_stopping 3|stretch_positions 5|num_parts 2 --head.part_length 10|balanced true --head.class_weights [1,2]
train last:5|threshold youden2|train lora --head.from_scratch true|train lora --head.stretch_positions 99|num_parts 0
pooling sum
"""
_OF_WINDOWS = """
mode sliding|step 99|length_exponent=-1|coverage 20000|max_unknown 2|rc_probability 5|length 0
"""
_OF_MASKING = """
span 0|start_rate 1|start_rate 0|hidden_fraction 1|replacement word|pack_to 5|pad_to_multiple_of 0|span_geometric 1
span 3 --masking.span_geometric 0.2|hidden_fraction 0.1 --masking.start_rate 0.1
"""
_OF_DATA = """
windows.length 20|split 0.8 0.1 0.1 --data.min_identity 2|columns.label lable|split 0.8 0.1 0.1 --data.valid TABLE
"""


def _options(command: str, section: str, text: str) -> list[str]:
    """Return a command line for each option of a text, separated by bars and line ends."""
    return [f"{command} --{section}.{option}" for line in text.split("\n") for option in line.split("|") if option]


_COMMANDS = [
    *_options(_FT, "trainer", _OF_THE_TRAINER),
    *_options(_FT, "head", _OF_THE_HEAD),
    *_options(_FT, "data", _OF_DATA),
    *_options(_PT, "windows", _OF_WINDOWS),
    *_options(_PT, "masking", _OF_MASKING),
    *(
        f"{_VALUES} --head.{option}"
        for option in ("balanced true", "threshold f1", "calibrate true", "oversample true")
    ),
    *(f"{_FT} --head.{option}" for option in ("calibrate true", "threshold f1", "early_stopping 2")),
    f"{_VALUES} --positive a",
    f"{_FT} --positive c",
    f"{_FT} --baselines k-mer",
    f"{_FV} --trainer.eval_strategy epoch --trainer.metric_for_best_model f9",
    f"{_FV} --trainer.metric_for_best_model f1 --trainer.prediction_loss_only true --trainer.eval_strategy epoch",
    *(f"{_STORE} --data.{option}" for option in ("columns.group g", "columns.pair x")),
    *(
        f"{_STORE} --data.windows.{option}"
        for option in (
            "length 0",
            "label_fraction 2",
            "label_genomes 2 --data.windows.label_fraction 0.5",
            "label_groups x",
        )
    ),
    f"{_PT} --masking.pack_to 5",
    f"{_PT} --trainer.packing false --masking.pack_to 500",
    f"{_PT} --trainer.peak_tflops 0",
    f"{_PT} --model.vocab_size 70",
    f"{_PT} --data.valid_windows 0",
    f"{_PT} --pretrained MLM --tokenizer.stride 2",
    f"{_EVALUATE} --positive c",
    f"{_EVALUATE} --split training",
    f"{_EVALUATE} --data.columns.pair label",
    f"{_PREDICT} --batch_size=-1",
    f"{_PREDICT} --frames 0",
    f"{_EVALUATE} --frames=-1",
    f"{_MOTIFS} --steps 5000",
    f"{_MOTIFS} --steps 0",
    f"{_MOTIFS} --alpha 1",
    f"{_MOTIFS} --seed=-1",
    "explain --model TUNED --input OK --output_dir out --figures 0 --steps 2 --resume true --overwrite true",
    "explain --model TUNED --input TABLE --output_dir out --figures 0 --steps 2 --bed genes.bed",
    f"{_TABLE} --features.length 10 --features.around start --features.before 20",
    f"{_TABLE} --features.length 0",
    f"{_TABLE} --features.block 0",
    f"{_TABLE} --features.label_by name",
    f"{_TABLE} --per_feature 0",
    f"{_TABLE} --per_feature 100000",
    f"{_TABLE} --seed=-1",
    f"{_TABLE} --gff f.bed",
    f"{_TABLE} --features.types gene",
    f"{_PROBE} --batch_size 0",
    f"{_PROBE} --seed=-1",
    f"{_PROBE} --pooling tokens",
    f"{_PROBE} --baseline_k 9",
    f"{_SWEEP} --sweep.head.train head all --dp_epsilon 3",
    "check OK --splits.min_identity 2 --k 3",
    "prepare --fasta OK --records.genome_by genome --output_dir out",
    "prepare --fasta OK --records.names short --output_dir out",
    "prepare --fasta OK --metadata meta.tsv --split 0.8 0.1 0.1 --output_dir out",
    "prepare OK --fasta OK --output_dir out",
    "train-bpe --store STORE --output_dir out --vocab_size 5",
    "train-bpe --store STORE --output_dir out --vocab_size 20 --window 1",
    "convert MLM --output_dir out",
    "convert TUNED --output_dir out",
]
#: Name -> command line and what it reads.
FOLLOWED: dict[str, tuple[str, Callable[[Path], object]]] = {command: (command, make) for command in _COMMANDS}
