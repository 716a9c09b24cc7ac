"""A draft per domain, and which of them drafts for a prompt: collected, learnt, scored without leaks, and used.

self_prompt    prompts that the target writes itself
domain_drafts  the target's answers to a domain's prompts, and the draft trained on them
collect        every draft answers every prompt, in turns: the matrix
matrix         that file as arrays
features       what a router sees of a prompt
router         routers that learn from the matrix: centroid, knn, mlp; saved and loaded
hedge          a router that learns while it answers
train          the routers of a study, of which cross-validation chooses one
policies       ways to choose a draft for every prompt, replayed from the matrix
score          every policy in tokens per second, with the controls
page           the page on it
compare_adapters  a LoRA adapter for every domain, in the place of a draft for every domain
adapters_page  the page on that
adaptive       a router in Python: choose and decode
"""
