"""The verb `finetune`."""
