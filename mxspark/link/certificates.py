"""The two ends of TLS that take the certificate of a run, and no other."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass

from mxspark.protocol.identity import Identity


@dataclass(frozen=True)
class Contexts:
    """What a process of a run needs to be either end of a connection."""

    server: ssl.SSLContext
    client: ssl.SSLContext

    @classmethod
    def of(cls, identity: Identity) -> Contexts:
        """Return them.

        Raises
        ------
        ssl.SSLError
            If the identity is none.
        """
        server = _context(identity, ssl.PROTOCOL_TLS_SERVER)
        # What could be resumed would be one more way in; and it would arrive in the middle of what is no TLS any more.
        server.num_tickets = 0
        return cls(server, _context(identity, ssl.PROTOCOL_TLS_CLIENT))


def _context(identity: Identity, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    # 1.3 alone: certificates are sent encrypted, and there is no renegotiation and no cipher to choose badly
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # A host's name proves nothing here: whoever has the one certificate that our authority has signed is of the run.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=identity.authority)
    _load(context, identity)
    return context


def _load(context: ssl.SSLContext, identity: Identity) -> None:
    """Hand a key to `ssl`, which takes one from a path alone, without it ever being in a file.

    The path leads to memory that has no name in any filesystem, is seen by this process's user alone, as all memory of
    the process is, and goes with the descriptor.
    """
    memory = os.memfd_create("mxspark-identity", os.MFD_CLOEXEC)
    with open(memory, "w", encoding="ascii") as file:
        file.write(identity.certificate + identity.key)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{memory}")
