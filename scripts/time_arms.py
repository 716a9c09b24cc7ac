"""Answer the test questions with the target alone and with the draft in turns, block by block, timed."""

from doubledraft.evaluation import time_arms
from doubledraft.inference.job import Job
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    job = Job(
        mode="speculative",
        model=snakemake.input.model,
        draft=str(snakemake.input.draft),  # like the next one empty for n-grams, and for the target alone
        draft_vocabulary_from=str(snakemake.input.vocabulary),
        questions=snakemake.input.questions,
        prompt=snakemake.input.prompt,
        limit=snakemake.params.limit,
        concurrency=snakemake.params.concurrency,
        warmup=snakemake.params.warmup,
        max_tokens=snakemake.params.max_tokens,
        engine=snakemake.params.engine,
        **snakemake.params.drafting,
        **snakemake.params.sampling,
        **snakemake.params.shared,
    )
    time_arms.run(
        time_arms.arms(job, snakemake.output.generations, snakemake.output.runs),
        blocks=snakemake.params.blocks,
        retimes=snakemake.params.retimes,
        residency=snakemake.params.residency,
        out=snakemake.output.timing,
    )
