"""Condense verified chains of thought to drafts, by the rule of a type or by the teacher."""

from doubledraft.traces import write
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    write.write_condensed(
        source=snakemake.input.source,
        prompt_file=snakemake.input.get("prompt"),
        traces=snakemake.output.traces,
        dropped=snakemake.output.dropped,
        asked=snakemake.output.asked,
        type=snakemake.params.type,
        by=snakemake.params.by,
        rule=snakemake.params.rule,
        teacher=snakemake.params.teacher | snakemake.params.limits,
        ledger=snakemake.params.ledger,
    )
