#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same as fetch.py by IMAP: waypost beside mbsync, beside a reader that throws the mail away, and beside a writer that only writes.

- reader: connection, login, SELECT, one UID FETCH of everything, octets discarded (in this process; Python costs little there).
- mbsync: pull into a Maildir, with its fsyncs (FSync yes is its default).
- push: new mail told of by IDLE over a round trip of 40 ms, from the moment it is in the mailbox until it is in new/.
"""
import os
import sys
import time

import fetch
from benchlib import measure
from benchlib.measure import DELAY_MS, RTT, median
from fetch import HOST, PASSWORD, USER
from wplab.bus import Bus
from wplab.client import Connection, endpoint
from wplab.imapbox import Imapbox
from wplab.lab import NET4, ODD, Lab
from wplab.reader import ImapReader
from wplab.run import CLEAN_ENV

BAR_PUSH = 2


class Bench(fetch.Bench):
    def __init__(self, lab, count, octets):
        self.mbsync = measure.require('mbsync')
        super().__init__(lab, count, octets)

    def read(self):
        begun, seen, tail = time.monotonic(), 0, b''
        reader = ImapReader.of_lab(self.lab, USER, PASSWORD, HOST)
        with reader.sock:
            reader.command('SELECT INBOX')
            reader.sock.sendall(b'c UID FETCH 1:* (UID FLAGS BODY.PEEK[])\r\n')
            while b'\r\nc OK' not in tail:
                data = reader.reader.read1(1 << 18)
                if not data:
                    sys.exit('the reader: the server hung up')
                seen += data.count(b' FETCH (UID ')
                tail = (tail + data)[-200:]
        if seen < self.count * 9 // 10:     # what is split between two reads is not counted
            sys.exit(f'the reader: {seen} messages instead of {self.count}')
        return time.monotonic() - begun

    def fetch_mbsync(self):
        folder = self.fresh('mbsync')
        os.mkdir(folder, 0o700)
        path = os.path.join(folder, 'rc')
        with open(path, 'w') as f:
            f.write(f'IMAPAccount b\nHost {HOST}\nPort 993\nUser {USER}\nPass {PASSWORD}\nSSLType IMAPS\nAuthMechs PLAIN LOGIN\n'
                    f'CertificateFile {self.lab.pki.ca}\n\nIMAPStore far\nAccount b\n\nMaildirStore near\nPath {folder}/\nInbox {folder}/Mail\n\n'
                    f'Channel c\nFar :far:\nNear :near:\nPatterns INBOX\nSync Pull\nCreate Near\nSyncState *\n')
        begun = time.monotonic()
        self.run(self.lab.client.enter([self.mbsync, '-q', '-c', path, 'c']), env={**CLEAN_ENV, 'HOME': folder})
        seconds = time.monotonic() - begun
        self.check('mbsync', sum(len(os.listdir(f'{folder}/Mail/{d}')) for d in ('new', 'cur')))
        return seconds


class Waypost(fetch.Waypost):
    CONFIG = {'service': {'log-level': 'info'}, 'fetch': {'idle-connections': '0'}}

    def onboard(self):
        fetch.mailbox.fill(self.bench.full, [])
        setup = self.connection.start_setup(USER, incoming=endpoint(HOST, 993, protocol='imap'), receive_only=True)
        setup.wait_need('password')
        setup.set_password(PASSWORD)
        setup.wait_state('ready')
        account = setup.commit()
        self.connection.wait_signal('RunFinished', account.path)
        return account

    def check_files(self):
        places = [os.path.join(self.account['Location'], d) for d in ('new', 'cur')]
        self.bench.check('waypost', sum(len(os.listdir(p)) for p in places))


def speed(title, delay, count, octets, rounds, bar):
    print(f'{title}: {count} messages, {octets / 1e6:.0f} MB, {rounds} rounds')
    with Lab(delay_ms=delay) as lab:
        bench = Bench(lab, count, octets)
        writer = bench.best_writer()
        seen = {name: [] for name in ('reader', 'writer', 'waypost', 'mbsync', 'rss')}
        for _ in range(rounds):
            seen['reader'].append(bench.read())
            seen['writer'].append(bench.write(*writer))
            with Waypost(bench) as waypost:
                seen['waypost'].append(waypost.fetch(bench.count))
                seen['rss'].append(measure.peak_rss(waypost.pid))
                waypost.check_files()
            seen['mbsync'].append(bench.fetch_mbsync())
        limit = max(median(seen['reader']), median(seen['writer']))
        ratio = median([w / max(r, d) for w, r, d in zip(seen['waypost'], seen['reader'], seen['writer'])])
        rows = [(name, median(seen[name]), measure.spread(seen[name]), median(seen[name]) / limit,
                 median(seen[name]) / median(seen['mbsync'])) for name in ('reader', 'writer', 'waypost', 'mbsync')]
        measure.table(('program', 'seconds', 'from - to', 'of limit', 'of mbsync'), rows)
        print(f'  waypost: peak RSS {median(seen["rss"]):.1f} MiB; waypost / limit, median of the rounds: {ratio:.2f} (bar {bar})\n')
        return {'title': title, 'messages': count, 'octets': octets, 'waypost_of_limit': ratio, 'bar': bar, **seen}


def push(rounds):
    print(f'New mail by IDLE over {RTT * 1000:.0f} ms, from the mailbox into new/, in round trips, {rounds} mails')
    with Lab(delay_ms=DELAY_MS) as lab, Bus(os.environ['WAYPOST_BUILD'], lab=lab, config={'service': {'log-level': 'info'}}) as bus, \
            Connection(bus) as c:
        box = Imapbox(lambda port: lab.server.listen(NET4 + str(ODD), port), lab.pki.server_context('good'))
        setup = c.start_setup('alice@example.test', receive_only=True, incoming=endpoint('odd.example.test', box.port, protocol='imap'))
        setup.wait_need('password')
        setup.set_password('oddpw')
        setup.wait_state('ready')
        account = setup.commit()
        c.wait_signal('RunFinished', account.path)
        new, took = os.path.join(account['Location'], 'new'), []
        for n in range(rounds):
            end = time.monotonic() + 30
            while not box.idling and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(0.7)             # the run before has ended in every respect
            there, begun = len(os.listdir(new)), box.deliver(f'Subject: number {n}\n\nhello\n'.encode())
            while len(os.listdir(new)) == there:
                if time.monotonic() > end + 30:
                    sys.exit('push: it did not come')
                time.sleep(0.0005)
            took.append((time.monotonic() - begun) / RTT)
        print(f'  median {median(took):.2f}, {measure.spread(took)} (bar {BAR_PUSH}, and half a round trip until it is told, and the disk)\n')
        box.close()
        return {'round_trips': took, 'bar': BAR_PUSH}


def main():
    args = measure.arguments(
        __doc__, (('--large',), dict(action='store_true', help='also 10 000 messages, 190 MB, without delay')),
        (('--only',), dict(choices=('loopback', 'slow', 'push', 'large'), help='one part of it')))
    parts = {
        'loopback': lambda: speed('(a) no delay', None, 1000, 19_000_000, args.rounds, fetch.BAR['loopback']),
        'large': lambda: speed('(a) no delay, large', None, 10_000, 190_000_000, args.rounds, fetch.BAR['loopback']),
        'slow': lambda: speed('(b) round trip of 40 ms', DELAY_MS, 1000, 19_000_000, args.rounds, fetch.BAR['slow']),
        'push': lambda: push(max(args.rounds, 5)),
    }
    wanted = [args.only] if args.only else [p for p in parts if p != 'large' or args.large]
    measure.write_json(args.json, {'fetch_imap': {name: parts[name]() for name in wanted}})


if __name__ == '__main__':
    main()
