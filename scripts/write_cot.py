"""Have the teacher write chains of thought, and keep the verified ones."""

from doubledraft.traces import write
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    write.write_cot(
        questions=snakemake.input.questions,
        prompt_file=snakemake.input.get("prompt"),
        traces=snakemake.output.traces,
        dropped=snakemake.output.dropped,
        asked=snakemake.output.asked,
        teacher=snakemake.params.teacher | snakemake.params.limits,
        ledger=snakemake.params.ledger,
    )
