# SPDX-License-Identifier: LGPL-2.1-or-later
"""A mailbox of messages that hurt, the same for the same seed, written as Maildir files at once.

What a Maildir behind Dovecot can hold: lines end in LF there and in CRLF on the wire, so a bare LF cannot be
stored (the scripted server sends those); bare CR, NUL, 8-bit and endless lines can.
"""
import os
import pwd
import random

LONG_LINE = 1 << 20
LARGE = 20 << 20


def header(number, more=b''):
    return (b'Return-Path: <sender@example.test>\nDate: Mon, 02 Mar 2026 10:%02d:%02d +0000\n'
            b'From: Sender <sender@example.test>\nTo: Alice <alice@example.test>\n'
            b'Message-ID: <hurt-%d@example.test>\nSubject: message %d\n' %
            (number // 60 % 60, number % 60, number, number)) + more


def special(rng):
    """The cases by name; each is the whole content of a file."""
    def body(text, n=0, more=b''):
        return header(n, more) + b'\n' + text
    return {
        'empty': b'',
        'only-newline': b'\n',
        'only-headers': header(1),
        'headers-without-newline': header(2)[:-1],
        'no-final-newline': body(b'the last line ends here', 3),
        'dot': body(b'.\n', 4),
        'dot-without-newline': body(b'text\n.', 5),
        'dots': body(b'.\n..\n...\n....\n.\n', 6),
        'dot-lines': body(b'.leading\n..two\n. space\n.\ttab\nend.\n', 7),
        'dot-first': b'.this message begins with a dot\n.\n',
        'dot-cr': body(b'.\r\r\n.\rx\n\r.\n', 8),
        'bare-cr': body(b'one\rtwo\rthree\r\rfour\n\rstart\nend\r\r\n', 9),
        'cr-at-end': body(b'no newline but a CR\r', 10),
        'only-cr': b'\r',
        'eight-bit': body(bytes(range(128, 256)) * 4 + b'\n', 11),
        'utf-8': body('Grüße, Καλημέρα, 日本語, \U0001f4ec\n'.encode(), 12, 'Subject: Grüße\n'.encode()),
        'broken-utf-8': body(b'\xc3\x28 \xff\xfe \xe2\x82 \xf0\x9f\n', 13),
        'nul': body(b'a\0b\0\0c\n\0\n\0', 14),
        'nul-in-header': header(15, b'X-Nul: a\0b\n') + b'\ntext\n',
        'control': body(bytes(c for c in range(1, 32) if c not in (10, 13)) + b'\x7f\n', 16),
        'long-line': body(b'x' * LONG_LINE + b'\n', 17),
        'long-line-of-dots': body(b'.' * LONG_LINE + b'\n', 18),
        'long-header': header(19, b'X-Long: ' + b'y' * 100000 + b'\n') + b'\ntext\n',
        'many-headers': header(20, b''.join(b'X-%d: v\n' % i for i in range(2000))) + b'\ntext\n',
        'no-header': b'\nthere is no header at all\n',
        'looks-like-pop': body(b'+OK\n-ERR\nQUIT\n.\n+OK 1 2\n', 21),
        'from-line': body(b'From somebody Mon Mar  2\n>From quoted\n', 22),
        'many-newlines': body(b'\n' * 5000, 23),
        'many-dot-lines': body(b'.\n' * 5000, 24),
        'binary': body(rng.randbytes(200000).replace(b'\r\n', b'\r'), 25),
        'dot-at-4096': body(b'z' * (4095 - len(header(26)) - 2) + b'\n.\n..\n', 26),
        'dot-at-65536': body(b'z' * (65535 - len(header(27)) - 2) + b'\n.\n..\n', 27),
        'large': body(large(rng), 28),
    }


def large(rng):
    """20 MiB of lines with a dot, a CR or eight bits here and there."""
    block = bytearray()
    while len(block) < 1 << 16:
        start = rng.choice((b'', b'', b'.', b'..', b'\xe4'))
        block += start + rng.randbytes(rng.randrange(70)).hex().encode() + rng.choice((b'\n', b'\n', b'\r\n', b'\rx\n'))
    return bytes(block) * (LARGE // len(block))


def ordinary(number, rng):
    text = bytearray(header(number) + b'\n')
    for _ in range(rng.randrange(40)):
        kind = rng.randrange(12)
        if kind == 0:
            text += b'.' * rng.randrange(1, 4)
        elif kind == 1:
            text += rng.randbytes(rng.randrange(60)).replace(b'\n', b'')
        elif kind == 2:
            text += b'\r' * rng.randrange(1, 3)
        text += bytes(rng.choices(b'abcdefghij .\xe9', k=rng.randrange(76)))
        text += b'\n'
    if rng.randrange(8) == 0:
        text = text.rstrip(b'\n')
    return bytes(text)


def messages(count=520, seed=1, large_one=True):
    """[(name, content as stored)], @count in all, the special ones spread among ordinary ones."""
    rng = random.Random(seed)
    result = [(name, data) for name, data in special(rng).items() if large_one or name != 'large']
    result += [(f'ordinary-{n}', ordinary(n, rng)) for n in range(100, 100 + max(0, count - len(result)))]
    rng.shuffle(result)
    return result


def fill(maildir, items, user='vmail'):
    """Writes @items into new/ of @maildir, which is made if need be. The names sort in the order given."""
    who = pwd.getpwnam(user)
    parent = os.path.dirname(maildir)
    for path in (parent, maildir, *(os.path.join(maildir, d) for d in ('tmp', 'new', 'cur'))):
        if not os.path.isdir(path):
            os.mkdir(path, 0o700)
            os.chown(path, who.pw_uid, who.pw_gid)
    start = len(os.listdir(os.path.join(maildir, 'new'))) + len(os.listdir(os.path.join(maildir, 'cur')))
    for number, (name, data) in enumerate(items, start):
        path = os.path.join(maildir, 'new', f'{1700000000 + number}.M{number}P1.{name}')
        with open(path, 'xb') as f:
            f.write(data)
        os.chown(path, who.pw_uid, who.pw_gid)
