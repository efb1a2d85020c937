"""Choose which weights fine-tuning trains, how fast those of each layer learn, and when training stops."""

from __future__ import annotations

import datetime
import importlib.util
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import EarlyStoppingCallback, PreTrainedModel, TrainingArguments
from transformers.trainer_utils import SaveStrategy

from ..configuration_kmer_bert import KmerBertConfig
from ..errors import InputError
from ..labelled.sequences import LabelledSequences
from ..loading.adapters import without_future_warnings
from ..privacy.budget import Budget, plan_budget
from ..privacy.steps import NoisyStep
from ..runs.exact_trainer import ExactTrainer
from ..runs.sharding import is_sharded
from ..training.progress import seconds_left
from .head import Head

#: The linear layers of the encoder, which LoRA changes (a regular expression over names of modules).
_ENCODER_LINEAR = r"(.*\.)?bert\.encoder\.layer\.\d+\.(.*\.)?(query|key|value|dense)"
_LAYER = re.compile(r"(?:^|\.)bert\.encoder\.layer\.(\d+)\.")
#: Numbers of a line of the log, the most important ones first.
_OF_TRAINING = ("loss", "grad_norm", "learning_rate")
_OF_EVALUATION = ("eval_macro_recall", "eval_auroc", "eval_f1", "eval_spearman", "eval_r2")
_EMBEDDINGS = re.compile(r"(?:^|\.)bert\.embeddings\.")


class FinetuningTrainer(ExactTrainer):
    """ExactTrainer for a model of which only some weights are trained, or whose lower layers learn more slowly.

    Args:
        frozen: modules that are not trained; they run without dropout.
        layer_decay: factor of the learning rate from one layer to the next lower one; see `split_by_depth`.
        patience: number of evaluations without improvement after which training stops; None for no early stop.
        options: arguments of ExactTrainer.
    """

    def __init__(
        self, *, frozen: list[nn.Module], layer_decay: float = 1.0, patience: int | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self._frozen, self._layer_decay = frozen, layer_decay
        self._begun: tuple[float, int] | None = None  # time and step of the first batch
        self._early_stop = None if patience is None else EarlyStoppingCallback(patience)
        if self._early_stop is not None:
            self.add_callback(self._early_stop)

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Train on a batch, and remember when the first one began."""
        self._begun = self._begun or (time.perf_counter(), self.state.global_step)
        return super().training_step(*args, **kwargs)

    def in_words(self, logs: dict[str, float]) -> str:
        """Describe three numbers of training or of an evaluation, and the time left."""
        found = {name: value for name, value in logs.items() if isinstance(value, int | float)}
        best = f"eval_{(self.args.metric_for_best_model or 'loss').removeprefix('eval_')}"
        wanted = [name for name in (*_OF_TRAINING, "eval_loss", best, *_OF_EVALUATION) if name in found]
        if self._begun is None or "train_loss" in found or not wanted:
            return super().in_words(logs)
        numbers = ", ".join(f"{name} {found[name]:.4g}" for name in [*dict.fromkeys(wanted)][:3])
        (begun, first), step, last = self._begun, self.state.global_step, self.state.max_steps
        left = seconds_left(time.perf_counter() - begun, step - first, last - step)
        return f" of {last}: {numbers}, {datetime.timedelta(seconds=round(left))} left"

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Create the optimizer, with a learning rate for each layer."""
        created = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if created and self._layer_decay != 1:
            names = {id(weight): name for name, weight in (model or self.model).named_parameters()}
            split_by_depth(optimizer, names, self._layer_decay, self.model.config.num_hidden_layers)
        return optimizer

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Compute the loss of a batch, with frozen modules in evaluation mode."""
        for module in self._frozen:  # here, because the Trainer puts the whole model into training mode at each step
            module.eval()
        return super().compute_loss(model, inputs, *args, **kwargs)

    def save_weights(self, model: Any, folder: Path, weights: dict[str, Any] | None) -> None:
        """Write a model; of an adapter, its weights and settings, and the configuration of its whole model."""
        if not hasattr(model, "peft_config"):
            super().save_weights(model, folder, weights)
            return
        # "auto" would look for the base model's vocabulary on the Hub.
        model.save_pretrained(folder, state_dict=weights, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # peft's card; `finish` writes ours
        network = model.get_base_model()
        network.config.architectures = [type(network).__name__]
        network.config.save_pretrained(folder)

    def restore_states(self) -> None:
        """Restore the states of a resumed run, and how often its validation score did not improve."""
        super().restore_states()
        saved = self.state.stateful_callbacks.get("EarlyStoppingCallback")
        if self._early_stop is not None and isinstance(saved, dict):
            self._early_stop.early_stopping_patience_counter = saved["attributes"]["early_stopping_patience_counter"]

    @property
    def is_over(self) -> bool:
        """Whether a resumed run had already been stopped early."""
        stop = self._early_stop
        return stop is not None and stop.early_stopping_patience_counter >= stop.early_stopping_patience


class NoisyFinetuningTrainer(FinetuningTrainer, NoisyStep):
    """FinetuningTrainer with steps of DP-SGD: by the order of its bases, ExactTrainer's step calls that of NoisyStep.

    Args:
        options: arguments of FinetuningTrainer, and ``budget``.
    """


def plan_privacy(
    head: Head, training: LabelledSequences, trainer: TrainingArguments, resume: bool | str
) -> Budget | None:
    """Check whether a run can be differentially private, and choose its noise.

    Args:
        head: options of the head.
        training: training sequences.
        trainer: options of the Trainer; ``save_strategy`` is set to "no", because a checkpoint would hold the noise.
        resume: whether the run is to be resumed.

    Returns:
        None without ``head.dp_epsilon``.

    Raises:
        InputError: naming the key that rules it out, and the reason.
    """
    if head.dp_epsilon is None:
        return None
    if importlib.util.find_spec("opacus") is None:
        raise InputError("head.dp_epsilon needs the package opacus; pip install 'hf_genomics[privacy]'")
    against = _against_privacy(head, training, trainer, resume)
    if reason := next((f"{key}: {why}" for key, (is_set, why) in against.items() if is_set), None):
        raise InputError(f"{reason}; omit it or head.dp_epsilon")
    trainer.save_strategy = SaveStrategy.NO
    batch, steps = trainer.per_device_train_batch_size, max(trainer.max_steps, 0) or None
    return plan_budget(
        head.dp_epsilon, head.dp_delta, head.dp_clip, len(training), batch, steps, trainer.num_train_epochs
    )


def _against_privacy(
    head: Head, training: LabelledSequences, trainer: TrainingArguments, resume: bool | str
) -> dict[str, tuple[Any, str]]:
    """Return for each key that may rule out differential privacy whether it does, and why."""
    many = "the accountant and the noise are those of one process and one device"
    exact = "config.json would hold statistics of the training rows without noise"
    whole = "the noise needs the gradients of single rows, which this hides"
    unsaved = "there are no checkpoints, which would hold the seed of the noise"
    values = training.problem == "regression"
    tracks = training.tracks is not None or training.nt_tracks is not None
    return {
        "head.num_parts": (head.num_parts > 1, "parts of sequences are not rows"),
        "head.part_length": (head.part_length, "parts of sequences are not rows"),
        "head.oversample": (head.oversample, "a row that is repeated would weigh more than the noise hides"),
        "head.balanced": (head.balanced, f"{exact} (set head.class_weights instead)"),
        "data.columns.label": (values, f"of values, {exact}: their mean and scale"),
        "data.columns.tracks": (tracks, f"{exact}: mean and scale of the tracks"),
        "resume": (resume, unsaved),
        "head.early_stopping": (head.early_stopping, f"the best model cannot be kept: {unsaved}"),
        "trainer.load_best_model_at_end": (trainer.load_best_model_at_end, unsaved),
        "trainer.gradient_accumulation_steps": (
            trainer.gradient_accumulation_steps > 1,
            "rows are drawn for a whole step, which is computed in parts anyway; raise "
            "trainer.per_device_train_batch_size",
        ),
        "trainer.fp16": (trainer.fp16, "its loss scaling bypasses the clipping of rows"),
        "trainer.gradient_checkpointing": (trainer.gradient_checkpointing, whole),
        "trainer.torch_compile": (trainer.torch_compile, whole),
        "trainer.fsdp": (trainer.fsdp, many),
        "trainer": (trainer.world_size > 1 or trainer.n_gpu > 1, f"{many}; start one process with one device"),
    }


def check_trained(head: Head, config: KmerBertConfig, trainer: TrainingArguments) -> None:
    """Check the options about what is trained against the model, the Trainer and the installed packages.

    Args:
        head: options of the head.
        config: configuration of the model.
        trainer: options of the Trainer.

    Raises:
        InputError: naming the key and the remedy.
    """
    layers = head.trained_layers
    if layers is not None and layers > config.num_hidden_layers:
        raise InputError(
            f"head.train last:{layers} names more layers than the {config.num_hidden_layers} of the model; set it to "
            f"last:{config.num_hidden_layers} or less, or to all"
        )
    if head.early_stopping is not None and not trainer.load_best_model_at_end:
        raise InputError(
            f"head.early_stopping {head.early_stopping} keeps the best model; set trainer.load_best_model_at_end true, "
            "and trainer.eval_strategy and trainer.save_strategy to epoch"
        )
    if head.train != "lora":
        return
    for key in ("from_scratch", "stretch_positions"):
        if getattr(head, key):
            raise InputError(
                f"head.train lora keeps the weights of the pretrained model, which head.{key} changes; omit one of them"
            )
    if getattr(config, "track_names", None) and getattr(config, "nt_track_names", None):
        # peft names the modules to save by the ends of their names, so "tracks" would also be a part of "fusion".
        raise InputError(
            "head.train lora cannot save a head for tracks both per sequence and per nucleotide; set head.train to "
            "last:N or all"
        )
    if is_sharded(trainer):
        raise InputError(
            "head.train lora: a sharded adapter cannot be saved; omit trainer.fsdp, or launch with "
            "recipes/accelerate/ddp.yaml"
        )
    if importlib.util.find_spec("peft") is None:
        raise InputError("head.train lora needs the package peft; pip install 'hf_genomics[lora]'")


def choose_trained(network: PreTrainedModel, head: Head, pretrained: str, seed: int) -> tuple[Any, list[nn.Module]]:
    """Prepare a model so that only the weights that a head's options name are trained.

    Args:
        network: model with a head; its weights are frozen or receive an adapter in place.
        head: options of the head.
        pretrained: folder or Hub name of the model that the encoder comes from.
        seed: seed of the adapter's first weights.

    Returns:
        The model, for LoRA inside a ``peft.PeftModel``, and the modules that are not trained and shall run without
        dropout.
    """
    if head.train == "lora":
        return _with_lora(network, head, pretrained, seed), []
    layers = head.trained_layers
    return network, [] if layers is None else freeze(network, layers)


def freeze(network: PreTrainedModel, layers: int) -> list[nn.Module]:
    """Freeze the embeddings and all but the last layers of an encoder; return the frozen modules.

    Autograd records nothing below the first trained layer, so a step costs less memory and time.

    Args:
        network: model with a head; the head, its pooler included, is not frozen.
        layers: number of encoder layers that are trained; 0 for the head only.
    """
    encoder = network.base_model
    stack = list(encoder.encoder.layer)
    frozen = [encoder.embeddings, *stack[: len(stack) - layers]]
    for module in frozen:
        module.requires_grad_(False)
    return frozen


def _with_lora(network: PreTrainedModel, head: Head, pretrained: str, seed: int) -> Any:
    """Add low-rank adapters to the linear layers of the encoder; the head is trained as a whole."""
    from peft import LoraConfig, get_peft_model

    heads = [name for name, part in network.named_children() if name != "bert" and list(part.parameters())]
    if getattr(network.base_model, "pooler", None) is not None:
        heads.append("pooler")
    config = LoraConfig(
        task_type="TOKEN_CLS" if network.config.labels_per == "nt" else "SEQ_CLS",
        r=head.lora_rank,
        lora_alpha=2 * head.lora_rank,
        target_modules=_ENCODER_LINEAR,
        modules_to_save=heads,
    )
    with torch.random.fork_rng(devices=[]), without_future_warnings():
        torch.manual_seed(seed)
        adapted = get_peft_model(network, config)
    adapted.peft_config["default"].base_model_name_or_path = pretrained
    return adapted


def depth_of(name: str, num_layers: int) -> int:
    """Return how many layers a weight lies below the head: 0 in the head, 1 in the last layer of the encoder ...

    >>> [depth_of(f"bert.{name}.weight", 12) for name in ("encoder.layer.11.output.dense", "embeddings.LayerNorm")]
    [1, 13]

    Args:
        name: name of the weight in the model, or in an adapted model.
        num_layers: number of layers of the encoder.
    """
    if layer := _LAYER.search(name):
        return num_layers - int(layer[1])
    return num_layers + 1 if _EMBEDDINGS.search(name) else 0


def split_by_depth(optimizer: torch.optim.Optimizer, names: dict[int, str], decay: float, num_layers: int) -> None:
    """Split the groups of an optimizer by depth, each with the learning rate times ``decay`` to the power of its depth.

    Args:
        optimizer: a new optimizer, which has not taken a step.
        names: id of each weight -> its name.
        decay: factor from one layer to the next lower one.
        num_layers: number of layers of the encoder.

    Source: ELECTRA (Clark et al. 2020), layer-wise learning-rate decay; ULMFiT (Howard & Ruder 2018).
    """
    groups: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        by_depth: dict[int, list[Tensor]] = defaultdict(list)
        for weight in group["params"]:
            by_depth[depth_of(names[id(weight)], num_layers)].append(weight)
        # The head comes first: the Trainer logs the learning rate of the first group.
        groups += [
            {**group, "params": weights, "lr": group["lr"] * decay**depth}
            for depth, weights in sorted(by_depth.items())
        ]
    optimizer.param_groups[:] = groups
