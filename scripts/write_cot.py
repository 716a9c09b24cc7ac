"""Let the teacher write chains of thought, and keep the verified ones."""

from doubledraft import traces
from doubledraft.runtime import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    traces.write_cot(
        questions=snakemake.input.questions,
        traces=snakemake.output.traces,
        dropped=snakemake.output.dropped,
        teacher=snakemake.params.teacher,
    )
