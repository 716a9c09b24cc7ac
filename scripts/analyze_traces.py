"""Analyse all trace sets of the study side by side and draw the figures."""

from doubledraft.traces import analyze
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    analyze.write(
        traces=snakemake.input.traces,
        model=snakemake.input.model,
        rules=snakemake.params.rules,
        settings=snakemake.params.settings,
        out=snakemake.output.analysis,
        page=snakemake.output.page,
        figures=snakemake.output.figures,
    )
