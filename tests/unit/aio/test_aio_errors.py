from __future__ import annotations

import pytest

from aio.errors import Bug, Rejected, Retry, cannot

pytestmark = pytest.mark.pure


def test_message_says_what_failed_and_why() -> None:
    assert cannot('pull image "a"', "no registry") == 'cannot pull image "a": no registry'


def test_bug_shows_its_story_and_the_others_carry_a_reason() -> None:
    assert str(Bug("impossible", story=("started", "died"))) == "impossible\n  started\n  died"
    assert Retry("later", reason="NetworkNotReady", after_seconds=2.0).after_seconds == 2.0
    assert Rejected("no", reason="InvalidImageName").reason == "InvalidImageName"
