"""LoRA training of target and draft, and the set that joins them.

distill      the trained target's own answers
rows         texts to tokens and labels
finetune     a training run, resumable
checkpoints  which checkpoints are complete, and of which run
loss_figure  the drawing of a loss
"""
