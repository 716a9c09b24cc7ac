"""What drafts are worth on the targets' own answers, without an engine.

draft_audit   a cell's draft on its target: draft_audit.json and .jsonl
replay        acceptance of answers that both models have read, and speculation replayed along them
matrix        every target with every draft of a study
"""
