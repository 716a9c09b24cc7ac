"""Merge an adapter, of a target or a draft, into its base model."""

from doubledraft.models import merge
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    merge.merge_from_files(
        base=snakemake.input.model,
        adapter=snakemake.input.adapter,
        questions=snakemake.input.questions,
        prompt=snakemake.input.prompt,
        out=snakemake.output.merged,
        dtype=snakemake.params.dtype,
    )
