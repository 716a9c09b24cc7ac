"""Engines behind one protocol, answering a file of questions, timed.

job              what a run is asked
generate         answers a job and writes its rows and its run file
vllm_engine      answers by vLLM
vllm_step_clock  what a step costs inside vLLM
native_engine    answers by doubledraft.engine
environment      environment variables that vLLM needs
bandwidth        bytes per second that a machine reads
tokenizing       text to ids and back
load_pair        a target and a draft for commands
resume           rows of a killed run, taken up again
"""
