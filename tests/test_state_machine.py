"""The one state machine: every pair of states, by the services that move it, against a real database."""

from __future__ import annotations

import itertools

import pytest
from django.utils import timezone

from models_app.choices import ALLOWED_MOVES, ENDED, LIVE, InstanceState, VersionState, version_state
from models_app.models import Instance, ModelVersion, Node, RegisteredModel, Transition
from models_app.services.move import move

PAIRS = list(itertools.product(InstanceState, InstanceState))


@pytest.fixture
def instance(db: None) -> Instance:
    model = RegisteredModel.objects.create(name="cats")
    version = ModelVersion.objects.create(model=model, number=3, file_key="k", file_name="f", size_bytes=1, sha256="0")
    node = Node.objects.create(name="atlas", slots=2)
    return Instance.objects.create(version=version, node=node, state_since=timezone.now())


@pytest.mark.parametrize(("before", "after"), PAIRS, ids=[f"{a}-to-{b}" for a, b in PAIRS])
def test_a_move_is_made_and_recorded_exactly_if_the_machine_has_it(
    instance: Instance, before: InstanceState, after: InstanceState
) -> None:
    Instance.objects.filter(pk=instance.pk).update(state=before)

    if after in ALLOWED_MOVES[before]:
        assert move(instance, after, before=[before], reason="because", by="ada")
        row = Transition.objects.get()
        assert (row.before, row.after, row.reason, row.by) == (before, after, "because", "ada")
        assert (row.model_name, row.version_number) == ("cats", 3)
        assert instance.state == after
    else:
        with pytest.raises(ValueError, match="does not go"):
            move(instance, after, before=[before])
        assert not Transition.objects.exists()


def test_of_two_who_move_the_same_instance_one_wins(instance: Instance) -> None:
    same = Instance.objects.get(pk=instance.pk)

    first = move(instance, InstanceState.LOADING, before=[InstanceState.QUEUED])
    second = move(same, InstanceState.STOPPED, before=[InstanceState.QUEUED])

    assert (first, second) == (True, False)
    assert Transition.objects.count() == 1


def test_a_stale_generation_moves_nothing(instance: Instance) -> None:
    assert not move(instance, InstanceState.LOADING, before=[InstanceState.QUEUED], generation=instance.generation + 1)
    assert Instance.objects.get().state == InstanceState.QUEUED


def test_every_live_state_can_end() -> None:
    reachable = {state: _reachable(state) for state in LIVE}

    assert all(InstanceState.STOPPED in states for states in reachable.values())
    assert set(ENDED) | set(LIVE) == set(InstanceState)


def test_history_outlives_what_it_tells_of(instance: Instance) -> None:
    move(instance, InstanceState.LOADING, before=[InstanceState.QUEUED])

    instance.version.model.delete()

    assert Transition.objects.get().model_name == "cats"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], VersionState.UNLOADED),
        (["stopped"], VersionState.UNLOADED),
        (["failed", "ready"], VersionState.LOADED),
        (["queued", "restarting"], VersionState.RESTARTING),
        (["unloading", "queued"], VersionState.QUEUED),
        (["failed", "unloading"], VersionState.UNLOADING),
        (["stopped", "failed"], VersionState.FAILED),
    ],
)
def test_the_state_of_a_version_is_the_most_advanced_of_its_instances(
    states: list[str], expected: VersionState
) -> None:
    assert version_state(states) is expected


def _reachable(state: InstanceState) -> set[InstanceState]:
    seen: set[InstanceState] = set()
    waiting = [state]
    while waiting:
        for after in ALLOWED_MOVES[waiting.pop()] - seen:
            seen.add(after)
            waiting.append(after)
    return seen
