"""Names of outputs, and the address under which agents reach the store."""

import pytest

from hub.artifacts import checked_name, output_path
from hub.store_address import StoreAddress
from shared.errors import Invalid

URL = "redis://:pw@127.0.0.1:24117/0"


@pytest.mark.parametrize("name", ["a.png", "dir/sub/a b.png", "ü.png", "..a", "a..b", ".hidden", "x" * 220])
def test_plain_names_pass(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../a", "a/../b", "a/..", "/a", "a/", "a//b", "./a", "a\\b", "a\x00", "a\nb", "x" * 256, "ü" * 120],
)
def test_names_that_could_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(Invalid) as refusal:
        checked_name(name)
    assert refusal.value.code == "invalid_name"


def test_names_of_one_attempt_have_different_places() -> None:
    names = ["a#1", "a%231", "a", "a%", "a%25"]
    assert len({output_path("p-1", 2, name) for name in names}) == len(names)
    assert output_path("p-1", 2, "d/a.png") == "jobs/p-1/2/d/a.png"


@pytest.mark.parametrize(
    ("address", "host", "seen"),
    [
        (StoreAddress(URL), "hub.example:3001", URL),
        (StoreAddress(URL, bind="127.0.0.1"), "hub.example:3001", URL),
        (StoreAddress(URL, bind="0.0.0.0"), "hub.example:3001", "redis://:pw@hub.example:24117/0"),
        (StoreAddress(URL, bind="0.0.0.0"), "10.0.0.7", "redis://:pw@10.0.0.7:24117/0"),
        (StoreAddress(URL, bind="::"), "[fd00::7]:3001", "redis://:pw@[fd00::7]:24117/0"),
        (StoreAddress(URL, bind="0.0.0.0"), "", URL),
        (StoreAddress(URL, bind="0.0.0.0", public_url="rediss://x:1/0"), "hub.example", "rediss://x:1/0"),
    ],
)
def test_agents_are_told_an_address_that_reaches_the_store(address: StoreAddress, host: str, seen: str) -> None:
    assert address.seen_by(host) == seen
