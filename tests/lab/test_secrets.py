# SPDX-License-Identifier: LGPL-2.1-or-later
"""A password goes in and does not come out: a canary is sent through all paths and then searched for, plain and encoded, in
everything that the service writes, says or shows. And a second user sees nothing of the first one's accounts.

The matrix of members for a foreign setup or account is in test_contract.py; here are the signals of a whole life."""
import base64
import json
import os
import shutil
import signal
import subprocess

import pytest

from wplab import mailbox
from wplab.bus import Bus, NAME
from wplab.client import ACCOUNT, ROOT, SETUP, BusError, Connection, Peer, endpoint, options
from wplab.run import CLEAN_ENV, until

USER = 'canary@example.test'
CANARY, WRONG = 'Zq7-canary-Kx93w!', 'Zq7-wrong-canary-Pm51v!'
NOBODY = 65534
HOST = 'odd.example.test'


def shapes(secret, user=USER):
    """What the secret may look like: itself, in hex, and in base64 as it stands at each of three offsets."""
    data = secret.encode()
    found = {data, data.hex().encode(), data.hex().upper().encode(), secret.encode('utf-16-le'),
             base64.b64encode(data), base64.b64encode(f'\0{user}\0{secret}'.encode())}
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + data + bytes(3))
        first = (offset * 8 + 5) // 6                   # characters that also depend on what stands before
        found.add(text[first:first + (len(data) * 8 - (first * 6 - offset * 8)) // 6])
    return found


def leaks(data, *secrets):
    if not isinstance(data, bytes):
        data = (data if isinstance(data, str) else json.dumps(data, default=str)).encode()
    return [s for secret in secrets for s in shapes(secret) if s in data]


def test_shapes():
    """The search finds what it is to find."""
    for text in (CANARY, f'PASS {CANARY}\r\n', CANARY.encode().hex(),
                 base64.b64encode(f'\0{USER}\0{CANARY}'.encode()).decode(),
                 *[base64.b64encode(('x' * n + CANARY + 'tail').encode()).decode() for n in range(4)]):
        assert leaks(text, CANARY), text
    assert not leaks('Zq7-another', CANARY) and not leaks(base64.b64encode(b'Zq7-another'), CANARY)


def files_below(folder):
    for top, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(top, name)
            if not os.path.isfile(path):
                continue
            with open(path, 'rb') as f:
                yield path, f.read()


def everything(c):
    """All that the bus tells of: properties of all objects, reports, histories."""
    told = [repr(c.objects()), repr(c.call(ROOT, 'org.freedesktop.DBus.Introspectable', 'Introspect'))]
    for path, interfaces in c.objects().items():
        if SETUP in interfaces:
            told.append(c.call(path, SETUP, 'Report'))
        if ACCOUNT in interfaces:
            told.append(repr(c.call(path, ACCOUNT, 'History', 'u', 200)))
    return '\n'.join(told + [repr(s[:4]) for s in c.signals])


def check_nothing(bus, c, *secrets, processes=True):
    text = everything(c)
    assert 'canary@example.test' in text or 'alice@example.test' in text
    assert not leaks(text, *secrets)
    assert not leaks(bus.log(), *secrets)
    pid = bus.service_pid()
    for name in ('environ', 'cmdline', 'comm'):
        with open(f'/proc/{pid}/{name}', 'rb') as f:
            assert not leaks(f.read(), *secrets), name
    for task in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{task}/comm', 'rb') as f:
            assert not leaks(f.read(), *secrets)
    seen = [path for path, data in files_below(bus.state) if leaks(data, *secrets)]
    assert seen == []


@pytest.fixture
def canary(lab):
    lab.set_account(USER, password=CANARY)
    shutil.rmtree(lab.maildir(USER), ignore_errors=True)
    mailbox.fill(lab.maildir(USER), [(str(i), mailbox.header(i)) for i in range(3)])
    yield
    lab.remove_account(USER)


def test_canary_through_all_paths(lab, bus, canary):
    """A wrong password, the right one by call and by file descriptor, both sides, Commit, fetch, Check, a new password,
    Remove, a restart in between."""
    with Connection(bus) as c:
        c.watch_all()
        setup = c.start_setup(USER, detached=True)
        setup.wait_need('password')
        setup.set_password(WRONG)
        setup.wait_step('incoming.login', 'failed', 'waiting')
        check_nothing(bus, c, CANARY, WRONG)
        setup.set_password(CANARY)
        assert setup.wait_state('ready', 'failed', 'waiting') == 'ready', setup.all()
        assert 'PASS' in setup.call('Report') or 'AUTH' in setup.call('Report')
        account = setup.commit()
        setup.wait_state('succeeded')
        c.wait(lambda: account['LastSuccess'])
        check_nothing(bus, c, CANARY, WRONG)
        assert account.fetch()['cause'] == ''
        check = account.call('Check')
        again = account.call('SetPassword', 'ss', '', WRONG)
        for path in (check, again):
            c.wait(lambda: c.get(path, SETUP, 'State') in ('succeeded', 'failed', 'waiting', 'ready', 'cancelled'), 20)
        check_nothing(bus, c, CANARY, WRONG)
        bus.stop_service()
        assert account.fetch()['cause'] == ''
        check_nothing(bus, c, CANARY, WRONG)
        bus.stop_service()
        assert [p for p, data in files_below(bus.state) if leaks(data, CANARY, WRONG)] == []
        account.remove()
        assert not leaks(bus.log(), CANARY, WRONG)
        bus.stop_service()
        assert [p for p, data in files_below(bus.state) if leaks(data, CANARY, WRONG)] == []


def test_by_file_descriptor(bus, canary):
    with Connection(bus) as c:
        setup = c.start_setup(USER, receive_only=True)
        setup.wait_need('password')
        ours, theirs = os.pipe()
        os.write(theirs, CANARY.encode())
        os.close(theirs)
        c.call_fd(setup.path, SETUP, 'SetPasswordFd', 'sh', '', 0, fd=ours)
        assert setup.wait_state('ready', 'failed') == 'ready'
        check_nothing(bus, c, CANARY)
        setup.cancel()


def test_key_is_ours_alone(bus, canary):
    """Nobody but the service may read what seals the secrets, nor the database; the sealed is not the key's plain neighbour."""
    with Connection(bus) as c:
        setup = c.start_setup(USER, receive_only=True)
        setup.wait_need('password')
        setup.set_password(CANARY)
        setup.wait_state('ready')
        setup.commit()
        for name in ('key', 'waypost.db', 'waypost.db-wal'):
            path = os.path.join(bus.state, name)
            if os.path.exists(path):
                assert os.stat(path).st_mode & 0o7777 == 0o600, name
                assert os.stat(path).st_uid == bus.user.pw_uid
        with open(os.path.join(bus.state, 'key'), 'rb') as f:
            key = f.read()
        assert len(key) == 32 and key not in bus.log().encode('latin-1', 'replace')
        assert all(key not in data for path, data in files_below(bus.state) if not path.endswith('/key'))


# -- the process

def test_no_core_dump(bus):
    pid = bus.activate()
    with open(f'/proc/{pid}/limits') as f:
        core = next(line for line in f if line.startswith('Max core file size'))
    assert core.split()[4:6] == ['0', '0']
    # Not dumpable: its files in /proc are root's, so that not even its own user may look into its memory.
    assert os.stat(f'/proc/{pid}').st_uid == bus.user.pw_uid or os.stat(f'/proc/{pid}/mem').st_uid == 0
    assert os.stat(f'/proc/{pid}/environ').st_uid == 0
    argv = bus.command(['/usr/bin/head', '-c', '1', f'/proc/{pid}/environ'], bus.user.pw_uid)
    assert subprocess.run(argv, env=CLEAN_ENV, capture_output=True).returncode != 0
    bus.allow_bad_log = True                    # a sanitizer tells of the signal
    os.kill(pid, signal.SIGSEGV)
    until(lambda: bus.owner() is None, 'the end')
    assert [p for p, _ in files_below(bus.path) if os.path.basename(p).startswith('core')] == []


# -- errors

def message_of(function, *args):
    with pytest.raises(BusError) as error:
        function(*args)
    return f'{error.value.name} {error.value.message}'


def test_errors_do_not_echo(bus, canary):
    """Calls that are refused say why, without what was in them."""
    with Connection(bus) as c:
        setup = c.start_setup(USER)
        setup.wait_need('password')
        long = CANARY * 300
        said = [message_of(setup.set_password, CANARY + '\n'), message_of(setup.set_password, CANARY + '\r'),
                message_of(setup.set_password, long), message_of(setup.set_password, ''),
                message_of(lambda: setup.call('SetPassword', 'ss', CANARY, CANARY)),
                message_of(lambda: setup.call('SetPassword', 's', CANARY)),
                message_of(lambda: setup.call('SetPassword', 'sss', '', CANARY, CANARY)),
                message_of(lambda: setup.call('NoSuch', 's', CANARY)),
                message_of(lambda: c.call(setup.path + 'x', SETUP, 'SetPassword', 'ss', '', CANARY))]
        for kind, data in (('long', long), ('line', CANARY + '\nmore')):
            ours, theirs = os.pipe()
            os.write(theirs, data.encode())
            os.close(theirs)
            said.append(message_of(lambda: c.call_fd(setup.path, SETUP, 'SetPasswordFd', 'sh', '', 0, fd=ours))
                        if kind == 'long' else '')
        assert leaks('\n'.join(said), CANARY) == []
        assert not leaks(bus.log(), CANARY)
        assert not leaks(everything(c), CANARY)


def test_command_line_does_not_echo(bus, lab, canary):
    path = lab.run.write('canary.txt', CANARY + '\n', 0o600)
    for more in ((), ('--json',)):
        done = bus.cli('add', USER, '--password-file', path, '--yes', *more)
        assert not leaks(done.stdout + done.stderr, CANARY)
        done = bus.cli('show', USER, *more)
        assert done.returncode == 0 and not leaks(done.stdout + done.stderr, CANARY)
        bus.cli('remove', USER, '--yes', *more)
    assert not leaks(bus.log(), CANARY)


# -- servers that tell what they were told

def echoing(*lines):
    """A server that answers the login with @lines."""
    rules = ''.join(f'send {line}\n' for line in lines)
    return (f'tls good\nsend +OK Odd POP3 server ready.\nserve\non ^PASS\n{rules}on ^AUTH PLAIN .\n{rules}'
            f'on ^AUTH PLAIN$\nraw + \\r\\n\nread-line\n{rules}include pop3-refuse.rules\nend\n')


B64 = base64.b64encode(CANARY.encode()).decode()
PLAIN = base64.b64encode(f'\0alice@example.test\0{CANARY}'.encode()).decode()
ECHOES = [f'-ERR [AUTH] {CANARY} is wrong', f'-ERR [AUTH] you said "{CANARY}", twice: {CANARY}{CANARY}', f'-ERR [AUTH] PASS {CANARY}',
          f'-ERR [AUTH] got {B64}', f'-ERR [AUTH] got {PLAIN}', f'-ERR [{CANARY}] no', f'-ERR {"x" * 480}{CANARY}',
          f'-ERR {"x" * (500 - len(CANARY))} {CANARY}', f'-ERR [SYS/TEMP] {CANARY}', f'+NO {CANARY}']


@pytest.mark.parametrize('echo', ECHOES, ids=range(len(ECHOES)))
def test_server_echoes(lab, bus, echo):
    """Plain and in base64, in the text, in the response code, at the very end of what is kept."""
    port = lab.scripted.play_text(0, echoing(echo))
    try:
        with Connection(bus) as c:
            setup = c.start_setup('alice@example.test', receive_only=True, detached=True, incoming=endpoint(HOST, port))
            setup.wait_need('password')
            setup.set_password(CANARY)
            setup.wait_step('incoming.login', 'failed', 'waiting')
            assert lab.scripted.logins(port) >= 1
            c.pump(0.05)
            check_nothing(bus, c, CANARY)
            for n in range(8, len(CANARY)):             # cut off at the end of what is kept: no long piece either
                assert CANARY[:n] not in everything(c)
    finally:
        lab.scripted.stop(port)


def test_server_echoes_after_login(lab, bus):
    """In the greeting of the maildrop, in lists, in the refusal of a RETR: what a run keeps is history, and stored."""
    ordinary = 'tls good\nsend +OK Odd POP3 server ready.\nserve\non ^(STAT|LIST|UIDL)\nmailbox 0\ninclude pop3.rules\nend\n'
    chatty = ('tls good\nsend +OK Odd POP3 server ready.\nserve\n'
              f'on ^PASS\nsend +OK hello {CANARY}\non ^AUTH PLAIN .\nsend +OK hello {CANARY}\n'
              f'on ^UIDL$\nsend +OK {CANARY}\nsend 1 a\nsend 2 b\nsend .\n'
              f'on ^RETR 1\nsend -ERR {CANARY}\n'
              f'on ^RETR 2\nsend -ERR not for {CANARY} {B64} {PLAIN}\ninclude pop3.rules\nend\n')
    refusing = echoing(f'-ERR [AUTH] {CANARY} {PLAIN}')
    port = lab.scripted.play_text(0, ordinary)
    try:
        with Connection(bus) as c:
            setup = c.start_setup('alice@example.test', receive_only=True, detached=True, incoming=endpoint(HOST, port))
            setup.wait_need('password')
            setup.set_password(CANARY)
            assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
            account = setup.commit()
            c.wait(lambda: account.history(1) and not account['Run'])
            lab.scripted.play_text(port, chatty)
            assert account.fetch()['skipped'] == 2
            check_nothing(bus, c, CANARY)
            lab.scripted.play_text(port, refusing)
            assert account.fetch()['cause'] == 'auth.bad-credentials'
            check_nothing(bus, c, CANARY)
            assert account.history(1)[0]['reply']
    finally:
        lab.scripted.stop(port)


# -- the bus

def test_monitor_and_eavesdropping(bus, canary):
    """Another user cannot listen in: becoming a monitor and eavesdropping are refused or blind."""
    bus.activate()
    argv = bus.command(['/usr/bin/timeout', '20', '/usr/bin/busctl', f'--address={bus.address}', 'monitor', NAME], NOBODY)
    monitor = subprocess.Popen(argv, env=CLEAN_ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with Connection(bus) as c, Peer(bus, NOBODY) as spy:
        for rule in ("eavesdrop='true'", "eavesdrop='true',type='method_call'", f"type='signal',sender='{NAME}'"):
            try:
                spy.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'AddMatch', 's', rule, destination='org.freedesktop.DBus')
            except BusError:
                pass
        setup = c.start_setup(USER, receive_only=True)
        setup.wait_need('password')
        setup.set_password(CANARY)
        assert setup.wait_state('ready', 'failed') == 'ready'
        spy.objects()
        assert not leaks(repr(spy.signals), CANARY) and setup.path not in repr(spy.signals)
        setup.cancel()
        if monitor.poll() is None:
            monitor.terminate()
        out, _ = monitor.communicate(timeout=20)
        assert not leaks(out, CANARY) and setup.path.encode() not in out


def test_second_user_hears_nothing(lab, bus, canary):
    """The whole life of an account, from StartSetup to Remove, with a second user who has called us and matches everything."""
    with Connection(bus) as c, Peer(bus, NOBODY) as other:
        other.watch_all()
        other.objects()
        setup = c.start_setup(USER, receive_only=True)
        setup.wait_need('password')
        setup.set_password(CANARY)
        setup.wait_state('ready')
        account = setup.commit()
        c.wait(lambda: account['LastSuccess'])
        mailbox.fill(lab.maildir(USER), [('news', mailbox.header(7))])
        assert account.fetch()['delivered'] >= 1        # mails of earlier tests may come late
        account.call('Configure', 'a{sv}', options({'display-name': 'mine'}))
        account.call('Pause')
        account.call('Resume')
        c.wait(lambda: {'MailArrived', 'RunFinished'} <= {s.member for s in c.signals if s.path == account.path})
        account.remove()
        c.wait(lambda: any(s.member == 'InterfacesRemoved' for s in c.signals))
        other.objects()
        other.pump(0.1)
        ours = [s for s in other.signals if s.interface.startswith((NAME, 'org.freedesktop.DBus.Properties',
                                                                    'org.freedesktop.DBus.ObjectManager'))]
        assert ours == []
        assert [p for p in other.objects() if '/account/' in p or '/setup/' in p] == []


def test_second_user_may_have_the_same_account(lab, bus, canary):
    """(uid, protocol, host, user) is what must be unique: one user's account neither hinders another's nor shows in it."""
    paths = []
    with Connection(bus) as c, Peer(bus, NOBODY) as other:
        for caller in (c, other):
            setup = caller.start_setup(USER, receive_only=True)
            setup.wait_need('password')
            setup.set_password(CANARY)
            assert setup.wait_state('ready', 'failed') == 'ready'
            paths.append(setup.commit().path)
        assert paths[0] != paths[1]
        assert [a.path for a in other.accounts()] == [paths[1]]
        assert other.manager('FindAccount', 's', USER) == paths[1]
