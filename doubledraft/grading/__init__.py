"""The final answer in a text, and whether it equals gold; programs, and whether they pass their tests.

extract      the answer in a text, strict or lenient
endings      the ways to end an answer, which the lenient reading knows
grader       the verdict: equal, different, undecided
equivalence  decides without algebra
notation     one spelling for each way of writing LaTeX
amounts      numbers with their units and percentages
words        units, and words that change a number
parts        lists, intervals, tuples, equations
algebra      decides with sympy
worker       the process that algebra runs in, and that can be killed
code         programs, judged by running their tests
program      the isolated process that one program runs in
"""
