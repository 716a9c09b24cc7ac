"""The study's results for readers.

build         table, pages and figures
hypotheses    the study's hypotheses, judged
comparisons   gain and drafts of a shorter type against chain of thought, cell by cell
paired_accuracy  accuracies compared question by question
tables        the table, and a cell's metrics read for it
page          parts of a page
sections/     what each section of the page shows
images        which values each figure shows
figures       drawings of the report
viewer        the page of decoding records, token by token
vllm_answers  answers of vLLM's server as decoding records
card          the model card of a draft adapter
hub           uploads adapter and card
experiments_page  the page of `doubledraft benchmark`
"""
