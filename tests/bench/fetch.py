#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fetching: waypost beside mpop, beside a reader that throws the mail away, and beside a writer that only writes.

One mailbox of Dovecot, POP3 over TLS 1.3 with PIPELINING, kept on the server; (a) without delay, (b) over a round trip of
40 ms. In each round each program fetches all of it into a fresh folder, one after the other, and what is told are
medians and ratios of one run: only those compare from machine to machine. Nothing is deleted between rounds.

- reader (popreader.c): name, connection, login, RETR of everything pipelined, octets discarded.
- writer (filewriter.c): the same files in memory into a Maildir; files, tmp/ and new/ fsynced; the best of a few batch
  sizes and numbers of threads, found at the start.
- limit: the slower of the two.
- waypost: FetchNow to RunFinished, as a client of the bus sees it; each file and its directories are fsynced before
  the commit that says so. The mail is new to it, the account is not.
- mpop: the whole program, to Maildir; it fsyncs files, not directories.

"Nothing new" is a poll of the same mailbox when all of it is known, over 40 ms: seconds as round trips, and what the packets
say: waves of DNS and turns of the connection. DNS is not cached; no TLS session is resumed.
"""
import os
import pwd
import shutil
import subprocess
import sys
import time

from benchlib import measure
from benchlib.measure import DELAY_MS, RTT, median
from benchlib.packets import PacketLog
from wplab import mailbox
from wplab.bus import SERVICE_USER, Bus
from wplab.client import Connection, endpoint
from wplab.lab import Lab
from wplab.run import CLEAN_ENV

USER, PASSWORD, HOST = 'big@example.test', 'bigpw', 'mail.example.test'
WRITER_TRIES = ((64, 4), (64, 8), (256, 4), (256, 8), (1000, 8))
BAR = {'loopback': 1.5, 'slow': 1.3}
BAR_TURNS = 8


class Bench:
    """The lab with one full mailbox, and the programs."""

    def __init__(self, lab, count, octets):
        self.lab, self.count, self.octets = lab, count, octets
        self.tools = {name: measure.build(name, lab.path) for name in ('popreader', 'filewriter')}
        self.mpop = measure.require('mpop')
        self.full, self.number = lab.maildir(USER), 0
        self.disk = os.path.join(lab.path, 'disk')
        os.mkdir(self.disk, 0o755)
        # ext4 searches long where much was deleted lately: each program gets a corner of its own.
        if shutil.which('chattr'):
            subprocess.run(['chattr', '+T', self.disk], stderr=subprocess.DEVNULL)
        mailbox.fill(self.full, measure.ordinary_mail(count, octets))
        self.read()                     # Dovecot indexes, moves into cur/ and marks as seen; none of it is ours to pay
        self.source = os.path.join(self.full, 'cur')

    def fresh(self, name):
        self.number += 1
        return os.path.join(self.disk, f'{name}-{self.number}')

    def run(self, argv, **more):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=1200, **more)
        if done.returncode:
            sys.exit(f'{argv[-1 if len(argv) < 3 else 0]} failed: {done.stderr}{done.stdout}')
        return done.stdout

    def inside(self, argv):
        return self.run(self.lab.client.enter(argv), env=CLEAN_ENV)

    def check(self, what, count):
        if count != self.count:
            sys.exit(f'{what}: {count} messages instead of {self.count}')

    def read(self):
        answer = self.inside([self.tools['popreader'], HOST, '995', self.lab.pki.ca, USER, PASSWORD]).split()
        self.check('the reader', int(answer[0]))
        return float(answer[2])

    def write(self, batch, threads):
        answer = self.run([self.tools['filewriter'], self.source, self.fresh('writer'), str(batch), str(threads)]).split()
        self.check('the writer', int(answer[0]))
        return float(answer[2])

    def best_writer(self):
        tried = {way: min(self.write(*way) for _ in range(2)) for way in WRITER_TRIES}
        return min(tried, key=tried.get)

    def mpop_config(self):
        folder = self.fresh('mpop')
        for name in ('', 'Mail', 'Mail/tmp', 'Mail/new', 'Mail/cur'):
            os.mkdir(os.path.join(folder, name), 0o700)
        path = os.path.join(folder, 'mpoprc')
        with open(path, 'w') as f:
            f.write(f'account bench\nhost {HOST}\nport 995\ntls on\ntls_starttls off\n'
                    f'tls_trust_file {self.lab.pki.ca}\nauth plain\nuser {USER}\npassword {PASSWORD}\nkeep on\n'
                    f'uidls_file {folder}/uidls\nreceived_header off\ndelivery maildir {folder}/Mail\n')
        os.chmod(path, 0o600)
        return folder

    def run_mpop(self, folder):
        begun = time.monotonic()
        self.inside([self.mpop, '-q', '-C', f'{folder}/mpoprc', 'bench'])
        return time.monotonic() - begun

    def fetch_mpop(self):
        folder = self.mpop_config()
        seconds = self.run_mpop(folder)
        self.check('mpop', len(os.listdir(f'{folder}/Mail/new')))
        return seconds, folder


class Waypost:
    """The service on a bus of its own, with an account that was made while the mailbox was empty."""

    CONFIG = {'service': {'log-level': 'info'}}

    def __init__(self, bench):
        self.bench = bench
        state, user = bench.fresh('state'), pwd.getpwnam(SERVICE_USER)
        os.mkdir(state, 0o711)
        os.chown(state, user.pw_uid, user.pw_gid)
        self.bus = Bus(os.environ['WAYPOST_BUILD'], lab=bench.lab, config=self.CONFIG, state=state)

    def __enter__(self):
        self.bus.__enter__()
        try:
            self.connection = Connection(self.bus).__enter__()
            away = self.bench.full + '.away'
            os.rename(self.bench.full, away)
            try:
                self.account = self.onboard()
            finally:
                empty = f'{self.bench.full}.empty-{self.bench.number}'
                os.rename(self.bench.full, empty)
                os.rename(away, self.bench.full)
            self.pid = self.bus.service_pid()
            self.rss_before = measure.peak_rss(self.pid)
        except BaseException:
            self.bus.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *what):
        self.connection.__exit__(*what)
        self.bus.__exit__(*what)

    def onboard(self):
        mailbox.fill(self.bench.full, [])
        setup = self.connection.start_setup(
            USER, incoming=endpoint(HOST, 995, protocol='pop3'), outgoing=endpoint('smtp.example.test', 465),
            receive_only=True)
        setup.wait_need('password')
        setup.set_password(PASSWORD)
        setup.wait_state('ready')
        account = setup.commit()
        self.connection.wait_signal('RunFinished', account.path)        # of the mailbox while it is empty
        return account

    def fetch(self, expected):
        cpu = measure.cpu_seconds(self.pid)
        begun = time.monotonic()
        run = self.account.fetch(seconds=1200)
        seconds = time.monotonic() - begun
        if run.get('cause') or run['delivered'] != expected:
            sys.exit(f'waypost: {run}')
        self.cpu = measure.cpu_seconds(self.pid) - cpu
        return seconds

    def check_files(self):
        new = os.path.join(self.account['Location'], 'new')
        self.bench.check('waypost', len(os.listdir(new)))
        octets = sum(e.stat().st_size for e in os.scandir(new))
        stored = sum(e.stat().st_size for e in os.scandir(self.bench.source))
        if octets != stored:
            sys.exit(f'waypost: {octets} octets instead of {stored}')


def one_round(bench, writer, seen):
    seen['reader'].append(bench.read())
    seen['writer'].append(bench.write(*writer))
    with Waypost(bench) as waypost:
        seen['waypost'].append(waypost.fetch(bench.count))
        seen['waypost-cpu'].append(waypost.cpu)
        seen['rss'].append(measure.peak_rss(waypost.pid))
        seen['rss-before'].append(waypost.rss_before)
        waypost.check_files()
    seconds, folder = bench.fetch_mpop()
    seen['mpop'].append(seconds)
    return folder


def speed(title, delay, count, octets, rounds, bar):
    print(f'{title}: {count} messages, {octets / 1e6:.0f} MB, {rounds} rounds')
    with Lab(delay_ms=delay) as lab:
        bench = Bench(lab, count, octets)
        writer = bench.best_writer()
        seen = {name: [] for name in ('reader', 'writer', 'waypost', 'mpop', 'rss', 'rss-before', 'waypost-cpu')}
        for _ in range(rounds):
            one_round(bench, writer, seen)
        limit = max(median(seen['reader']), median(seen['writer']))
        ratio = median([w / max(r, d) for w, r, d in zip(seen['waypost'], seen['reader'], seen['writer'])])
        rows = [(name, median(seen[name]), measure.spread(seen[name]), median(seen[name]) / limit,
                 median(seen[name]) / median(seen['mpop'])) for name in ('reader', 'writer', 'waypost', 'mpop')]
        measure.table(('program', 'seconds', 'from - to', 'of limit', 'of mpop'), rows)
        print(f'  writer: batches of {writer[0]}, {writer[1]} threads. waypost: {median(seen["waypost-cpu"]):.2f} s CPU, '
              f'peak RSS {median(seen["rss"]):.1f} MiB ({median(seen["rss-before"]):.1f} before the fetch)')
        print(f'  waypost / limit, median of the rounds: {ratio:.2f} (bar {bar})\n')
        return {'title': title, 'messages': count, 'octets': octets, 'writer': writer, 'limit': limit,
                'waypost_of_limit': ratio, 'bar': bar, **seen}


def poll(bench, run):
    """Seconds in round trips, waves of DNS, turns of the connection."""
    with PacketLog(bench.lab) as log:
        seconds = run()
        time.sleep(2 * RTT)             # what is still on its way
    return seconds / RTT, log.dns_waves(), sum(f.turns for f in log.tcp())


def nothing_new(count, rounds):
    print(f'Nothing new: a poll of {count} known messages over {RTT * 1000:.0f} ms, in round trips, {rounds} rounds')
    result = {}
    with Lab(delay_ms=DELAY_MS) as lab:
        bench = Bench(lab, count, count * 2000)
        with Waypost(bench) as waypost:
            waypost.fetch(count)
            polls = [poll(bench, lambda: waypost.fetch(0)) for _ in range(rounds)]
        result['waypost'] = polls
        folder = bench.fetch_mpop()[1]
        result['mpop'] = [poll(bench, lambda: bench.run_mpop(folder)) for _ in range(rounds)]
    measure.table(('program', 'seconds / RTT', 'DNS', 'connection', 'sum'),
                  [(name, *(median([p[i] for p in polls]) for i in range(3)), median([p[1] + p[2] for p in polls]))
                   for name, polls in result.items()])
    print(f'  bar: {BAR_TURNS} without DNS\n')
    return result


def main():
    args = measure.arguments(
        __doc__, (('--large',), dict(action='store_true', help='also 10 000 messages, 190 MB, without delay')),
        (('--only',), dict(choices=('loopback', 'slow', 'nothing-new', 'large'), help='one part of it')))
    parts = {
        'loopback': lambda: speed('(a) no delay', None, 1000, 19_000_000, args.rounds, BAR['loopback']),
        'large': lambda: speed('(a) no delay, large', None, 10_000, 190_000_000, args.rounds, BAR['loopback']),
        'slow': lambda: speed('(b) round trip of 40 ms', DELAY_MS, 1000, 19_000_000, args.rounds, BAR['slow']),
        'nothing-new': lambda: nothing_new(100, args.rounds),
    }
    wanted = [args.only] if args.only else [p for p in parts if p != 'large' or args.large]
    measure.write_json(args.json, {'fetch': {name: parts[name]() for name in wanted}})


if __name__ == '__main__':
    main()
