"""Train the routers of the study on the validation prompts."""

from doubledraft.routing import train
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    train.train(
        matrix=snakemake.input.matrix,
        hidden=snakemake.input.hidden,
        prompts=snakemake.input.prompts,
        target=snakemake.input.target,
        routers=snakemake.params.routers,
        embedding=snakemake.params.embedding,
        seed=snakemake.params.seed,
        out=snakemake.output.routers,
    )
