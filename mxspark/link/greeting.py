"""How two links get to know each other: TLS, a few fixed bytes, and plain bytes from then on where that is wanted.

The one that calls proves by its certificate that it is of the run, and so does the other; only then it says what it
wants (:class:`Hello`), in 25 bytes, and hears yes or no (:class:`Answer`) in one. Nothing here does any I/O.
"""

from __future__ import annotations

import ssl
import struct
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Optional

from mxspark.errors.phase import advance
from mxspark.link.tls import Tls

MAGIC = b"mxlink\x00\x01"
HANDSHAKE_BYTES = 65536  # an honest one needs four thousand
HASTY = "went on, or left, before it was answered"
_HELLO = struct.Struct(">8sIIII?")


class Refused(Exception):
    """The other end is not what it must be; the words follow its address."""


class BrokeOff(Refused):
    """The other end is gone before all was said, which says nothing about who it is: a caller may try again."""


@dataclass(frozen=True)
class Hello:
    """What a caller wants: to be carried to socket `endpoint`, or with 0 to know that the other link is there."""

    attempt: int
    sender: int
    receiver: int
    endpoint: int
    encrypt: bool

    def pack(self) -> bytes:
        """Return its bytes."""
        return _HELLO.pack(MAGIC, self.attempt, self.sender, self.receiver, self.endpoint, self.encrypt)

    @classmethod
    def unpack(cls, data: bytes) -> Hello:
        """Return what the bytes say."""
        magic, *rest = _HELLO.unpack(data)
        if magic != MAGIC:
            raise Refused("is of this run, but speaks another version of this protocol")
        return cls(*rest)


class Answer(IntEnum):
    """What a caller hears."""

    WELCOME = 0
    OTHER_HOST = 1
    OTHER_ATTEMPT = 2
    NO_SUCH_SOCKET = 3
    NOBODY_THERE = 4
    MUST_ENCRYPT = 5


WORDS = {
    Answer.OTHER_HOST: "is the link of another host, or does not know this one",
    Answer.OTHER_ATTEMPT: "is at another attempt",
    Answer.NO_SUCH_SOCKET: "has no role with such a socket",
    Answer.NOBODY_THERE: "has a role that did not bind its socket in time",
    Answer.MUST_ENCRYPT: "wants all of it encrypted (transport.encrypt), the other end does not",
}


class Phase(Enum):
    """How far two ends are."""

    SHAKING = "TLS is being agreed on"
    GREETING = "the first words are on their way"
    ASKED = "the caller waits for an answer"
    DROPPING = "TLS is being ended, for plain bytes after it"
    THROUGH = "what comes now is for whom it is carried"


STEPS = {
    Phase.SHAKING: (Phase.GREETING,),
    Phase.GREETING: (Phase.ASKED, Phase.DROPPING, Phase.THROUGH),
    Phase.ASKED: (Phase.DROPPING, Phase.THROUGH),
    Phase.DROPPING: (Phase.THROUGH,),
    Phase.THROUGH: (),
}


class Greeting:
    """One end, without its connection: a caller with what it wants to say, or one that is called."""

    def __init__(self, context: ssl.SSLContext, hello: Optional[Hello] = None) -> None:
        self._is_caller = hello is not None
        self._fed = 0
        self._words = bytearray(_HELLO.size)
        self._count = 0
        self.tls = Tls(context, server=not self._is_caller)
        self.hello = hello
        self.phase = Phase.SHAKING
        if self._is_caller:
            self._go_on()

    def feed(self, data: memoryview) -> None:
        """Take in what has come, and go as far as that allows.

        Raises
        ------
        Refused
            If the other end is none of ours. What is to be sent then, before it is closed, says so to it.
        """
        self._fed += len(data)
        if self._fed > HANDSHAKE_BYTES:  # what TLS itself allows to be said before a certificate is a hundred thousand
            raise Refused(f"sent more than {HANDSHAKE_BYTES} bytes before it was known")
        if self.phase is Phase.ASKED:
            raise Refused(HASTY)
        self.tls.feed(data)
        self._go_on()

    def answer(self, answer: Answer) -> None:
        """Tell a caller yes or no; after a no the connection is to be closed."""
        self.tls.write(memoryview(bytes([answer])))
        if answer is Answer.WELCOME:
            self._welcome()
            self._go_on()

    def _go_on(self) -> None:
        try:
            while self._step():
                pass
        except ssl.SSLCertVerificationError as error:
            raise Refused(_of_certificate(error.verify_message)) from error
        except ssl.SSLError as error:
            raise Refused(_of_tls(error.reason or str(error))) from error

    def _step(self) -> bool:
        """Take one step, and return whether there was one to take."""
        if self.phase is Phase.SHAKING:
            return self._shake_hands()
        if self.phase is Phase.GREETING:
            return self._hear_answer() if self._is_caller else self._hear_hello()
        if self.phase is Phase.DROPPING and self.tls.say_goodbye():
            self._step_to(Phase.THROUGH)
        return False

    def _shake_hands(self) -> bool:
        if not self.tls.shake_hands():
            return False
        if self._is_caller and self.hello is not None:
            self.tls.write(memoryview(self.hello.pack()))
        self._step_to(Phase.GREETING)
        return True

    def _hear(self, count: int) -> Optional[bytes]:
        """Return the first words once all of them are there."""
        while self._count < count:
            got = self.tls.read(memoryview(self._words)[self._count : count])
            if got is None:
                return None
            if got == 0:
                raise Refused("left without a word")
            self._count += got
        return bytes(self._words[:count])

    def _hear_hello(self) -> bool:
        words = self._hear(_HELLO.size)
        if words is not None:
            self.hello = Hello.unpack(words)
            if self.tls.read(memoryview(bytearray(1))) is not None:
                raise Refused(HASTY)
            self._step_to(Phase.ASKED)
        return False

    def _hear_answer(self) -> bool:
        words = self._hear(1)
        if words is None:
            return False
        if words[0] != Answer.WELCOME:
            known = words[0] in list(Answer)
            raise Refused(WORDS[Answer(words[0])] if known else "is of this run, but of another version")
        self._welcome()
        return True

    def _welcome(self) -> None:
        assert self.hello is not None
        self._step_to(Phase.THROUGH if self.hello.encrypt else Phase.DROPPING)

    def _step_to(self, phase: Phase) -> None:
        self.phase = advance("a greeting of two links", self.phase, phase, STEPS)


_OF_TLS = {
    "HTTP_REQUEST": "speaks HTTP, not TLS",
    "WRONG_VERSION_NUMBER": "does not speak TLS",
    "PACKET_LENGTH_TOO_LONG": "does not speak TLS",
    "UNSUPPORTED_PROTOCOL": "speaks no TLS as new as 1.3",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "has no certificate",
}
_CLOCKS = ("expired", "not yet valid")


def _of_tls(reason: str) -> str:
    """Say in words what OpenSSL says in capitals."""
    if reason in _OF_TLS:
        return _OF_TLS[reason]
    words = reason.lower().replace("_", " ")
    return f"refuses us ({words})" if "ALERT" in reason else f"is not understood ({words})"


def _of_certificate(reason: str) -> str:
    clocks = "; compare the clocks of the two hosts" if any(word in reason for word in _CLOCKS) else ""
    return f"has a certificate that is not of this run ({reason}){clocks}"
