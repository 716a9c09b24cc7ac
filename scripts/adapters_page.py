"""Write the page on adapters in the place of drafts by domain."""

from doubledraft.routing import adapters_page
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    adapters_page.write(snakemake.input.score, snakemake.output.page)
