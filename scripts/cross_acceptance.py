"""Let every draft of the study read the answers of one target."""

from doubledraft.evaluation.audit import matrix
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    matrix.write_row(
        cell=snakemake.params.cell,
        questions=snakemake.input.questions,
        generations=snakemake.input.generations,
        run=snakemake.input.run,
        prompt=snakemake.input.prompt,
        target=(snakemake.input.target, snakemake.input.target_adapter),
        draft=snakemake.input.draft,
        adapters=dict(zip(snakemake.params.cells, snakemake.input.adapters, strict=True)),
        dtype=snakemake.params.dtype,
        settings=snakemake.params.settings,
        out=snakemake.output.row,
    )
