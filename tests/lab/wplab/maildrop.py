# SPDX-License-Identifier: LGPL-2.1-or-later
"""A POP3 server over TLS whose mailbox is a list in this process: for what no real server does on demand. It may name its messages
anew, show them in windows, do without UIDL or TOP, break off in a message, or give a UIDL to another message."""
import threading
import time

from .listening import Listening


def stuffed(data):
    """What RETR sends for the octets @data (LF line ends)."""
    lines = data.split(b'\n')
    if lines and lines[-1] == b'':
        lines.pop()
    return b''.join((b'.' + line if line.startswith(b'.') else line) + b'\r\n' for line in lines)


class Message:
    def __init__(self, uidl, data):
        self.uidl, self.data = uidl, data
        self.octets = None          # what LIST claims; None: what it is
        self.breaks = False         # RETR ends the connection in mid-message
        self.header = None          # what TOP shows; None: what it is


class Maildrop(Listening):
    """@listen: a function of a port that gives a listening socket; @context: of TLS, None for cleartext."""

    def __init__(self, listen, context, port=0, capa=('TOP', 'UIDL', 'USER', 'PIPELINING', 'RESP-CODES')):
        self.messages, self.capa = [], capa and list(capa)
        self.window = None          # at most so many are listed; those that were read are hidden after QUIT
        self.hidden = set()
        self.logins = 0
        self.pause = 0              # seconds before each RETR's answer
        self.cut_after = None       # the connection ends after so many octets of answers to what comes after the login
        self.commands = []
        self.context, self.lock = context, threading.Lock()
        self.listen_at(listen(port))

    def fill(self, items):
        """(uidl, octets) pairs."""
        self.messages = [Message(uidl, data) for uidl, data in items]

    def count(self, verb):
        with self.lock:
            return sum(c.startswith(verb) for c in self.commands)

    def serve(self, sock):
        try:
            with self.context.wrap_socket(sock, server_side=True) if self.context else sock as conn:
                self.session(conn, conn.makefile('rb'))
        except (OSError, ValueError):
            pass

    def session(self, conn, reader):
        conn.sendall(b'+OK ready\r\n')
        shown, deleted, read = None, set(), set()
        out, sent = [], 0
        for line in reader:
            words = line.decode('latin-1').split()
            verb = words[0].upper() if words else ''
            with self.lock:
                self.commands.append(' '.join([verb, *words[1:]]) if verb not in ('PASS', 'AUTH') else verb)
            if verb in ('PASS', 'AUTH'):
                self.logins += 1
                visible = [m for m in self.messages if m not in self.hidden]
                shown = visible[:self.window] if self.window else visible
                out.append(b'+OK\r\n')
            elif verb == 'CAPA':
                out.append(b'-ERR\r\n' if self.capa is None else
                           b'+OK\r\n' + b''.join(c.encode() + b'\r\n' for c in self.capa) + b'.\r\n')
            elif verb == 'QUIT':
                with self.lock:
                    self.messages = [m for m in self.messages if m not in deleted]
                    if self.window:
                        self.hidden |= read
                if self.cut_after is not None and sent + 9 > self.cut_after:
                    return              # it was done, and nobody hears of it
                conn.sendall(b''.join(out) + b'+OK bye\r\n')
                return
            elif verb == 'USER' or verb == 'NOOP':
                out.append(b'+OK\r\n')
            elif shown is None:
                out.append(b'-ERR sign in first\r\n')
            else:
                answer = self.answer(verb, words[1:], shown, deleted, read)
                if answer is None:
                    conn.sendall(b''.join(out))
                    return
                out.append(answer)
            data, out = b''.join(out), []
            if shown is not None and self.cut_after is not None and sent + len(data) > self.cut_after:
                conn.sendall(data[:max(0, self.cut_after - sent)])
                return
            sent += len(data) if shown is not None else 0
            conn.sendall(data)

    def answer(self, verb, words, shown, deleted, read):
        there = {i + 1: m for i, m in enumerate(shown) if m not in deleted}
        size = lambda m: len(stuffed(m.data)) if m.octets is None else m.octets      # noqa: E731
        named = self.capa is None or 'UIDL' in self.capa
        if verb == 'STAT':
            return f'+OK {len(there)} {sum(map(size, there.values()))}\r\n'.encode()
        if verb == 'LIST' and not words:
            return ('+OK\r\n' + ''.join(f'{n} {size(m)}\r\n' for n, m in there.items()) + '.\r\n').encode()
        if verb == 'UIDL' and not words and named and self.capa is not None:
            return ('+OK\r\n' + ''.join(f'{n} {m.uidl}\r\n' for n, m in there.items()) + '.\r\n').encode()
        m = there.get(int(words[0])) if words and words[0].isdigit() else None
        if m and verb == 'RETR':
            read.add(m)
            if self.pause:
                time.sleep(self.pause)
            whole = b'+OK\r\n' + stuffed(m.data) + b'.\r\n'
            if m.breaks:
                return None
            return whole
        if m and verb == 'TOP' and (self.capa is None or 'TOP' in self.capa):
            head = m.header if m.header is not None else m.data.partition(b'\n\n')[0] + b'\n'
            return b'+OK\r\n' + stuffed(head) + b'\r\n.\r\n'
        if m and verb == 'DELE':
            deleted.add(m)
            return b'+OK\r\n'
        return b'-ERR no\r\n'
