"""Options about what is trained, when training stops, and how classes are decided."""

from __future__ import annotations

from pathlib import Path

from .case import Case

_FINETUNE = "finetune --pretrained MLM --trainer.output_dir out --trainer.max_steps 1 --trainer.use_cpu true"


def _head(option: str, value: str, *named: str, data: str = "--data.train TABLE --data.valid TABLE") -> Case:
    """Build the case of an option of the head that finetune refuses."""
    return Case(f"{_FINETUNE} {data} --head.{option} {value}", (f"head.{option}", *named))


def _values(folder: Path) -> None:
    """Write a table of sequences and values."""
    rows = ("ACGTACGTAC,0.31", "TTGACCATGA,0.72", "GGGTACGTAC,1.44")
    (folder / "t.csv").write_text("\n".join(("sequence,label", *rows, "")))


_VALIDATED = f"{_FINETUNE} --data.train TABLE --data.valid TABLE --trainer.eval_strategy steps --trainer.eval_steps 1"
_VALIDATED += " --trainer.save_steps 1 --trainer.load_best_model_at_end true"


def _sweep(words: str, *named: str) -> Case:
    """Build the case of a sweep that finetune refuses before it starts a run."""
    return Case(f"{_VALIDATED} --sweep.{words}", named)


def _seeds(words: str, *named: str, test: str = " --data.test TABLE") -> Case:
    """Build the case of seeds that finetune refuses before it starts a run."""
    return Case(f"{_FINETUNE} --data.train TABLE{test} --seeds {words}", named)


CASES = {
    "a_single_seed": _seeds("3", "seeds", "3", "two or more", "trainer.seed"),
    "a_seed_given_twice": _seeds("3 4 3", "seeds", "3", "twice"),
    "a_negative_seed": _seeds("[3,-1]", "seeds", "-1"),
    "seeds_that_are_words": _seeds("one two", "seeds", "one"),
    "seeds_without_a_test": _seeds("1 2", "seeds", "data.test", test=""),
    "seeds_and_a_sweep": Case(
        f"{_VALIDATED} --data.test TABLE --seeds 1 2 --sweep.head.train head all", ("seeds", "sweep")
    ),
    "seeds_to_resume_and_to_overwrite": _seeds("1 2 --resume true --overwrite true", "--resume", "--overwrite"),
    "seeds_with_privacy": _seeds("1 2 --dp_epsilon 3", "seeds", "head.dp_epsilon"),
    "a_sweep_over_data": _sweep("data.train a.csv b.csv", "data.train", "trainer or head"),
    "a_sweep_over_a_key_with_a_slip": _sweep("trainer.lerning_rate 1e-4 1e-3", "lerning_rate", "trainer.learning_rate"),
    "a_sweep_to_resume_and_to_overwrite": _sweep(
        "trainer.learning_rate 1e-4 1e-3 --resume true --overwrite true", "--resume", "--overwrite"
    ),
    "a_sweep_over_nothing": _sweep("trainer.learning_rate []", "sweep.trainer.learning_rate", "empty"),
    "a_sweep_that_repeats_a_value": _sweep("trainer.learning_rate 1e-4 1e-4", "0.0001", "twice"),
    "a_sweep_over_a_word_for_a_number": _sweep("trainer.learning_rate 1e-4 small", "trainer.learning_rate", "'small'"),
    "a_sweep_over_a_negative_rate": _sweep("trainer.learning_rate [-1.0]", "sweep.trainer.learning_rate", "-1"),
    "a_sweep_over_a_rank_of_0": _sweep("head.lora_rank 0 8", "sweep.head.lora_rank", "0"),
    "a_sweep_over_a_schedule_that_does_not_exist": _sweep(
        "trainer.lr_scheduler_type linear lineer", "sweep.trainer.lr_scheduler_type", "'lineer'"
    ),
    "a_sweep_over_losses_of_other_meaning": _sweep(
        "head.balanced true false", "head.balanced", "metric_for_best_model"
    ),
    "a_sweep_without_validation": Case(
        f"{_FINETUNE} --data.train TABLE --sweep.trainer.learning_rate 1e-4 1e-3", ("sweep", "load_best_model_at_end")
    ),
    "a_sweep_with_fewer_than_no_processes": _sweep("head.train head all --sweep_jobs -1", "sweep_jobs", "-1"),
    "no_layer": _head("train", "last:0", "last:0", "last:2"),
    "more_layers_than_there_are": _head("train", "last:9", "last:9", "last:1"),
    "an_unknown_part": _head("train", "heads", "heads"),
    "lora_of_random_weights": _head("train", "lora --head.from_scratch true", "from_scratch"),
    "a_rank_of_0": _head("lora_rank", "0", "0"),
    "a_decay_above_1": _head("layer_decay", "1.5", "1.5"),
    "an_early_stop_without_the_best_model": _head("early_stopping", "2", "trainer.load_best_model_at_end"),
    "a_temperature_without_validation": _head("calibrate", "true", "data.valid", data="--data.train TABLE"),
    "a_threshold_by_an_unknown_score": _head("threshold", "f2", "f2"),
    "a_threshold_of_values": Case(
        f"{_FINETUNE} --data.train t.csv --data.valid t.csv --head.threshold f1", ("head.threshold",), _values
    ),
    "rare_values": Case(f"{_FINETUNE} --data.train t.csv --head.oversample true", ("head.oversample",), _values),
    "an_epsilon_of_0": _head("dp_epsilon", "0", "0"),
    "an_epsilon_that_is_a_word": _head("dp_epsilon", "small", "small"),
    "a_delta_without_epsilon": _head("dp_delta", "1e-5", "head.dp_epsilon"),
    "a_delta_that_protects_nobody": _head("dp_delta", "0.9 --dp_epsilon 3", "0.9"),
    "a_private_run_to_resume": _head("dp_epsilon", "3 --resume auto", "resume"),
    "private_values": Case(f"{_FINETUNE} --data.train t.csv --dp_epsilon 3", ("data.columns.label",), _values),
}

_BEST = f"{_FINETUNE} --data.train TABLE --data.valid TABLE --trainer.load_best_model_at_end true"
CASES["the_best_model_without_evaluations"] = Case(_BEST, ("trainer.eval_strategy", "trainer.save_strategy", "epoch"))
CASES["the_best_of_models_that_are_not_saved"] = Case(
    f"{_BEST} --trainer.eval_strategy steps --trainer.eval_steps 1 --trainer.save_steps 2",
    ("trainer.load_best_model_at_end", "trainer.save_steps (2)", "trainer.eval_steps (1)"),
)
_TUNE = f"{_FINETUNE} --data.train TABLE"
CASES |= {
    "a_repository_of_the_trainer": Case(
        f"{_TUNE} --trainer.hub_model_id a/b", ("--trainer.hub_model_id", "hf-genomics push")
    ),
    "when_the_trainer_uploads": Case(f"{_TUNE} --trainer.hub_strategy end", ("--trainer.hub_strategy", "push")),
    "shards_without_fsdp": Case(
        f"{_TUNE} --trainer.fsdp_config.min_num_params 5", ("trainer.fsdp_config", "trainer.fsdp;")
    ),
    "shards_that_are_not_json": Case(
        f"{_TUNE} --trainer.fsdp_config {{min_num_params:5}}", ("trainer.fsdp_config", "double quotes")
    ),
}
