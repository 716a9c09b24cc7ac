"""The `doubledraft` command: one module a subcommand.

main        parses the command line and names errors in one line
options     options that several commands share
text_table  numbers as columns of text
generate    one answer, as it comes
evaluate    a data set graded, with and without a draft
benchmark   drafts and draft lengths over data sets
profile     where the time of a step goes
check       a config, before Snakemake reads it
card        the card of an adapter
push        adapter and card to the hub
"""
