"""Answer the test questions with the draft of one recipe and seed, by the native engine."""

from doubledraft.evaluation.drafts import measure
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    measure.measure_recipe(
        target=snakemake.input.target,
        base=snakemake.input.model,
        adapter=snakemake.input.adapter,
        questions=snakemake.input.questions,
        checked=snakemake.input.checked,
        prompt=snakemake.input.prompt,
        distilled=snakemake.input.distilled,
        out=snakemake.output.measured,
        dtype=snakemake.params.dtype,
        max_tokens=snakemake.params.max_tokens,
        draft_length=snakemake.params.draft_length,
        draft_vocabulary=snakemake.params.draft_vocabulary,
        limit=snakemake.params.limit,
        timed=snakemake.params.timed,
    )
