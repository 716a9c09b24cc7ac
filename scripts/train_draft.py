"""Train the draft's adapter on the trained target's own answers."""

from doubledraft.training import finetune
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    finetune.train_draft(
        base=snakemake.input.model,
        target=snakemake.input.target,
        start=snakemake.input.start or None,
        distilled=snakemake.input.distilled,
        questions=snakemake.input.questions,
        prompt=snakemake.input.prompt,
        out=snakemake.output.adapter,
        loss_csv=snakemake.output.loss,
        checkpoints=snakemake.params.checkpoints,
        run_name=snakemake.params.run_name,
        seed=snakemake.params.seed,
        dtype=snakemake.params.dtype,
        computing_dtype=snakemake.params.computing_dtype,
        load_in_4bit=snakemake.params.load_in_4bit,
        report_to=snakemake.params.report_to,
        draft_vocabulary=snakemake.params.draft_vocabulary,
        **snakemake.params.train,
    )
