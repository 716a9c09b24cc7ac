"""Put all recipes of a cell into one table, figure and page."""

from doubledraft.evaluation.drafts import leaderboard
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    leaderboard.compare(
        snakemake.params.recipes,
        snakemake.input.adapters,
        snakemake.input.measured,
        cell=snakemake.params.cell,
        draft_length=snakemake.params.draft_length,
        minutes=snakemake.params.minutes,
        seed=snakemake.params.seed,
        csv_out=snakemake.output.table,
        figure_out=snakemake.output.figure,
        page_out=snakemake.output.page,
    )
