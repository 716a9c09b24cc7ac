"""Fetch or generate the training and test questions of a scenario."""

from doubledraft.questions import fetch
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    fetch.fetch(
        spec=snakemake.params.spec,
        scenario=snakemake.wildcards.scenario,
        seed=snakemake.params.seed,
        train_path=snakemake.output.train,
        test_path=snakemake.output.test,
        overlap_path=snakemake.output.overlap,
        manifest_path=snakemake.output.manifest,
    )
