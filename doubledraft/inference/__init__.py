"""Engines behind one protocol, answering a file of questions, timed.

job              the settings of a run
generate         answers a file of questions, and writes rows and run file
measure          what else is measured of a timed run: step costs, bandwidth, token classes
host             an engine kept alive in a child process
residency        several of them on one machine, of which one answers at a time
vllm_engine      vLLM as an engine
vllm_step_clock  step times inside vLLM
native_engine    doubledraft.engine as an engine
served_engine    vLLM's own server, and its client that sends requests at a stated rate
teacher_forcing  two models read the same answers: acceptance without decoding
hugging_face     a pair in transformers, to compare with
environment      environment variables that vLLM needs
energy           joules that the machine counts
bandwidth        read bandwidth of memory, bytes of a pass
tokenizing       text to ids and back
load_pair        a target and a draft in Python: text in, text out
resume           rows of a killed run, continued
"""
