"""What runs are worth: accuracy, acceptance, speed.

score         the metrics of a cell of the study
grade         the metrics of a run, from its graded answers
runs          a run's answers and run file, and which runs may be compared
speculation   what a draft did, speedup, bandwidth and bound of runs
acceptance    acceptance, the cost model and the best K, from counts
cost          what a correct answer cost
decodings     token by token: rows and audit as decoding records
significance  tests of paired differences, corrected for several tests and for clusters
samples       rows for people: samples.csv, comparison.txt
interleave    arms in turns, block by block: the plan, and what the times tell
time_arms     a cell's engines through that plan: rows, run files, timing.json
arms          ways of answering by our own engine, in turn at each question
evaluate      a pair on a data set, outside a study
experiments   a benchmark file: experiments, drafts, lengths, data sets
experiment_results  what each arm of a benchmark was worth
step_profile  where the time of a decoding step goes
cross_check   three engines on one pair
"""
