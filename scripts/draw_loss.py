"""Draw the loss of a training."""

from doubledraft.training.loss_figure import loss_figure
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    loss_figure(snakemake.input.loss, snakemake.output.figure)
