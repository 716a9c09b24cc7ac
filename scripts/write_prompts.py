"""Have the target write prompts of a domain itself."""

from doubledraft.routing import self_prompt
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    self_prompt.write(
        snakemake.input.model,
        snakemake.params.wanted,
        snakemake.output.prompts,
        seed=snakemake.params.seed,
        dtype=snakemake.params.dtype,
        concurrency=snakemake.params.concurrency,
    )
