"""Answer every validation and test prompt with every draft in turns."""

from doubledraft.routing import collect
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    collect.collect(
        target=snakemake.input.target,
        drafts=snakemake.input.drafts,
        prompts=snakemake.input.prompts,
        learnt=snakemake.input.learnt,
        matrix=snakemake.output.matrix,
        hidden=snakemake.output.hidden,
        progress=snakemake.params.progress,
        max_tokens=snakemake.params.max_tokens,
        draft_length=snakemake.params.draft_length,
        turns=snakemake.params.turns,
        dtype=snakemake.params.dtype,
        seed=snakemake.params.seed,
    )
