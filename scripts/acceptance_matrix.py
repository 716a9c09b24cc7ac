"""Put every target with every draft into one table, and draw it."""

from doubledraft.evaluation.audit import matrix
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    matrix.write_matrix(snakemake.input.rows, table=snakemake.output.table, figure=snakemake.output.figure)
