"""Time draft lengths at several numbers of requests in flight, in turns, beside the cost model."""

from doubledraft.evaluation.load import grid
from doubledraft.inference.job import Job
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    grid.run(
        Job(
            mode="speculative",
            model=snakemake.input.model,
            draft=snakemake.input.draft,
            method="draft_model",
            draft_length=1,  # each of the grid's lengths in its place
            **snakemake.params.drafting,
            draft_vocabulary_from=str(snakemake.input.vocabulary),
            questions=snakemake.input.questions,
            prompt=snakemake.input.prompt,
            concurrency=1,
            max_tokens=snakemake.params.max_tokens,
            engine=snakemake.params.engine,
            **snakemake.params.shared,
        ),
        **snakemake.params.grid,
        residency=snakemake.params.residency,
        out=snakemake.output.grid,
        figure=snakemake.output.figure,
    )
