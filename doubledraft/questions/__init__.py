"""Where questions come from.

fetch          a scenario's training and test questions
sources        GSM8K, MATH, a file of your own
files          reads what data sets come in
overlap        training questions that repeat a test question
data_sets      questions for the command line
wordproblems/  the generator of the default study
"""
