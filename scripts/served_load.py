"""Send requests to vLLM's own server at stated rates, without and with the draft."""

from doubledraft.evaluation.load import served
from doubledraft.inference.job import Job
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    served.run(
        Job(
            mode="speculative",
            model=snakemake.input.model,
            draft=snakemake.input.draft,
            method="draft_model",
            draft_length=snakemake.params.served["draft_length"],
            questions=snakemake.input.questions,
            prompt=snakemake.input.prompt,
            limit=snakemake.params.limit,
            concurrency=snakemake.params.served["concurrency"],
            max_tokens=snakemake.params.max_tokens,
            **snakemake.params.shared,
        ),
        rates=snakemake.params.served["rates"],
        out=snakemake.output.served,
        figure=snakemake.output.figure,
    )
