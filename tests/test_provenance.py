"""What a result says of its making."""

from doubledraft import provenance


def test_the_config_hash_sees_values_and_not_the_order_of_keys():
    assert provenance.config_hash({"a": 1, "b": [2]}) == provenance.config_hash({"b": [2], "a": 1})
    assert provenance.config_hash({"a": 1}) != provenance.config_hash({"a": 2})


def test_provenance_names_code_libraries_hardware_and_time():
    made = provenance.provenance()
    assert {"doubledraft", "commit", "python", "libraries", "hardware", "time"} <= made.keys()
    assert {"torch", "transformers", "snakemake"} <= made["libraries"].keys()
    assert made["hardware"]["cores"] >= 1 and made["hardware"]["processor"]


def test_a_machine_without_git_gives_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.provenance()["commit"] is None
