"""`/metrics`, read by Prometheus' own parser."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import DIGIT_LABELS, SAMPLE
from tests.running_portal import ROOT, Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal

Samples = dict[tuple[str, ...], float]
FORWARDED = {"X-Forwarded-For": "203.0.113.9"}


@pytest.fixture(scope="module")
def asked(portal: RunningPortal) -> Iterator[Api]:
    """A loaded model that was asked five times, once with what is no picture."""
    api = portal.client("manage")
    api.upload("counted", SAMPLE, labels=DIGIT_LABELS, engine="tensorflow", preprocessing='{"preset":"unit"}')
    api.load("counted")
    picture = (SAMPLE.parent / "images" / "two.png").read_bytes()
    codes = [api.ask("counted", picture).status_code for _ in range(4)]
    assert [*codes, api.ask("counted", b"no picture").status_code] == [200] * 4 + [422]
    yield api
    api.delete("/api/models/counted/", params={"unload": "true"})


def samples(api: Api, **labels: str) -> dict[str, Samples]:
    """Every sample of these labels: by its name, then by the values of its other labels (in order of their names)."""
    answer = api.get("/metrics", headers={"Accept": "text/plain;version=0.0.4"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain")
    found: dict[str, Samples] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if labels.items() <= sample.labels.items():
                rest = tuple(value for name, value in sorted(sample.labels.items()) if name not in labels)
                found.setdefault(sample.name, {})[rest] = sample.value
    return found


def of_version(api: Api, name: str = "counted") -> dict[str, Samples]:
    return samples(api, model=name, version="1")


def only(found: Samples) -> float:
    (value,) = found.values()
    return value


def test_a_version_counts_its_requests_and_where_their_time_went(asked: Api) -> None:
    wait_for(lambda: only(of_version(asked)["portal_requests_total"]) == 5, 20, "the registry has heard of all five")
    found = of_version(asked)

    assert only(found["portal_errors_total"]) == 0, "a picture that is none is the sender's error"
    assert {code: count for (code, _), count in found["portal_refusals_total"].items()} == {"bad_image": 1}
    assert only(found["portal_memory_bytes"]) > 10**7
    for name in ("queue", "decode", "inference", "request"):
        assert only(found[f"portal_{name}_seconds_count"]) == 4
    assert 0 < only(found["portal_inference_seconds_sum"]) <= only(found["portal_request_seconds_sum"])
    assert only(found["portal_batch_rows_count"]) == only(found["portal_batch_rows_sum"]) == 4
    assert only(found["portal_queue_depth"]) == only(found["portal_requests_in_flight"]) == 0
    buckets = {key[0]: value for key, value in found["portal_request_seconds_bucket"].items()}
    assert buckets["+Inf"] == 4
    assert found["portal_version_state"] == {("loaded",): 1}


def test_state_sandbox_and_engine_of_a_copy_are_told(asked: Api) -> None:
    instance = asked.version("counted")["instances"][0]

    (facts,) = of_version(asked)["portal_instance_info"]

    assert set(facts) >= {str(instance["id"]), "ready", instance["sandbox"], "tensorflow", "cpu", instance["node"]}


def test_every_web_process_tells_the_same(asked: Api, portal: RunningPortal) -> None:
    wait_for(lambda: only(of_version(asked)["portal_requests_total"]) == 5, 20, "the registry has heard of all five")

    answers = [of_version(portal.client("manage"))["portal_request_seconds_count"] for _ in range(12)]

    assert {only(answer) for answer in answers} == {4}


def test_the_node_tells_its_slots_and_devices(asked: Api) -> None:
    node = asked.get("/api/status/").json()["nodes"][0]

    found = samples(asked, node=node["name"])

    assert only(found["portal_slots"]) == node["slots"]
    assert only(found["portal_slots_free"]) == node["slots_free"]
    assert set(found["portal_node_device_memory_bytes"]) == {(device["id"],) for device in node["devices"]}


@pytest.mark.long
def test_a_replaced_runner_does_not_set_the_counters_back(
    portal: RunningPortal, api: Api, digit: Callable[[str], bytes]
) -> None:
    api.upload("replaced", SAMPLE, labels=DIGIT_LABELS, engine="tensorflow", preprocessing='{"preset":"unit"}')
    pid = api.load("replaced")["instances"][0]["pid"]
    for _ in range(3):
        assert api.ask("replaced", digit("two")).status_code == 200
    wait_for(lambda: only(of_version(api, "replaced")["portal_requests_total"]) == 3, 20, "three are counted")

    os.kill(pid, signal.SIGKILL)
    seen = []

    def is_back() -> bool:
        seen.append(only(of_version(api, "replaced")["portal_requests_total"]))
        return api.ask("replaced", digit("two")).status_code == 200

    wait_for(is_back, 60, "it answers again")
    wait_for(lambda: only(of_version(api, "replaced")["portal_requests_total"]) == 4, 20, "four are counted")
    receipt = api.unload("replaced")

    assert min(seen) == 3
    assert receipt["process_exited"] is True
    assert only(of_version(api, "replaced")["portal_requests_total"]) == 4, (
        "the last ones are not lost with the process"
    )
    api.delete("/api/models/replaced/")


def test_a_key_a_session_or_a_program_on_this_machine_may_read(portal: RunningPortal) -> None:
    nobody = portal.client(None)

    answers = {
        "loopback": nobody.get("/metrics"),
        "through a proxy": nobody.get("/metrics", headers=FORWARDED),
        "key": portal.client("predict").get("/metrics", headers=FORWARDED),
        "session": portal.browser().get("/metrics", headers=FORWARDED),
        "wrong key": nobody.get("/metrics", headers={"Authorization": "Bearer wrong"}),
    }

    assert {who: answer.status_code for who, answer in answers.items()} == {
        "loopback": 200, "through a proxy": 401, "key": 200, "session": 200, "wrong key": 401,
    }  # fmt: skip
    assert answers["through a proxy"].json()["code"] == "not_authenticated"


@pytest.mark.django_db
@pytest.mark.parametrize(("peer", "status"), [("::ffff:127.0.0.1", 200), ("::ffff:192.0.2.7", 401), ("", 401)])
def test_a_socket_of_both_families_tells_this_machine_from_others(client: Client, peer: str, status: int) -> None:
    """PORTAL_HOST is `::`."""
    assert client.get("/metrics", REMOTE_ADDR=peer, HTTP_HOST="127.0.0.1").status_code == status


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Server",
        "X-Real-IP",
        "Forwarded",
        "Via",
    ],
)
def test_a_proxy_on_this_machine_is_known_by_any_of_its_headers(portal: RunningPortal, header: str) -> None:
    assert portal.client(None).get("/metrics", headers={header: "https"}).status_code == 401


def test_the_alerts_of_the_page_ask_for_figures_that_there_are(asked: Api) -> None:
    page = (ROOT / "docs" / "operating.md").read_text("utf-8")
    rules = re.search(r"<!-- alerts -->\n```yaml\n(.*?)```", page, re.DOTALL)
    assert rules is not None

    names = re.findall(r"\bportal_\w+", rules[1])
    told = asked.get("/metrics", headers={"Accept": "text/plain;version=0.0.4"}).text

    assert len(names) == 6
    assert [name for name in names if f"# TYPE {name} " not in told] == []
