"""The JSON files that the steps of a study leave, as types: read and written whole.

cell_metrics      metrics.json: what the runs of a cell were worth
run_file          *_run.json: how a file of answers was made
timing_file       timing.json: how long every block of questions took each arm
cross_check       cross_check.json: whether three engines agree on a pair
trace_audit       audit.json: what a set of traces is like
draft_audit       draft_audit.json: what a draft was worth on the target's own answers
advice            advice.json, load_grid.json, served_load.json: what drafting is worth at every load
training_summary  training.json: how an adapter was trained
decoding_record   decoding.jsonl: what a decoding did, token by token
provenance        what made a result, a part of all of them
domain_manifest   manifest.json of a domain: source, licence, counts of its prompts
router_file       router.json: what a router is, and which one is used
routing_score     score.json: what choosing a draft for every prompt is worth
adapter_score     adapters.json: adapters of one draft in the place of a draft for every domain
json_file         reads and writes any of them
schema            their JSON schemas, as docs/schemas/ has them
table             rows as CSV
"""
