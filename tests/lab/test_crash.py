# SPDX-License-Identifier: LGPL-2.1-or-later
"""Nothing lost, nothing doubled: the service is killed before each system call that matters of a fetch, of Commit and
of Remove; the order of fsync, commit, rename and DELE is read off a trace; the disk gets full; connections break."""
import collections
import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
import time

import pytest

from wplab import mailbox
from wplab.bus import Bus, NAME
from wplab.client import BusError, Connection, endpoint, variant
from wplab.reader import read_mailbox
from wplab.run import CLEAN_ENV, until
from wplab.strace import Strace, highest_counts, parse, remove, thread_indices

LONG = bool(os.environ.get('WAYPOST_LONG'))
QUIET = {'fetch': {'interval': '30d'}}                  # nothing is fetched but what the test asks for
ONE = {**QUIET, 'service': {'disk-threads': 1}}
DISK = ('fsync', 'fdatasync', 'renameat2', 'linkat', 'unlinkat', 'pwrite64', 'ftruncate')
WIRE = ('write', 'sendto', 'sendmsg', 'writev')
BUS = 'org.freedesktop.DBus'


def digest(data):
    return hashlib.sha256(data).hexdigest()


def five(large=False):
    """Five messages that hurt; with @large, the first fills a batch of its own, and the rest comes in a second."""
    names = dict(mailbox.messages(60, seed=3, large_one=False))
    chosen = [(n, names[n]) for n in ('dots', 'bare-cr', 'nul', 'no-final-newline', 'empty')]
    if large:
        line = b'0123456789abcdef' * 4 + b'\n'
        chosen[0] = ('batch', mailbox.header(1) + b'\n' + line * (9 * 1024 * 1024 // len(line)))
    return chosen


def tree(location):
    """(Counter of the digests in new/ and cur/, names in tmp/)"""
    found = collections.Counter()
    for folder in ('new', 'cur'):
        for name in os.listdir(os.path.join(location, folder)):
            with open(os.path.join(location, folder, name), 'rb') as f:
                found[digest(f.read())] += 1
    return found, os.listdir(os.path.join(location, 'tmp'))


def server_files(lab, user):
    folder = lab.maildir(user)
    return sum(len(os.listdir(os.path.join(folder, d))) for d in ('new', 'cur'))


class Site:
    """An account whose state can be put back to what it was, and whose service can be killed at a point."""

    def __init__(self, lab, bus, user, password):
        self.lab, self.bus, self.user, self.password = lab, bus, user, password
        self.trace = bus.file('trace')
        self.c = Connection(bus)

    def dbus(self, method, signature, *args):
        return self.c.call('/org/freedesktop/DBus', BUS, method, signature, *args, destination=BUS)

    def gone(self):
        until(lambda: not self.dbus('NameHasOwner', 's', NAME), 'the service to be gone')

    def start(self):
        """Starts the service, and forgets all signals of the one before."""
        self.dbus('StartServiceByName', 'su', NAME, 0)
        while self.c.context.iteration(False):
            pass
        self.c.signals.clear()
        return self.dbus('GetConnectionUnixProcessID', 's', NAME)

    def setup(self, **more):
        setup = self.c.start_setup(self.user, receive_only=True, **more)
        setup.wait_need('password')
        setup.set_password(self.password)
        assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
        return setup

    def onboard(self, **more):
        """An account that has fetched from its mailbox once."""
        self.account = self.setup(**more).commit()
        self.c.wait(lambda: self.account.history(1) and not self.account['Run'], what='the first fetch')
        self.location = self.account['Location']

    def save(self, name):
        self.bus.stop_service()
        self.gone()
        shutil.rmtree(self.bus.file('saved-' + name), ignore_errors=True)
        subprocess.run(['/bin/cp', '-a', self.bus.state, self.bus.file('saved-' + name)], check=True, env=CLEAN_ENV)

    def restore(self, name):
        self.bus.kill_service()
        shutil.rmtree(self.bus.state)
        subprocess.run(['/bin/cp', '-a', self.bus.file('saved-' + name), self.bus.state], check=True, env=CLEAN_ENV)

    def fill(self, items):
        shutil.rmtree(self.lab.maildir(self.user), ignore_errors=True)
        mailbox.fill(self.lab.maildir(self.user), items)

    def killed_at(self, call, n, action):
        """Does @action with a service that is killed before its @n-th @call. False if it came to its end without."""
        pid = self.start()
        with Strace(self.lab, pid, [call], self.trace, kill_at=n) as strace:
            try:
                over, end = action(), time.monotonic() + 60
                while not strace.ended() and not over():
                    self.c.pump(0.05)
                    assert time.monotonic() < end, 'neither killed nor over'
            except BusError as error:
                assert error.name == 'org.freedesktop.DBus.Error.NoReply', error
                until(strace.ended, 'the kill')
            killed = strace.ended()
        if not killed:
            self.bus.kill_service()
        self.gone()
        return killed

    def fetch_action(self):
        """To be handed to killed_at() and traced(): asks for a fetch; what it returns tells whether it is over."""
        run = self.account.fetch_now()
        return lambda: any(s.member == 'RunFinished' and s.args[0]['run'] == run for s in self.c.signals)

    def traced(self, calls, action):
        """The calls of an undisturbed @action."""
        pid = self.start()
        remove(self.trace)
        with Strace(self.lab, pid, calls, self.trace) as strace:
            over = action()
            self.c.wait(over, what='the end')
            strace.detach()
            return strace.calls()

    def check_database(self, rows):
        """@rows: table -> how many. The service must not run."""
        with sqlite3.connect(f'file:{self.bus.state}/waypost.db', uri=True) as db:
            assert db.execute('PRAGMA integrity_check').fetchall() == [('ok',)]
            assert db.execute('PRAGMA foreign_key_check').fetchall() == []
            found = {t: db.execute(f'SELECT count(*) FROM {t}').fetchone()[0] for t in rows}
            assert found == rows
            assert db.execute('SELECT count(*) FROM message WHERE state <> 2').fetchone() == (0,)
        db.close()

    def check_after_kill(self, keep, expected):
        """Before the restart: what is in new/ is whole, and what is gone from the server is in new/."""
        found, _ = tree(self.location)
        assert not found - expected, 'a file in new/ that is no message of the server'
        if not keep and server_files(self.lab, self.user) < sum(expected.values()):
            assert found == expected, 'deleted from the server before it was delivered'

    rows_may_stay = False       # of what was deleted, when the kill came between the deletion and its commit

    def check_at_last(self, keep, expected):
        self.start()
        first, second = self.account.fetch(), self.account.fetch()
        assert (first['cause'], second['cause'], second['delivered']) == ('', '', 0)
        found, tmp = tree(self.location)
        assert (found, tmp) == (expected, []), 'lost, doubled or left in tmp/'
        self.bus.stop_service()
        self.gone()
        self.check_database({'account': 1, 'secret': 1} if self.rows_may_stay and not keep else
                            {'account': 1, 'secret': 1, 'message': 5 if keep else 0})
        assert server_files(self.lab, self.user) == (5 if keep else 0)


@pytest.fixture(scope='module')
def site(lab, build):
    with Bus(build, lab=lab, config=ONE) as bus:
        bus.allow_bad_log = True            # a killed service says what it likes
        site = Site(lab, bus, 'eve@example.test', 'evepw')
        site.start()
        site.save('nothing')
        site.onboard()
        site.save('keep')
        site.start()
        site.account.call('Configure', 'a{sv}', {'keep': variant('none')})
        site.save('delete')
        yield site
        bus.kill_service()


def spread(n, all_up_to, step):
    """1..n: all up to @all_up_to, then each @step-th, and the last one."""
    return sorted({i for i in range(1, n + 1) if i <= all_up_to or i % step == 0 or i == n})


def points(site, calls, port=995):
    """[(system call, n)] to kill at: all that sync, rename and delete; of what only writes, a choice unless it may take long."""
    highest = highest_counts(calls)
    chosen = []
    for name in DISK:
        n = highest[name]
        if LONG or name != 'pwrite64':
            chosen += [(name, i) for i in range(1, n + 1)]
        else:
            chosen += [(name, i) for i in spread(n, 3, 2)]
    wire = thread_indices(calls, lambda c: c.name in WIRE and f':{port}]' in c.text)
    files = thread_indices(calls, lambda c: c.name in WIRE and '/tmp/' in c.text and '.waypost>' in c.text)
    if LONG:
        return chosen + [(name, i) for name in WIRE for i in range(1, highest[name] + 1)]
    return chosen + sorted(set(wire + files))


@pytest.mark.parametrize('keep', [True, False], ids=['keep', 'delete'])
@pytest.mark.parametrize('large', [False, pytest.param(True, marks=pytest.mark.long)], ids=['one-batch', 'two-batches'])
def test_kill_fetch(site, keep, large):
    """SIGKILL before each fsync, rename, write of the database and DELE: the next fetch makes it good."""
    items, mode = five(large), 'keep' if keep else 'delete'
    site.fill(items)
    expected = collections.Counter(digest(m.data) for m in read_mailbox(site.lab, site.user, site.password))
    assert sum(expected.values()) == 5
    site.restore(mode)
    chosen = points(site, site.traced(DISK + WIRE, site.fetch_action))
    site.bus.kill_service()
    kills = 0
    for call, n in chosen:
        site.restore(mode)
        if not keep:
            site.fill(items)
        killed = site.killed_at(call, n, site.fetch_action)
        kills += killed
        try:
            site.check_after_kill(keep, expected)
            site.check_at_last(keep, expected)
        except AssertionError as error:
            raise AssertionError(f'killed before {call} {n}: {error}\n{site.bus.log()[-2000:]}') from None
    print(f'{kills} kills of {len(chosen)} points')
    assert kills >= len(chosen) * 3 // 4 and kills >= (25 if keep else 30)


def exhausted(site, call, before, action, after):
    """Kills before the 1st, 2nd, ... @call of @action until it is not killed any more; returns how often it was."""
    n = 0
    while True:
        before()
        killed = site.killed_at(call, n + 1, action)
        try:
            after(killed)
        except AssertionError as error:
            raise AssertionError(f'killed before {call} {n + 1}: {error}\n{site.bus.log()[-2000:]}') from None
        if not killed:
            return n
        n += 1


@pytest.mark.parametrize('call', ['fdatasync', 'pwrite64', 'fsync', 'fchmod', 'mkdirat', 'setxattr'])
def test_kill_commit(site, call):
    """An account is there whole or not at all, wherever Commit is killed."""
    site.fill([])
    commits = 0

    def before():
        site.restore('nothing')
        site.start()

    def action():
        account = setup_of[0].call('Commit', 'a{sv}', {})
        # By a signal: a call would start the service that has just been killed.
        return lambda: any(s.member == 'RunFinished' and s.path == account for s in site.c.signals)

    setup_of = []

    def with_setup(n):
        """killed_at() starts the service itself: the setup is made by it, before strace comes."""
        before()
        setup_of[:] = [site.setup()]
        killed = site.killed_at(call, n, action)
        return killed

    n = 0
    while True:
        killed = with_setup(n + 1)
        where = f'{call} {n + 1}'
        site.start()
        accounts = site.c.accounts()
        assert len(accounts) <= 1, where
        if accounts:
            commits += 1
            account = accounts[0]
            run = account.fetch()
            assert (account['Address'], run['cause']) == (site.user, ''), where
            assert sorted(os.listdir(account['Location'])) == ['cur', 'new', 'tmp'], where
            assert os.stat(os.path.dirname(account['Location'])).st_mode & 0o777 == 0o711, where
        else:
            account = site.setup().commit()         # nothing stands in the way of another try
            site.c.wait(lambda: account['LastSuccess'])
        site.bus.stop_service()
        site.gone()
        site.check_database({'account': 1, 'secret': 1, 'message': 0})
        if not killed:
            break
        n += 1
        if call == 'pwrite64' and not LONG:
            n += 2
    assert n >= 1 and commits >= 1


@pytest.mark.parametrize('call', ['fdatasync', 'pwrite64'])
def test_kill_remove(site, call):
    """Removed whole or not at all; no row is left of it. The fetched mail stays."""
    site.fill(five())
    expected = collections.Counter(digest(m.data) for m in read_mailbox(site.lab, site.user, site.password))
    site.restore('keep')
    site.start()
    assert site.account.fetch()['delivered'] == 5
    site.save('fetched')
    stayed = []

    def action():
        site.account.remove()
        return lambda: any(s.member == 'InterfacesRemoved' for s in site.c.signals)

    def after(killed):
        site.start()
        there = [a.path for a in site.c.accounts()]
        stayed.append(bool(there))
        if there:
            assert there == [site.account.path]
            run = site.account.fetch()
            assert (run['cause'], run['delivered']) == ('', 0)
        site.bus.stop_service()
        site.gone()
        n = int(bool(there))
        site.check_database({'account': n, 'secret': n, 'message': 5 * n})
        if not n:
            site.check_database({'run': 0})
        assert tree(site.location)[0] == expected

    assert exhausted(site, call, lambda: site.restore('fetched'), action, after) >= 1
    assert stayed[0] and not stayed[-1]


# -- the order

def order_faults(calls, delete):
    """What a fetch does too early: for each message write < fsync(file) < fsync(tmp/) < sync of the WAL < rename <
    fsync(new/) < DELE, each finished before the next begins. A list of complaints, and how many messages were seen."""
    faults, renames = [], [c for c in calls if c.name in ('renameat2', 'linkat') and '.waypost"' in c.text]
    wire = [c for c in calls if c.name in WIRE and ':995]' in c.text]

    def after(when, what, test):
        found = next((c for c in calls if c.begin > when and test(c)), None)
        if found is None or found.end is None:
            faults.append(f'{what} is missing')
            return 1 << 60
        return found.end

    last = -1
    for rename in renames:
        name = rename.text.split('"')[1]
        writes = [c for c in calls if c.name == 'write' and f'/tmp/{name}>' in c.text]
        at = max((c.end for c in writes), default=0)
        at = after(at, f'fsync of tmp/{name}', lambda c: c.name in ('fsync', 'fdatasync') and f'/tmp/{name}>' in c.text)
        at = after(at, f'fsync of tmp/ for {name}', lambda c: c.name == 'fsync' and '/tmp>' in c.text)
        at = after(at, f'commit for {name}', lambda c: c.name == 'fdatasync' and '-wal>' in c.text)
        if rename.begin < at:
            faults.append(f'{name} was renamed before it was safe')
        last = max(last, after(rename.end, f'fsync of new/ for {name}', lambda c: c.name == 'fsync' and '/new>' in c.text))
    first = min((c.begin for c in calls if c.name == 'write' and '.waypost>' in c.text), default=0)
    early = [c for c in wire if first < c.begin < last]
    if early:
        faults.append('the server was told something before new/ was safe')
    later = [c for c in wire if c.begin > last]
    if delete and len(later) < 2:
        faults.append('no DELE and QUIT came after it')
    return faults, len(renames)


@pytest.mark.parametrize('keep', [True, False], ids=['keep', 'delete'])
@pytest.mark.parametrize('threads', [1, 4])
def test_order(site, keep, threads):
    site.bus.configure({**QUIET, 'service': {'disk-threads': threads}})
    try:
        site.restore('keep' if keep else 'delete')
        site.fill(five())
        calls = site.traced(DISK + WIRE, site.fetch_action)
        site.bus.kill_service()
    finally:
        site.bus.configure(ONE)
    assert order_faults(calls, not keep) == ([], 5)


TRACE = '''1 write(5</s/tmp/1.waypost>, "x", 1) = 1
2 fsync(5</s/tmp/1.waypost>) = 0
2 fsync(6</s/tmp>) = 0
3 fdatasync(7</s/waypost.db-wal>) = 0
2 renameat2(6</s/tmp>, "1.waypost", 8</s/new>, "1", RENAME_NOREPLACE) = 0
2 fsync(8</s/new>) = 0
1 write(9<TCP:[1:2->3:995]>, "x", 1) = 1
1 write(9<TCP:[1:2->3:995]>, "x", 1) = 1'''.split('\n')


def test_order_oracle():
    """The oracle sees each step that is missing, and each two that are exchanged."""
    assert order_faults(parse(TRACE), True) == ([], 1)
    for i in range(1, 7):
        assert order_faults(parse(TRACE[:i] + TRACE[i + 1:]), True) != ([], 1), TRACE[i]
    for i in range(6):
        changed = TRACE[:i] + [TRACE[i + 1], TRACE[i]] + TRACE[i + 2:]
        assert order_faults(parse(changed), True)[0], changed
    unfinished = TRACE[:5] + ['2 fsync(8</s/new> <unfinished ...>', TRACE[6], '2 <... fsync resumed>) = 0', TRACE[7]]
    assert order_faults(parse(unfinished), True)[0]


# -- a disk that fails

FAULTS = [('fsync', 'EIO', 'delivery.refused'), ('renameat2', 'EIO', 'delivery.refused'), ('openat', 'EMFILE', None),
          ('fdatasync', 'EIO', None), ('pwrite64', 'ENOSPC', None)]


@pytest.mark.parametrize('call,error,cause', FAULTS, ids=[f'{c}-{e}' for c, e, _ in FAULTS])
def test_fault(site, call, error, cause):
    """One call fails at one point of a fetch: the service lives, nothing is lost or deleted too early, and the next fetch makes it good."""
    items = five()
    site.fill(items)
    expected = collections.Counter(digest(m.data) for m in read_mailbox(site.lab, site.user, site.password))
    site.restore('delete')
    highest = highest_counts(site.traced((call,), site.fetch_action))[call]
    site.bus.kill_service()
    causes = set()
    for n in range(1, highest + 1) if LONG else spread(highest, 2, max(1, highest // 3)):
        site.restore('delete')
        site.fill(items)
        pid = site.start()
        with Strace(site.lab, pid, [call], site.trace, fail_at=n, error=error):
            over = site.fetch_action()
            site.c.wait(over, 60, f'{call} {n} to be over')
            run = [s.args[0] for s in site.c.signals if s.member == 'RunFinished'][-1]
        assert site.bus.service_pid() == pid, f'{call} {n} ended it'
        causes.add(run['cause'])
        try:
            site.check_after_kill(False, expected)
            first = site.account.fetch()
            assert first['cause'] == '', first
            found, tmp = tree(site.location)
            assert (found, tmp) == (expected, []), 'lost, doubled or left in tmp/'
            assert server_files(site.lab, site.user) == 0
        except AssertionError as failed:
            raise AssertionError(f'{call} {n} with {error}, {run["cause"]}: {failed}') from None
    assert cause is None or cause in causes, causes


# -- a power cut

def unsynced(calls, state):
    """What a power cut at the end of @calls may take: [(what, undo)]. @calls are those of a killed service, in their order; nothing that was
    not followed by the fsync of its file or folder is on the disk for certain."""
    lost = {}
    names, synced = {}, set()
    for call in calls:
        if call.end is None:
            continue                        # it never returned
        path = re.search(r'<(/[^>]*)>', call.text)
        if call.name == 'write' and path and '.waypost' in path[1]:
            lost['data', path[1]] = lambda p=path[1]: os.path.exists(p) and os.truncate(p, 0)
            lost.setdefault(('name', path[1]), lambda p=path[1]: os.path.exists(p) and os.unlink(p))
        elif call.name in ('fsync', 'fdatasync') and path:
            lost.pop(('data', path[1]), None)
            for key in [k for k in lost if k[0] in ('name', 'moved') and os.path.dirname(k[-1]) == path[1]]:
                lost.pop(key)
        elif call.name == 'renameat2':
            folders, files = re.findall(r'<(/[^>]*)>', call.text), re.findall(r'"([^"]*)"', call.text)
            here, there = os.path.join(folders[0], files[0]), os.path.join(folders[1], files[1])
            lost['moved', here, there] = lambda a=here, b=there: os.path.exists(b) and os.rename(b, a)
    return lost


@pytest.mark.parametrize('keep', [True, False], ids=['keep', 'delete'])
def test_power_cut(site, keep):
    """Killed at each fsync, rename and commit; then everything is undone that no fsync has made certain, but what DELE and the commits
    stand for is there: the next fetch makes it good. The database's own file has SQLite's promise."""
    items, mode = five(), 'keep' if keep else 'delete'
    site.fill(items)
    expected = collections.Counter(digest(m.data) for m in read_mailbox(site.lab, site.user, site.password))
    site.restore(mode)
    whole = site.traced(DISK + WIRE, site.fetch_action)
    site.bus.kill_service()
    highest = highest_counts(whole)
    chosen = [(call, n) for call in ('fsync', 'renameat2', 'fdatasync') for n in range(1, highest[call] + 1)]
    if not LONG:
        chosen = chosen[::4]
    undone = 0
    for call, n in chosen:
        site.restore(mode)
        if not keep:
            site.fill(items)
        pid = site.start()
        remove(site.trace)
        with Strace(site.lab, pid, DISK + WIRE, site.trace, kill_at=n, kill=call) as strace:
            try:
                over, end = site.fetch_action(), time.monotonic() + 60
                while not strace.ended() and not over():
                    site.c.pump(0.05)
                    assert time.monotonic() < end
            except BusError as error:
                assert error.name == 'org.freedesktop.DBus.Error.NoReply', error
                until(strace.ended, 'the kill')
        site.bus.kill_service()
        site.gone()
        lost = unsynced(strace.calls(), site.bus.state)
        for undo in [undo for _, undo in reversed(list(lost.items()))]:
            undone += bool(undo() or True)
        try:
            site.check_after_kill(keep, expected)
            site.check_at_last(keep, expected)
        except AssertionError as error:
            raise AssertionError(f'power cut before {call} {n}, {sorted(map(str, lost))}: {error}') from None
    assert undone >= 3


# -- LMTP

def test_kill_lmtp(lab, build):
    """Killed before each commit, write to the LMTP server and DELE: none is lost, and at most one comes twice for a kill."""
    from wplab.lmtp import LmtpSink
    path = lab.run.file('lmtp-crash')
    sink = LmtpSink(path)
    with Bus(build, lab=lab, config={**ONE, 'delivery': {'lmtp-socket': path}}) as bus:
        bus.allow_bad_log = True
        site = Site(lab, bus, 'frank@example.test', 'frankpw')
        site.fill([])
        site.start()
        site.onboard()
        site.account.call('Configure', 'a{sv}', {'keep': variant('none'), 'delivery': variant('lmtp')})
        site.save('lmtp')
        items = five()
        site.fill(items)
        expected = collections.Counter(digest(m.data) for m in read_mailbox(lab, site.user, site.password))
        site.restore('lmtp')
        calls = site.traced(DISK + WIRE, site.fetch_action)
        bus.kill_service()
        assert collections.Counter(map(digest, sink.mails())) == expected
        highest = highest_counts(calls)
        chosen = [('fdatasync', n) for n in range(1, highest['fdatasync'] + 1)]
        out = thread_indices(calls, lambda c: c.name in WIRE and (':995]' in c.text or 'UNIX' in c.text))
        chosen += out if LONG else out[::8]
        doubled = kills = 0
        for call, n in chosen:
            sink.taken.clear()
            site.restore('lmtp')
            site.fill(items)
            kills += site.killed_at(call, n, site.fetch_action)
            site.start()
            first, second = site.account.fetch(), site.account.fetch()
            assert (first['cause'], second['cause'], second['delivered']) == ('', '', 0), (call, n)
            found = collections.Counter(map(digest, sink.mails()))
            assert not expected - found, f'lost: killed before {call} {n}'
            assert set(found) == set(expected) and sum((found - expected).values()) <= 1, f'killed before {call} {n}'
            doubled += sum((found - expected).values())
            assert server_files(lab, site.user) == 0
        print(f'{kills} kills of {len(chosen)} points, {doubled} came twice')
        assert kills >= 6
        bus.kill_service()
    sink.close()


# -- the disk

@pytest.fixture
def small_disk(lab, build):
    """A bus whose service's state is on a file system of 4 MB."""
    path = lab.run.file('small')
    os.mkdir(path)
    mount = ['/bin/mount', '-t', 'tmpfs', '-o', 'size=4m,mode=0711', 'tmpfs', path]
    done = lab.client.call(mount)
    assert done.returncode == 0, done.stderr
    state = os.path.join(path, 'state')
    bus = Bus(build, lab=lab, config=QUIET, state=state)
    root = f'/proc/{lab.client.pid}/root'
    bus.outside = root + path
    os.mkdir(root + state, 0o711)
    shutil.chown(root + state, 'waypost', 'waypost')
    try:
        with bus:
            yield bus
    finally:
        lab.client.call(['/bin/umount', '-l', path])
        os.rmdir(path)


@pytest.mark.parametrize('keep', [True, False], ids=['keep', 'delete'])
def test_full_disk(lab, small_disk, keep):
    """Whatever room is left: the cause is named, nothing is lost or deleted; with room again all comes, once."""
    user = 'frank@example.test'
    causes, n = [], 0
    with Connection(small_disk) as c:
        site = Site(lab, small_disk, user, 'frankpw')
        site.fill([])
        site.onboard()
        if not keep:
            site.account.call('Configure', 'a{sv}', {'keep': variant('none')})
        location = f'/proc/{lab.client.pid}/root' + site.location
        ballast = os.path.join(small_disk.outside, 'ballast')
        for free in (0, 8, 40, 120, 240, 360, 420):
            items = [(f'm{n + i}', mailbox.header(n + i) + b'\n' + (b'%d ' % i * 40 + b'\n') * 2000) for i in range(5)]
            mailbox.fill(lab.maildir(user), items)
            n += 5
            there = collections.Counter(digest(data) for _, data in items)
            before, _ = tree(location)
            room = os.statvfs(small_disk.outside).f_bavail * os.statvfs(small_disk.outside).f_bsize
            with open(ballast, 'wb') as f:
                f.write(bytes(max(0, room - free * 1024)))
            run = site.account.fetch()
            causes.append(run['cause'])
            now, _ = tree(location)
            assert not now - before - there
            if run['cause']:
                assert run['cause'] == 'delivery.no-space', (free, run)
                assert site.account['Cause'] == 'delivery.no-space' and site.account['NextRun']
                assert run['deleted'] == 0 and server_files(lab, user) == (n if keep else 5)
            os.unlink(ballast)
            again = site.account.fetch()
            assert again['cause'] == '' and site.account.state == 'active', (free, again)
            assert tree(location) == (before + there, []), free
            assert server_files(lab, user) == (n if keep else 0)
            assert site.account.fetch()['delivered'] == 0
            for folder in ('new', 'cur'):           # the owner reads and throws away
                for name in os.listdir(os.path.join(location, folder)):
                    os.unlink(os.path.join(location, folder, name))
        assert 'delivery.no-space' in causes[:3], causes


# -- the connection

HALF = """tls good
send +OK Odd POP3 server ready.
serve
on ^RETR 3$
raw +OK\\r\\nSubject: half a message\\r\\n
lines 20000 a line of a large message
silence
include pop3.rules
end
"""


def test_reset_in_message(lab, bus):
    """A connection that is reset in mid-message: what came before is delivered, the piece is not, and is thrown away."""
    empty = HALF.replace('serve\n', 'serve\non ^(STAT|LIST|UIDL)\nmailbox 0\n')
    port = lab.scripted.play_text(0, empty)
    try:
        site = Site(lab, bus, 'alice@example.test', 'oddpw')
        site.onboard(incoming=endpoint('odd.example.test', port))
        lab.scripted.play_text(port, HALF)
        over = site.fetch_action()
        lab.scripted.wait(lambda: b'RETR 3' in lab.scripted.lines(port))
        piece = os.path.join(site.location, 'tmp')
        until(lambda: any(os.path.getsize(os.path.join(piece, name)) > 1 << 17 for name in os.listdir(piece)), 'half a message')
        lab.reset(port)
        site.c.wait(over)
        run = [s.args[0] for s in site.c.signals if s.member == 'RunFinished'][-1]
        assert run['cause'] and (run['delivered'], run['deleted']) == (2, 0)
        found, tmp = tree(site.location)
        assert (found.total(), tmp) == (2, [])
        lab.scripted.play_text(port, HALF.replace('silence', 'send .'))
        assert site.account.fetch()['delivered'] == 1
        now, tmp = tree(site.location)
        assert (now.total(), tmp) == (3, []) and not found - now
        whole = digest(b'Subject: half a message\n' + b'a line of a large message\n' * 20000)
        assert whole in now and whole not in found
    finally:
        lab.scripted.stop(port)
