"""Teachers: each writes traces (records.Trace) for the training questions.

settings       the config section `teacher`
ask            asks until every question has a usable reply or its attempts are used up
oracle         the questions' own solutions
gemini         Gemini's Batch API: its jobs
gemini_client  one call to Gemini, retried
gemini_format  rows of its batch files
openai_client  any OpenAI-compatible server
messages       requests and replies of any service
ledger         every reply, recorded before it is used
budget         estimates, and money that is set aside
prompt         the teacher's prompt files
retry_after    how long a server asks to wait
"""
