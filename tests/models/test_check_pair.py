"""Models that the native engine cannot run are refused before anything is trained, where it will run them."""

import json
import shutil

import pytest

from doubledraft.models import check_pair
from doubledraft.models.folder import ModelError


def test_a_pair_that_the_native_engine_cannot_run_is_refused_where_it_will(tiny_model, tmp_path):
    pair, settings = tmp_path / "pair.json", {"max_model_len": 1024}
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu"}))
    check_pair.write_pair_check(tiny_model, copy, pair, **settings)
    message = f"{copy}: hidden_act is 'gelu', and the native engine runs only 'silu'; use another model"
    with pytest.raises(ModelError, match=message):
        check_pair.write_pair_check(tiny_model, copy, pair, **settings, native=True)
