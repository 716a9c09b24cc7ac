"""Checkpoints belong to one training: its settings and its data."""

from doubledraft.training.checkpoints import folder_of_run, newest_whole_checkpoint


def test_checkpoints_of_other_settings_are_removed_and_never_continued(tmp_path):
    old = folder_of_run(tmp_path, {"learning_rate": 1e-3})
    (old / "checkpoint-3").mkdir()
    new = folder_of_run(tmp_path, {"learning_rate": 2e-3})
    assert newest_whole_checkpoint(new) is None
    assert [path for path in tmp_path.iterdir()] == [new]
