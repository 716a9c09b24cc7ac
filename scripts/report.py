"""Build the table, the page and the figures from the metrics that exist."""

from pathlib import Path

from doubledraft.report import build
from doubledraft.training import tracking
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    build.build(
        metrics=snakemake.input.metrics,
        asked=snakemake.input.asked,
        distilled=snakemake.input.distilled,
        checks=snakemake.input.checks,
        matrix=snakemake.input.matrix,
        links=snakemake.params.links,
        margin=snakemake.params.margin,
        price=snakemake.params.price,
        expected=snakemake.params.expected,
        study=snakemake.params.study,
        missing=snakemake.params.missing,
        table=snakemake.output.table,
        markdown=snakemake.output.markdown,
        html=snakemake.output.html,
        figures=snakemake.output.figures,
    )
    logs = Path(snakemake.log[0]).parent
    tracking.send_table(snakemake.output.table, snakemake.params.report_to, snakemake.params.run_name, logs)
