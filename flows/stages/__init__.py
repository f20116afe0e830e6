"""The steps of the pipeline as plain functions: collect, label, pretrain, finetune, evaluate."""
