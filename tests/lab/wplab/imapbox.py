# SPDX-License-Identifier: LGPL-2.1-or-later
"""An IMAP server whose mailboxes are lists in this process: for what no real server does on demand. Its messages may be removed, moved and
added while somebody reads; UIDVALIDITY may change; any answer may be replaced; IDLE tells of what comes."""
import re
import socket
import ssl
import threading
import time

from .listening import Listening

CAPA = ('IMAP4rev1', 'SASL-IR', 'AUTH=PLAIN', 'ID', 'IDLE', 'UIDPLUS', 'LITERAL+', 'SPECIAL-USE')


def wire(data):
    """What FETCH sends for the octets @data (LF line ends)."""
    return data.replace(b'\n', b'\r\n')


class Message:
    def __init__(self, uid, data, flags=()):
        self.uid, self.data, self.flags = uid, data, set(flags)


class Folder:
    def __init__(self, name, use=''):
        self.name, self.use, self.validity, self.next_uid, self.messages = name, use, 1000, 1, []

    def add(self, data, flags=()):
        self.messages.append(Message(self.next_uid, data, flags))
        self.next_uid += 1
        return self.messages[-1]

    def rename_all(self, validity):
        """UIDVALIDITY changes, and every UID with it."""
        self.validity = validity
        for n, m in enumerate(self.messages):
            m.uid = n + 1
        self.next_uid = len(self.messages) + 1


def in_set(text, uids):
    """The @uids (ascending) that are in the set @text."""
    wanted, last = set(), max(uids, default=0)
    for part in text.split(','):
        low, _, high = part.partition(':')
        low = last if low == '*' else int(low)
        high = low if not high else last if high == '*' else int(high)
        wanted |= {u for u in uids if min(low, high) <= u <= max(low, high)}
    return [u for u in uids if u in wanted]


class Imapbox(Listening):
    """@listen: a function of a port that gives a listening socket; @context: of TLS. @starttls: in clear until STARTTLS.

    box.odd: [(regex, what)] looked at for each command line (without tag): @what is bytes to send ('{tag}' replaced) in place of the
    answer, None to close, or a function of (box, session, tag, line) that returns either, or True for the ordinary answer."""

    def __init__(self, listen, context, port=0, capa=CAPA, starttls=False, greeting=None):
        self.inbox = Folder('INBOX')
        self.folders = {'INBOX': self.inbox}
        self.capa, self.context, self.starttls, self.greeting = list(capa), context, starttls, greeting
        self.odd, self.commands, self.logins, self.sent_in_clear = [], [], 0, []
        self.lock = threading.RLock()
        self.idling, self.ended = {}, 0
        self.listen_at(listen(port))

    # -- for the test

    def fill(self, datas, folder='INBOX'):
        for data in datas:
            self.folders[folder].add(data)

    def make(self, name, use=''):
        self.folders[name] = Folder(name, use)
        return self.folders[name]

    def deliver(self, data, flags=()):
        """New mail: whoever waits for it is told. Returns when that was."""
        with self.lock:
            self.inbox.add(data, flags)
            for session in list(self.idling):
                if session.folder is self.inbox:
                    session.tell()
            return time.monotonic()

    def count(self, pattern):
        with self.lock:
            return sum(re.search(pattern, c, re.I) is not None for c in self.commands)

    # -- the server

    def serve(self, sock):
        session = Session(self, sock)
        try:
            session.run()
        except (OSError, ValueError, EOFError):
            pass
        finally:
            with self.lock:
                self.idling.pop(session, None)
                self.ended += 1
            session.end()


class Session:
    def __init__(self, box, sock):
        self.box, self.sock, self.buffer = box, sock, bytearray()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.folder, self.read_only, self.signed_in = None, True, False
        self.told = 0               # messages in the folder, as the client knows
        self.mute = False           # an IDLE that has begun is never answered any more
        self.writing = threading.Lock()

    def end(self):
        try:
            self.sock.close()
        except OSError:
            pass

    def say(self, data):
        with self.writing:
            self.sock.sendall(data)

    def secure(self):
        self.sock = self.box.context.wrap_socket(self.sock, server_side=True)

    def read(self, n=None):
        """A line, or @n octets."""
        while (b'\n' not in self.buffer) if n is None else len(self.buffer) < n:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data
        end = self.buffer.index(b'\n') + 1 if n is None else n
        data = bytes(self.buffer[:end])
        del self.buffer[:end]
        return data.rstrip(b'\r\n') if n is None else data

    def command(self):
        """A whole command, its literals in place of what announced them."""
        line = self.read()
        while True:
            m = re.search(rb'\{(\d+)(\+?)\}$', line)
            if not m:
                return line.decode('latin-1')
            if not m.group(2):
                self.say(b'+ go on\r\n')
            line = line[:m.start()] + b'"' + self.read(int(m.group(1))) + b'"' + self.read()

    def run(self):
        box = self.box
        if not box.starttls:
            self.secure()
        capa = [c for c in box.capa if box.starttls or c != 'STARTTLS']
        self.say(box.greeting if box.greeting is not None else f'* OK [CAPABILITY {" ".join(capa)}] ready\r\n'.encode())
        while True:
            line = self.command()
            tag, _, rest = line.partition(' ')
            with box.lock:
                box.commands.append(rest if not re.match('LOGIN|AUTHENTICATE', rest, re.I) else rest.split()[0])
                if not isinstance(self.sock, ssl.SSLSocket):
                    box.sent_in_clear.append(line)
            what = True
            for pattern, odd in box.odd:
                if re.search(pattern, rest, re.I):
                    what = odd(box, self, tag, rest) if callable(odd) else odd
                    break
            if what is None:
                return
            if what is not True:
                self.say(what.replace(b'{tag}', tag.encode()))
                continue
            if not self.answer(tag, rest):
                return

    def ok(self, tag, text='done'):
        self.say(f'{tag} OK {text}\r\n'.encode())

    def answer(self, tag, rest):
        box = self.box
        verb, _, more = rest.partition(' ')
        verb = verb.upper()
        if verb == 'UID':
            sub, _, more = more.partition(' ')
            verb = 'UID ' + sub.upper()
        if verb == 'CAPABILITY':
            self.say(f'* CAPABILITY {" ".join(box.capa)}\r\n'.encode())
        elif verb == 'STARTTLS' and box.starttls:
            self.ok(tag)
            self.secure()
            return True
        elif verb in ('LOGIN', 'AUTHENTICATE'):
            if verb == 'AUTHENTICATE':
                words = more.split()
                if len(words) < 2:
                    self.say(b'+ \r\n')
                    self.read()
            box.logins += 1
            self.signed_in = True
            self.ok(tag, f'[CAPABILITY {" ".join(box.capa)}] in')
            return True
        elif verb == 'ID':
            self.say(b'* ID ("name" "imapbox")\r\n')
        elif verb == 'LOGOUT':
            self.say(b'* BYE\r\n')
            self.ok(tag)
            return False
        elif verb == 'NOOP':
            self.tell()
        elif verb == 'LIST' and self.signed_in:
            for f in box.folders.values():
                self.say(f'* LIST ({f.use}) "/" "{f.name}"\r\n'.encode())
        elif verb in ('SELECT', 'EXAMINE') and self.signed_in:
            return self.select(tag, verb, more)
        elif verb == 'IDLE' and self.folder:
            return self.idle(tag)
        elif verb == 'UID FETCH' and self.folder:
            self.fetch(more, True)
        elif verb == 'FETCH' and self.folder:
            self.fetch(more, False)
        elif verb == 'UID STORE' and self.folder and not self.read_only:
            chosen = more.split()[0]
            with box.lock:
                for u in in_set(chosen, [m.uid for m in self.folder.messages]):
                    n, m = next((n, m) for n, m in enumerate(self.folder.messages) if m.uid == u)
                    m.flags.add('\\Deleted')
                    self.say(f'* {n + 1} FETCH (UID {u} FLAGS ({" ".join(sorted(m.flags))}))\r\n'.encode())
        elif verb == 'UID EXPUNGE' and self.folder and not self.read_only:
            self.expunge(more)
        else:
            self.say(f'{tag} BAD what\r\n'.encode())
            return True
        self.ok(tag)
        return True

    def select(self, tag, verb, more):
        name = more.strip().strip('"')
        with self.box.lock:
            self.folder = self.box.folders.get(name)
            if self.folder:
                f = self.folder
                validity = f'* OK [UIDVALIDITY {f.validity}] x\r\n' if f.validity else ''
                head = f'* {len(f.messages)} EXISTS\r\n* 0 RECENT\r\n{validity}* OK [UIDNEXT {f.next_uid}] x\r\n'
        if not self.folder:
            self.say(f'{tag} NO [NONEXISTENT] no such mailbox\r\n'.encode())
            return True
        self.read_only, self.told = verb == 'EXAMINE', len(f.messages)
        self.say(head.encode())
        self.ok(tag, '[READ-ONLY]' if self.read_only else '[READ-WRITE]')
        return True

    def tell(self):
        with self.box.lock:
            if self.folder and self.told != len(self.folder.messages):
                self.told = len(self.folder.messages)
                self.say(f'* {self.told} EXISTS\r\n'.encode())

    def fetch(self, more, by_uid):
        chosen, _, items = more.partition(' ')
        with self.box.lock:
            messages = list(self.folder.messages)
        keys = [m.uid if by_uid else n + 1 for n, m in enumerate(messages)]
        wanted = set(in_set(chosen, keys))
        out = []
        for n, m in enumerate(messages):
            if keys[n] not in wanted:
                continue
            if m not in self.folder.messages:       # removed meanwhile
                continue
            if 'BODY' not in items:
                out.append(f'* {n + 1} FETCH (UID {m.uid})\r\n'.encode())
            else:
                data = wire(m.data)
                cut = re.search(r'<0\.(\d+)>', items)
                data = data[:int(cut.group(1))] if cut else data
                origin = '<0>' if cut else ''
                flags = ' '.join(sorted(m.flags))
                out.append(f'* {n + 1} FETCH (UID {m.uid} FLAGS ({flags}) BODY[]{origin} {{{len(data)}}}\r\n'.encode() + data + b')\r\n')
            if sum(map(len, out)) > 65536:
                self.say(b''.join(out))
                out = []
        self.say(b''.join(out))

    def expunge(self, chosen):
        with self.box.lock:
            f = self.folder
            for u in in_set(chosen.strip(), [m.uid for m in f.messages]):
                n = next(i for i, m in enumerate(f.messages) if m.uid == u)
                if '\\Deleted' in f.messages[n].flags:
                    del f.messages[n]
                    self.told -= 1
                    self.say(f'* {n + 1} EXPUNGE\r\n'.encode())

    def idle(self, tag):
        with self.box.lock:
            self.say(b'+ idling\r\n')
            self.tell()
            self.box.idling[self] = time.monotonic()
        line = self.read()
        with self.box.lock:
            self.box.idling.pop(self, None)
        while self.mute:
            self.read()
        if line.upper() != b'DONE':
            self.say(f'{tag} BAD not DONE\r\n'.encode())
            return False
        self.ok(tag)
        return True
