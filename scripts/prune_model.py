"""Cut a draft from a larger model by keeping some of its layers."""

from doubledraft.models import prune
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    prune.prune(
        snakemake.input.model, snakemake.params.layers, snakemake.output.model, questions=snakemake.input.questions
    )
