"""Train the draft of a domain, or the generic one."""

from doubledraft.routing import domain_drafts
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    domain_drafts.train_draft(
        base=snakemake.input.model,
        target=snakemake.input.target,
        answers=snakemake.input.answers,
        questions=snakemake.input.questions,
        vocabulary=snakemake.input.vocabulary,
        out=snakemake.output.adapter,
        loss_csv=snakemake.output.loss,
        checkpoints=snakemake.params.checkpoints,
        run_name=snakemake.params.run_name,
        report_to=snakemake.params.report_to,
        load_in_4bit=snakemake.params.load_in_4bit,
        dtype=snakemake.params.dtype,
        computing_dtype=snakemake.params.computing_dtype,
        seed=snakemake.params.seed,
        **snakemake.params.train,
    )
