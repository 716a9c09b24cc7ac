"""Generated word problems and algebra with exact answers, at three difficulties.

generate  questions from templates and a seed
parts     what templates share
easy      templates like GSM8K's
medium    templates like MATH algebra
hard      templates like MATH intermediate algebra
"""
