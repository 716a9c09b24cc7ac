"""Answer a domain's training prompts with the untrained target."""

from doubledraft.routing import domain_drafts
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    domain_drafts.answer(
        model=snakemake.input.model,
        questions=snakemake.input.questions,
        out=snakemake.output.answers,
        progress=snakemake.params.progress,
        max_tokens=snakemake.params.max_tokens,
        concurrency=snakemake.params.concurrency,
        dtype=snakemake.params.dtype,
    )
