"""Write the name of the study that the folders belong to into each of them."""

from doubledraft import files
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    files.write_json(snakemake.output.data, {"study": snakemake.params.study})
    files.write_json(snakemake.output.results, {"study": snakemake.params.study})
