"""Cut a draft from a larger model by keeping some of its layers."""

from doubledraft import models
from doubledraft.runtime import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    models.prune(snakemake.input.model, snakemake.params.layers, snakemake.output.model)
