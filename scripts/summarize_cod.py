"""Condense verified chains of thought to drafts by the rule of a type."""

from doubledraft import traces
from doubledraft.runtime import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    traces.summarize(
        source=snakemake.input.traces,
        traces=snakemake.output.traces,
        dropped=snakemake.output.dropped,
        type=snakemake.params.type,
        rule=snakemake.params.rule,
    )
