"""Teachers: each writes traces (doubledraft.records.Trace) for the training questions.

settings       the config section `teacher`
ask            who is asked what again
oracle         the questions' own solutions
gemini         Gemini's Batch API: its jobs
gemini_client  one call to Gemini, retried
gemini_format  rows of its batch files
openai_client  any OpenAI-compatible server
messages       a request and a reply, whoever answers
ledger         every reply, before anything is made of it
budget         what may still be spent
prompt         the teacher's prompt files
retry_after    how long a server asks to wait
"""
