"""Model folders: fetched, checked, pruned, merged.

fetch          from a wheel, the hub or a folder
wheel          a model that travels in a Python package
folder         what is in a model folder, and its manifest
safety         refuses what could run code
chat_template  tries a template out, in a process with limits
prune          cuts a draft from a larger model
check_pair     whether target and draft fit
merge          an adapter merged into its base model
"""
