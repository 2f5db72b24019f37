"""The whole library against a small model: random lives of jobs and workers, every invariant after every step.

- `test_many_lives` plays whole scripts from plain seeds: as random as can be, and as many as time allows.
- `test_the_library_does_what_the_model_says` leaves the choice of steps to hypothesis.

A long run: MUSTER_STATEFUL_EXAMPLES=2000 [MUSTER_STATEFUL_SEED=100000] pytest tests/lua/test_stateful.py
"""

import os
import random
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.support.broker_calls import Calls
from tests.support.broker_play import Play, Step, chosen_step, documents_of_all, played, shortened
from tests.support.stores import KINDS, Server

EXAMPLES = int(os.environ.get("MUSTER_STATEFUL_EXAMPLES", "20"))
SEED = os.environ.get("MUSTER_STATEFUL_SEED")
#: scripts per example of hypothesis, which is slower
SCRIPTS = 2 * EXAMPLES
STEPS = 50 if EXAMPLES <= 100 else 100

#: a step is chosen by a number, so that the weights of steps are ours, whatever hypothesis prefers
numbers = st.integers(0, 2**48 - 1)


class Machine(RuleBasedStateMachine):
    """Hypothesis chooses the steps, and leaves out what a failure doesn't need."""

    calls: ClassVar[Calls]

    @initialize(number=numbers, agents=st.sampled_from([3, 3, 2, 1, 0]))
    def begin(self, number: int, agents: int) -> None:
        self.play = Play(self.calls, documents_of_all(random.Random(number)), agents, park=1 + number % 2)

    @rule(number=numbers)
    def step(self, number: int) -> None:
        name, arguments = chosen_step(random.Random(number))
        note(f"{name}({', '.join(f'{argument}={value!r}' for argument, value in arguments.items())})")
        getattr(self.play, name)(**arguments)

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        if hasattr(self, "play"):
            self.play.look()


@pytest.mark.parametrize("kind", KINDS)
def test_the_library_does_what_the_model_says(kind: str, store_servers: Callable[[str], Server]) -> None:
    Machine.calls = Calls(store_servers(kind).url)
    chosen = settings(
        derandomize=SEED is None,
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
    )
    machine = seed(int(SEED))(Machine) if SEED else Machine
    try:
        run_state_machine_as_test(machine, settings=chosen)
    finally:
        Machine.calls.close()


def goes_wrong(calls: Calls, number: int, script: list[Step]) -> bool:
    return played(calls, number, script) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_many_lives(kind: str, store_servers: Callable[[str], Server]) -> None:
    calls = Calls(store_servers(kind).url)
    first = int(SEED or 0)
    for number in range(first, first + SCRIPTS):
        generator = random.Random(number)
        script = [chosen_step(generator) for _ in range(STEPS)]
        if played(calls, number, script):
            least = shortened(script, partial(goes_wrong, calls, number))
            told = "\n".join(f"  {name} {arguments}" for name, arguments in least)
            raise AssertionError(f"seed {number}:\n{told}") from played(calls, number, least)
    calls.close()
