"""Where questions come from.

fetch          a scenario's training and test questions
sources        GSM8K, MATH, a user's own file
files          rows of JSON lines, parquet and the hub
golds          gold answers that nothing can be graded against
domains        prompts of a domain in splits that share no group
domain_sources where those come from: the standard library, the target, the generator, files, the hub
python_library functions of Python's standard library without their bodies
overlap        training questions that repeat a test question
ngrams         which of many texts is most like another
data_sets      questions for the command line
wordproblems/  the generator of the default study
"""
