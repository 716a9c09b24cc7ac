"""Answer the test questions with the target alone and with the draft in turns, block by block, timed."""

from doubledraft.evaluation import time_arms
from doubledraft.inference.job import Job
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    outputs = zip(snakemake.output.generations, snakemake.output.runs, strict=True)
    drafting = snakemake.params.drafting  # None where the target alone is timed
    draft = {  # both empty for n-gram drafting
        "draft": str(snakemake.input.draft),
        "draft_vocabulary_from": str(snakemake.input.vocabulary),
    }
    modes = {"baseline": {}, **({"speculative": {**drafting, **draft}} if drafting else {})}
    jobs = {
        mode: Job(
            mode=mode,
            model=snakemake.input.model,
            questions=snakemake.input.questions,
            prompt=snakemake.input.prompt,
            out=out,
            run_out=run_out,
            limit=snakemake.params.limit,
            concurrency=snakemake.params.concurrency,
            warmup=snakemake.params.warmup,
            max_tokens=snakemake.params.max_tokens,
            engine=snakemake.params.engine,
            **settings,
            **snakemake.params.sampling,
            **snakemake.params.shared,
        )
        for (mode, settings), (out, run_out) in zip(modes.items(), outputs, strict=True)
    }
    time_arms.run(
        jobs,
        blocks=snakemake.params.blocks,
        retimes=snakemake.params.retimes,
        residency=snakemake.params.residency,
        out=snakemake.output.timing,
    )
