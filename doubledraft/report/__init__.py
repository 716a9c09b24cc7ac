"""The study's results for readers.

build     table, pages and figures
tables    the table, and a cell's metrics read for it
findings  what compares cells
figures   drawings of the report
card      the model card of a draft adapter
hub       uploads adapter and card
"""
