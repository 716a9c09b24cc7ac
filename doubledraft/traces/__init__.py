"""Chains of thought and their condensed forms: written, verified, condensed, priced, audited.

write            a teacher's chains of thought, and drafts of them
verify           keeps the traces whose answer is right
condense         a chain of thought shortened by rule
draft_rule       3-5 steps of at most 5 words, and whether a text keeps it
arithmetic       the value of plain arithmetic in text
estimate         what a paid teacher would charge
audit            describes one trace set
analyze          compares all trace sets
figures          drawings of audit and analysis
near_duplicates  texts that nearly repeat each other
teacher/         oracle, Gemini, OpenAI-compatible servers
"""
