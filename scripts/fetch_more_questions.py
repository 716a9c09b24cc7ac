"""Fetch or generate the questions that the trained target answers for its draft."""

from doubledraft.questions import fetch
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    fetch.fetch_more(
        spec=snakemake.params.spec,
        count=snakemake.params.wanted,
        fewest=snakemake.params.fewest,
        scenario=snakemake.wildcards.scenario,
        seed=snakemake.params.seed,
        train_path=snakemake.input.train,
        test_path=snakemake.input.test,
        out=snakemake.output.questions,
        manifest_path=snakemake.output.manifest,
    )
