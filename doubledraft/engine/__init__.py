"""Speculative decoding, token ids in and out; knows no statistics, no files of a study and no report.

decode            the loop: draft, verify, keep, go on
proposers         what drafts: nothing, n-grams of the text, a draft model
sampling          temperature, and the accept rule that keeps the target's distribution
draft_length      how many tokens to draft: fixed, or adapted to what was accepted
draft_vocabulary  the tokens that a draft may propose
adapters          one draft in memory, and a LoRA adapter for each kind of text
load              a model from a folder or the hub
backend           the forward pass in torch
cpu_backend       the forward pass compiled for CPUs
cpu_pass          the C++ of that pass, declared to ctypes
compiler          C++ sources compiled for this processor
cuda_graphs       the forward pass as CUDA graphs
weights           weights packed so that each is read once
kv_cache          keys and values in static buffers
clock             seconds of a step, also on a GPU
decoding_metrics  what a run did, token by token
lossless          where two answers first differ, and by how much
"""
