# SPDX-License-Identifier: LGPL-2.1-or-later
"""The server behaviours of "NO STARTTLS" (USENIX Security 2021) as dialogues of the scripted server.

The cases are RON files of the authors' fake mail server, which are not part of this project: ../shared/third-party. What a case leaves open is
played as an ordinary server that goes along with everything, in clear as well: whoever sends a password there has lost it.
"""
import glob
import os
import re

from .run import PROJECT

FOLDER = os.path.join(PROJECT, '..', 'shared', 'third-party', 'no-starttls')
ABSENT = 'the cases do not lie beside the project: ../shared/third-party/no-starttls'
PROTOCOLS = ('pop3', 'smtp', 'imap')
CERTS = {'self-signed': 'self-signed', 'expired': 'expired', 'unknown-root': 'unknown-ca', 'other.': 'wrong-name'}
TOKEN = re.compile(r'\s*(?://[^\n]*\n|/\*.*?\*/|("(?:\\.|[^"\\])*")|([A-Za-z_][A-Za-z0-9_-]*)|(-?\d+)|([\[\](){}:,]))', re.S)


def tokens(text):
    at = 0
    while at < len(text.rstrip()):
        match = TOKEN.match(text, at)
        if not match:
            raise ValueError(f'not RON at {text[at:at + 40]!r}')
        at = match.end()
        if match.group(1, 2, 3, 4) != (None,) * 4:
            yield match.group(1, 2, 3, 4)


def unquote(text):
    plain = {'r': '\r', 'n': '\n', 't': '\t', '0': '\0'}
    return re.sub(r'\\(.)', lambda m: plain.get(m[1], m[1]), text[1:-1])


class Reader:
    """Values: text, numbers, lists, dicts (maps and structs), and (name, arguments) for what has a name."""

    def __init__(self, text):
        self.tokens = list(tokens(text))
        self.at = 0

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else (None,) * 4

    def take(self, sign=None):
        token = self.peek()
        if sign and token[3] != sign:
            raise ValueError(f'{sign} expected, not {token}')
        self.at += 1
        return token

    def items(self, end):
        out = []
        while self.peek()[3] != end:
            out.append(self.pair() if end in ')}' else self.value())
            if self.peek()[3] == ',':
                self.take()
        self.take(end)
        return out

    def pair(self):
        value = self.value()
        if self.peek()[3] != ':':
            return None, value
        self.take()
        return (value if isinstance(value, str) else value[0]), self.value()

    def value(self):
        text, name, number, sign = self.take()
        if text is not None:
            return unquote(text)
        if number is not None:
            return int(number)
        if sign == '[':
            return self.items(']')
        if sign in ('(', '{'):
            return dict(self.items(')' if sign == '(' else '}'))
        if self.peek()[3] == '(':
            self.take()
            inner = self.items(')')
            return (name, dict(inner)) if inner and inner[0][0] else (name, [v for _, v in inner])
        return name, []


def cases():
    """[(name, protocol, case)], in order of name; empty when they are not there."""
    found = []
    for path in sorted(glob.glob(os.path.join(glob.escape(FOLDER), 'testcases*', '**', '*.ron'), recursive=True)):
        protocol = next(p for p in PROTOCOLS if f'/{p}/' in path)
        with open(path, encoding='utf-8') as f:
            text = f.read()
        name = os.path.relpath(path, FOLDER)[len('testcases'):-len('.ron')].strip('_/').replace(' ', '-')
        # some files hold several servers, one after the other
        reader = Reader(text)
        for number in range(1000):
            if reader.at >= len(reader.tokens):
                break
            found.append((name + (f'#{number}' if number else ''), protocol, reader.value()))
    return found


def plain(value, default=None):
    """The inside of Some(...), or the value."""
    if isinstance(value, tuple) and value[0] == 'Some':
        return value[1][0]
    return default if value is None or value == ('None', []) else value


def quoted(text):
    """For the dialogue's raw; <tag> is the client's."""
    data = text.encode('utf-8')
    out = ''.join(chr(c) if 33 <= c < 127 and c != 92 else f'\\x{c:02x}' for c in data)
    return out.replace('{', '\\x7b').replace('<tag>', '{tag}') or '\\x0d\\x0a'


class Server:
    def __init__(self, case):
        self.case = case
        self.over = {k: v for k, v in case.get('override_response', {}).items()}
        self.hidden = case.get('hide_commands', [])
        self.ignored = case.get('ignore_commands', [])
        path = case['cert'][1]['crt_path'] if 'cert' in case else ''
        self.cert = next((kind for part, kind in CERTS.items() if part in path), 'good')
        self.lines = []

    def on(self, name, pattern, says, *more):
        self.lines.append(f'on {pattern}')
        if name in self.ignored:
            self.lines.append('sleep 0')
        elif name in self.hidden:
            self.lines.append('raw ' + quoted(self.REFUSE))
        else:
            self.lines.append('raw ' + quoted(self.over.get(name, says)))
            self.lines += more

    def starttls(self, name, pattern, says, transition):
        """The answer, and the handshake where the case has one."""
        says = self.over.get(name, says)
        if transition and name not in self.hidden + self.ignored and self.positive(says):
            self.lines += [f'on {pattern}', 'raw ' + quoted(says), f'starttls {self.cert}', 'done']
        else:
            self.on(name, pattern, says)

    def transition(self):
        value = plain(self.case.get('stls_make_transition', self.case.get('starttls_transition')), ('true', []))
        return value != ('false', [])


class Pop3(Server):
    REFUSE = '-ERR Unknown command.\r\n'

    @staticmethod
    def positive(says):
        return says.startswith('+')

    @staticmethod
    def listing(lines):
        return ''.join(f'{line}\r\n' for line in ['+OK', *lines, '.'])

    def dialogue(self):
        case = self.case
        self.lines += ['raw ' + quoted(self.over.get('greeting', plain(case.get('greeting'), '+OK POP3 server ready.\r\n'))), 'serve clear']
        self.on('capa', '^CAPA', self.listing(case.get('capa', [])))
        self.starttls('stls', '^STLS', plain(case.get('stls_response'), '+OK Begin TLS negotiation now.\r\n'), self.transition())
        self.on('authlist', '^AUTH$', self.listing(['PLAIN', 'LOGIN']))
        self.on('login', '^(USER|PASS|APOP|AUTH .|STAT|DELE|NOOP)', '+OK\r\n')
        self.on('quit', '^QUIT', '+OK bye\r\n', 'close')
        self.lines += ['default ' + self.REFUSE.strip(), 'end', 'serve inside', 'on ^CAPA$', 'raw ' + quoted(self.listing(case.get('capa_tls', []))),
                       'include pop3.rules', 'end']
        return '\n'.join(self.lines) + '\n'


class Smtp(Server):
    REFUSE = '502 5.5.2 Command not recognized\r\n'

    @staticmethod
    def positive(says):
        return says.startswith('220')

    def capability(self, value):
        name, inner = value
        if name == 'Auth':
            return ' '.join(['AUTH', *[v[1][0] if v[0] == 'Other' else v[0].upper() for v in inner[0]]])
        return name.upper() + ''.join(f' {v}' for v in inner if isinstance(v, (int, str)))

    def listing(self, key):
        lines = ['fake.example.org', *[self.capability(c) for c in self.case.get(key, [])]]
        return ''.join(f'250{"-" if n < len(lines) - 1 else " "}{line}\r\n' for n, line in enumerate(lines))

    def dialogue(self):
        self.lines += ['raw ' + quoted(self.over.get('greeting', '220 fake.example.org ESMTP\r\n')), 'serve clear']
        self.on('ehlo', '^EHLO', self.listing('capabilities'))
        self.on('helo', '^HELO', '250 fake.example.org\r\n')
        self.starttls('starttls', '^STARTTLS', plain(self.case.get('stls_response'), '220 2.0.0 Ready to start TLS\r\n'), self.transition())
        self.on('rset', '^RSET', '250 ok\r\n')
        self.on('quit', '^QUIT', '221 bye\r\n', 'close')
        self.on('auth', '^AUTH', '235 2.7.0 yes\r\n')
        self.on('mail', '^(MAIL|RCPT|NOOP)', '250 ok\r\n')
        self.on('data', '^DATA', '354 go on\r\n', 'read-data', 'send 250 taken')
        self.lines += ['default ' + self.REFUSE.strip(), 'end', 'serve inside', 'on ^EHLO', 'raw ' + quoted(self.listing('capabilities_tls')),
                       'include smtp.rules', 'end']
        return '\n'.join(self.lines) + '\n'


class Imap(Server):
    REFUSE = '<tag> BAD unknown command\r\n'
    NAMES = {'Imap4Rev1': 'IMAP4rev1'}

    @staticmethod
    def positive(says):
        return '<tag> OK' in says

    def capability(self, value):
        name, inner = value
        if name == 'Auth':
            kind, more = inner[0]
            return 'AUTH=' + (more[0] if more and isinstance(more[0], str) else kind.upper())
        if inner and isinstance(inner[0], str):
            return inner[0]
        return self.NAMES.get(name, name.upper())

    def listing(self, key):
        return ' '.join(self.capability(c) for c in self.case.get(key, []) if isinstance(c, tuple))

    def greeting(self):
        greeting = self.case.get('greeting')
        if 'greeting' in self.over or not isinstance(greeting, dict):
            return self.over.get('greeting', '* OK ready\r\n')
        code = plain(greeting.get('code'))
        bracket = ''
        if isinstance(code, tuple) and code[0] == 'Capability':
            bracket = '[CAPABILITY ' + ' '.join(self.capability(c) for c in code[1][0][1][0]) + '] '
        elif isinstance(code, tuple):
            bracket = f'[{code[0].upper()}] '
        return f'* {greeting["kind"][0].upper()} {bracket}{greeting["text"][1][0]}\r\n'

    def dialogue(self):
        self.lines += ['raw ' + quoted(self.greeting())]
        after = plain(self.case.get('response_after_greeting'))
        if after:
            self.lines.append('raw ' + quoted(after))
        self.lines += ['serve clear']
        self.on('capability', r'^\S+ CAPABILITY', f'* CAPABILITY {self.listing("caps")}\r\n<tag> OK done\r\n')
        self.starttls('starttls', r'^\S+ STARTTLS', plain(self.case.get('starttls_response'), '<tag> OK begin\r\n'), self.transition())
        self.on('login', r'^\S+ (LOGIN|AUTHENTICATE|SELECT|EXAMINE|NOOP|ID)', '<tag> OK go on\r\n')
        self.on('logout', r'^\S+ LOGOUT', '* BYE bye\r\n<tag> OK bye\r\n', 'close')
        self.lines += ['default * BAD unknown command', 'end', 'serve inside', r'on ^\S+ CAPABILITY',
                       'raw ' + quoted(f'* CAPABILITY {self.listing("caps_tls")}\r\n<tag> OK done\r\n'), 'include imap-session.rules', 'end']
        return '\n'.join(self.lines) + '\n'


def dialogue(protocol, case):
    text = {'pop3': Pop3, 'smtp': Smtp, 'imap': Imap}[protocol](case).dialogue()
    if not encrypted(case):
        return text
    return 'tls good\n' + text[:text.index('serve clear')] + text[text.index('serve inside'):]


def encrypted(case):
    """From the first moment; hardly any is."""
    return case.get('implicit_tls') == ('true', [])
