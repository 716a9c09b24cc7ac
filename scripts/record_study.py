"""Write the name of the study that the results folder belongs to."""

from doubledraft import records, runtime

if __name__ == "__main__":
    runtime.log_to(snakemake.log[0])
    records.write_json(snakemake.output.study, {"study": snakemake.params.study})
