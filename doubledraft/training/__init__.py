"""Training of target and draft, and the distilled set: the target's answers that the draft learns from.

distill                 the trained target's own answers
rows                    texts to tokens and labels
finetune                the entry point of every training, resumable
run                     one training, from a loaded model to its adapter
draft_run               the training of a draft, with the target at hand
recipes                 one recipe of the leaderboard of drafts, trained for so many minutes
model_to_train          what of a model learns, and how it is written
difference              a model trained whole, as an adapter of its base
trainer                 TRL's trainer: learning rate, checkpoints, the loss of a step
knowledge_distillation  the trainer that learns from the target's distributions
losses                  losses of a draft against its target, pure functions of logits
label_logits            the forward pass of a step, without what the loss does not need
computing_dtype         bfloat16 or float32, whichever is faster here
held_out                which checkpoint of a draft is the best, by real decoding
checkpoints             which checkpoints are complete, and of which run
tracking                losses and metrics, sent to a tracker
loss_figure             the drawing of a loss
"""
