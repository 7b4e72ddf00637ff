"""One end of TLS without a connection: bytes that came go in, bytes to be sent come out."""

from __future__ import annotations

import contextlib
import ssl
from typing import Optional, cast


class Tls:
    """TLS between two buffers.

    Parameters
    ----------
    context : ssl.SSLContext
        Of :class:`mxspark.link.certificates.Contexts`.
    server : bool
        Which end this is.
    """

    def __init__(self, context: ssl.SSLContext, server: bool) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server)

    def feed(self, data: memoryview) -> None:
        """Take in what has come."""
        self._incoming.write(data)

    def take_outgoing(self) -> bytes:
        """Return, once, what is to be sent."""
        return self._outgoing.read()

    def shake_hands(self) -> bool:
        """Go on with the handshake, and return whether it is through. A client's may be, and be refused afterwards."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
            return True
        return False

    def read(self, into: memoryview) -> Optional[int]:
        """Put what has come into a buffer and return how much it was: None for nothing yet, 0 for the end."""
        try:
            return cast(int, self._tls.read(len(into), into))
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return 0

    def write(self, data: memoryview) -> None:
        """Have something sent."""
        self._tls.write(data)

    def say_goodbye(self) -> bool:
        """Say, once, that nothing more is to be sent, and return whether the other end has said so too."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
            return True
        return False

    def take_rest(self) -> bytes:
        """Return what has come after the other end's goodbye."""
        return self._incoming.read()
