"""Teachers: each writes traces (doubledraft.records.Trace) for the training questions."""
