"""Grade the base model's answers to every way of asking."""

from doubledraft.evaluation import score
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    score.score_untrained(
        scenario=snakemake.wildcards.scenario,
        questions=snakemake.input.questions,
        manifest=snakemake.input.manifest,
        generations=snakemake.input.generations,
        runs=snakemake.input.runs,
        rules=snakemake.params.rules,
        limit=snakemake.params.limit,
        settings=snakemake.params.settings,
        out_metrics=snakemake.output.metrics,
        out_samples=snakemake.output.samples,
        out_comparison=snakemake.output.comparison,
    )
