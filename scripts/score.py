"""Grade the runs of a cell and compute its metrics."""

from pathlib import Path

from doubledraft.evaluation import score
from doubledraft.training import tracking
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    score.score_cell(
        type=snakemake.wildcards.type,
        scenario=snakemake.wildcards.scenario,
        questions=snakemake.input.questions,
        manifest=snakemake.input.manifest,
        generations=snakemake.input.generations,
        runs=snakemake.input.runs,
        timing=snakemake.input.timing,
        audit=str(snakemake.input.audit),  # empty where no draft model was timed
        rule=snakemake.params.rule,
        limit=snakemake.params.limit,
        samples=snakemake.params.samples,
        settings=snakemake.params.settings,
        out_metrics=snakemake.output.metrics,
        out_samples=snakemake.output.samples,
        out_comparison=snakemake.output.comparison,
    )
    logs = Path(snakemake.log[0]).parent
    tracking.send_metrics(snakemake.output.metrics, snakemake.params.report_to, snakemake.params.run_name, logs)
