# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fetching: every octet of every message that hurts, servers that behave oddly, an owner who works in the same folders,
and when the scheduler does what."""
import collections
import hashlib
import os
import pwd
import shutil
import subprocess
import time

import pytest

from wplab import mailbox
from wplab.bus import Bus
from wplab.client import BusError, Connection, Peer, endpoint, options
from wplab.reader import read_mailbox
from wplab.run import CLEAN_ENV, until

QUIET = {'fetch': {'interval': '30d'}}
OWNER, STRANGER = pwd.getpwnam('nobody').pw_uid, pwd.getpwnam('bin').pw_uid     # the bus turns nameless ones away
HOST = 'odd.example.test'


def digest(data):
    return hashlib.sha256(data).hexdigest()


def counted(messages):
    return collections.Counter(digest(m) for m in messages)


def tree(location):
    """(Counter of the digests in new/ and cur/, names in tmp/)"""
    found = collections.Counter()
    for folder in ('new', 'cur'):
        for name in os.listdir(os.path.join(location, folder)):
            path = os.path.join(location, folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, 'rb') as f:
                    found[digest(f.read())] += 1
    return found, os.listdir(os.path.join(location, 'tmp'))


@pytest.fixture
def bus(lab, build):
    with Bus(build, lab=lab, config=QUIET) as started:
        yield started


def onboard(c, address, password, first_fetch=True, **more):
    setup = c.start_setup(address, receive_only=True, **more)
    setup.wait_need('password')
    setup.set_password(password)
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    account = setup.commit()
    if first_fetch:
        c.wait(lambda: account.history(1) and not account['Run'], what='the end of the first fetch')
    return account


# -- every octet

def test_every_message(lab, bus):
    """500 messages that hurt, one of 20 MB, lines of 1 MB: as an independent reader has them; and never again."""
    user = 'big@example.test'
    shutil.rmtree(lab.maildir(user), ignore_errors=True)
    mailbox.fill(lab.maildir(user), mailbox.messages(520))
    with Connection(bus) as c:
        account = onboard(c, user, 'bigpw')
        history = account.history()
        there = read_mailbox(lab, user, 'bigpw')
        assert len(there) == 520
        assert tree(account['Location']) == (counted(m.data for m in there), [])
        assert [(r['listed'], r['new'], r['delivered'], r['skipped'], r['cause']) for r in history] == [(520, 520, 520, 0, '')]
        assert history[0]['bytes'] == sum(len(m.data) for m in there)
        assert account['MessagesFetched'] == 520
        again = account.fetch()
        assert (again['listed'], again['new'], again['delivered'], again['cause']) == (520, 0, 0, '')
        bus.stop_service()
        last = account.fetch()
        assert (last['new'], last['delivered']) == (0, 0)
        assert tree(account['Location'])[0].total() == 520


# -- servers that behave oddly

def text_of(*rules, capa='TOP UIDL RESP-CODES AUTH-RESP-CODE PIPELINING USER'):
    """A dialogue of an ordinary server, but for @rules."""
    lines = ['tls good', 'send +OK Odd POP3 server ready.', 'serve', 'on ^CAPA$', 'send +OK',
             *[f'send {c}' for c in capa.replace('LOGIN-DELAY ', 'LOGIN-DELAY_').split()], 'send .']
    for pattern, *statements in rules:
        lines += [f'on {pattern}', *statements]
    return '\n'.join([*lines, 'include pop3.rules', 'end']).replace('LOGIN-DELAY_', 'LOGIN-DELAY ') + '\n'


EMPTY = text_of(('^(STAT|LIST|UIDL)', 'mailbox 0'))
ORDINARY = text_of()


def three():
    from wplab.scripted import Connection as Server
    from wplab.reader import plain
    return [plain(Server.message(n)) for n in (1, 2, 3)]


class Odd:
    """An account at the scripted server, made while its mailbox was empty."""

    def __init__(self, lab, c, keep=True):
        self.server = lab.scripted
        self.port = self.server.play_text(0, EMPTY)
        self.account = onboard(c, 'alice@example.test', 'oddpw', incoming=endpoint(HOST, self.port))
        self.location = self.account['Location']
        if not keep:
            self.account.call('Configure', 'a{sv}', options({'keep': 'none'}))

    def stop(self):
        if self.port in self.server.ports:
            self.server.stop(self.port)

    def play(self, *texts):
        self.stop()
        self.server.play_text(self.port, *texts)

    def commands(self, verb):
        return [line.decode() for line in self.server.lines(self.port) if line.startswith(verb.encode())]

    def wait_for(self, command):
        self.server.wait(lambda: command in self.commands(command[:4]))

    def fetch(self, *texts):
        if texts:
            self.play(*texts)
        return self.account.fetch()


@pytest.fixture
def odd(lab, bus):
    made = []

    def make(**more):
        c = Connection(bus)
        made.append((c, Odd(lab, c, **more)))
        return made[-1][1]
    yield make
    for c, one in made:
        one.stop()
        c.close()


def figures(run):
    return tuple(run[k] for k in ('cause', 'listed', 'new', 'delivered', 'skipped', 'deleted'))


def test_odd_octets(odd):
    """What no Maildir behind a server can hold: bare LF, bodies without a line, dots beside bare CR and LF."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'dialogues', 'pop-odd-octets.dlg')) as f:
        run = (one := odd()).fetch(f.read())
    assert figures(run)[:4] == ('', 4, 4, 4)
    assert tree(one.location) == (counted([
        b'', b'Subject: bare LF\n\none\ntwo\n.\nthree\r..four\n', b'.\n..\n.\r\n', b'Subject: \xe4\0\x80\n\n\r\n\n\n']), [])


@pytest.mark.parametrize('keep', [True, False], ids=['keep', 'delete'])
def test_one_uidl_for_two(odd, keep):
    one = odd(keep=keep)
    same = text_of(('^UIDL$', 'send +OK', 'send 1 same', 'send 2 same', 'send 3 other', 'send .'))
    assert figures(one.fetch(same)) == ('', 3, 3, 3, 0, 0 if keep else 3)
    assert tree(one.location) == (counted(three()), [])
    assert one.commands('DELE') == ([] if keep else ['DELE 1', 'DELE 2', 'DELE 3'])
    if keep:
        assert figures(one.fetch()) == ('', 3, 0, 0, 0, 0)
        assert tree(one.location) == (counted(three()), [])


@pytest.mark.parametrize('keep', [True, False], ids=['keep', 'delete'])
@pytest.mark.parametrize('pipelining', [True, False])
def test_one_refused(odd, keep, pipelining):
    """A message that cannot be read, or has vanished since LIST, holds up no other, is not deleted, and comes later."""
    one = odd(keep=keep)
    capa = 'TOP UIDL PIPELINING USER' if pipelining else 'TOP UIDL USER'
    refused = text_of(('^RETR 2$', 'send -ERR [SYS/TEMP] not now'), capa=capa)
    run = one.fetch(refused)
    assert figures(run) == ('', 3, 3, 2, 1, 0 if keep else 2)
    assert 'not now' in run['reply']
    a, b, c = three()
    assert tree(one.location) == (counted([a, c]), [])
    assert one.commands('DELE') == ([] if keep else ['DELE 1', 'DELE 3'])
    if not keep:
        left = text_of(('^STAT$', 'send +OK 1 10'), ('^LIST$', 'send +OK', 'send 1 10', 'send .'),
                       ('^UIDL$', 'send +OK', 'send 1 uid-000002', 'send .'), ('^RETR 1$', 'send +OK', 'send two', 'send .'))
        assert figures(one.fetch(left)) == ('', 1, 1, 1, 0, 1)
        assert tree(one.location) == (counted([a, c, b'two\n']), [])
        return
    assert figures(one.fetch(text_of(capa=capa))) == ('', 3, 1, 1, 0, 0)
    assert tree(one.location) == (counted([a, b, c]), [])


def test_without_pipelining_one_at_a_time(odd):
    """A server that throws away what comes while it thinks."""
    one = odd()
    slow = text_of(*[(f'^{verb}', 'sleep 20', 'mailbox 3') for verb in ('STAT', 'LIST', 'UIDL', 'RETR')], capa='UIDL USER')
    assert figures(one.fetch(slow)) == ('', 3, 3, 3, 0, 0)
    assert one.commands('RETR') == ['RETR 1', 'RETR 2', 'RETR 3']


@pytest.mark.parametrize('lists', [
    ('send 1 10', 'send 3 20'),                 # LIST knows fewer
    ('send 3 1', 'send 2 1', 'send 1 1'),       # in no order
    ('send 1 0', 'send 2 99999999999', 'send 3 1', 'send 7 1'),
    ()])
def test_sizes_are_a_hint(odd, lists):
    one = odd()
    assert figures(one.fetch(text_of(('^LIST$', 'send +OK', *lists, 'send .')))) == ('', 3, 3, 3, 0, 0)
    assert tree(one.location) == (counted(three()), [])


@pytest.mark.parametrize('uidls', [('send 1 a', 'send 2'), ('send 1 a', 'send x b'), ('send 1 ' + 'u' * 256,), ('send 0 a',)])
def test_bad_uidl_list(odd, uidls):
    """A list that cannot be believed: nothing is fetched, nothing deleted."""
    one = odd(keep=False)
    run = one.fetch(text_of(('^UIDL$', 'send +OK', *uidls, 'send .')))
    assert run['cause'] and (run['delivered'], run['deleted']) == (0, 0)
    assert one.commands('RETR') == one.commands('DELE') == []


def test_deleted_but_not_told(odd):
    """The connection ends instead of QUIT's answer: whether the server deleted or not, nothing is lost or doubled."""
    one = odd(keep=False)
    run = one.fetch(text_of(('^QUIT$', 'reset')))
    assert run['cause'] and (run['delivered'], run['deleted']) == (3, 0)
    assert tree(one.location) == (counted(three()), [])
    # It did not: they are deleted again, and not fetched again.
    assert figures(one.fetch(text_of(('^DELE 2$', 'send -ERR not that one')))) == ('', 3, 0, 0, 0, 2)
    assert one.commands('RETR') == [] and one.commands('DELE') == ['DELE 1', 'DELE 2', 'DELE 3']
    # It did: nobody waits for them any more, and a message that gets one of their UIDLs is another one.
    assert figures(one.fetch(EMPTY)) == ('', 0, 0, 0, 0, 0)
    assert figures(one.fetch(ORDINARY)) == ('', 3, 3, 3, 0, 3)
    assert tree(one.location)[0] == counted(three() * 2)


def test_quit_refused(odd):
    """RFC 1939 section 6: -ERR to QUIT means that messages were not removed."""
    one = odd(keep=False)
    run = one.fetch(text_of(('^QUIT$', 'send -ERR some deleted messages not removed', 'bye')))
    assert run['cause'] and (run['delivered'], run['deleted']) == (3, 0)
    assert figures(one.fetch(ORDINARY)) == ('', 3, 0, 0, 0, 3)
    assert tree(one.location) == (counted(three()), [])


def test_keep_again_in_mid_run(odd):
    """Who decides to keep the mail while it is being fetched, keeps it."""
    one = odd(keep=False)
    one.play(text_of(('^RETR 3$', 'sleep 1500', 'mailbox 3')))
    run = one.account.fetch_now()
    one.wait_for('RETR 3')
    one.account.call('Configure', 'a{sv}', options({'keep': 'server'}))
    one.account.caller.wait(lambda: any(s.member == 'RunFinished' and s.args[0]['run'] == run
                                        for s in one.account.caller.signals))
    assert one.commands('DELE') == []
    assert one.account.history(1)[0]['delivered'] == 3


@pytest.mark.parametrize('end', ['close', 'reset'])
def test_cut_at_each_octet(odd, end):
    """The connection ends after the k-th octet of what answers RETR, for each k: a message comes whole or not at all."""
    one = odd()
    octets = b'+OK\r\nSubject: cut\r\n\r\n..dot\r\n..\r\nend\r\n.\r\n'
    whole = b'Subject: cut\n\n.dot\n.\nend\n'
    step = 1 if end == 'close' or os.environ.get('WAYPOST_LONG') else 3
    for k in range(0, len(octets) + 1, step):
        piece = octets[:k].decode().replace('\r', r'\r').replace('\n', r'\n')
        text = text_of(('^STAT$', 'send +OK 1 10'), ('^LIST$', 'send +OK', 'send 1 10', 'send .'),
                       ('^UIDL$', 'send +OK', f'send 1 k{k}', 'send .'),
                       ('^RETR 1$', *([f'raw {piece}'] if piece else []), *(['sleep 20'] if end == 'reset' else []), end))
        run = one.fetch(text)
        found, tmp = tree(one.location)
        assert (found, tmp) == (counted([whole] * (k == len(octets))), []), k
        assert run['delivered'] == (k == len(octets)), k
        assert (run['cause'] != '') == (k < len(octets)), k


# -- the owner

def as_user(bus, uid, program, *args, wait=True):
    argv = bus.command(['/usr/bin/python3', '-I', '-S', '-c', program, *args], uid)
    process = subprocess.Popen(argv, env=CLEAN_ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if not wait:
        return process
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return out


TRY = '''
import os, sys
root, other = sys.argv[1:3]
def attempt(what, function, *args):
    try:
        function(*args)
        print(what, 'yes')
    except OSError as error:
        print(what, type(error).__name__)
j = os.path.join
def touch(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
attempt('list', os.listdir, j(root, 'new'))
try: name = sorted(os.listdir(j(root, 'new')))[0]
except OSError: name = other
attempt('read', lambda: open(j(root, 'new', name), 'rb').read())
attempt('write', lambda: open(j(root, 'new', name), 'r+b').close())
attempt('move', os.rename, j(root, 'new', name), j(root, 'cur', name + ':2,S'))
attempt('back', os.rename, j(root, 'cur', name + ':2,S'), j(root, 'new', name))
attempt('make', touch, j(root, 'cur', 'mine'))
attempt('remove', os.unlink, j(root, 'cur', 'mine'))
attempt('tmp-list', os.listdir, j(root, 'tmp'))
attempt('tmp-make', touch, j(root, 'tmp', 'mine'))
attempt('tmp-into', os.rename, j(root, 'new', name), j(root, 'tmp', '99.waypost'))
attempt('tmp-replace', os.rename, j(root, 'tmp'), j(root, 'tmp.old'))
attempt('new-replace', os.rename, j(root, 'new'), j(root, 'new.old'))
attempt('new-remove', os.rmdir, j(root, 'cur'))
attempt('root-make', touch, j(root, 'mine'))
attempt('root-link', os.symlink, '/etc', j(root, 'link'))
attempt('root-mode', os.chmod, root, 0o777)
attempt('new-mode', os.chmod, j(root, 'new'), 0o777)
attempt('parent', touch, j(os.path.dirname(root), 'mine'))
attempt('database', lambda: open(j(root, '..', '..', '..', 'waypost.db'), 'rb').close())
attempt('key', lambda: open(j(root, '..', '..', '..', 'key'), 'rb').close())
'''
MAY = {'list', 'read', 'write', 'move', 'back', 'make', 'remove'}


def test_owner_may_and_may_not(lab, bus):
    user = 'frank@example.test'
    shutil.rmtree(lab.maildir(user), ignore_errors=True)
    mailbox.fill(lab.maildir(user), [(str(i), mailbox.header(i)) for i in range(3)])
    with Peer(bus, OWNER) as peer:
        account = onboard(peer, user, 'frankpw')
        location = account['Location']
        assert account['Owner'] == OWNER
        name = sorted(os.listdir(os.path.join(location, 'new')))[0]
        for uid, may in ((OWNER, MAY), (STRANGER, set())):
            told = dict(line.split() for line in as_user(bus, uid, TRY, location, name).splitlines())
            assert {k for k, v in told.items() if v == 'yes'} == may, uid
            assert {v for k, v in told.items() if k not in may} <= {'PermissionError', 'FileNotFoundError'}
        assert tree(location)[0].total() == 3


MOVER = '''
import os, sys
new, cur, stop = (os.path.join(sys.argv[1], d) for d in ('new', 'cur', 'cur/stop'))
n = 0
while True:
    last = os.path.exists(stop)
    for name in os.listdir(new):
        open(os.path.join(new, name), 'rb').read()
        os.rename(os.path.join(new, name), os.path.join(cur, name + ':2,S'))
        n += 1
    if last:
        break
print(n)
'''


def test_owner_moves_mail_at_once(lab, bus):
    """A reader that takes each mail out of new/ the moment it comes."""
    user = 'frank@example.test'
    shutil.rmtree(lab.maildir(user), ignore_errors=True)
    items = mailbox.messages(400, seed=5, large_one=False)
    with Peer(bus, OWNER) as peer:
        account = onboard(peer, user, 'frankpw')
        location = account['Location']
        mover = as_user(bus, OWNER, MOVER, location, wait=False)
        mailbox.fill(lab.maildir(user), items)
        assert account.fetch()['delivered'] == 400
        as_user(bus, OWNER, 'import sys; open(sys.argv[1], "w")', os.path.join(location, 'cur', 'stop'))
        out, err = mover.communicate(timeout=30)
        assert (int(out), err) == (400, '')
        os.unlink(os.path.join(location, 'cur', 'stop'))
        assert tree(location) == (counted(m.data for m in read_mailbox(lab, user, 'frankpw')), [])
        assert os.listdir(os.path.join(location, 'new')) == []
        assert account.fetch()['new'] == 0


TRICKS = '''
import os, sys
new, victim = sys.argv[1:3]
for row in range(1, 40):
    path = os.path.join(new, '%012d.W.waypost' % row)
    if os.path.lexists(path):
        continue
    kind = row % 4
    if kind == 0: os.symlink(victim, path)
    elif kind == 1: os.symlink('/nonexistent/' + str(row), path)
    elif kind == 2: os.mkdir(path)
    else: open(path, 'w').write('mine')
'''


def test_owner_lays_traps(lab, bus):
    """Names that the next mails will get are taken, by links to others' files too: nothing is written through, all comes."""
    user = 'frank@example.test'
    shutil.rmtree(lab.maildir(user), ignore_errors=True)
    victim = os.path.join(bus.state, 'victim')
    with open(victim, 'w') as f:
        f.write('untouched')
    shutil.chown(victim, 'waypost', 'waypost')
    with Peer(bus, OWNER) as peer:
        account = onboard(peer, user, 'frankpw')
        new = os.path.join(account['Location'], 'new')
        as_user(bus, OWNER, TRICKS, new, victim)
        traps = set(os.listdir(new))
        mailbox.fill(lab.maildir(user), [(str(i), mailbox.header(i)) for i in range(12)])
        run = account.fetch()
        assert (run['cause'], run['delivered']) == ('', 12)
        mail = set(os.listdir(new)) - traps
        assert len(mail) == 12 and traps <= set(os.listdir(new))
        found = collections.Counter()
        for name in mail:
            with open(os.path.join(new, name), 'rb') as f:
                found[digest(f.read())] += 1
        assert found == counted(m.data for m in read_mailbox(lab, user, 'frankpw'))
        with open(victim) as f:
            assert f.read() == 'untouched'
        assert account.fetch()['new'] == 0


# -- when

def runs(c, account, **keys):
    return [s.args[0] for s in c.signals if s.member == 'RunFinished' and s.path == account.path
            and all(s.args[0][k] == v for k, v in keys.items())]


def gaps(found):
    starts = [r['started'] / 1e6 for r in found]
    return [b - a for a, b in zip(starts, starts[1:])]


@pytest.fixture
def often(lab, build):
    with Bus(build, lab=lab, config={'fetch': {'interval': '1s', 'interval-minimum': '1s', 'backoff-maximum': '4s'}}) as bus:
        yield bus


def test_interval_pause_resume(lab, often):
    user = 'frank@example.test'
    with Connection(often) as c:
        account = onboard(c, user, 'frankpw')
        assert account['Interval'] == 1
        c.wait(lambda: len(runs(c, account, manual=False)) >= 4)
        assert all(0.85 <= gap <= 2.5 for gap in gaps(runs(c, account))[1:]), gaps(runs(c, account))
        now = time.time()
        c.wait(lambda: account['NextRun'], 5)
        assert -2 <= account['NextRun'] / 1e6 - now <= 2.5
        account.call('Pause')
        assert (account.state, account['NextRun']) == ('paused', 0)
        with pytest.raises(BusError) as refused:
            account.fetch_now()
        assert refused.value.name.endswith('.InvalidState')
        c.pump(0.1)
        seen = len(runs(c, account))
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            c.pump(end - time.monotonic())
        assert len(runs(c, account)) == seen
        often.stop_service()                # a pause outlives a restart
        assert account.state == 'paused' and account['NextRun'] == 0
        account.call('Resume')
        assert account.state == 'active'
        c.wait(lambda: len(runs(c, account)) > seen, 5, 'a run after Resume')
        account.call('Configure', 'a{sv}', options({'interval': 3600}))
        assert account['Interval'] == 3600
        c.wait(lambda: account['NextRun'] / 1e6 - time.time() > 3000, 5)


def test_back_off_and_recovery(lab, often):
    """Failures in a row are further and further apart; one alert, one recovery."""
    with Connection(often) as c:
        one = Odd(lab, c)
        account = one.account
        one.stop()
        before = len(c.signals)
        c.wait(lambda: len([r for r in runs(c, account) if r['cause']]) >= 4, 30)
        failed = [r for r in runs(c, account) if r['cause']]
        assert {r['cause'] for r in failed} == {'net.refused'}
        assert account.state == 'failing' and account['Cause'] == 'net.refused'
        apart = gaps(failed)
        assert 0.8 <= apart[0] <= 2 and 1.6 <= apart[1] <= 3.2 and 3.4 <= apart[2] <= 6, apart
        since = account['Since']
        one.server.play_text(one.port, ORDINARY)
        c.wait(lambda: account.state == 'active', 10)
        assert account['Since'] > since and account['Cause'] == ''
        c.wait(lambda: tree(one.location)[0].total() == 3, 5)
        c.wait(lambda: any(s.args[1].get('State') == 'active' for s in c.signals[before:] if s.member == 'PropertiesChanged'))
        states = [s.args[1]['State'] for s in c.signals[before:] if s.member == 'PropertiesChanged' and s.path == account.path
                  and 'State' in s.args[1]]
        assert [s for i, s in enumerate(states) if i == 0 or states[i - 1] != s] == ['failing', 'active']
        one.stop()


def test_refused_login_stops(lab, often):
    """A password that is refused is not tried until the mailbox is locked: at most twice, also over restarts."""
    with Connection(often) as c:
        one = Odd(lab, c)
        one.play(text_of(('^(PASS|AUTH PLAIN .)', 'send -ERR [AUTH] Authentication failed.')))
        c.wait(lambda: one.account.state == 'needs-password', 10)
        assert one.account['NextRun'] == 0
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            c.pump(end - time.monotonic())
        often.stop_service()
        assert one.account.state == 'needs-password'
        one.account.call('Pause')
        one.account.call('Resume')
        one.account.caller.wait(lambda: one.account.state == 'needs-password', 10)
        one.account.call('Pause')
        one.account.call('Resume')
        one.account.caller.wait(lambda: one.account.state == 'needs-password', 10)
        assert 1 <= one.server.logins(one.port) <= 2
        one.stop()


def test_login_delay(lab, often):
    """LOGIN-DELAY (RFC 2449 section 6.5): a fetch inside of it waits, however it is asked for."""
    delayed = text_of(capa='UIDL USER PIPELINING LOGIN-DELAY 3')
    with Connection(often) as c:
        one = Odd(lab, c)
        one.fetch(delayed)
        assert one.account['PollMinimum'] == 3
        begun = time.monotonic()
        one.account.fetch()
        one.account.fetch()
        assert time.monotonic() - begun >= 5.8
        assert min(gaps(runs(c, one.account))[-2:]) >= 2.9
        one.stop()


def test_network_goes_and_comes_back(lab, often):
    """Without a link nobody tries in vain; when it is there again everybody does, at once and not after a back-off."""
    with Connection(often) as c:
        account = onboard(c, 'frank@example.test', 'frankpw')
        account.call('Configure', 'a{sv}', options({'interval': 3600}))
        link = [line.split(':')[1].split('@')[0].strip() for line in lab.client.call(['/sbin/ip', '-o', 'link']).stdout.decode().splitlines()
                if 'LOOPBACK' not in line]
        addresses = lab.client.call(['/sbin/ip', '-o', 'addr', 'show', 'scope', 'global']).stdout.decode().splitlines()
        try:
            for name in link:
                assert lab.client.call(['/sbin/ip', 'link', 'set', name, 'down']).returncode == 0
            until(lambda: 'the network is gone' in often.log(), 'the service to see it')
            asked = account.fetch()             # who asks is told
            assert asked['cause'].startswith(('net.', 'dns.'))
            seen = len(runs(c, account))
        finally:
            for name in link:
                lab.client.call(['/sbin/ip', 'link', 'set', name, 'up'])
            for line in addresses:              # IPv6 ones go with the link
                words = line.split()
                if words[2] == 'inet6':
                    lab.client.call(['/sbin/ip', 'addr', 'replace', words[3], 'dev', words[1], 'nodad'])
        until(lambda: 'the network is back' in often.log(), 'the service to see it')
        c.wait(lambda: any(r['cause'] == '' for r in runs(c, account)[seen:]), 20)


def test_history_and_signals(lab, bus):
    user = 'frank@example.test'
    shutil.rmtree(lab.maildir(user), ignore_errors=True)
    with Connection(bus) as c:
        account = onboard(c, user, 'frankpw')
        c.signals.clear()
        told = []
        for n in range(3):
            mailbox.fill(lab.maildir(user), [(f'{n}-{i}', mailbox.header(10 * n + i)) for i in range(n)])
            told.append(account.fetch())
        arrived = [s.args for s in c.signals if s.member == 'MailArrived' and s.path == account.path]
        assert [a[0] for a in arrived] == [1, 2]
        assert [a[1] for a in arrived] == [r['bytes'] for r in told[1:]]
        assert account.history(3) == told[::-1]
        assert account.history(1) == told[-1:] and account.history(0) == []
        assert len(account.history(500)) == 4
        assert all(r['started'] <= r['ended'] and r['manual'] for r in told)
        assert len({r['run'] for r in told}) == 3
        bus.stop_service()
        assert account.history(3) == told[::-1]
        assert account['MessagesFetched'] == 3
        again = account.fetch()
        assert again['run'] > told[-1]['run']


def test_many_at_once_share_a_run(lab, bus):
    """FetchNow while a run is under way joins it; nothing is fetched twice."""
    with Connection(bus) as c:
        one = Odd(lab, c)
        one.play(text_of(('^RETR 3$', 'sleep 500', 'mailbox 3')))
        ids = {one.account.fetch_now() for _ in range(20)}
        assert len(ids) == 1
        run = ids.pop()
        c.wait(lambda: runs(c, one.account, run=run))
        c.pump(0.3)
        assert one.server.logins(one.port) == 1
        assert tree(one.location) == (counted(three()), [])
        one.stop()


def test_remove_in_mid_run(lab, bus):
    """Remove ends a run at once; what had been delivered stays, nothing half comes."""
    with Connection(bus) as c:
        one = Odd(lab, c)
        one.play(text_of(('^RETR 3$', 'raw +OK\\r\\nhalf', 'silence')))
        one.account.fetch_now()
        one.wait_for('RETR 3')
        one.account.remove()
        assert c.accounts() == []
        found, _ = tree(one.location)
        assert not found - counted(three())
        one.stop()
