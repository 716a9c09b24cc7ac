"""Split the prompts of a domain into train, validation and test."""

from doubledraft.questions import domains
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    domains.split_domain(
        spec=snakemake.params.spec,
        domain=snakemake.wildcards.domain,
        seed=snakemake.params.seed,
        out={
            "train": snakemake.output.train,
            "validation": snakemake.output.validation,
            "test": snakemake.output.test,
        },
        manifest=snakemake.output.manifest,
    )
