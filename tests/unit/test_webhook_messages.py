"""Which event goes to which webhook, and as what."""

from typing import Any

import msgspec
import pytest

from hub.webhooks.messages import MOST_BODY_BYTES, deliveries_of, headers_of, is_topic
from shared.wire.states import JobState
from shared.wire.views import Event, JobView
from shared.wire.webhooks import Disabled, Secret, Webhook

T0 = 1_700_000_000_000
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def webhook(**fields: Any) -> Webhook:
    usual = {"id": "wh_1", "pool": "default", "name": "x", "url": "https://x.example", "events": ("job",)}
    return Webhook(**{**usual, "created_at_ms": 0, **fields})


def event(type_: str = "job.failed", **fields: Any) -> Event:
    return Event(**{"id": f"{T0}-0", "type": type_, "at_ms": T0, "job_id": "default-1", **fields})


def job(**fields: Any) -> JobView:
    spec = fields.pop("spec", {})
    usual = {"id": "default-1", "pool": "default", "service": "comfyui", "state": JobState.FAILED, "priority": 50}
    counted = {"attempts": 1, "max_attempts": 3, "fence": 1, "submitted_at_ms": T0}
    return JobView(**{**usual, **counted, "spec": spec, **fields})


def targets(happened: Event, about: JobView | None, *webhooks: Webhook) -> list[str]:
    return [one.webhook_id for one in deliveries_of("default", happened, about, webhooks, now_ms=T0)]


@pytest.mark.parametrize(
    ("topics", "type_", "wanted"),
    [
        (("job.failed",), "job.failed", True),
        (("job",), "job.failed", True),
        (("job",), "job.progress", False),
        (("job.fail",), "job.failed", False),
        (("worker", "queue"), "job.failed", False),
        (("worker",), "worker.lost", True),
    ],
)
def test_topics(topics: tuple[str, ...], type_: str, *, wanted: bool) -> None:
    assert bool(targets(event(type_), None, webhook(events=topics))) is wanted


def test_a_retry_is_no_failure() -> None:
    assert targets(event("job.retrying"), job(), webhook(events=("job.failed",))) == []


def test_neither_disabled_ones_nor_those_made_later_get_it() -> None:
    assert targets(event(), job(), webhook(disabled=Disabled(1, "x"))) == []
    assert targets(event(), job(), webhook(since=f"{T0}-0")) == []
    assert targets(event(), job(), webhook(since=f"{T0 - 1}-7"))


def test_a_filter_on_jobs_lets_nothing_else_through() -> None:
    picky = webhook(events=("job", "worker"), services=("comfyui",))
    assert targets(event("worker.lost", job_id=None), None, picky) == []
    assert targets(event(), None, picky) == [], "a job that isn't kept any more can't be held against it"
    assert targets(event(), job(), picky)


def test_a_job_s_own_address_is_for_the_webhook_of_its_customer_first() -> None:
    named = job(customer_id="acme", spec={"webhook": "https://hook.example/x"})
    for_all, for_acme = webhook(id="wh_a", url=None), webhook(id="wh_b", url=None, customer_id="acme")
    for_other = webhook(id="wh_c", url=None, customer_id="other")
    (made,) = deliveries_of("default", event(), named, [for_all, for_acme, for_other], now_ms=T0)
    assert (made.webhook_id, made.url) == ("wh_b", "https://hook.example/x")
    assert targets(event(), job(), for_all) == []


def test_lanes_of_addresses_that_jobs_name_are_by_server() -> None:
    urls = ["https://a.example/1", "https://A.example/2", "https://b.example/1", "https://a.example:8443/1"]
    own = webhook(url=None)
    made = [deliveries_of("default", event(), job(spec={"webhook": url}), [own], now_ms=T0)[0] for url in urls]
    assert made[0].lane == made[1].lane
    assert len({one.lane for one in made}) == 3


def test_an_id_is_of_event_and_webhook() -> None:
    one, two = webhook(), webhook(id="wh_2")
    ids = [
        made.id for n in (1, 1, 2) for made in deliveries_of("default", event(id=f"{n}-0"), None, [one, two], now_ms=n)
    ]
    assert ids[:2] == ids[2:4]
    assert len(set(ids)) == 4


def test_a_body_stays_under_its_limit_and_keeps_which_job_it_is() -> None:
    big = job(spec={"labels": {f"k{n}": "ü\x00" * 128 for n in range(200)}}, message="x" * 70_000)
    (made,) = deliveries_of("default", event(data={"message": "x" * 70_000}), big, [webhook()], now_ms=T0)
    data = msgspec.json.decode(made.body)["data"]
    assert len(made.body.encode()) <= MOST_BODY_BYTES
    assert (data["job_id"], data["job"], data["shortened"]) == (
        "default-1",
        {"state": "failed", "service": "comfyui"},
        True,
    )


def test_headers_carry_one_signature_for_each_good_secret() -> None:
    (made,) = deliveries_of("default", event(), None, [webhook()], now_ms=T0)
    secrets = [Secret(SECRET), Secret(SECRET, T0 + 1), Secret(SECRET, T0)]
    headers = headers_of(made, secrets, T0)
    assert headers["webhook-timestamp"] == "1700000000"
    assert len(headers["webhook-signature"].split(" ")) == 2


@pytest.mark.parametrize("trace", ["00-x\r\nInjected: 1", "ü", 5, None])
def test_a_trace_that_can_not_stand_in_a_header_is_left_out(trace: Any) -> None:
    (made,) = deliveries_of("default", event(), job(spec={"traceparent": trace}), [webhook()], now_ms=T0)
    assert "traceparent" not in headers_of(made, [Secret(SECRET)], T0)


@pytest.mark.parametrize("text", ["job", "job.failed", "worker.lost", "webhook"])
def test_topics_there_are(text: str) -> None:
    assert is_topic(text)


@pytest.mark.parametrize("text", ["", "jobs", "job.", "job.progress", "job.*", "*", "job.failed.x", "JOB", "job.<b>"])
def test_topics_there_are_not(text: str) -> None:
    assert not is_topic(text)
