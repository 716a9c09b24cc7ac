"""A study's config: what its keys mean together, and messages that name the key."""

import copy
import importlib
import sys

import pytest

from doubledraft.workflow import config as study
from tests.helpers.default_config import DEFAULT, PAID, SCHEMA, changed, paid

MATH = {"source": "math", "subjects": ["algebra"], "levels": [2, 1], "train": 518, "test": 336}
RULE = {"min_steps": 3, "max_steps": 5, "max_words": 5}
TYPE = {"prompt": "config/prompts/cod.yaml", "max_tokens": 96}
VLLM = {"engine": "vllm", "draft_vocabulary": None}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("benchmrak", {}, "benchmrak is unknown: did you mean benchmark?"),
        ("train/target/learningrate", 1e-3, "train.target.learningrate is unknown: did you mean learning_rate?"),
        ("scenarios/hard/trian", 3, "scenarios.hard.trian is unknown: did you mean train?"),
        ("benchmark/draft_length", 0, "benchmark.draft_length is 0: expected one of adaptive or 1 or 2 or 3"),
        ("benchmark/draft_length", 2.5, "benchmark.draft_length is 2.5: expected one of adaptive or 1"),
        ("benchmark/draft_length", True, "benchmark.draft_length is True: expected one of adaptive or 1"),
        ("benchmark/temperature", 0.0001, "benchmark.temperature is 0.0001: expected 0, or at least 0.001"),
        ("benchmark/samples", 3, "benchmark.samples is 3, but benchmark.temperature is 0, at which"),
        ("benchmark/draft_vocabulary", 0, "benchmark.draft_vocabulary is 0: expected at least 1"),
        ("benchmark/engine", "vllm", "draft_vocabulary is 1024, but benchmark.engine is 'vllm', and vLLM computes"),
        ("load_grid/lengths", [2, "adaptive"], "is [2, 'adaptive']: expected at least 2 numbers among them"),
        ("load_grid/loads", [1, 1], "load_grid.loads is [1, 1]: expected each of them once"),
        ("load_grid/loads", [], "load_grid.loads is []: expected at least 1 of them"),
        ("scenarios/easy/train", -1, "scenarios.easy.train is -1: expected at least 1"),
        ("scenarios/easy/test", "many", "scenarios.easy.test is 'many': expected integer"),
        ("scenarios/../../x", None, ""),
        ("train/target/learning_rate", 0, "train.target.learning_rate is 0: expected more than 0"),
        ("train/target/learning_rate", float("nan"), "train.target.learning_rate is nan: expected a finite number"),
        ("train/draft/alpha", float("inf"), "train.draft.alpha is inf"),
        ("train/draft/loss", "kl", "train.draft.loss is 'kl', but train.draft.method is 'sft', which learns from text"),
        ("train/draft/update", "some", "train.draft.update is 'some': expected one of lora or full"),
        ("models/dtype", "int3", "models.dtype is 'int3': expected one of bfloat16 or float16 or float32"),
        ("benchmark/method", "synthetic", "benchmark.method is 'synthetic'"),
        ("models/draft", "gpt", "models.draft is 'gpt': expected a key of models.sources: smollm2-135m"),
        ("models/sources/smollm2-135m-4l/of", "gpt", "models.sources.smollm2-135m-4l.of is 'gpt'"),
        ("models/sources/smollm2-135m-4l/of", "smollm2-135m-4l", "would be cut from itself"),
        ("models/sources/extra", {"source": "hub", "repo": "a/b"}, "models.sources.extra.revision is missing"),
        ("scenarios/extra", {"source": "generated", "train": 1, "test": 1}, "scenarios.extra.difficulty is missing"),
        ("scenarios/extra", {"source": "jsonl", "train": 1, "test": 1}, "scenarios.extra.path is missing"),
        ("scenarios/extra", {"source": "math", "train": 1, "test": 1}, "scenarios.extra.levels is missing"),
        ("scenarios/extra", MATH | {"difficulty": "easy"}, "scenarios.extra.difficulty is not used by source math"),
        ("scenarios/extra", MATH | {"train": 519}, "scenarios.extra.train is 519: math has only 518"),
        ("scenarios/extra", {"source": "gsm8k", "train": 9, "test": 1320}, "scenarios.extra.test is 1320"),
        (
            "scenarios/extra",
            {"source": "gsm8k", "train": 9, "test": 1, "allow_fewer": 3},
            "scenarios.extra.allow_fewer",
        ),
        ("scenarios/hard/train", 10**6, "scenarios.hard.train is 1000000: generated has only "),
        ("scenarios/easy/test", 10**6, "scenarios.easy.test is 1000000: generated has only "),
        ("types/terse", TYPE, "types.terse.condense is missing"),
        ("types/cot/condense", RULE, "types.cot.condense is not allowed"),
        ("types/cot/by", "rule", "types.cot.by is not allowed"),
        ("types/cod/by", "teacher", "types.cod.by is 'teacher': teacher oracle only has"),
        ("types/cod/by", "independent", "expected rule, or gemini or openai as teacher.name"),
        ("types/cod/by", "nobody", "types.cod.by is 'nobody': expected one of rule or teacher or independent"),
        ("types/ledger", TYPE | {"condense": RULE}, "types: the name 'ledger' cannot be used"),
        ("teacher/name", "claude", "teacher.name is 'claude': expected one of oracle or gemini or openai"),
        ("teacher", PAID | {"model": None}, "teacher.model is null: teacher openai needs it"),
        ("teacher", PAID | {"budget": None}, "teacher.budget is null: teacher openai needs it"),
        ("teacher", PAID | {"price": {"input": 1, "output": None}}, "teacher.price.output is null"),
        ("teacher", PAID | {"base_url": "localhost:8000"}, "teacher.base_url is 'localhost:8000'"),
        ("teacher", PAID | {"min_yield": 1.5}, "teacher.min_yield is 1.5: expected at most 1"),
        ("teacher", PAID | {"attempts": 0}, "teacher.attempts is 0: expected at least 1"),
        ("teacher", PAID | {"modell": "x"}, "teacher.modell is unknown: did you mean model?"),
        ("types/cod/condense/min_steps", 6, "types.cod.condense.min_steps is 6: expected at most max_steps, 5"),
        ("types/untrained", TYPE | {"condense": RULE}, "types: the name 'untrained' cannot be used"),
        ("types/models", TYPE | {"condense": RULE}, "types: the name 'models' cannot be used"),
        ("types/questions", TYPE | {"condense": RULE}, "types: the name 'questions' cannot be used"),
        ("types/speculative", TYPE | {"condense": RULE}, "types: the name 'speculative' cannot be used"),
        ("types/baseline", TYPE | {"condense": RULE}, "types: the name 'baseline' cannot be used"),
        ("types/two_words", TYPE | {"condense": RULE}, "types: the name 'two_words' cannot be used"),
        ("types/cot/max_tokens", 1024, "types.cot.max_tokens is 1024: expected less than benchmark.max_model_len"),
        ("untrained/max_tokens", 2000, "untrained.max_tokens is 2000"),
        ("benchmark/engine", "tgi", "benchmark.engine is 'tgi': expected one of vllm or native"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_was_expected(path, value, message):
    if "../" in path:
        config = copy.deepcopy(DEFAULT)
        config["scenarios"]["../../x"] = DEFAULT["scenarios"]["easy"]
        message = "scenarios: the name '../../x' cannot be used"
    else:
        config = changed(path, value)
    with pytest.raises(study.StudyError) as error:
        study.check_config(config, SCHEMA)
    assert f"{message}" in str(error.value)
    assert "config key " in str(error.value)


def test_our_own_engine_is_refused_sleep():
    config = changed("benchmark/residency", "sleep")
    study.check_config(config | {"benchmark": config["benchmark"] | VLLM}, SCHEMA)
    with pytest.raises(study.StudyError, match="residency is 'sleep', which only vLLM supports, but .*'native'"):
        study.check_config(config, SCHEMA)


def test_our_own_engine_is_refused_several_gpus():
    config = copy.deepcopy(DEFAULT)
    config["engine"]["tensor_parallel"] = 2
    with pytest.raises(study.StudyError, match="runs on one GPU, but engine.tensor_parallel is 2: expected 1"):
        study.check_config(config, SCHEMA)


def test_our_own_engine_alone_adapts_the_draft_length_and_not_for_n_grams():
    config = changed("benchmark/draft_length", "adaptive")
    study.check_config(config, SCHEMA)
    with pytest.raises(study.StudyError, match="'vllm', and vLLM drafts the same number of tokens in every step"):
        study.check_config(config | {"benchmark": config["benchmark"] | VLLM}, SCHEMA)
    config["benchmark"]["method"] = "ngram"
    with pytest.raises(study.StudyError, match="draft_length is 'adaptive', but benchmark.method is 'ngram'"):
        study.check_config(config, SCHEMA)


@pytest.mark.parametrize("name", ["/abs", "a;touch x", "$(x)", "{wildcard}", "a\nb", "a/b", "x" * 300, "-rf", "", "A"])
def test_scenario_name_that_could_be_a_path_or_a_command_is_refused(name):
    config = copy.deepcopy(DEFAULT)
    config["scenarios"][name] = DEFAULT["scenarios"]["easy"]
    with pytest.raises(study.StudyError, match="config key scenarios: the name"):
        study.check_config(config, SCHEMA)


@pytest.mark.parametrize("name", ["report", "logs", "models-2"])
def test_type_name_that_collides_with_no_path_is_accepted(name):
    config = changed(f"types/{name}", TYPE | {"condense": RULE})
    assert name in study.check_config(config, SCHEMA)["types"]


def test_tracker_that_is_not_installed_is_told_with_the_command_that_installs_it(tmp_path, monkeypatch):
    config = changed("train/report_to", "trackio")
    monkeypatch.setattr("sys.path", [str(tmp_path)])  # not what is installed here
    monkeypatch.delitem(sys.modules, "trackio", raising=False)
    (tmp_path / "trackio").mkdir()  # a folder of runs is not the package
    with pytest.raises(study.StudyError, match=r"train\.report_to is 'trackio'.*python -m pip install trackio"):
        study.check_config(config, SCHEMA)
    (tmp_path / "trackio/__init__.py").touch()
    importlib.invalidate_caches()
    assert study.check_config(config, SCHEMA)["train"]["report_to"] == "trackio"


RECIPES = [
    ({"keep": "right"}, {}, "distill.keep is 'right', but drafts.recipes choose among all answers: expected finished"),
    (
        {"questions": 100},
        {"distill": {"questions": 400}},
        "recipes.one.distill.questions is 400: expected at most .* 100",
    ),
    ({"questions": None}, {"distill": {"questions": 1}}, "expected at most distill.questions, None"),
]


@pytest.mark.parametrize(("distill", "recipe", "message"), RECIPES)
def test_recipes_of_drafts_choose_among_the_answers_that_there_are(distill, recipe, message):
    config = changed("drafts/recipes", {"one": recipe, "gone": None})
    assert list(study.check_config(config, SCHEMA)["drafts"]["recipes"]) == ["one"]
    config["distill"] |= distill
    with pytest.raises(study.StudyError, match=message):
        study.check_config(config, SCHEMA)


OTHER = {"model": "head", "method": "eagle3", "draft_length": 3}
WHOLE = "smollm2-135m"


@pytest.mark.parametrize(
    ("change", "engine", "message"),
    [
        ({}, "native", "expected benchmark.engine vllm, found 'native'"),
        ({"model": "typo"}, "vllm", "one.model is 'typo': expected a key of models.sources"),
        ({"method": "draft_model"}, "vllm", "draft_model needs a full model, every other method a head"),
        ({"model": WHOLE}, "vllm", f"source of {WHOLE} is 'wheel': draft_model needs a full model"),
        ({"method": "dflash", "parallel": True}, "vllm", "method dflash always drafts in parallel: remove it"),
    ],
)
def test_drafts_of_others_fit_their_source_and_engine(change, engine, message):
    config = changed("models/sources/head", {"source": "head", "repo": "org/head", "revision": "main"})
    config["benchmark"] |= VLLM | {"other_drafts": {"one": OTHER, "gone": None}}
    assert list(study.check_config(config, SCHEMA)["benchmark"]["other_drafts"]) == ["one"]
    config["benchmark"] |= {"other_drafts": {"one": OTHER | change}, "engine": engine}
    with pytest.raises(study.StudyError, match=message):
        study.check_config(config, SCHEMA)


def test_a_draft_that_is_not_cut_from_the_target_cannot_begin_from_its_layers():
    config = changed("train/draft/start", "merged")
    study.check_config(config, SCHEMA)
    config["models"]["draft"] = config["models"]["target"]
    with pytest.raises(
        study.StudyError, match=r"train\.draft\.start is 'merged': expected a draft that is pruned from"
    ):
        study.check_config(config, SCHEMA)


@pytest.mark.parametrize("layers", [[[0, 1], [0, 29]], [0, 29]])
def test_layers_of_a_pruned_model_are_given_or_chosen_from_a_few_lists(layers):
    config = changed("models/sources/smollm2-135m-4l/layers", layers)
    study.check_config(config, SCHEMA)
    config["models"]["sources"]["smollm2-135m-4l"]["layers"] = [0, [1, 2]]
    with pytest.raises(study.StudyError, match="expected a list of layers, or several such lists"):
        study.check_config(config, SCHEMA)


def test_missing_key_is_named():
    config = copy.deepcopy(DEFAULT)
    del config["train"]["draft"]["rank"]
    with pytest.raises(study.StudyError, match=r"config key train\.draft\.rank is missing"):
        study.check_config(config, SCHEMA)


def test_all_faults_are_told_at_once():
    config = changed("benchmark/draft_length", 0)
    config["distill"]["concurrency"] = 0
    with pytest.raises(study.StudyError) as error:
        study.check_config(config, SCHEMA)
    assert "benchmark.draft_length" in str(error.value) and "distill.concurrency" in str(error.value)


def test_text_that_spells_a_number_is_read_as_one():
    config = changed("train/target/learning_rate", "1e-3")
    config["benchmark"]["limit"] = "null"
    checked = study.check_config(config, SCHEMA)
    assert checked["train"]["target"]["learning_rate"] == 1e-3
    assert checked["benchmark"]["limit"] is None


@pytest.mark.parametrize("value", [20.0, "2e1", "20.0", 2e1])
def test_a_whole_number_is_a_count_however_it_is_written(value):
    config = study.check_config(changed("scenarios/easy/train", value), SCHEMA)
    assert config["scenarios"]["easy"]["train"] == 20 and type(config["scenarios"]["easy"]["train"]) is int


@pytest.mark.parametrize("value", [20.5, "2.05e1", True, "twenty"])
def test_a_count_that_is_no_whole_number_is_refused_by_its_key(value):
    with pytest.raises(study.StudyError, match=r"config key scenarios\.easy\.train is .*: expected integer"):
        study.check_config(changed("scenarios/easy/train", value), SCHEMA)


def test_null_leaves_a_scenario_out_and_an_inherited_key_too():
    config = changed("scenarios/medium", None)
    config["scenarios"]["hard"] |= MATH | {"difficulty": None}
    checked = study.check_config(config, SCHEMA)
    assert set(checked["scenarios"]) == {"easy", "hard"}
    assert "difficulty" not in checked["scenarios"]["hard"]


@pytest.mark.parametrize(
    "entry", [MATH | {"train": 1000}, {"source": "generated", "difficulty": "easy", "test": 10**6}]
)
def test_more_than_there_is_may_be_asked_for_with_allow_fewer(entry):
    config = changed("scenarios/extra", {"train": 5, **entry, "allow_fewer": True})
    assert study.check_config(config, SCHEMA)["scenarios"]["extra"]["allow_fewer"] is True


def test_config_given_is_left_as_it_was():
    config = changed("scenarios/medium", None)
    before = copy.deepcopy(config)
    study.check_config(config, SCHEMA)
    assert config == before


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("results/cod_nope/metrics.json", "'nope'"),
        ("results/cdo_hard/metrics.json", "'cdo'"),
        ("results/untrained_nope/metrics.json", "'nope'"),
        ("data/questions/nope/train.jsonl", "'nope'"),
        ("data/cod/nope/audit.json", "'nope'"),
        ("data/models/nope", "'nope'"),
    ],
)
def test_target_outside_the_config_is_named(path, name):
    with pytest.raises(study.StudyError, match=f"{path}: config key .* has no {name}: expected one of"):
        study.check_target(path, DEFAULT)


@pytest.mark.parametrize(
    "path",
    [
        "results/cod_hard/metrics.json",
        "results/untrained_easy/metrics.json",
        "results/report/report.html",
        "results/study.json",
        "data/models/smollm2-135m",
        "--cores",
        "all",
    ],
)
def test_target_of_the_config_and_anything_else_passes(path):
    study.check_target(path, DEFAULT)


def test_a_draft_for_few_tokens_is_not_served_by_vllm():
    path = "results/cod_hard/served_load.json"
    with pytest.raises(
        study.StudyError, match=f"{path}: vLLM would let the draft propose tokens .* draft_vocabulary: null"
    ):
        study.check_target(path, DEFAULT)
    study.check_target(path, changed("benchmark", DEFAULT["benchmark"] | VLLM))


def test_a_teacher_keeps_only_the_keys_that_mean_something_to_it():
    assert study.check_config(changed("teacher", PAID | {"name": "oracle"}), SCHEMA)["teacher"] == {"name": "oracle"}
    assert "pending_hours" not in paid()["teacher"] and "concurrency" in paid()["teacher"]
    assert "concurrency" not in paid(name="gemini")["teacher"]
