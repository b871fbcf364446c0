"""One leg of a session: a non-blocking socket, with or without TLS.

Synchronous and free of trio: the reactor calls ``read`` and ``flush`` when the
kernel says that they will not block; tasks that wait (a handshake, a dial) use
the awaiting functions of ``gateway.tls`` and ``gateway.dial`` on the same leg.
"""

from __future__ import annotations

import socket
import ssl
from collections import deque

FIRST_READ = 16 * 1024
LARGEST_READ = 256 * 1024
MOST_VECTORS = 64


class LegLost(Exception):
    """The peer's connection broke (reset, timeout, TLS failure)."""


class Leg:
    """``pending`` counts bytes queued that the kernel has not taken yet."""

    __slots__ = ("_cipher", "_plain", "_queue", "_size", "fd", "pending", "sock", "tls")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.fd = sock.fileno()
        self.tls: ssl.SSLObject | None = None
        self._cipher: ssl.MemoryBIO | None = None
        self._plain: ssl.MemoryBIO | None = None
        self._queue: deque[bytes] = deque()
        self._size = FIRST_READ
        self.pending = 0

    # -- reading ----------------------------------------------------------

    def read(self) -> bytes | None:
        """Bytes that arrived; b"" at the end of stream; None when there are
        none now. Raises LegLost."""
        if self.tls is not None:
            return self._read_tls()
        size = self._size
        try:
            data = self.sock.recv(size)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            raise LegLost(error.strerror or str(error)) from error
        # Bulk transfers earn larger reads, so that the cost per read is shared by
        # more bytes; a quiet session keeps to a small buffer.
        got = len(data)
        if got == size:
            if size < LARGEST_READ:
                self._size = size * 2
        elif got < size >> 2 and size > FIRST_READ:
            self._size = size >> 1
        return data

    def _read_tls(self) -> bytes | None:
        assert self.tls is not None
        assert self._cipher is not None
        pieces: list[bytes] = []
        total = 0
        ended = False
        while total < LARGEST_READ:
            try:
                piece = self.tls.read(65536)
            except ssl.SSLWantReadError:
                if ended or pieces:
                    break
                try:
                    raw = self.sock.recv(LARGEST_READ)
                except (BlockingIOError, InterruptedError):
                    break
                except OSError as error:
                    raise LegLost(error.strerror or str(error)) from error
                if raw:
                    self._cipher.write(raw)
                else:
                    self._cipher.write_eof()
                    ended = True
                continue
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                ended = True
                break
            except ssl.SSLError as error:
                raise LegLost(f"TLS: {error.reason or error}") from error
            if not piece:
                ended = True
                break
            pieces.append(piece)
            total += len(piece)
        if self._plain is not None and self._plain.pending:
            self._push(self._plain.read())
        if pieces:
            return b"".join(pieces)
        return b"" if ended else None

    @property
    def ripe(self) -> bool:
        """True when TLS holds bytes that the kernel will not signal again."""
        if self.tls is None or self._cipher is None:
            return False
        return self.tls.pending() > 0 or self._cipher.pending > 0

    # -- writing ----------------------------------------------------------

    def queue(self, data: bytes) -> None:
        """Add ``data`` to what ``flush`` sends. Raises LegLost (TLS only)."""
        if self.tls is not None:
            assert self._plain is not None
            try:
                wrote = self.tls.write(data)
                while wrote < len(data):
                    wrote += self.tls.write(data[wrote:])
            except ssl.SSLError as error:
                raise LegLost(f"TLS: {error.reason or error}") from error
            data = self._plain.read()
        self._queue.append(data)
        self.pending += len(data)

    def send(self, data: bytes) -> None:
        """``queue`` and ``flush`` in one: nothing is queued where the kernel
        takes it all at once. Raises LegLost."""
        if self._queue or self.tls is not None:
            self.queue(data)
            self.flush()
            return
        try:
            sent = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            raise LegLost(error.strerror or str(error)) from error
        if sent != len(data):
            self._push(data[sent:])

    def _push(self, cipher: bytes) -> None:
        self._queue.append(cipher)
        self.pending += len(cipher)

    def flush(self) -> bool:
        """Send what the kernel takes; True when nothing is left. LegLost."""
        queue = self._queue
        while queue:
            try:
                if len(queue) == 1:
                    sent = self.sock.send(queue[0])
                else:
                    sent = self.sock.sendmsg(
                        [queue[i] for i in range(min(len(queue), MOST_VECTORS))]
                    )
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                raise LegLost(error.strerror or str(error)) from error
            self.pending -= sent
            while queue and sent >= len(queue[0]):
                sent -= len(queue.popleft())
            if sent:
                # A short send means a full socket buffer: asking again now would
                # only cost another system call.
                queue[0] = queue[0][sent:]
                return False
        return True

    def discard(self) -> None:
        """Forget what is queued: the peer takes nothing any more."""
        self._queue.clear()
        self.pending = 0

    # -- TLS --------------------------------------------------------------

    def start_tls(
        self, context: ssl.SSLContext, *, server_side: bool, name: str | None, unread: bytes
    ) -> None:
        """Put TLS on the leg; ``unread`` are bytes of the TLS stream that were
        read already. Drive ``shake`` until it returns True."""
        self._cipher, self._plain = ssl.MemoryBIO(), ssl.MemoryBIO()
        if unread:
            self._cipher.write(unread)
        self.tls = context.wrap_bio(
            self._cipher, self._plain, server_side=server_side, server_hostname=name
        )

    def shake(self) -> bool:
        """One step of the handshake: True when done, False when more bytes of
        the peer are needed. Queues what there is to send. Raises LegLost."""
        assert self.tls is not None
        assert self._cipher is not None
        assert self._plain is not None
        while True:
            try:
                self.tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            except ssl.SSLCertVerificationError as error:
                raise LegLost(f"TLS: certificate: {error.verify_message}") from error
            except (ssl.SSLError, OSError) as error:
                if self._plain.pending:
                    self._push(self._plain.read())
                    self._last_words()
                raise LegLost(f"TLS: {getattr(error, 'reason', None) or error}") from error
            if self._plain.pending:
                self._push(self._plain.read())
            if done:
                return True
            try:
                raw = self.sock.recv(65536)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                raise LegLost(error.strerror or str(error)) from error
            if not raw:
                raise LegLost("the peer hung up in the TLS handshake")
            self._cipher.write(raw)

    def _last_words(self) -> None:
        try:
            self.flush()
        except LegLost:
            pass

    # -- closing ----------------------------------------------------------

    def finish(self) -> None:
        """Send nothing more; the peer sees the end of the stream once it has
        read what was sent. Without TLS only: a TLS peer may take a half-closed
        connection for a broken one. Raises LegLost."""
        if self.tls is None:
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError as error:
                raise LegLost(error.strerror or str(error)) from error

    def close(self) -> None:
        """Say goodbye where TLS wants it, and close."""
        if self.fd < 0:
            return
        if self.tls is not None and self._plain is not None:
            try:
                self.tls.unwrap()
            except (ssl.SSLError, OSError, ValueError):
                pass  # The close_notify is in the buffer; the peer's own need not be awaited.
            if self._plain.pending:
                self._push(self._plain.read())
            self._last_words()
        self.sock.close()
        self.fd = -1
