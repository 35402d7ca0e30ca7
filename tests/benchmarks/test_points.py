"""The benchmark of points: all ways bring the same points, and a way that loses some is found out."""

from __future__ import annotations

import pytest

from benchmarks import __main__ as command
from benchmarks import points


def test_all_ways_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["points", "--quick"]) == 0
    printed = capsys.readouterr().out
    assert "rate of the live view ÷ Lightning's MLFlowLogger" in printed and "points/s: logger " in printed


def test_a_way_that_leaves_points_out_is_no_way() -> None:
    with points._store() as (client, address):
        points.by_journal(client, address, "whole", 5)
        run = client.search_runs([client.get_experiment_by_name("live").experiment_id])[0].info.run_id
        points._check(client, run, "train_loss/seed_0", 5)
        with pytest.raises(RuntimeError, match="has 5 points instead of 6"):
            points._check(client, run, "train_loss/seed_0", 6)
