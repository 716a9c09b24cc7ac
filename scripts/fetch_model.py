"""Fetch one base model."""

from doubledraft.models import fetch
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    fetch.fetch(snakemake.params.spec, snakemake.output.model, dtype=snakemake.params.dtype)
