"""The seed decides what happens: the same plan and calls again, with every sort of fault."""

from itertools import islice

from tests.faults.calls import calls_of
from tests.faults.network_faults import HostStop
from tests.faults.plan import PlanOptions, one_of_each, plan_faults

OPTIONS = PlanOptions(pause_between=5, longest=20)


def test_the_same_seed_gives_the_same_faults_and_calls() -> None:
    assert plan_faults(7, seconds=600, options=OPTIONS) == plan_faults(
        7, seconds=600, options=OPTIONS
    )
    assert list(islice(calls_of(7), 200)) == list(islice(calls_of(7), 200))


def test_another_seed_gives_others() -> None:
    assert plan_faults(7, seconds=600, options=OPTIONS) != plan_faults(
        8, seconds=600, options=OPTIONS
    )


def test_a_long_plan_has_every_sort_on_every_server() -> None:
    plan = plan_faults(3, seconds=7200, options=OPTIONS)
    names = {each.nemesis.name for each in plan}
    assert names >= {each.nemesis.name for each in one_of_each(3, options=OPTIONS)}
    killed = {each.nemesis.target for each in plan if each.nemesis.name == "kill"}
    assert killed >= {"gateway", "nats", "postgres", "dagster-daemon", "dagster-code", "run-worker"}


def test_faults_end_in_time_and_do_not_overlap_on_one_target() -> None:
    now, ends = 0.0, dict[str, float]()
    for planned in plan_faults(5, seconds=3600, options=OPTIONS):
        fault = planned.nemesis
        now += planned.after
        assert ends.get(fault.target, 0.0) <= now
        if isinstance(fault, HostStop):
            assert max(ends.values(), default=0.0) <= now
        ends[fault.target] = now + fault.seconds
    assert max(ends.values()) <= 3600


def test_calls_are_a_mix() -> None:
    calls = list(islice(calls_of(1), 500))
    assert {each.api for each in calls} == {"chat", "messages", "responses", "embeddings"}
    assert {len(each.functions) for each in calls} == {0, 1, 2}
    assert len({each.correlation_id for each in calls}) == 500
