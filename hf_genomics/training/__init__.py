"""The verbs `pretrain` and `finetune`, and what they share."""
