"""Compare adapters of the generic draft with a draft for every domain."""

from doubledraft.routing import compare_adapters
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    domains = snakemake.params.domains
    compare_adapters.compare(
        target=snakemake.input.target,
        drafts=dict(zip(domains, snakemake.input.drafts, strict=True)),
        generic=snakemake.input.generic,
        adapters=snakemake.params.adapters,
        prompts=dict(zip(domains, snakemake.input.prompts, strict=True)),
        progress=snakemake.params.progress,
        max_tokens=snakemake.params.max_tokens,
        draft_length=snakemake.params.draft_length,
        turns=snakemake.params.turns,
        dtype=snakemake.params.dtype,
        settings=snakemake.params.settings,
        out=snakemake.output.score,
    )
