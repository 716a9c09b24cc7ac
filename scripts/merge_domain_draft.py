"""Merge the draft of a domain into a model of its own."""

from doubledraft.routing import domain_drafts
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    domain_drafts.merge_draft(
        base=snakemake.input.model,
        adapter=snakemake.input.adapter,
        questions=snakemake.input.questions,
        out=snakemake.output.merged,
        dtype=snakemake.params.dtype,
    )
