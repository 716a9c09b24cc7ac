"""What Snakemake needs of the library; nothing here decides a result, and no rule's fingerprint reaches it.

config             checks of a config beyond its schema
scenarios          checks of the sections `scenarios` and `types`
drafts             checks of models, and of how a draft is made of them
benchmark          checks of the section `benchmark`
domains            checks of the section `domains`
folder             checks of a study's folder: whose it is, dates of its files
settings           which part of a config a result depends on
fingerprint        a hash of the code that a rule depends on
kept_fingerprints  those that were computed before, on disk
jobs               the lock and the log of a job
locks              which run or job is working in a folder
times              how long steps took, and how long a run will take
failures           why a result is missing
gpus               which GPUs a job gets
"""
