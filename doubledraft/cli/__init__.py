"""The `doubledraft` command: one module a subcommand.

main        parses the command line; errors of the user are one line
options     options that several commands share
text_table  numbers as columns of text
generate    one answer, as it comes
evaluate    a data set graded, with and without a draft
advise      whether a draft is worth serving, before anything is served
demo        a prompt answered with and without a draft, in the browser
demo_page   the page of it
view        decoding records as a page, token by token
benchmark   drafts and draft lengths over data sets
profile     where the time of a decoding step goes
check       config files, before Snakemake reads them
card        the card of an adapter
push        adapter and card to the hub
status      where a study is
"""
