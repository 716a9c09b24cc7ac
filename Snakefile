"""doubledraft: what a reasoning model gains when it drafts its reasoning and a small model drafts its tokens.

Questions -> traces -> target adapter -> distilled set -> draft adapter -> merged models -> benchmark -> report, for every
cell {type}_{scenario} of the config. `snakemake` makes the whole grid; any path of the tree is a target too.
"""

from snakemake.utils import min_version

min_version("9.19")


configfile: f"{workflow.basedir}/config/config.yaml"


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/teacher.smk"
include: "rules/analysis.smk"
include: "rules/models.smk"
include: "rules/train.smk"
include: "rules/benchmark.smk"
include: "rules/drafts.smk"
include: "rules/acceptance.smk"
include: "rules/routing.smk"
include: "rules/report.smk"


FINGERPRINTS.keep()


rule all:
    """Make every cell of the grid, the untrained baselines, the trace audits, losses, and the report."""
    default_target: True
    input:
        metrics=collect("results/{cell}/metrics.json", cell=CELLS),
        audits=collect("data/{type}/{scenario}/audit.json", type=TYPES, scenario=SCENARIOS),
        losses=collect("results/{cell}/{role}_loss.png", cell=TRAINED, role=ROLES),
        viewers=collect("results/{cell}/viewer.html", cell=TRAINED),
        matrix=MATRIX,
        analysis="results/analysis/analysis.md",
        report="results/report/report.html",
    localrule: True
