"""Answer the same questions with the same target while the draft proposes tokens, timed."""

from doubledraft.inference import measure
from doubledraft.inference.job import Job
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    measure.run(
        Job(
            mode="speculative",
            model=snakemake.input.model,
            draft=str(snakemake.input.draft),  # empty for n-gram drafting
            method=snakemake.params.method,
            draft_length=snakemake.params.draft_length,
            baseline=snakemake.input.baseline,
            questions=snakemake.input.questions,
            prompt=snakemake.input.prompt,
            out=snakemake.output.generations,
            run_out=snakemake.output.run,
            limit=snakemake.params.limit,
            concurrency=snakemake.params.concurrency,
            warmup=snakemake.params.warmup,
            max_tokens=snakemake.params.max_tokens,
            engine=snakemake.params.engine,
            **snakemake.params.shared,
        )
    )
