"""What Snakemake needs of the library.

config       what a config must mean, beyond its schema
fingerprint  which code a rule depends on
jobs         a job's lock and log
locks        who is at work in a folder
failures     why a result is missing
gpus         which GPU a job gets
"""
