"""Let target and draft read the target's answers, and replay speculation along them for every draft length."""

from doubledraft.evaluation.audit import draft_audit
from doubledraft.workflow.gpus import take_gpus
from doubledraft.workflow.jobs import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0])
    take_gpus(snakemake.resources.gpu)
    draft_audit.audit(
        questions=snakemake.input.questions,
        generations=snakemake.input.generations,
        run=snakemake.input.run,
        prompt=snakemake.input.prompt,
        target=(snakemake.input.target, snakemake.input.target_adapter),
        draft=(snakemake.input.draft, snakemake.input.draft_adapter),
        dtype=snakemake.params.dtype,
        rule=snakemake.params.rule,
        max_tokens=snakemake.params.max_tokens,
        settings=snakemake.params.settings,
        out_audit=snakemake.output.audit,
        out_answers=snakemake.output.answers,
    )
