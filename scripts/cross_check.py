"""Compare three engines on the trained pair of a cell, in float32."""

from doubledraft.evaluation import cross_check
from doubledraft.inference.job import Job
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    cross_check.run(
        Job(
            mode="cross_check",
            model=snakemake.input.model,
            draft=snakemake.input.draft,
            method="draft_model",
            draft_length=snakemake.params.draft_length,
            questions=snakemake.input.questions,
            prompt=snakemake.input.prompt,
            limit=snakemake.params.limit,
            concurrency=1,
            max_tokens=snakemake.params.max_tokens,
            **snakemake.params.shared,
        ),
        settings=snakemake.params.settings,
        out=snakemake.output.check,
    )
