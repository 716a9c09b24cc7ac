"""Write the decoding records of a cell and the page that shows them token by token."""

from doubledraft.report import viewer
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    viewer.write_cell(
        cell=snakemake.params.cell,
        questions=snakemake.input.questions,
        model=snakemake.input.model,
        generations=snakemake.input.generations,
        runs=snakemake.input.runs,
        audit=snakemake.input.get("audit") or None,
        records=snakemake.output.records,
        page=snakemake.output.page,
    )
