"""The states of a backend's circuit breaker; time is given, so nothing waits."""

from structlog.testing import capture_logs

from contracts.settings import RoutingSettings
from gateway.backends.breaker import CircuitBreaker


def breaker_of(**fields: float) -> CircuitBreaker:
    settings = {"breaker_failures": 3, "breaker_seconds": 10.0, **fields}
    return CircuitBreaker("a", RoutingSettings.model_validate(settings))


def opened() -> CircuitBreaker:
    breaker = breaker_of()
    for _ in range(3):
        breaker.fail(100.0)
    return breaker


def test_only_failures_in_a_row_open_it() -> None:
    breaker = breaker_of()
    for _ in range(5):
        breaker.fail(100.0)
        breaker.fail(100.0)
        breaker.succeed()
    assert breaker.is_closed


def test_answers_that_begin_and_break_off_are_failures_in_a_row() -> None:
    breaker = breaker_of()
    for _ in range(3):
        breaker.pass_trial()
        breaker.fail(100.0)
    assert breaker.state == "open"


def test_open_admits_nothing_until_a_trial_is_due() -> None:
    breaker = opened()

    assert breaker.state == "open"
    assert not breaker.admits(109.9)
    assert breaker.seconds_until_trial(104.0) == 6.0
    assert breaker.admits(110.0)


def test_half_open_admits_one_request_at_a_time() -> None:
    breaker = opened()
    breaker.begin(110.0)

    assert breaker.state == "half_open"
    assert not breaker.admits(110.1)
    # The one on trial came to no end, as when its client went away.
    assert breaker.admits(120.0)


def test_a_trial_that_succeeds_closes_it_and_failures_count_anew() -> None:
    breaker = opened()
    breaker.begin(110.0)
    breaker.pass_trial()

    assert breaker.is_closed
    breaker.fail(111.0)
    assert breaker.is_closed


def test_a_trial_that_fails_opens_it_at_once() -> None:
    breaker = opened()
    breaker.begin(110.0)
    breaker.fail(111.0)

    assert breaker.state == "open"
    assert not breaker.admits(120.9)


def test_the_log_has_a_line_for_each_change_and_none_for_a_failed_trial() -> None:
    with capture_logs() as lines:
        breaker = opened()
        for now in (110.0, 120.0, 130.0):
            breaker.begin(now)
            breaker.fail(now)
        breaker.begin(140.0)
        breaker.pass_trial()
        breaker.succeed()

    assert [line["event"] for line in lines] == ["backend out of use", "backend in use again"]


def test_a_sign_of_life_makes_the_trial_due() -> None:
    breaker = opened()
    breaker.allow_trial()

    assert breaker.state == "open"
    assert breaker.admits(100.0)


def test_a_request_in_use_is_no_trial() -> None:
    breaker = breaker_of()
    breaker.begin(100.0)

    assert breaker.is_closed
