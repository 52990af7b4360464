"""A short form of each campaign; `make campaign` runs them in full. A planted fault is found by each."""

import os
import tempfile

import pytest
import torch

from campaign import changes, commands, fuzz, kills, mutants, seeds, storage, survivors
from campaign.record import Record, write
from toy_score.schedules import LinearFlow


@pytest.fixture(scope="module")
def reference():
    with commands.Reference() as made:
        yield made


@pytest.fixture
def record():
    return Record(show=lambda line: None)


def test_a_prediction_that_is_killed_when_it_changes_a_file_goes_on_and_leaves_nothing(reference, record):
    kills.killed_at_every_file(record, reference, commands.PREDICT["csv"], at_most=8)
    assert record.tried.total() == 8
    assert record.failures == []


def test_a_run_that_is_killed_goes_on_bit_for_bit(reference, record):
    kills.killed_at_random(record, reference, commands.FIT, kills.duration(reference, commands.FIT) / 2, "fit 0")
    assert record.failures == []


def test_another_result_and_a_file_that_is_left_over_are_noticed(reference):
    command = commands.PREDICT["npy"]
    folder = reference.new(command)
    result = bytearray((reference.folder / "x.npy").read_bytes())
    (folder / "x.npy").write_bytes(result)
    assert reference.differences(command, folder) is None
    (folder / "x.npy.part").touch()
    assert reference.differences(command, folder) == "left over: x.npy.part"
    result[-1] ^= 1
    (folder / "x.npy").write_bytes(result)
    assert commands.whole(reference, command, folder) == "x.npy is neither whole nor absent"


def test_a_full_disk_leaves_nothing_and_the_same_command_goes_on(reference, record):
    storage.full(record, reference, commands.PREDICT["npy"], "full", 30_000)
    assert record.failures == []
    assert record.notes["full", "refused"] == 1


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_odd_input_runs_or_is_refused_in_one_line(kind, record):
    fuzz.fuzz(record, kind, range(30), seed=1)
    assert record.tried.total() == 30
    assert record.failures == []


def writes_elsewhere():
    """Plant a command that writes out of its folder."""
    import toy_score.commands.arguments as arguments

    parse = arguments.parse

    def planted(*words):
        handle, path = tempfile.mkstemp("elsewhere")
        os.close(handle)
        os.unlink(path)
        return parse(*words)

    arguments.parse = planted


def raises():
    """Plant a command with a defect."""
    import toy_score.commands.arguments as arguments

    def planted(*_):
        return {}["missing"]

    arguments.parse = planted


def hangs():
    """Plant a command that does not end."""
    import toy_score.commands.arguments as arguments

    def planted(*_):
        while True:
            pass

    fuzz.SECONDS = 0.5

    arguments.parse = planted


@pytest.mark.parametrize(
    ("plant", "found"), [(writes_elsewhere, "elsewhere"), (raises, "a defect"), (hangs, "more than 0.5 s")]
)
def test_the_fuzzer_finds_a_planted_fault(plant, found, record):
    fuzz.fuzz(record, "data", range(1), seed=1, prepare=plant)
    ((_, failure),) = record.failures
    assert found in failure


def test_a_table_takes_the_place_of_the_one_before(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- kills -->\nold\n<!-- end of kills -->\nafter\n")
    write("kills", "new", page)
    assert page.read_text() == "before\n<!-- kills -->\nnew\n<!-- end of kills -->\nafter\n"
    with pytest.raises(ValueError, match="has no place for fuzz"):
        write("fuzz", "new", page)


def test_every_mutant_of_a_file_is_another_program():
    """The changes are made in memory: the file stays, and each compiles to other code than it."""
    file = changes.ROOT / "toy_score/schedules/flow.py"
    before, original = file.read_text(), compile(file.read_text(), str(file), "exec")
    made = changes.mutants("schedules/flow.py")
    assert len(made) > 20
    assert all(mutant.code() != original for mutant in made)
    assert file.read_text() == before
    (sum_,) = (mutant for mutant in made if mutant.what == "operator: 1.0 - t -> 1.0 + t")
    assert sum_.place == "LinearFlow.__call__"
    module = {"__name__": "changed"}
    exec(sum_.code(), module)
    t = torch.tensor(0.25)
    assert (LinearFlow().alpha(t), module["LinearFlow"]().alpha(t)) == (0.75, 1.25)


def test_the_tests_that_are_tried_with_other_seeds_exist():
    for name in seeds.TESTS:
        file, _, function = name.partition("::")
        assert f"def {function}" in (seeds.ROOT / "tests" / file).read_text()


def test_a_campaign_that_goes_on_counts_its_trials_and_repeats_none(tmp_path):
    for again in (False, True):
        record = Record(lambda line: None, tmp_path / "trials.jsonl")
        assert [record.has("one"), record.has("two"), record.has("three")] == [again, again, False]
        if not again:
            record.add("kind", None, "ran", key="one")
            record.add("kind", "it broke", key="two")
            record.keep("durations", [1, 2])
    assert record.rows() == [{"trial": "kind", "tried": 2, "survived": 1, "how they ended": "1 ran"}]
    assert record.failures == [("kind", "it broke")]
    assert record.kept("durations") == [1, 2]


def test_the_functions_that_a_test_calls_are_noted():
    with mutants.Calls() as calls:
        LinearFlow().alpha(torch.tensor(0.5))
    assert ("schedules/flow.py", "LinearFlow.__call__") in calls.functions
    assert not any(path.startswith("samplers") for path, _ in calls.functions)


def test_the_table_of_mutants_counts_the_second_trial_and_weighs_the_parts(record):
    """19 of 20 of a part of 100 mutants, 16 and one more of 20 of a part of 900: 0.1 * 0.95 + 0.9 * 0.85 = 0.86."""
    for k in range(20):
        record.add("small", None if k else "a.py:1 x")
        record.add("large", None if k > 3 else f"b.py:{k} x")
    record.keep(survivors.again("b.py:1 x"), True)
    record.keep(survivors.again("b.py:2 x"), False)
    rows = {row["part"]: row for row in survivors.table(record, {"small": 100, "large": 900})}
    assert (rows["large"]["found"], rows["large"]["by slow tests"], rows["large"]["share"]) == (16, 1, "85.0%")
    assert (rows["all"]["found"], rows["all"]["share"]) == (35, "90.0%")
    assert rows["all, by the number of mutants"]["share"] == "86.0%"


def test_of_a_part_with_a_quarter_of_the_mutants_half_as_many_are_tried_and_five_at_least():
    totals = {"large": 3600, "quarter": 900, "small": 9, "tiny": 3}
    assert mutants.allotted(40, totals) == {"large": 40, "quarter": 20, "small": 5, "tiny": 3}


def test_the_interval_of_a_share_is_that_of_wilson():
    """All of 60: 94.0 % to 100 %; half of 10: 23.7 % to 76.3 %, by hand from the formula."""
    assert survivors.interval(60, 60) == pytest.approx((0.9398, 1.0), abs=1e-4)
    assert survivors.interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert survivors.interval(0, 0) == (0.0, 1.0)
