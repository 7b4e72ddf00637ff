"""Two links get to know each other, and nobody else: without a socket."""

from __future__ import annotations

import datetime
import os
import ssl
from dataclasses import replace
from typing import Any

import pytest

from mxspark.link import greeting, rules
from mxspark.link.certificates import Contexts
from mxspark.link.greeting import WORDS, Answer, Greeting, Hello, Phase, Refused
from mxspark.link.issue import issue
from mxspark.link.refusals import MOST_ADDRESSES, Refusals
from mxspark.protocol.identity import Identity
from mxspark.protocol.link import Connect, StrangersRefused

OURS = issue("ours")
RECORD = b"\x16\x03\x03\x3f\xfc"
# A first message that OpenSSL would take, and keep all of until its end.
LONG = RECORD + b"\x01\x01\xff\xff" + bytes(16376) + (RECORD + bytes(16380)) * 4
HELLO = Hello(attempt=3, sender=0, receiver=1, endpoint=77, encrypt=False)
ORDER = Connect(3, 1, (("10.0.0.1", 1), ("10.0.0.2", 2)), (77,), (), "/tmp", False, 60.0, 5.0)
NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


def carry(one: Greeting, other: Greeting) -> bytes:
    """Give the other end what one has to say, and return it."""
    data = one.tls.take_outgoing()
    if data:
        other.feed(memoryview(data))
    return data


def meet(caller: Greeting, called: Greeting, answer: Answer = Answer.WELCOME) -> None:
    """Let two ends talk until neither has anything to say."""
    while carry(caller, called) or carry(called, caller):
        if called.phase is Phase.ASKED:
            called.answer(answer)


def called(identity: Identity = OURS) -> Greeting:
    return Greeting(Contexts.of(identity).server)


@pytest.mark.parametrize("encrypt", [False, True])
def test_two_of_a_run_get_through(encrypt: bool) -> None:
    hello = replace(HELLO, encrypt=encrypt)
    one, other = Greeting(Contexts.of(OURS).client, hello), called()
    meet(one, other)
    assert (one.phase, other.phase) == (Phase.THROUGH, Phase.THROUGH)
    assert other.hello == hello
    assert Contexts.of(OURS).server.num_tickets == 0, "nothing to be resumed"


def test_plain_bytes_that_come_with_the_end_of_tls_are_kept() -> None:
    """The caller may send them before the other end has read its goodbye."""
    one, other = Greeting(Contexts.of(OURS).client, HELLO), called()
    while other.phase is not Phase.ASKED:
        carry(one, other)
        carry(other, one)
    other.answer(Answer.WELCOME)
    one.feed(memoryview(other.tls.take_outgoing() + b"early"))
    assert one.phase is Phase.THROUGH and one.tls.take_rest() == b"early"
    other.feed(memoryview(one.tls.take_outgoing() + b"bird"))
    assert other.phase is Phase.THROUGH and other.tls.take_rest() == b"bird"


@pytest.mark.parametrize("answer", list(WORDS))
def test_a_no_is_heard_in_words(answer: Answer) -> None:
    one, other = Greeting(Contexts.of(OURS).client, HELLO), called()
    with pytest.raises(Refused, match="^" + WORDS[answer].partition(" (")[0]):
        meet(one, other, answer)


def client(how: str) -> ssl.SSLContext:
    """Return the client of somebody who is not of the run."""
    if how == "another run":
        return Contexts.of(replace(issue("ours"), authority=OURS.authority)).client
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if how == "TLS 1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("another run", "has a certificate that is not of this run"),
        ("no certificate", "has no certificate"),
        ("TLS 1.2", "speaks no TLS as new as 1.3"),
    ],
)
def test_a_caller_that_is_not_of_the_run_is_refused(how: str, why: str) -> None:
    other = called()
    with pytest.raises(Refused, match=why):
        meet(Greeting(client(how), HELLO), other)
    assert other.hello is None, "nothing of it was read"
    assert other.tls.take_outgoing(), "it is told"


@pytest.mark.parametrize(("since", "why"), [(-2, "has expired"), (1, "not yet valid")])
def test_a_certificate_is_worthless_before_and_after_its_time(since: int, why: str) -> None:
    """The whole run's: as seen by a host whose clock is wrong."""
    then = issue("ours", NOW + since * DAY, DAY)
    with pytest.raises(Refused, match=rf"not of this run \(certificate .*{why}.*\); compare the clocks"):
        meet(Greeting(Contexts.of(then).client, HELLO), called(then))


def test_one_who_takes_the_place_of_a_link_is_refused_by_the_caller() -> None:
    one = Greeting(Contexts.of(OURS).client, HELLO)
    with pytest.raises(Refused, match="has a certificate that is not of this run"):
        meet(one, called(issue("ours")))
    assert one.phase is Phase.SHAKING, "nothing was said to it"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "speaks HTTP, not TLS"),
        (b"SSH-2.0-OpenSSH_9.6\r\n" + bytes(40), "does not speak TLS"),
        (b"\x80\x04." * 100, "does not speak TLS|is not understood"),
        (b"\x16\x03\x01\xff\xff" + bytes(70000), "sent more than 65536 bytes|does not speak TLS"),
        (b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16380), "is not understood"),
        # as long as OpenSSL would take, which keeps all of it until the end
        (
            b"\x16\x03\x01\x3f\xfc\x01\x01\xff\xff" + bytes(16376) + (b"\x16\x03\x03\x3f\xfc" + bytes(16380)) * 4,
            "than 65536",
        ),
    ],
    ids=["http", "ssh", "pickle", "a huge record", "a huge message", "a long message"],
)
def test_what_is_no_tls_is_refused(data: bytes, why: str) -> None:
    other = called()
    with pytest.raises(Refused, match=why):
        for place in range(0, len(data), 4096):
            other.feed(memoryview(data[place : place + 4096]))


def test_no_handshake_may_be_endless() -> None:
    """Records that are empty cost OpenSSL nothing, and are counted all the same."""
    other = called()
    with pytest.raises(Refused, match=r"sent more than|is not understood|does not speak"):
        for _ in range(greeting.HANDSHAKE_BYTES // 5 + 1):
            other.feed(memoryview(b"\x16\x03\x01\x00\x00"))


def test_what_was_recorded_is_worthless_when_it_is_played_again() -> None:
    one, other = Greeting(Contexts.of(OURS).client, HELLO), called()
    recorded = [one.tls.take_outgoing()]
    other.feed(memoryview(recorded[0]))
    carry(other, one)
    recorded.append(one.tls.take_outgoing())
    other.feed(memoryview(recorded[1]))
    assert other.phase is Phase.ASKED
    again = called()
    again.feed(memoryview(recorded[0]))
    with pytest.raises(Refused, match="is not understood"):
        again.feed(memoryview(recorded[1]))


@pytest.mark.parametrize("at_once", [True, False])
def test_one_that_goes_on_before_it_is_answered_is_refused(at_once: bool) -> None:
    one, other = Greeting(Contexts.of(OURS).client, HELLO), called()
    carry(one, other)
    carry(other, one)
    if not at_once:
        carry(one, other)
        assert other.phase is Phase.ASKED
    one.tls.write(memoryview(b"more"))
    with pytest.raises(Refused, match="went on"):
        carry(one, other)


def test_a_member_of_another_version_is_refused() -> None:
    one, other = Greeting(Contexts.of(OURS).client, HELLO), called()
    one.tls.write, write = lambda _: write(memoryview(b"mxlink\x00\x09" + bytes(17))), one.tls.write  # type: ignore[method-assign]
    with pytest.raises(Refused, match="another version of this protocol"):
        meet(one, other)


def test_an_identity_is_shown_nowhere_and_lies_in_no_file() -> None:
    before = os.listdir("/proc/self/fd")
    Contexts.of(OURS)
    assert len(os.listdir("/proc/self/fd")) == len(before), "the memory it was in is gone"
    assert str(OURS) == "Identity()"


def test_who_is_of_the_run_is_judged_by_what_it_wants() -> None:
    cases: list[tuple[dict[str, Any], dict[str, Any], Any]] = [
        ({}, {}, Answer.WELCOME),
        ({"endpoint": 0}, {}, Answer.WELCOME),
        ({"attempt": 2}, {}, Answer.OTHER_ATTEMPT),
        ({"attempt": 4}, {}, None),  # this host will hear of that one too
        ({"receiver": 0}, {}, Answer.OTHER_HOST),
        ({"sender": 1}, {}, Answer.OTHER_HOST),  # what this host says, sent back to it
        ({"sender": 2}, {}, Answer.OTHER_HOST),
        ({"endpoint": 78}, {}, Answer.NO_SUCH_SOCKET),
        ({}, {"encrypt": True}, Answer.MUST_ENCRYPT),
        ({"encrypt": True}, {"encrypt": True}, Answer.WELCOME),
    ]
    for hello, order, answer in cases:
        assert rules.answer_to(replace(HELLO, **hello), replace(ORDER, **order)) is answer, (hello, order)
    assert rules.answer_to(HELLO, None) is None


def test_who_calls_most_is_dropped_first() -> None:
    assert rules.whom_to_drop(["a", "b", "a", "b", "b"]) == 1
    assert rules.whom_to_drop(["a", "b"]) == 0


def test_waits_between_tries_grow_and_end_growing() -> None:
    waits = [rules.wait_before_try(tries) for tries in range(100)]
    assert waits == sorted(waits) and waits[0] == 0.05 and waits[-1] == 1.0


def test_refusals_are_counted_in_a_table_of_bounded_size() -> None:
    refusals = Refusals()
    for _ in range(3):
        refusals.add("10.0.0.9", "speaks HTTP, not TLS")
    assert refusals.take_news() == [StrangersRefused("10.0.0.9", "speaks HTTP, not TLS", 3)]
    assert refusals.take_news() == []
    for number in range(1000):
        refusals.add(f"10.1.{number // 250}.{number % 250}", "left before it was known")
    refusals.add("10.0.0.9", "has no certificate")
    news = refusals.take_news()
    assert len(news) == MOST_ADDRESSES + 1
    assert StrangersRefused("10.0.0.9", "has no certificate", 4) in news
    assert sum(one.count for one in news) == 1004 and max(news, key=lambda one: one.count).address == ""


def rests(reads: list[tuple[float, int]]) -> list[bool]:
    """Return after which reads, each so long after the one before and of so many bytes, a reader rests."""
    pace, now, found = rules.Pace(), 100.0, []
    for gap, taken in reads:
        now += gap
        found.append(pace.rest_s(now, taken) > 0)
    return found


def test_a_reader_rests_while_packets_come_one_by_one() -> None:
    packets = [(0.0001, 1448)] * rules.PACKETS
    assert rests([(1.0, 1448), *packets]) == [False] * rules.PACKETS + [True]
    after = [(0.001, 90000), (0.001, 260000), (0.001, 1448)]
    assert rests([(1.0, 1448), *packets, *after])[-3:] == [True] * 3, "what one rest brings is no reason to end it"
    assert rests([(1.0, 1448), *packets, (0.001, 0), *packets[1:]]).count(True) == 1, "nothing more comes"


def test_a_reader_never_rests_between_messages_or_in_a_flood() -> None:
    assert not any(rests([(0.0001, 64)] * 100)), "somebody waits for each"
    assert not any(rests([(0.0001, 262144)] * 100)), "each read is worth its while"
    assert not any(rests([(0.01, 1448)] * 100)), "nothing comes meanwhile"
