"""Grade both runs of a cell and compute its metrics."""

from doubledraft.evaluation import score
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    score.score_cell(
        cell=snakemake.params.cell,
        type=snakemake.params.type,
        scenario=snakemake.params.scenario,
        questions=snakemake.input.questions,
        manifest=snakemake.input.manifest,
        baseline=snakemake.input.baseline,
        speculative=snakemake.input.speculative,
        baseline_run=snakemake.input.baseline_run,
        speculative_run=snakemake.input.speculative_run,
        rule=snakemake.params.rule,
        limit=snakemake.params.limit,
        seed=snakemake.params.seed,
        settings=snakemake.params.settings,
        out_metrics=snakemake.output.metrics,
        out_samples=snakemake.output.samples,
        out_comparison=snakemake.output.comparison,
    )
