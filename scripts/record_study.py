"""Write the name of the study that the folders belong to into each of them."""

from doubledraft import records, runtime

if __name__ == "__main__":
    runtime.log_to(snakemake.log[0])
    records.write_json(snakemake.output.data, {"study": snakemake.params.study})
    records.write_json(snakemake.output.results, {"study": snakemake.params.study})
