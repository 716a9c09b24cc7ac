"""Train one recipe with one seed, for the minutes that every recipe has."""

from doubledraft.training import recipes
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    recipes.train_recipe(
        base=snakemake.input.model,
        target=snakemake.input.target,
        start=snakemake.input.start or None,
        distilled=snakemake.input.distilled,
        questions=snakemake.input.questions,
        prompt=snakemake.input.prompt,
        out=snakemake.output.adapter,
        loss_csv=snakemake.output.loss,
        checkpoints=snakemake.params.checkpoints,
        minutes=snakemake.params.minutes,
        learn_from=snakemake.params.learn_from,
        draft_vocabulary=snakemake.params.draft_vocabulary,
        seed=snakemake.params.seed,
        dtype=snakemake.params.dtype,
        computing_dtype=snakemake.params.computing_dtype,
        load_in_4bit=snakemake.params.load_in_4bit,
        **snakemake.params.train,
    )
