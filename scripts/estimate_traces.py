"""Estimate what the traces of a type would cost, before anything is paid."""

from doubledraft.traces import estimate
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    estimate.write(
        questions=snakemake.input.questions,
        prompt_file=snakemake.input.get("prompt"),
        ledgers=snakemake.input.ledgers,
        out=snakemake.output.estimate,
        role=snakemake.params.role,
        rule=snakemake.params.rule,
        teacher=snakemake.params.teacher,
    )
