"""Audit a set of traces and draw its figure."""

from doubledraft.traces import audit
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    audit.write(
        traces=snakemake.input.traces,
        dropped=snakemake.input.dropped,
        asked=snakemake.input.asked,
        questions=snakemake.input.questions,
        model=snakemake.input.model,
        rule=snakemake.params.rule,
        settings=snakemake.params.settings,
        out=snakemake.output.audit,
        figure=snakemake.output.figure,
    )
