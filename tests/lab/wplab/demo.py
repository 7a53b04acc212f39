# SPDX-License-Identifier: LGPL-2.1-or-later
"""scripts/demo after the build: python3 -m wplab.demo BUILD

What a user would do, with the real program: add an account with a mailbox full of messages that hurt, which are
fetched at once; fetch again; look at the history; be told why another account does not work. Then each fetched file is held against what an independent reader gets from the server by a second
RETR: dots unstuffed, CRLF to LF, all else untouched.
"""
import collections
import hashlib
import json
import os
import pwd
import subprocess
import sys
import time

from . import mailbox
from .bus import Bus
from .lab import Lab
from .reader import read_mailbox
from .run import LabError

ADDRESS, PASSWORD, USER = 'alice@example.test', 'alicepw', 'nobody'
COUNT = 520
USER_MUST_ACT = 3           # the program's exit status for a cause that the user can mend


def title(text):
    print(f'\n== {text}', flush=True)


class Demo:
    def __init__(self, lab, bus):
        self.lab, self.bus = lab, bus
        self.uid = pwd.getpwnam(USER).pw_uid

    def run(self, *args, shown=True, status=0):
        """One command of the user's, as the user; its output is the demo's. It has to end with @status."""
        if shown:
            print(f'\n$ waypost {" ".join(args)}', flush=True)
        argv = self.bus.command([self.bus.binary('cli', 'waypost'), *args], self.uid)
        done = subprocess.run(argv, env={**self.bus.environment(), 'HOME': '/'}, stdin=subprocess.DEVNULL,
                              stdout=None if shown else subprocess.PIPE, text=True)
        if done.returncode != status:
            raise LabError(f'waypost {args[0]} ended with status {done.returncode}, not {status}')
        return done.stdout

    def password_file(self, password):
        path = self.lab.run.write(f'{password}.txt', password + '\n', 0o600)
        os.chown(path, self.uid, -1)
        return path

    def delivered(self, location):
        """Digest -> files, of what lies in the Maildir, read as the user, who must be able to."""
        program = ('import hashlib, os, sys\n'
                   'for d in ("new", "cur"):\n'
                   '    for n in os.listdir(os.path.join(sys.argv[1], d)):\n'
                   '        with open(os.path.join(sys.argv[1], d, n), "rb") as f:\n'
                   '            print(hashlib.sha256(f.read()).hexdigest(), n)\n')
        argv = self.bus.command(['/usr/bin/python3', '-I', '-S', '-c', program, location], self.uid)
        done = subprocess.run(argv, env=self.bus.environment(), capture_output=True, text=True)
        if done.returncode:
            raise LabError(f'the user cannot read {location}:\n{done.stderr}')
        found = collections.defaultdict(list)
        for line in done.stdout.splitlines():
            digest, name = line.split()
            found[digest].append(name)
        return found

    def compare(self, location):
        """Whether the fetched files are exactly the server's messages."""
        there = collections.defaultdict(list)
        octets = 0
        for message in read_mailbox(self.lab, ADDRESS, PASSWORD):
            there[hashlib.sha256(message.data).hexdigest()].append(message)
            octets += len(message.data)
        here = self.delivered(location)
        equal = sum(min(len(there[d]), len(here[d])) for d in set(there) & set(here))
        missing = [m for d, found in there.items() for m in found[len(here.get(d, ())):]]
        extra = [n for d, found in here.items() for n in found[len(there.get(d, ())):]]
        n_there, n_here = sum(map(len, there.values())), sum(map(len, here.values()))
        print(f'on the server   {n_there} messages, {octets} octets, by a second RETR of an independent reader')
        print(f'in the Maildir  {n_here} files, read as user {USER}')
        print(f'equal           {equal}')
        for message in missing[:10]:
            print(f'  not fetched as it is: message {message.number}, UIDL {message.uidl}, {len(message.data)} octets')
        for name in extra[:10]:
            print(f'  not on the server: {name}')
        return n_there >= COUNT and not missing and not extra


def main():
    started = time.monotonic()
    items = mailbox.messages(COUNT)
    with Lab() as lab, Bus(sys.argv[1], lab=lab) as bus:
        demo = Demo(lab, bus)
        mailbox.fill(lab.maildir(ADDRESS), items)
        title('A mail provider on this machine')
        print(f'knot and unbound, Dovecot, Postfix and an HTTPS host, up in {lab.start_seconds:.2f} s, in a network of '
              f'their own;\na mailbox of {COUNT} messages that hurt, {sum(len(d) for _, d in items) >> 20} MiB: '
              'dot lines, bare CR, NUL, 8-bit, a 1 MiB line,\nno final newline, an empty one, one of 20 MiB')
        title('An account, from nothing but an address and a password')
        demo.run('add', ADDRESS, '--password-file', demo.password_file(PASSWORD), '--yes')
        title('Two more mails come; what was fetched is not fetched again')
        for number in (1, 2):
            lab.deliver(ADDRESS, b'From: sender@example.test\nSubject: news %d\n\n.\nnews\n' % number)
        demo.run('fetch', ADDRESS)
        title('What waypost knows of it')
        demo.run('list')
        demo.run('show', ADDRESS)
        demo.run('history', ADDRESS)
        title('An account that cannot be fetched: the cause is named')
        demo.run('add', 'bob@example.test', '--password-file', demo.password_file('bobpw'), '--yes', status=USER_MUST_ACT)
        location = json.loads(demo.run('show', ADDRESS, '--json', shown=False))['location']
        title('Is each fetched file the server\'s message?')
        good = demo.compare(location)
        title(f'{"Yes, each one" if good else "NO"} ({time.monotonic() - started:.0f} s in all)')
    return 0 if good else 1


if __name__ == '__main__':
    try:
        sys.exit(main())
    except LabError as error:
        print(f'waypost: {error}', file=sys.stderr)
        sys.exit(1)
