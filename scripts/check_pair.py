"""Check that the draft may propose tokens to the target."""

from doubledraft.models import check_pair
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    check_pair.write_pair_check(
        snakemake.input.target,
        snakemake.input.draft,
        snakemake.output.pair,
        max_model_len=snakemake.params.max_model_len,
        native=snakemake.params.native,
    )
