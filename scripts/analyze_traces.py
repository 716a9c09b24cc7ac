"""Analyse all trace sets of the study side by side and draw the figures."""

from doubledraft import trace_analysis
from doubledraft.runtime import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    trace_analysis.write(
        traces=snakemake.input.traces,
        model=snakemake.input.model,
        rules=snakemake.params.rules,
        settings=snakemake.params.settings,
        out=snakemake.output.analysis,
        page=snakemake.output.page,
        figures=snakemake.output.figures,
    )
