"""Answer the test questions with the base target, shown a few examples of the type."""

from doubledraft.inference import generate
from doubledraft.inference.job import Job
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    generate.run(
        Job(
            mode="untrained",
            few_shot=True,
            thinking=snakemake.params.thinking,
            model=snakemake.input.model,
            questions=snakemake.input.questions,
            prompt=snakemake.input.prompt,
            out=snakemake.output.generations,
            run_out=snakemake.output.run,
            limit=snakemake.params.limit,
            concurrency=snakemake.params.concurrency,
            max_tokens=snakemake.params.max_tokens,
            **snakemake.params.shared,
        )
    )
