"""Answer the draft's questions with the trained target, and keep the answers that finish."""

from doubledraft.inference.job import Job
from doubledraft.training import distill
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    distill.run(
        Job(
            mode="distill",
            resume=True,
            model=snakemake.input.model,
            questions=snakemake.input.questions,
            prompt=snakemake.input.prompt,
            out=snakemake.params.progress,
            run_out=f"{snakemake.params.progress}.run.json",
            concurrency=snakemake.params.concurrency,
            max_tokens=snakemake.params.max_tokens,
            temperature=snakemake.params.temperature,
            **snakemake.params.shared,
        ),
        distilled=snakemake.output.distilled,
        run_out=snakemake.output.run,
        keep=snakemake.params.keep,
        min_yield=snakemake.params.min_yield,
        computing_dtype=snakemake.params.computing_dtype,
    )
