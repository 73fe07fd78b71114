import collections

import pytest

from data_pipeline.skips import (
    EMPTY_CROP,
    SHOWN_SOURCES,
    SPARE_SKIPS,
    SkipLedger,
    SkippedDraw,
    listing,
    printable,
    summary,
)


def records(count, cause="damaged frame", first=0):
    return [(cause, f"v{n}", f"disk/v{n}: cut short") for n in range(first, first + count)]


def test_counts_are_kept_per_cause_and_begin_anew_each_epoch(caplog):
    ledger = SkipLedger(100)
    ledger.add(records(3))
    ledger.add([("damaged box", "s1", "disk/s1: no area")])
    assert ledger.counts == {"damaged frame": 3, "damaged box": 1}
    caplog.clear()
    ledger.end_epoch(7, 1000)
    assert caplog.messages == [
        "epoch 7: 4 of its draws were skipped and replaced to make 1000 samples: "
        "damaged frame 3, damaged box 1"
    ]
    assert ledger.counts == {}
    ledger.end_epoch(8, 1000)
    assert len(caplog.messages) == 1


def test_each_source_is_logged_once_and_only_the_first_ones(caplog):
    ledger = SkipLedger(1000)
    ledger.add(records(2))
    ledger.add(records(2))
    assert caplog.messages == [
        f"skipped a draw (damaged frame): disk/v{n}: cut short" for n in range(2)
    ]
    ledger.add(records(100))
    assert len(caplog.messages) == SHOWN_SOURCES


def test_one_skip_more_than_the_limit_stops_with_the_list():
    ledger = SkipLedger(15)
    ledger.add(records(15 + SPARE_SKIPS))
    with pytest.raises(ValueError, match="26 draws of this epoch were skipped") as caught:
        ledger.add(records(1, "damaged box", first=99))
    text = str(caught.value)
    assert "more than the 25 that config.data.max_skip_share allows" in text
    assert "damaged frame 25, damaged box 1" in text
    assert "(1) disk/v0: cut short" in text
    assert text.endswith(f"({SHOWN_SOURCES}) disk/v19: cut short and 6 more.")


def test_empty_crops_are_counted_but_no_fault(caplog):
    ledger = SkipLedger(0)
    ledger.add(records(500, EMPTY_CROP) + records(SPARE_SKIPS))
    assert ledger.counts == {EMPTY_CROP: 500, "damaged frame": SPARE_SKIPS}
    assert len(caplog.messages) == SPARE_SKIPS
    with pytest.raises(ValueError, match=r"11 draws of this epoch .*: damaged frame 11\."):
        ledger.add(records(1))


def test_a_restored_ledger_goes_on_counting():
    ledger = SkipLedger(0)
    ledger.restore({"damaged frame": SPARE_SKIPS})
    with pytest.raises(ValueError, match="11 draws"):
        ledger.add(records(1))


def test_names_that_are_no_text_are_written_as_escapes():
    assert printable("a\udcffé") == "a\\udcffé"
    assert listing(["\udcfe"]) == "(1) \\udcfe"


def test_the_summary_has_the_largest_count_first():
    assert summary(collections.Counter({"a": 1, "b": 3})) == "b 3, a 1"


def test_a_skip_carries_cause_source_and_message():
    skip = SkippedDraw("damaged box", "v1", "disk/v1: no area")
    assert skip.record() == ("damaged box", "v1", "disk/v1: no area")
