"""Tables of the command line: aligned, whatever stands in a column, and without spaces at the end of a line."""

import pytest

from doubledraft.cli.text_table import columns


def test_the_first_column_is_aligned_left_and_the_others_right():
    assert columns(("arm", "n"), [("plain", "7"), ("K = 2", "1,024")]) == "arm        n\nplain      7\nK = 2  1,024\n"


def test_a_line_ends_with_its_last_sign():
    assert columns(("step", "note"), [("merge", ""), ("score", "x")]) == "step   note\nmerge\nscore     x\n"


def test_a_row_that_lacks_a_cell_is_refused():
    with pytest.raises(ValueError):
        columns(("a", "b"), [("only one",)])
