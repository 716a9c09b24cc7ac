"""The card of a draft adapter: what it is, how it was made and what was measured with it, from the files that hold it.

A quantity comes from the cell's metrics.json with its interval, n, definition, engine and hardware; training from the
adapter's training.json; the base from the settings that the metrics record. A quantity that is null is left out and
named as not measured. Metrics that were measured with other settings than the adapter was trained with, or with an
adapter of another digest, are refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from doubledraft import number_text, pages
from doubledraft.evaluation.samples import drafting_text
from doubledraft.files import whole_file
from doubledraft.log import log
from doubledraft.models.folder import sha256
from doubledraft.models.merge import ADAPTER
from doubledraft.report import tables
from doubledraft.report.tables import ReportError
from doubledraft.stats import Interval
from doubledraft.summaries.cell_metrics import CellMetrics
from doubledraft.summaries.provenance import RunProvenance
from doubledraft.summaries.run_file import RunFile
from doubledraft.summaries.training_summary import TrainingSummary

Summary = TypeVar("Summary")
NOT_MEASURED = "benchmark the cell, as in `snakemake --cores 1 results/cod_hard/metrics.json`"
DEFINITIONS = {
    "acceptance rate": "accepted / drafted tokens, counted up to the first rejection",
    "tokens per step": "emitted tokens / forward passes of the target, the bonus token included",
    "speedup": "wall time without / with the draft: same questions, order and concurrency, warm-up excluded, "
    "ratio of totals",
    "same tokens": "answers whose token ids are identical with and without the draft",
    "accuracy, with the draft": "answers in the requested format that equal the gold answer, unfinished ones included",
    "accuracy, without": "the same, of the target alone",
    "cut at the cap": "answers that reached the token cap",
    "tokens per answer": "mean, with the draft",
}
SHARES = {"acceptance rate", "same tokens", "accuracy, with the draft", "accuracy, without", "cut at the cap"}


class CardError(ReportError):
    """A card that cannot be written from the files there are; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class CardQuantity:
    """One measured quantity, as the card shows it."""

    name: str
    definition: str
    text: str
    interval: str  # 95 %, and n
    value: float


def write(adapter: str | Path, metrics: str | Path, out: str | Path, *, license: str | None = None) -> None:
    """Write the card of the draft adapter in folder `adapter` to `out`, from the metrics.json that it was measured in.

    `license` is an identifier of the hub; without one the card names none. The distilled set is described where its
    distilled_run.json lies beside the metrics. Raise CardError naming a file that is missing or of another adapter.
    """
    training = _read(Path(adapter) / "training.json", TrainingSummary, "train the adapter with doubledraft")
    measured = _read(Path(metrics), CellMetrics, NOT_MEASURED)
    _check(training, measured, Path(adapter), Path(metrics))
    page = _page(training, measured, Path(metrics).with_name("distilled_run.json"))
    page["measured"], page["missing"] = _quantities(measured)
    text = pages.render("card.md.j2", page, number=number_text.number_text)
    with whole_file(out) as file:
        file.write(f"---\n{_metadata(page, license)}\n---\n{text}")
    log.info("card of %s, with %d measured quantities: %s", adapter, len(page["measured"]), out)
    for name in page["missing"]:
        log.warning("%s: %s is null, so it is not on the card", metrics, name)


def base_repository(metrics: str | Path) -> str | None:
    """Return the repository of the draft's base on the hub; None where it comes from elsewhere or was pruned."""
    measured = _read(Path(metrics), CellMetrics, NOT_MEASURED)
    return _repository(_drafting(measured, Path(metrics))["draft"])


def _repository(bases: Sequence[Mapping]) -> str | None:
    return bases[0]["repo"] if bases[0]["source"] == "hub" else None


def _read(path: Path, kind: type[Summary], otherwise: str) -> Summary:
    try:
        return tables.read(path, kind)
    except (FileNotFoundError, NotADirectoryError):
        raise CardError(f"{path} is missing, and a card cannot be written without it: {otherwise}") from None


def _drafting(measured: CellMetrics, path: Path) -> Mapping[str, object]:
    """Return the settings of a cell that was measured with a draft model."""
    settings = measured.provenance.settings or {}
    if "draft" not in settings or measured.speculation is None:
        raise CardError(f"{path}: no draft model was measured here; give the metrics of a cell that has one")
    return settings


def _check(training: TrainingSummary, measured: CellMetrics, adapter: Path, metrics: Path) -> None:
    """Raise CardError where the metrics were not measured with this adapter."""
    settings, trained = _drafting(measured, metrics), training.settings
    expected = settings["train"]["draft"] | {
        "seed": settings["seed"],
        "dtype": settings["dtype"],
        "load_in_4bit": settings["train"]["load_in_4bit"],
        "base": settings["draft"][0]["model"],
    }
    for key, value in expected.items():
        actual = Path(trained.base).name if key == "base" else getattr(trained, key)
        if actual != value:
            raise CardError(
                f"{metrics}: measured with {key} = {value!r}, but {adapter} was trained with {actual!r}; "
                "benchmark the cell again"
            )
    digest, merged = sha256(adapter / ADAPTER), [run.draft_adapter for run in _speculative(measured)]
    if merged != [digest]:
        raise CardError(
            f"{metrics}: measured with the adapter {merged[0] if merged else None}, but {adapter / ADAPTER} has sha256 "
            f"{digest}; benchmark the cell again, or give the metrics of this adapter"
        )


def _speculative(measured: CellMetrics) -> list[RunProvenance]:
    return [run for run in measured.provenance.runs if run.mode == "speculative"]


def _page(training: TrainingSummary, measured: CellMetrics, distilled: Path) -> dict[str, object]:
    """Return what the template shows, but for the measured quantities."""
    provenance = measured.provenance
    return {
        "metrics": measured,
        "digest": _speculative(measured)[0].draft_adapter,
        "questions": provenance.settings["scenario"],
        "hardware": str(provenance.hardware),
        "bases": provenance.settings["draft"],
        "target": provenance.settings["target"],
        "training": training,
        "trained_on": str(training.provenance.hardware),
        "distilled": tables.read(distilled, RunFile) if distilled.exists() else None,
    }


def _quantities(measured: CellMetrics) -> tuple[list[CardQuantity], list[str]]:
    """Return the quantities of DEFINITIONS that were measured, and the names of those that are null."""
    spec, drafted = measured.speculation, measured.speculative
    intervals: dict[str, Interval | None] = {
        "acceptance rate": spec.acceptance_rate,
        "tokens per step": spec.tokens_per_step,
        "speedup": measured.speedup,
        "same tokens": measured.lossless.identical_rate,
        "accuracy, with the draft": drafted.accuracy.strict,
        "accuracy, without": measured.baseline.accuracy.strict,
        "cut at the cap": drafted.truncated,
        "tokens per answer": drafted.tokens.mean,
    }
    exact = {"acceptance rate": f"{DEFINITIONS['acceptance rate']} ({spec.acceptance_definition})"}
    rows = []
    for name, interval in intervals.items():
        if interval is not None:
            share = name in SHARES
            text = number_text.share_text(interval) if share else number_text.number_text(interval)
            definition = exact.get(name, DEFINITIONS[name])
            rows.append(CardQuantity(name, definition, text, number_text.range_text(interval, share), interval.value))
    return rows, [name for name, interval in intervals.items() if interval is None]


def _metadata(page: dict, license: str | None) -> str:
    """Return the YAML that the hub reads, written by its own client."""
    from huggingface_hub import EvalResult, ModelCardData

    spec, tagged = page["metrics"].speculation, ["lora"] if page["training"].settings.update == "lora" else []
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=page["questions"]["source"],
            dataset_name=page["metrics"].scenario,
            metric_type=quantity.name.replace(",", "").replace(" ", "_"),
            metric_name=f"{quantity.name} ({quantity.definition}; {spec.engine}, {drafting_text(spec)}; "
            f"{page['hardware']}; 95 % interval {quantity.interval})",
            metric_value=quantity.value,
        )
        for quantity in page["measured"]
    ]
    return ModelCardData(
        base_model=_repository(page["bases"]),
        license=license,
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["speculative-decoding", "draft-model", *tagged, "doubledraft"],
        model_name=f"{page['metrics'].cell} draft",
        eval_results=results or None,
    ).to_yaml()
