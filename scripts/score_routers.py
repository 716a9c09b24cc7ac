"""Score every way to choose a draft on the test prompts."""

from doubledraft.routing import score
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    score.score(
        matrix=snakemake.input.matrix,
        hidden=snakemake.input.hidden,
        prompts=snakemake.input.prompts,
        routers_folder=snakemake.input.routers,
        draft_length=snakemake.params.draft_length,
        settings=snakemake.params.settings,
        out=snakemake.output.score,
    )
