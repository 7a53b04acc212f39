# SPDX-License-Identifier: LGPL-2.1-or-later
"""The misbehaving server: plays dialogue files, one per port, and remembers all that it was told.

The files are described in ../dialogues/README.md. The server needs no lab: by default it listens on
127.0.0.1; the lab gives it sockets of its server namespace and its certificates.
By hand: python3 -m wplab.scripted FILE.dlg [PORT]
"""
import os
import random
import re
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time

DIALOGUES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'dialogues')
LINE_MAX = 1 << 20
LOGIN = re.compile(rb'(PASS|AUTH|[^ ]+ (LOGIN|AUTHENTICATE))\b', re.I)
# Verb -> does it take an argument: no, may, must.
VERBS = {'send': 'may', 'raw': 'must', 'lines': 'must', 'flood': 'must', 'garbage': 'must', 'drip': 'must',
         'sleep': 'must', 'silence': 'no', 'close': 'no', 'bye': 'no', 'reset': 'no', 'tls': 'must', 'starttls': 'must',
         'expect': 'must', 'read-line': 'no', 'read-data': 'no', 'become': 'must', 'done': 'no', 'mailbox': 'must'}


class DialogueError(Exception):
    pass


class Leave(Exception):
    """The connection is over, as the dialogue wanted it."""


class Jump(Exception):
    def __init__(self, name):
        super().__init__(name)
        self.name = name


class Gone(Exception):
    """The client has left, or the server is being closed."""


def unescape(text):
    plain = {'r': '\r', 'n': '\n', 't': '\t', '0': '\0', '\\': '\\'}
    return re.sub(r'\\(x[0-9a-fA-F]{2}|.)', lambda m: chr(int(m[1][1:], 16)) if m[1][0] == 'x' and len(m[1]) == 3
                  else plain.get(m[1], m[0]), text).encode('latin-1')


class Block:
    """A `serve` block: rules for lines of the client, first match counts."""

    def __init__(self, name):
        self.name, self.rules, self.default = name, [], None


class Dialogue:
    """A parsed file: steps, each (verb, argument) or a Block."""

    def __init__(self, text, where='text', folder=DIALOGUES):
        self.where, self.folder = where, folder
        self.steps, self.blocks = [], {}
        self.block = self.rule = None
        self.parse(text, where, 0)
        if self.block:
            raise DialogueError(f'{where}: "serve" without "end"')
        for steps in [self.steps, *[rule for block in self.blocks.values() for _, rule in block.rules]]:
            for step in steps:
                if isinstance(step, tuple) and step[0] == 'become' and step[1] not in self.blocks:
                    raise DialogueError(f'{where}: become {step[1]}: no such block')

    @classmethod
    def load(cls, name):
        if isinstance(name, Dialogue):
            return name
        path = name if '/' in name else os.path.join(DIALOGUES, name)
        path = path if path.endswith('.dlg') or path.endswith('.rules') else path + '.dlg'
        with open(path, encoding='utf-8') as f:
            return cls(f.read(), os.path.basename(path), os.path.dirname(path))

    def parse(self, text, where, depth):
        if depth > 4:
            raise DialogueError(f'{where}: includes go too deep')
        for number, line in enumerate(text.splitlines(), 1):
            line = line.lstrip()
            if not line or line.startswith('#'):
                continue
            verb, _, argument = line.partition(' ')
            try:
                self.statement(verb, argument, depth)
            except (DialogueError, re.error) as error:
                raise DialogueError(f'{where}:{number}: {error}') from None

    def statement(self, verb, argument, depth):
        if verb == 'include':
            with open(os.path.join(self.folder, argument), encoding='utf-8') as f:
                self.parse(f.read(), argument, depth + 1)
        elif verb == 'serve':
            if self.block:
                raise DialogueError('"serve" inside "serve"')
            self.block = Block(argument or f'#{len(self.blocks)}')
            if self.block.name in self.blocks:
                raise DialogueError(f'two blocks are called {argument}')
            self.blocks[self.block.name] = self.block
            self.steps.append(self.block)
        elif verb == 'end':
            if not self.block:
                raise DialogueError('"end" without "serve"')
            self.block = self.rule = None
        elif verb in ('on', 'default'):
            if not self.block:
                raise DialogueError(f'"{verb}" outside of "serve"')
            if verb == 'default':
                self.block.default = unescape(argument) + b'\r\n'
            else:
                self.rule = []
                self.block.rules.append((re.compile(argument.encode(), re.I), self.rule))
        elif verb in VERBS:
            if VERBS[verb] == 'must' and not argument or VERBS[verb] == 'no' and argument:
                raise DialogueError(f'"{verb}" {"needs an" if not argument else "takes no"} argument')
            if verb == 'expect':
                argument = re.compile(argument.encode(), re.I)
            if self.block and self.rule is None:
                raise DialogueError(f'"{verb}" before the first "on"')
            (self.steps if self.rule is None else self.rule).append((verb, argument))
        else:
            raise DialogueError(f'unknown word "{verb}"')


class Connection:
    """One client: what it sent (decrypted), and the dialogue as far as it got."""

    def __init__(self, server, port, sock):
        self.server, self.port, self.sock = server, port, sock
        self.buffer = b''
        self.received, self.lines, self.trouble = bytearray(), [], []
        self.in_clear = bytearray()     # the part of it that came before TLS
        self.logins, self.tls, self.over = 0, False, False
        self.delay = 0
        self.box = None
        self.tag = ''           # the first word of the line that a rule is for

    def play(self, dialogue):
        self.sock.settimeout(None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.steps(dialogue, dialogue.steps)
        except (Leave, Gone):
            pass
        except (OSError, ssl.SSLError, ValueError) as error:
            self.trouble.append(f'{type(error).__name__}: {error}')
        finally:
            self.server.ended(self)
            try:
                self.sock.close()
            except OSError:
                pass

    def steps(self, dialogue, steps):
        at = 0
        while at < len(steps):
            step = steps[at]
            try:
                if isinstance(step, Block):
                    self.serve(dialogue, step)
                else:
                    self.do(*step)
            except Jump as jump:
                if steps is not dialogue.steps:
                    raise
                at = steps.index(dialogue.blocks[jump.name])
                continue
            at += 1

    def serve(self, dialogue, block):
        while True:
            line = self.read_line()
            for pattern, steps in block.rules:
                if pattern.search(line):
                    self.tag = line.partition(b' ')[0].decode('latin-1')
                    if ('done', '') in steps:
                        self.steps(dialogue, steps[:steps.index(('done', ''))])
                        return
                    self.steps(dialogue, steps)
                    break
            else:
                if block.default is None:
                    self.trouble.append(f'no rule for {line!r}')
                    raise Leave
                self.write(block.default)

    def do(self, verb, argument):
        getattr(self, 'do_' + verb.replace('-', '_'))(argument)

    # -- bytes

    def fill(self):
        data = self.sock.recv(65536)
        if not data:
            raise Gone
        self.received += data
        if not self.tls:
            self.in_clear += data
        self.buffer += data
        self.server.notify()

    def read_line(self):
        while b'\n' not in self.buffer:
            if len(self.buffer) > LINE_MAX:
                self.trouble.append('a line without end')
                raise Leave
            self.fill()
        line, _, self.buffer = self.buffer.partition(b'\n')
        line = line.rstrip(b'\r')
        self.lines.append(line)
        if LOGIN.match(line):
            self.logins += 1
        self.server.notify()
        return line

    def write(self, data):
        if not self.delay:
            self.sock.sendall(data)
            return
        for at in range(len(data)):
            self.sock.sendall(data[at:at + 1])
            self.wait(self.delay)

    def wait(self, milliseconds):
        if self.server.closing.wait(milliseconds / 1000):
            raise Gone

    # -- words of the dialogue

    def do_send(self, text):
        self.write(unescape(text.replace('{tag}', self.tag)) + b'\r\n')

    def do_raw(self, text):
        self.write(unescape(text.replace('{tag}', self.tag)))

    def do_lines(self, argument):
        count, _, text = argument.partition(' ')
        self.write(b''.join(unescape(text.replace('{n}', str(n))) + b'\r\n' for n in range(1, int(count) + 1)))

    def do_flood(self, text):
        data = unescape(text) * (1 + 65536 // len(text))
        while not self.server.closing.is_set():
            self.sock.sendall(data)

    def do_garbage(self, count):
        self.write(random.Random(1).randbytes(int(count)))

    def do_drip(self, milliseconds):
        self.delay = int(milliseconds)

    def do_sleep(self, milliseconds):
        self.wait(int(milliseconds))

    def do_silence(self, _):
        while True:
            self.fill()

    def do_close(self, _):
        # Read what is waiting first: unread bytes would turn the FIN into a reset.
        self.sock.settimeout(0)
        try:
            while self.sock.recv(65536):
                pass
        except (OSError, ssl.SSLError, ValueError):
            pass
        self.sock.settimeout(None)
        self.end_socket()
        raise Leave

    def do_bye(self, _):
        if self.tls:
            try:
                self.sock.settimeout(2)
                self.sock.unwrap()
            except (OSError, ssl.SSLError, ValueError):
                pass
        raise Leave

    def do_reset(self, _):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        raise Leave

    def end_socket(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def do_tls(self, kind):
        if self.buffer:
            self.trouble.append(f'plain text before TLS: {self.buffer!r}')
            self.buffer = b''
        context = self.server.context(kind)
        self.sock = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        self.sock.do_handshake()
        self.tls = True

    do_starttls = do_tls

    def do_expect(self, pattern):
        line = self.read_line()
        if not pattern.search(line):
            self.trouble.append(f'expected {pattern.pattern!r}, got {line!r}')
            raise Leave

    def do_read_line(self, _):
        self.read_line()

    def do_read_data(self, _):
        while self.read_line() != b'.':
            pass

    def do_become(self, name):
        raise Jump(name)

    def do_mailbox(self, argument):
        """Answers the last POP3 command from a mailbox of @argument messages made on the spot."""
        words = self.lines[-1].decode('latin-1').upper().split()
        count = int(argument)
        messages = {n: self.message(n) for n in range(1, count + 1)}
        many = {'LIST': lambda n: f'{n} {len(messages[n])}', 'UIDL': lambda n: f'{n} uid-{n:06d}'}
        number = int(words[1]) if len(words) > 1 and words[1].isdigit() else None
        if words[0] == 'STAT':
            reply = f'+OK {count} {sum(map(len, messages.values()))}\r\n'.encode()
        elif number is not None and number not in messages:
            reply = b'-ERR no such message\r\n'
        elif words[0] in many and number is not None:
            reply = f'+OK {many[words[0]](number)}\r\n'.encode()
        elif words[0] in many:
            reply = ('+OK\r\n' + ''.join(many[words[0]](n) + '\r\n' for n in messages) + '.\r\n').encode()
        elif words[0] == 'RETR' and number is not None:
            reply = b'+OK\r\n' + messages[number] + b'.\r\n'
        elif words[0] == 'TOP' and number is not None:
            reply = b'+OK\r\n' + messages[number].partition(b'\r\n\r\n')[0] + b'\r\n\r\n.\r\n'
        else:
            reply = b'-ERR not understood\r\n'
        self.write(reply)

    @staticmethod
    def message(number):
        return (f'From: sender@example.test\r\nTo: you@example.test\r\nSubject: message {number}\r\n'
                f'Message-ID: <{number}@scripted.test>\r\n\r\nThis is message {number}.\r\n').encode()


class ScriptedServer:
    """Many ports, each with its dialogue. Ask it what it saw: connections(), received(), logins()."""

    def __init__(self, listen=None, pki=None):
        self.listen = listen or (lambda port: socket.create_server(('127.0.0.1', port)))
        self.given_pki, self.own_folder = pki, None
        self.ports, self.open = {}, set()
        self.changed = threading.Condition()
        self.closing = threading.Event()
        self.contexts, self.pki_lock = {}, threading.Lock()

    def play(self, port, *dialogues):
        """Plays on @port (0: any): the first connection gets the first dialogue, and so on; the last one stays.
        Returns the port. Played again on the same port, it holds for new connections; what was seen is kept."""
        parsed = [Dialogue.load(d) for d in dialogues]
        if port in self.ports:
            self.ports[port].update(dialogues=parsed, played=0)
            return port
        sock = self.listen(port)
        port = sock.getsockname()[1]
        self.ports[port] = {'socket': sock, 'dialogues': parsed, 'played': 0, 'connections': []}
        threading.Thread(target=self.accept, args=(port, sock), daemon=True).start()
        return port

    def play_text(self, port, *texts):
        return self.play(port, *[Dialogue(t) for t in texts])

    def accept(self, port, listener):
        entry = self.ports[port]
        while not self.closing.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            connection = Connection(self, port, sock)
            with self.changed:
                dialogue = entry['dialogues'][min(entry['played'], len(entry['dialogues']) - 1)]
                entry['played'] += 1
                entry['connections'].append(connection)
                self.open.add(connection)
                self.changed.notify_all()
            threading.Thread(target=connection.play, args=(dialogue,), daemon=True).start()

    def stop(self, port):
        """Listens on @port no more; connections that are open stay."""
        entry = self.ports.pop(port)
        end_listening(entry['socket'])

    @property
    def pki(self):
        """The certificates: the lab's, or own ones for localhost and odd.example.test, made at first use."""
        with self.pki_lock:
            if not self.given_pki:
                from .pki import Pki
                self.own_folder = tempfile.TemporaryDirectory(prefix='waypost-scripted-')
                self.given_pki = Pki(self.own_folder.name, ['localhost', 'odd.example.test'])
            return self.given_pki

    def context(self, kind):
        if kind not in self.contexts:
            self.contexts[kind] = self.pki.server_context(kind)
        return self.contexts[kind]

    # -- what was seen

    def connections(self, port):
        with self.changed:
            return list(self.ports[port]['connections'])

    def received(self, port):
        """All bytes that came in on @port, decrypted, over all connections."""
        return b''.join(bytes(c.received) for c in self.connections(port))

    def in_clear(self, port):
        """The part of it that came without encryption."""
        return b''.join(bytes(c.in_clear) for c in self.connections(port))

    def lines(self, port):
        return [line for c in self.connections(port) for line in list(c.lines)]

    def logins(self, port):
        return sum(c.logins for c in self.connections(port))

    def trouble(self, port):
        return [t for c in self.connections(port) for t in c.trouble]

    def forget(self, port):
        with self.changed:
            self.ports[port]['connections'].clear()

    def wait(self, condition, seconds=10):
        """Waits until @condition() holds; it is looked at whenever a line, connection or end comes."""
        with self.changed:
            if not self.changed.wait_for(condition, seconds):
                raise TimeoutError('the scripted server waited in vain')

    def wait_ended(self, port, count=1, seconds=10):
        self.wait(lambda: sum(c.over for c in self.ports[port]['connections']) >= count, seconds)

    # -- called by connections

    def notify(self):
        with self.changed:
            self.changed.notify_all()

    def ended(self, connection):
        with self.changed:
            connection.over = True
            self.open.discard(connection)
            self.changed.notify_all()

    def close(self):
        self.closing.set()
        for entry in self.ports.values():
            end_listening(entry['socket'])
        with self.changed:
            still = list(self.open)
        for connection in still:
            connection.end_socket()
        if self.own_folder:
            self.own_folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def end_listening(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)     # wakes accept(); close() alone does not
    except OSError:
        pass
    sock.close()


def main():
    with ScriptedServer() as server:
        port = server.play(int(sys.argv[2]) if len(sys.argv) > 2 else 0, sys.argv[1])
        print(f'127.0.0.1:{port}', flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            for line in server.lines(port):
                print(line.decode('latin-1'))


if __name__ == '__main__':
    main()
