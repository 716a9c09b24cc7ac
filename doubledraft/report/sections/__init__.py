"""Sections of the report below its answer: what each shows of the rows, as tables and sentences.

overview   the first screen's table, comparisons of cells, the cross check, links
speed      speedups, predictions and steadiness; throughput and latency
drafts     acceptance, the draft audit, what drafts learn from
lossless   answers that the draft changed, and why
answers    accuracy, length and form of the answers, and what they cost
published  the published study beside ours
"""
