"""The card of a draft adapter: what it is, how it was made and what was measured with it, from files that say so.

Nothing on a card was typed in. A figure comes from the cell's metrics.json with its interval, n, definition, engine and
hardware; training from the adapter's training.json; the base from the settings that the metrics record. A figure that
is null is left out and named as not measured. Metrics of other settings than the adapter was trained with, or from
before it was trained, are figures of another adapter and refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from doubledraft import number_text, pages
from doubledraft.files import whole_file
from doubledraft.log import log
from doubledraft.report import tables
from doubledraft.report.tables import ReportError, pick

FIGURES = {  # name on the card: path in metrics.json, whether it is a share, what it is
    "acceptance rate": (
        ("speculation", "acceptance_rate"),
        True,
        "accepted / drafted tokens, counted up to the first rejection",
    ),
    "tokens per step": (
        ("speculation", "tokens_per_step"),
        False,
        "emitted tokens / forward passes of the target, the bonus token included",
    ),
    "speedup": (
        ("speedup",),
        False,
        "wall time without / with the draft: same questions, order and concurrency, warm-up excluded, ratio of totals",
    ),
    "same tokens": (
        ("lossless", "identical_rate"),
        True,
        "answers whose token ids are identical with and without the draft",
    ),
    "accuracy, with the draft": (
        ("speculative", "accuracy", "strict"),
        True,
        "answers in the asked-for format that equal the gold answer, unfinished ones included",
    ),
    "accuracy, without": (("baseline", "accuracy", "strict"), True, "the same, of the target alone"),
    "cut at the cap": (("speculative", "truncated"), True, "answers that reached the token cap"),
    "tokens per answer": (("speculative", "tokens", "mean"), False, "mean, with the draft"),
}
NOT_MEASURED = "benchmark the cell, as in `snakemake --cores 1 results/cod_hard/metrics.json`"
TRAINING = ("rows", "completion_tokens", "steps", "final_loss", "seconds", "settings", "provenance")  # of training.json


class CardError(ReportError):
    """A card that cannot be written from the files there are; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure, as the card shows it."""

    name: str
    definition: str
    text: str
    interval: str  # 95 %, and n
    value: float


def write(adapter: str | Path, metrics: str | Path, out: str | Path, *, license: str | None = None) -> None:
    """Write the card of the draft adapter in folder `adapter` to `out`, from the metrics.json that it was measured in.

    `license` is an identifier of the hub; without one the card names none. The distilled set is described where its
    distilled_run.json lies beside the metrics. Raises CardError naming a file that is missing or of another adapter.
    """
    training = _read(Path(adapter) / "training.json", "train the adapter with doubledraft")
    for key in TRAINING:
        pick(training, key, path=Path(adapter) / "training.json")
    measured = _read(Path(metrics), NOT_MEASURED)
    settings = pick(measured, "provenance", "settings", path=Path(metrics))
    _check(training, measured, settings, Path(adapter), Path(metrics))
    page = _page(training, measured, Path(metrics).with_name("distilled_run.json"))
    page["figures"], page["missing"] = _figures(measured, Path(metrics))
    text = pages.render("card.md.j2", page, number=number_text.number_text)
    with whole_file(out) as file:
        file.write(f"---\n{_metadata(page, license)}\n---\n{text}")
    log.info("card of %s, with %d figures: %s", adapter, len(page["figures"]), out)
    for name in page["missing"]:
        log.warning("%s: %s is null, so it is not on the card", metrics, name)


def base_repository(metrics: str | Path) -> str | None:
    """Give the repository of the draft's base on the hub; None where it comes from elsewhere or was cut."""
    measured = _read(Path(metrics), NOT_MEASURED)
    return _repository(pick(measured, "provenance", "settings", "draft", path=Path(metrics)))


def _repository(bases: Sequence[Mapping]) -> str | None:
    return bases[0]["repo"] if bases[0]["source"] == "hub" else None


def _read(path: Path, otherwise: str) -> dict:
    try:
        return tables.read_json(path)
    except FileNotFoundError:
        raise CardError(f"{path} is not there, and no card is written without it: {otherwise}") from None


def _check(training: dict, measured: dict, settings: dict, adapter: Path, metrics: Path) -> None:
    """Refuse metrics that were not measured with this adapter."""
    if "draft" not in settings or "speculation" not in measured:
        raise CardError(f"{metrics}: no draft model was measured here; give the metrics of a cell that has one")
    trained = training["settings"]
    expected = settings["train"]["draft"] | {
        "seed": settings["seed"],
        "dtype": settings["dtype"],
        "load_in_4bit": settings["train"]["load_in_4bit"],
        "base": settings["draft"][0]["model"],
    }
    found = {**trained, "base": Path(trained["base"]).name}
    for key, value in expected.items():
        if found.get(key) != value:
            raise CardError(
                f"{metrics}: measured with {key} = {value!r}, but {adapter} was trained with {found.get(key)!r}; "
                "benchmark the cell again"
            )
    times = [run["provenance"]["time"] for run in measured["provenance"]["runs"] if run["mode"] == "speculative"]
    if not times or datetime.fromisoformat(times[0]) < datetime.fromisoformat(training["provenance"]["time"]):
        raise CardError(f"{metrics}: measured before {adapter} was trained; benchmark the cell again")


def _page(training: dict, measured: dict, distilled: Path) -> dict[str, object]:
    """Give what the template shows, but for the figures."""
    provenance = measured["provenance"]
    return {
        **{key: measured[key] for key in ("cell", "scenario", "type", "n", "speculation", "provenance")},
        "questions": provenance["settings"]["scenario"],
        "predicted": measured["speedup"]["predicted"] if measured["speedup"] else None,
        "truncation_warning": measured["speculative"]["truncation_warning"],
        "hardware": _hardware(provenance),
        "bases": provenance["settings"]["draft"],
        "target": provenance["settings"]["target"],
        "training": training,
        "trained_on": _hardware(training["provenance"]),
        "distilled": tables.read_json(distilled) if distilled.exists() else None,
    }


def _figures(measured: dict, path: Path) -> tuple[list[Figure], list[str]]:
    """Give the figures that were measured, and the names of those that are null."""
    found, missing = [], []
    for name, (keys, share, definition) in FIGURES.items():
        interval = pick(measured, *keys, path=path)
        if interval is None or interval["value"] is None:
            missing.append(name)
            continue
        if name == "acceptance rate":
            definition += f" ({measured['speculation']['acceptance_definition']})"
        text = number_text.share_text(interval) if share else number_text.number_text(interval)
        found.append(Figure(name, definition, text, number_text.range_text(interval, share), interval["value"]))
    return found, missing


def _hardware(provenance: dict) -> str:
    facts = provenance["hardware"]
    return f"{facts['processor']}, {facts['cores']} cores, {facts['gpu'] or 'no GPU'}"


def _metadata(page: dict, license: str | None) -> str:
    """Give the YAML that the hub reads, written by its own client."""
    from huggingface_hub import EvalResult, ModelCardData

    spec = page["speculation"]
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=page["questions"]["source"],
            dataset_name=page["scenario"],
            metric_type=figure.name.replace(",", "").replace(" ", "_"),
            metric_name=f"{figure.name} ({figure.definition}; {spec['engine']}, K = {spec['draft_length']}; "
            f"{page['hardware']}; 95 % interval {figure.interval})",
            metric_value=figure.value,
        )
        for figure in page["figures"]
    ]
    return ModelCardData(
        base_model=_repository(page["bases"]),
        license=license,
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["speculative-decoding", "draft-model", "lora", "doubledraft"],
        model_name=f"{page['cell']} draft",
        eval_results=results or None,
    ).to_yaml()
