import json
from xml.etree import ElementTree

import pytest
from bench import picture, results, table
from bench.results import Figure, Neighbour, Results

RSS = Figure(
    "rss", "Memory", "memory", "MiB", target={100: (100, 100), 500: (160, 160)}, peer={100: (90, 90)}, picture=True
)
READY = Figure("ready", "Creation", "to Ready", "s", target={0: (1.5, 1.5)}, peer={1: (1.7, 2.2)}, picture=True)
WRITES = Figure("writes", "Idle", "writes", "", target={0: (0, 0)}, peer={}, picture=False)
KNOWN = [READY, WRITES, RSS]


@pytest.fixture
def measured():
    found = Results("ours", "An operator.")
    for figure, count, value in [
        ("rss", 1, 60),
        ("rss", 100, 101),
        ("rss", 500, 150),
        ("ready", 1, 1.4),
        ("writes", 1, 0),
    ]:
        found.record(figure, count, value)
    return found


def test_a_value_over_its_target_is_marked_and_told(measured):
    assert results.missed(measured, KNOWN) == ["ours, N=100: memory: 101 MiB, wanted at most 100"]
    (line,) = [line for line in table.table([measured], KNOWN).splitlines() if "memory" in line]
    assert "101!" in line
    assert "150!" not in line


def test_a_target_of_zero_is_met_by_zero_alone(measured):
    assert WRITES.verdict(1, 0) is True
    assert WRITES.verdict(1, 1) is False


def test_a_target_for_some_number_of_instances_says_nothing_about_others():
    assert RSS.verdict(1, 1000) is None
    assert RSS.target_at(500) == 160


def test_the_table_has_a_column_for_each_number_and_leaves_out_what_was_not_measured(measured):
    text = table.table([measured], [*KNOWN, Figure("other", "Other", "other", "", {}, {}, False)])
    assert text.splitlines()[0].split() == ["target", "peer", "N=1", "N=100", "N=500"]
    assert "other" not in text.lower()


def test_two_subjects_stand_beside_each_other(measured):
    other = Results("theirs", "Another operator.")
    other.record("ready", 1, 9.0)
    lines = table.table([measured, other], KNOWN).splitlines()
    assert lines[0].split() == ["ours", "ours", "ours", "theirs"]
    (line,) = [line for line in lines if "to Ready" in line]
    assert line.split()[-4:] == ["1.40", "-", "-", "9.00!"]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.0123, "0.012"), (1.254, "1.25"), (44.72, "44.7"), (1480.4, "1480")]
)
def test_a_number_has_the_digits_that_say_something(value, text):
    assert table.number(value) == text


def test_cells_stand_below_each_other():
    lines = table.aligned([["", "a"], [], ["A group that is very long indeed"], ["x", "100"]]).splitlines()
    assert lines[0].index("a") + 1 == lines[3].index("100") + 3 == len(lines[3])


def test_neighbours_are_shown_with_what_changed_beside_them():
    found = Neighbour("no store", "NoStore", {"repair": 0.05}, {"repair": 0.06}, {"repair": 0.1}, 12.0)
    text = table.neighbours([found])
    assert "no store" in text
    assert "1.20" in text
    assert "repair 10%" in text


def test_the_figures_of_the_bench_are_read_and_each_is_known_once():
    known = results.figures()
    assert len({figure.id for figure in known}) == len(known)
    by_id = {figure.id: figure for figure in known}
    assert by_id["rss"].target_at(500) == 160
    assert by_id["create.burst.all"].peer_at(100) == (44.7, 52.5)
    assert by_id["idle.writes"].verdict(100, 1) is False


def test_everything_is_in_the_json(measured, tmp_path):
    measured.problems.append("something could not be measured")
    results.write(tmp_path / "bench.json", {"cpus": 2}, [measured], KNOWN)
    content = json.loads((tmp_path / "bench.json").read_text())
    (subject,) = content["subjects"]
    assert subject["figures"]["rss"] == {"1": 60, "100": 101, "500": 150}
    assert subject["problems"] == ["something could not be measured"]
    assert content["missed"] == results.missed(measured, KNOWN)


SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_has_a_chart_for_each_figure_that_is_drawn_and_a_line_for_each_subject(measured):
    other = Results("<theirs>", "Another operator.")
    other.record("rss", 1, 30)
    other.record("rss", 100, 90)
    root = ElementTree.fromstring(picture.picture([measured, other], KNOWN))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert "memory (MiB)" in texts
    assert "to Ready (s)" in texts
    assert "writes" not in texts
    assert "<theirs>" in texts
    lines = [element.get("points").split() for element in root.iter(f"{SVG}polyline")]
    assert sorted(len(points) for points in lines) == [0, 1, 2, 3]


def test_a_larger_value_is_higher_up_in_the_picture(measured):
    root = ElementTree.fromstring(picture.picture([measured], [RSS]))
    (line,) = root.iter(f"{SVG}polyline")
    heights = [float(point.split(",")[1]) for point in line.get("points").split()]
    assert heights == sorted(heights, reverse=True)[:1] + heights[1:]
    assert heights[0] > heights[1] > heights[2] > 0


def test_a_picture_of_nothing_but_zeros_can_be_drawn():
    found = Results("ours", "")
    found.record("ready", 1, 0.0)
    assert "polyline" in picture.picture([found], [Figure("ready", "g", "t", "s", {}, {}, True)])
