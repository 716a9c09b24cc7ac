"""Check that the draft may propose tokens to the target."""

from doubledraft import models
from doubledraft.runtime import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    models.write_pair_check(snakemake.input.target, snakemake.input.draft, snakemake.output.pair)
