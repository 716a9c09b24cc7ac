"""The ledger of a paid teacher."""

import json
import multiprocessing
import os

import pytest

from doubledraft.traces.teacher import ledger
from doubledraft.traces.teacher.ledger import Ledger, LedgerError
from doubledraft.traces.teacher.messages import Finish
from tests.helpers.teacher import SETTINGS, reply


def test_what_was_recorded_is_there_again(tmp_path):
    path = tmp_path / "ledger" / "cot_easy.jsonl"
    with Ledger(path) as first:
        first.record(reply("a"), SETTINGS)
        first.record_all([reply("b", Finish.length), reply("c", Finish.failed, 0, 0)], SETTINGS)
    with Ledger(path) as again:
        assert again.replies == {"a": reply("a"), "b": reply("b", Finish.length), "c": reply("c", Finish.failed, 0, 0)}
        assert again.spent == pytest.approx((200 * 1 + 40 * 10) / 1e6)


def test_a_key_that_a_service_sends_back_is_not_recorded(tmp_path, monkeypatch):
    from dataclasses import replace

    from doubledraft import api_keys

    monkeypatch.setattr(api_keys, "_forms", {"sentinel-key"})
    with Ledger(tmp_path / "l.jsonl") as book:
        told = replace(reply("a", Finish.failed), text="sentinel-key!", reason="400: sentinel-key is no key")
        book.record(told, SETTINGS)
        assert (book.replies["a"].text, book.replies["a"].reason) == ("***!", "400: *** is no key")
    assert "sentinel" not in (tmp_path / "l.jsonl").read_text()


def test_a_reply_costs_what_it_cost_when_it_came(tmp_path):
    from dataclasses import replace

    with Ledger(tmp_path / "l.jsonl") as book:
        book.record(reply("a"), SETTINGS)
        book.record(reply("b"), replace(SETTINGS, input_price=2.0, output_price=20.0))
        assert book.spent == pytest.approx(3 * (100 * 1 + 20 * 10) / 1e6)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_line_is_dropped_and_said(tmp_path, caplog, cut):
    path = tmp_path / "l.jsonl"
    with Ledger(path) as book:
        book.record(reply("a"), SETTINGS)
        book.record(reply("b"), SETTINGS)
    os.truncate(path, path.stat().st_size - cut)
    assert set(ledger.read(path).replies) == {"a"}, "a reader leaves it out"
    with Ledger(path) as book:
        assert set(book.replies) == {"a"}
        book.record(reply("c"), SETTINGS)
    assert "dropped the last" in caplog.text
    assert set(ledger.read(path).replies) == {"a", "c"}, "what follows stands on a line of its own"


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        '{"event": "reply"}',
        '{"event": "party"}',
        '{"event": "state", "batch": "never seen", "state": "RUNNING"}',
        '{"event": "reply", "reply": {"key": "a"}, "input_price": 1, "output_price": 1}',
        '{"event": "reserve", "bounds": 3}',
    ],
)
def test_a_bad_line_before_others_is_refused_with_its_place_and_a_last_one_is_set_aside(tmp_path, line, caplog):
    path, other = tmp_path / "l.jsonl", tmp_path / "other.jsonl"
    for book, key in ((Ledger(path), "a"), (Ledger(other), "b")):
        with book:
            book.record(reply(key), SETTINGS)
    good = path.read_text()
    before = f"{good}{line}\n{other.read_text()}"
    path.write_text(before)
    with pytest.raises(LedgerError, match=r"l\.jsonl:2: not an event"):
        Ledger(path)
    assert path.read_text() == before, "nothing is repaired in silence"
    path.write_text(f"{good}{line}\n")
    assert set(ledger.read(path).replies) == {"a"}, "a reader leaves it out"
    with Ledger(path) as book:
        assert set(book.replies) == {"a"}
    assert path.read_text() == good and (tmp_path / "l.jsonl.dropped").read_text() == f"{line}\n"
    assert "which are not a complete event; they are kept in" in caplog.text


@pytest.mark.parametrize("count", [None, -1, "20", 1.5])
def test_a_ledger_with_a_count_that_is_none_opens_again_and_the_reply_stays_charged_at_its_most(tmp_path, count):
    path = tmp_path / "l.jsonl"
    with Ledger(path) as book:
        book.add("reserve", bounds={"a": 0.25})
        book.record(reply("a"), SETTINGS)
    lines = path.read_text().split("\n")
    event = json.loads(lines[1])
    event["reply"]["output_tokens"] = count  # as an earlier version wrote what a server reported
    path.write_text("\n".join([lines[0], json.dumps(event), ""]))
    with Ledger(path) as book:
        assert book.replies["a"].text == "4" and book.replies["a"].output_tokens is None
        assert (book.spent, book.committed) == (0.0, 0.25)


def test_an_event_that_could_not_be_read_again_is_not_written(tmp_path):
    with Ledger(tmp_path / "l.jsonl") as book:
        book.record(reply("a"), SETTINGS)
        before = (tmp_path / "l.jsonl").read_text()
        with pytest.raises(ValueError, match="'a' has two replies"):
            book.record(reply("a"), SETTINGS)
        with pytest.raises(ValueError, match="expected a number of tokens"):
            reply("b", input_tokens=-1)
    assert (tmp_path / "l.jsonl").read_text() == before


def test_two_replies_to_one_key_are_never_added_up(tmp_path):
    path = tmp_path / "l.jsonl"
    with Ledger(path) as book:
        book.record(reply("a"), SETTINGS)
    path.write_text(path.read_text() * 3)
    with pytest.raises(LedgerError, match="'a' has two replies"):
        ledger.read(path)


def test_two_processes_do_not_own_one_ledger(tmp_path):
    path = tmp_path / "l.jsonl"
    with Ledger(path):
        with pytest.raises(LedgerError, match="in use.*wait for it to end, or stop it"):
            Ledger(path)
        ledger.read(path)
    Ledger(path).__exit__()


def _hold(path, ready):
    with Ledger(path) as book:
        book.record(reply("a"), SETTINGS)
        ready.set()
        multiprocessing.Event().wait()


def test_a_killed_owner_leaves_the_ledger_free(tmp_path):
    path, ready = tmp_path / "l.jsonl", multiprocessing.Event()
    owner = multiprocessing.Process(target=_hold, args=(path, ready))
    owner.start()
    assert ready.wait(60)
    owner.kill()
    owner.join()
    with Ledger(path) as book:
        assert set(book.replies) == {"a"}


def test_money_set_aside_is_freed_by_a_reply_that_reports_its_usage(tmp_path):
    with Ledger(tmp_path / "l.jsonl") as book:
        book.add("reserve", bounds={"told": 0.1, "untold": 0.2, "failed": 0.3, "none": 0.4})
        assert book.committed == pytest.approx(1.0)
        book.record(reply("told", input_tokens=100_000, output_tokens=0), SETTINGS)
        book.record(reply("untold", input_tokens=0, output_tokens=0), SETTINGS)
        book.record(reply("failed", Finish.failed, 0, 0), SETTINGS)
        assert book.spent == pytest.approx(0.1)
        assert book.committed == pytest.approx(0.1 + 0.2 + 0.4)


def test_a_disk_that_is_full_leaves_no_half_line(tmp_path, monkeypatch):
    path = tmp_path / "l.jsonl"
    with Ledger(path) as book:
        book.record(reply("a"), SETTINGS)
        write = os.write
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:10]))
        with pytest.raises(OSError, match="disk is full"):
            book.record(reply("b"), SETTINGS)
        monkeypatch.undo()
        assert set(book.replies) == {"a"}
        book.record(reply("b"), SETTINGS)
    assert [json.loads(line)["reply"]["key"] for line in path.read_text().split("\n")[:-1]] == ["a", "b"]
