"""Where questions come from.

fetch          a scenario's training and test questions
sources        GSM8K, MATH, a user's own file
files          rows of JSON lines, parquet and the hub
golds          gold answers that nothing can be graded against
overlap        training questions that repeat a test question
ngrams         which of many texts is most like another
data_sets      questions for the command line
wordproblems/  the generator of the default study
"""
