# SPDX-License-Identifier: LGPL-2.1-or-later
"""An independent POP3 reader: what a mailbox holds, octet by octet, to be held against what waypost delivered.

For each message: its UIDL and the octets of its RETR reply, dots unstuffed, CRLF to LF, all else untouched (a
bare CR or LF stays). Own code on purpose: Python's poplib splits at bare LF and eats CRs at ends of lines.
"""
import re
from collections import namedtuple

Message = namedtuple('Message', 'number uidl data')


class ReaderError(Exception):
    pass


def plain(octets):
    """The message in the octets between the +OK line and the line of a single dot (RFC 1939 section 3)."""
    if octets.startswith(b'.'):
        octets = octets[1:]
    return octets.replace(b'\r\n.', b'\r\n').replace(b'\r\n', b'\n')


class Reader:
    def __init__(self, sock, user, password):
        """@sock: connected, TLS if wanted. Signs in."""
        self.sock, self.buffer = sock, bytearray()
        self.line()
        self.command(b'USER ' + user.encode())
        self.command(b'PASS ' + password.encode())

    @classmethod
    def of_lab(cls, lab, user, password, host='pop.example.test'):
        sock = lab.connect(host, 995, timeout=60)
        return cls(lab.pki.client_context().wrap_socket(sock, server_hostname=host), user, password)

    def until(self, mark):
        """Reads up to and with @mark; returns what stands before it."""
        at, seen = -1, 0
        while at < 0:
            at = self.buffer.find(mark, max(0, seen - len(mark)))
            seen = len(self.buffer)
            if at < 0:
                data = self.sock.recv(1 << 18)
                if not data:
                    raise ReaderError('the server hung up')
                self.buffer += data
        found = bytes(self.buffer[:at])
        del self.buffer[:at + len(mark)]
        return found

    def line(self):
        line = self.until(b'\r\n')
        if not line.startswith(b'+OK'):
            raise ReaderError(line.decode('latin-1'))
        return line

    def command(self, text):
        self.sock.sendall(text + b'\r\n')
        return self.line()

    def block(self, text):
        """The octets of a multi-line reply, still stuffed, each line with its CRLF."""
        self.command(text)
        # Without a line of its own the block is the dot alone; otherwise the dot follows a CRLF, which is the
        # last line's own end.
        while len(self.buffer) < 3:
            data = self.sock.recv(1 << 18)
            if not data:
                raise ReaderError('the server hung up')
            self.buffer += data
        if self.buffer.startswith(b'.\r\n'):
            del self.buffer[:3]
            return b''
        return self.until(b'\r\n.\r\n') + b'\r\n'

    def uidls(self):
        pairs = (line.split(b' ', 1) for line in self.block(b'UIDL').split(b'\r\n') if line)
        return {int(number): uidl.decode('latin-1') for number, uidl in pairs}

    def sizes(self):
        return {int(n): int(s) for n, s in re.findall(rb'(?m)^(\d+) (\d+)', self.block(b'LIST'))}

    def retr(self, number):
        return plain(self.block(b'RETR %d' % number))

    def messages(self):
        """Yields all messages in the order of the mailbox."""
        for number, uidl in self.uidls().items():
            yield Message(number, uidl, self.retr(number))

    def close(self):
        try:
            self.command(b'QUIT')
        finally:
            self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.close()
        else:
            self.sock.close()


def read_mailbox(lab, user, password):
    """[Message] of a mailbox of the lab. Reads all, deletes nothing."""
    with Reader.of_lab(lab, user, password) as reader:
        return list(reader.messages())


class ImapReader:
    """The same by IMAP: literals as they are announced, CRLF to LF."""

    def __init__(self, sock, user, password):
        self.reader, self.sock = sock.makefile('rb'), sock
        while b'OK [ALERT]' in self.reader.readline():
            pass
        if user is not None:
            self.command(f'LOGIN "{user}" "{password}"')

    @classmethod
    def of_lab(cls, lab, user, password, host='imap.example.test'):
        sock = lab.connect(host, 993, timeout=60)
        return cls(lab.pki.client_context().wrap_socket(sock, server_hostname=host), user, password)

    def command(self, text):
        """What was answered: [(line, literal or None)]. Without @user the server lets everybody in."""
        self.sock.sendall(f'r {text}\r\n'.encode())
        answers = []
        while True:
            line = self.reader.readline()
            if not line:
                raise ReaderError('the server hung up')
            size = re.search(rb'\{(\d+)\}\r\n$', line)
            answers.append((line, self.reader.read(int(size.group(1))) if size else None))
            if line.startswith(b'r '):
                if not line.startswith(b'r OK'):
                    raise ReaderError(line.decode('latin-1'))
                return answers


def read_imap(lab, user, password, folder='INBOX'):
    """Every message of @folder: the octets of its BODY[]."""
    reader = ImapReader.of_lab(lab, user, password)
    with reader.sock:
        opened = reader.command(f'EXAMINE "{folder}"')
        if any(line == b'* 0 EXISTS\r\n' for line, _ in opened):      # some refuse 1:* then
            return []
        return [octets.replace(b'\r\n', b'\n') for _, octets in reader.command('FETCH 1:* (BODY.PEEK[])') if octets is not None]
