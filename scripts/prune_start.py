"""Cut the draft's first weights from the trained target, with the layers that its base model has."""

from doubledraft.models import prune
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    prune.prune_like(snakemake.input.pruned, snakemake.input.model, snakemake.output.start)
