"""Write the page on drafts by domain and the ways to choose among them."""

from doubledraft.routing import page
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    page.write(snakemake.input.score, snakemake.output.page)
