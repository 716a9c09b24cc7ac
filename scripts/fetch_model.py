"""Fetch one base model."""

from doubledraft import models
from doubledraft.runtime import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    models.fetch(snakemake.params.spec, snakemake.output.model, dtype=snakemake.params.dtype)
