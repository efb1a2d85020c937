"""The verbs `pretrain` and `train-bpe`, and what `finetune` shares with them."""
