#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many accounts: what they cost while nothing happens, and what they cost when all are due at once.

- idle: a service with 1 000, 10 000, 100 000 accounts that are due in hours: from its start until it answers, resident memory (and what an
  account adds), and the CPU time of a minute in which nothing is due. Accounts are put into the database; they are of 1 000 users at 1 000
  hosts.
- busy: 1 000 accounts with 5 new messages each at one Dovecot over TLS, all due at once, at most 64 dialogues at a time: messages a second,
  CPU seconds of the service; then the same poll with nothing new. Beside it mpop, started once for each account, one after the other and in
  64 processes at a time.
"""
import concurrent.futures
import os
import pwd
import secrets
import shutil
import sqlite3
import subprocess
import sys
import time

from benchlib import measure
from wplab import mailbox
from wplab.bus import SERVICE_USER, Bus
from wplab.client import Connection, endpoint
from wplab.lab import Lab
from wplab.run import CLEAN_ENV

GOAL_RSS, GOAL_START = 256 << 20, 2.0
HOST = 'mail.example.test'
BUILD = os.environ.get('WAYPOST_BUILD')
COLUMNS = ('id', 'uid', 'user_name', 'address', 'display_name', 'incoming_protocol', 'incoming_host', 'incoming_port', 'incoming_security',
           'incoming_user', 'same_secret', 'keep', 'interval_usec', 'poll_minimum_usec', 'location', 'can_send', 'paused', 'since_usec',
           'last_success_usec', 'created_usec', 'failures', 'messages_fetched', 'bytes_fetched')


def own(path):
    user = pwd.getpwnam(SERVICE_USER)
    for folder, _, names in os.walk(path):
        for name in ('', *names):
            os.chown(os.path.join(folder, name), user.pw_uid, user.pw_gid)


def insert(state, rows):
    with sqlite3.connect(os.path.join(state, 'waypost.db')) as db:
        db.executemany(f'INSERT INTO account ({", ".join(COLUMNS)}, outgoing_protocol, outgoing_security)'
                       f' VALUES ({", ".join("?" * len(COLUMNS))}, "smtp", "tls")', rows)
    db.close()
    own(state)


def idle_rows(n, now):
    for i in range(n):
        address = f'somebody{i}@host{i % 1000}.example.test'
        yield (secrets.token_hex(16), 0, 'root', address, 'Some Body', 'pop3', f'pop.host{i % 1000}.example.test', 995, 'tls', address, 1, 0,
               24 * 3600 * 10**6, 0, f'/var/lib/waypost/mail/0/{i:032x}', 1, 0, now, now, now, 0, 12, 34567)


def resident(pid):
    with open(f'/proc/{pid}/status') as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith('VmRSS'))


def make_state(lab, name):
    """A state folder with an empty database."""
    state = os.path.join(lab.path, name)
    os.mkdir(state, 0o711)
    own(state)
    with Bus(BUILD, lab=lab, config={'service': {'log-level': 'warning'}}, state=state) as bus, Connection(bus) as c:
        c.accounts()
    return state


def idle(lab, n, seconds):
    state = make_state(lab, f'idle-{n}')
    insert(state, idle_rows(n, int(time.time() * 1e6)))
    config = {'service': {'log-level': 'warning'}, 'limits': {'accounts-per-uid': 100000}, 'fetch': {'interval': '1d'}}
    with Bus(BUILD, lab=lab, config=config, state=state) as bus, Connection(bus) as c:
        begun = time.monotonic()
        c.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'StartServiceByName', 'su', 'org.waypost.Waypost1', 0,
               destination='org.freedesktop.DBus')
        c.call('/org/waypost/Waypost1', 'org.waypost.Waypost1.Manager', 'ListCauses')
        started = time.monotonic() - begun
        pid = bus.service_pid()
        starting = measure.cpu_seconds(pid)
        time.sleep(1)
        rss, cpu = resident(pid), measure.cpu_seconds(pid)
        time.sleep(seconds)
        cpu = measure.cpu_seconds(pid) - cpu
    shutil.rmtree(state)
    return started, rss, cpu, starting


def tell_idle(lab, counts, seconds):
    seen = {n: idle(lab, n, seconds) for n in counts}
    base = seen[counts[0]][1]
    measure.table(['accounts', 'start s', 'of it CPU', 'resident MB', 'KB each', f'CPU s in {seconds} s'],
                  [[n, s, start, rss / 2**20, (rss - base) / 1024 / max(1, n - counts[0]) if n != counts[0] else None, cpu]
                   for n, (s, rss, cpu, start) in seen.items()])
    started, rss, _, _ = seen[counts[-1]]
    print(f'  goals at {counts[-1]}: {GOAL_RSS >> 20} MB {"kept" if rss <= GOAL_RSS else "MISSED"}, '
          f'{GOAL_START:g} s {"kept" if started <= GOAL_START else "MISSED"}')
    return {str(n): dict(zip(('start', 'rss', 'cpu', 'start-cpu'), v)) for n, v in seen.items()}


# -- all at once

def fill(lab, users, messages, octets):
    mails = list(measure.ordinary_mail(messages, octets))
    for user in users:
        lab.set_account(user, password='pw')
        mailbox.fill(lab.maildir(user), mails)


def mpop(lab, folder, user, program):
    place = os.path.join(folder, user)
    for name in ('', 'Mail', 'Mail/tmp', 'Mail/new', 'Mail/cur'):
        os.mkdir(os.path.join(place, name), 0o700)
    path = os.path.join(place, 'mpoprc')
    with open(path, 'w') as f:
        f.write(f'account bench\nhost {HOST}\nport 995\ntls on\ntls_starttls off\ntls_trust_file {lab.pki.ca}\nauth plain\nuser {user}\n'
                f'password pw\nkeep on\nuidls_file {place}/uidls\nreceived_header off\ndelivery maildir {place}/Mail\n')
    os.chmod(path, 0o600)
    subprocess.run(lab.client.enter([program, '-q', '-C', path, 'bench']), check=True, env=CLEAN_ENV)
    return len(os.listdir(f'{place}/Mail/new'))


def run_mpop(lab, users, at_once):
    program, folder = measure.require('mpop'), os.path.join(lab.path, f'mpop-{at_once}')
    os.mkdir(folder)
    begun, before = time.monotonic(), os.times()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        got = sum(pool.map(lambda user: mpop(lab, folder, user, program), users))
    after = os.times()
    return got, time.monotonic() - begun, after[2] + after[3] - before[2] - before[3]


def poll_all(c, bus, accounts):
    """Asks for all of them; until each has ended: seconds, CPU seconds of the service, messages."""
    pid = bus.service_pid()
    cpu, begun = measure.cpu_seconds(pid), time.monotonic()
    c.signals.clear()
    waiting = {a.path: a.fetch_now() for a in accounts}
    ended = {}

    def over():
        for s in c.signals:
            if s.member == 'RunFinished':
                ended[s.path] = s.args[0]
        c.signals.clear()
        return len(ended) == len(waiting)
    c.wait(over, 900)
    bad = {r['cause'] for r in ended.values()} - {''}
    if bad:
        sys.exit(f'waypost: {bad}')
    return time.monotonic() - begun, measure.cpu_seconds(pid) - cpu, sum(r['delivered'] for r in ended.values())


def busy(n, messages, octets):
    users = [f'many{i}@example.test' for i in range(n)]
    with Lab() as lab:
        config = {'service': {'log-level': 'warning'}, 'limits': {'accounts-per-uid': 100000, 'setups-per-uid': 64},
                  'discovery': {'searches-per-minute': 100000},
                  'fetch': {'interval': '1d', 'dialogues-per-host': 64, 'logins-per-minute': 1000000}}
        with Bus(BUILD, lab=lab, config=config) as bus, Connection(bus) as c:
            accounts = []
            for user in users:                  # while their mailboxes are empty
                lab.set_account(user, password='pw')
                mailbox.fill(lab.maildir(user), [])
                setup = c.start_setup(user, receive_only=True, incoming=endpoint(HOST, 995, protocol='pop3'))
                setup.wait_need('password')
                setup.set_password('pw')
                setup.wait_state('ready')
                accounts.append(setup.commit())
            c.wait(lambda: not any(a['Run'] for a in accounts), 300)
            fill(lab, users, messages, octets)
            new = poll_all(c, bus, accounts)
            nothing = poll_all(c, bus, accounts)
            rss = measure.peak_rss(bus.service_pid())
        one, many = run_mpop(lab, users, 1), run_mpop(lab, users, 64)
    if new[2] != n * messages or one[0] != n * messages:
        sys.exit(f'{n * messages} messages, waypost has {new[2]}, mpop {one[0]}')
    measure.table([f'{n} accounts x {messages}', 'seconds', 'messages/s', 'CPU s', 'CPU s per 1000 polls'],
                  [['waypost', new[0], new[2] / new[0], new[1], new[1] * 1000 / n],
                   ['waypost, nothing new', nothing[0], None, nothing[1], nothing[1] * 1000 / n],
                   ['mpop, one by one', one[1], one[0] / one[1], one[2], one[2] * 1000 / n],
                   ['mpop, 64 at a time', many[1], many[0] / many[1], many[2], many[2] * 1000 / n]])
    print(f'  peak resident memory of the service: {rss:.1f} MB')
    return {'waypost': new, 'nothing': nothing, 'mpop': one, 'mpop-64': many, 'rss': rss}


def main():
    args = measure.arguments(__doc__, (('--only',), {'choices': ['idle', 'busy'], 'help': 'one part'}),
                             (('--accounts',), {'type': int, 'default': 1000, 'help': 'of the busy part (1000)'}),
                             (('--largest',), {'type': int, 'default': 100000, 'help': 'of the idle part (100000)'}))
    told = {}
    if args.only != 'busy':
        with Lab() as lab:
            told['idle'] = tell_idle(lab, [n for n in (1000, 10000, 100000) if n <= args.largest], 10)
    if args.only != 'idle':
        told['busy'] = busy(args.accounts, 5, 5 * 4000)
    measure.write_json(args.json, told)


if __name__ == '__main__':
    main()
