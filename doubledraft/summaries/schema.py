"""JSON schemas of the result files, made from their dataclasses; a field's description is the comment beside it."""

import inspect
import re
import types
import typing
from dataclasses import MISSING, fields, is_dataclass

from doubledraft.files import write_json
from doubledraft.summaries.adapter_score import AdapterScore
from doubledraft.summaries.advice import Advice, LoadGrid, ServedLoad
from doubledraft.summaries.cell_metrics import CellMetrics
from doubledraft.summaries.cross_check import CrossCheck
from doubledraft.summaries.decoding_record import DecodingRecord
from doubledraft.summaries.domain_manifest import DomainManifest
from doubledraft.summaries.draft_audit import AuditedAnswer, DraftAudit
from doubledraft.summaries.router_file import RouterFile, RoutersFile
from doubledraft.summaries.routing_score import RoutingScore
from doubledraft.summaries.run_file import RunFile
from doubledraft.summaries.timing_file import TimingFile
from doubledraft.summaries.trace_audit import TraceAudit
from doubledraft.summaries.training_summary import DraftVocabulary, TrainingSummary

FILES = {
    "metrics.json": CellMetrics,
    "run.json": RunFile,
    "timing.json": TimingFile,
    "draft_audit.json": DraftAudit,
    "load_grid.json": LoadGrid,
    "served_load.json": ServedLoad,
    "advice.json": Advice,
    "draft_audit.jsonl": AuditedAnswer,
    "decoding.jsonl": DecodingRecord,
    "domain_manifest.json": DomainManifest,
    "router.json": RouterFile,
    "routers.json": RoutersFile,
    "score.json": RoutingScore,
    "adapters.json": AdapterScore,
    "audit.json": TraceAudit,
    "cross_check.json": CrossCheck,
    "training.json": TrainingSummary,
    "draft_vocabulary.json": DraftVocabulary,
}
NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}
FIELD = re.compile(r"^    (\w+): [^#\n]*#\s*(.*)$", re.MULTILINE)


def write_all(folder: str) -> None:
    """Write the schema of every result file into a folder."""
    for name, kind in FILES.items():
        write_json(f"{folder}/{name.removesuffix('.json')}.schema.json", schema(kind))


def schema(kind: type) -> dict[str, object]:
    """Return the JSON schema of a dataclass; the dataclasses inside it stand under `$defs`."""
    definitions: dict[str, dict] = {}
    body = _object(kind, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind.__name__,
        **body,
        "$defs": definitions,
    }


def _object(kind: type, definitions: dict[str, dict]) -> dict[str, object]:
    hints, comments = typing.get_type_hints(kind), _comments(kind)
    properties = {
        field.name: _type(hints[field.name], definitions)
        | ({"description": comments[field.name]} if field.name in comments else {})
        for field in fields(kind)
    }
    required = [field.name for field in fields(kind) if field.default is field.default_factory is MISSING]
    return {
        "description": " ".join(inspect.getdoc(kind).split()),
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _type(hint: object, definitions: dict[str, dict]) -> dict[str, object]:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return {"anyOf": [_type(part, definitions) for part in parts]}
    if origin is list:
        return {"type": "array", "items": _type(parts[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type(parts[1], definitions)}
    if is_dataclass(hint):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}  # its place in the order, before what is inside it
            definitions[hint.__name__] = _object(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    return {} if hint is object else {"type": NAMES[hint]}


def _comments(kind: type) -> dict[str, str]:
    """Return the comment of each field that has one, inherited ones too."""
    return dict(pair for base in reversed(kind.__mro__[:-1]) for pair in FIELD.findall(inspect.getsource(base)))
