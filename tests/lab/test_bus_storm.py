# SPDX-License-Identifier: LGPL-2.1-or-later
"""Callers who vanish at each step of polkit and of a setup, hundreds of them (ten thousand with WAYPOST_LONG): objects, descriptors and memory
are back where they began, nothing of the vanished is left, and the service still works. And a flood: one user's 200 connections do not keep
another one waiting.

A connection that is closed is to the bus what a killed process is; test_killed_processes kills real ones."""
import os
import re
import subprocess
import time

import pytest
from gi.repository import Gio, GLib

from wplab.authority import Authority
from wplab.bus import Bus, NAME, SANITIZERS
from wplab.client import ACCOUNT, MANAGER, OBJECT_MANAGER, ROOT, SETUP, BusError, Connection, Peer
from wplab.run import CLEAN_ENV, until

NOBODY, BIN = 65534, 2
LONG = bool(os.environ.get('WAYPOST_LONG'))
# Freed memory is given back soon, so that growth can be seen.
FRUGAL = {'ASAN_OPTIONS': SANITIZERS['ASAN_OPTIONS'] + ':quarantine_size_mb=1'}
LIMITS = {'limits': {'setups-per-uid': 64}, 'discovery': {'searches-per-minute': 100000}}


@pytest.fixture(scope='module')
def bus(lab, build):
    with Bus(build, lab=lab, env=FRUGAL, config=LIMITS) as started:
        yield started


def connect(bus, uid=NOBODY):
    """A connection of another user in this process: the bus looks at who connects."""
    os.seteuid(uid)
    try:
        return Connection(bus)
    finally:
        os.seteuid(0)


def send(caller, path, interface, method, signature='', *args, interactive=False, fds=None):
    """Calls without waiting; the call is on its way when this returns."""
    flags = Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION if interactive else Gio.DBusCallFlags.NONE
    caller.gio.call_with_unix_fd_list(NAME, path, interface, method, GLib.Variant(f'({signature})', args), None, flags, 60000, fds, None, None)
    caller.gio.flush_sync(None)


# -- how far each caller comes before he vanishes

def at_polkit_call(c, polkit):
    send(c, ROOT, MANAGER, 'RequestAdminView', interactive=True)


def at_polkit_question(c, polkit):
    send(c, ROOT, MANAGER, 'RequestAdminView')
    polkit.wait_held(1)


def at_polkit_answer(c, polkit):
    send(c, ROOT, MANAGER, 'RequestAdminView')
    polkit.wait_held(1)
    polkit.release(True)


def at_start(c, polkit):
    send(c, ROOT, MANAGER, 'StartSetup', 'sa{sv}', 'alice@example.test', {})


def at_listing(c, polkit):
    send(c, ROOT, OBJECT_MANAGER, 'GetManagedObjects')


def at_probe(c, polkit):
    c.manager('Probe', 'sqa{sv}', 'pop.example.test', 995, {})


def start(c):
    return c.start_setup('alice@example.test', receive_only=True)


def at_reply(c, polkit):
    start(c)


def at_discovery(c, polkit):
    c.objects()
    start(c)
    c.wait(lambda: any(s.member == 'StepChanged' and s.args[0] == 'discovery' for s in c.signals))


def at_need(c, polkit):
    setup = start(c)
    setup.wait_need('password')
    return setup


def at_wait(c, polkit):
    send(c, at_need(c, polkit).path, SETUP, 'Wait', 'st', 'waiting', 2 ** 64 - 1)


def at_password(c, polkit):
    send(c, at_need(c, polkit).path, SETUP, 'SetPassword', 'ss', '', 'alicepw')


def at_half_a_password(c, polkit):
    """The pipe is as full as the caller has come; its end is closed with the connection."""
    setup = at_need(c, polkit)
    ours, theirs = os.pipe()
    os.write(theirs, b'alic')
    fds = Gio.UnixFDList.new()
    fds.append(ours)
    os.close(ours)
    send(c, setup.path, SETUP, 'SetPasswordFd', 'sh', '', 0, fds=fds)
    c.close()
    os.close(theirs)


def at_ready(c, polkit):
    setup = at_need(c, polkit)
    setup.set_password('alicepw')
    assert setup.wait_state('ready', 'failed') == 'ready'
    return setup


def at_commit(c, polkit):
    send(c, at_ready(c, polkit).path, SETUP, 'Commit', 'a{sv}', {})


STEPS = [at_polkit_call, at_polkit_question, at_polkit_answer, at_start, at_listing, at_probe, at_reply, at_discovery, at_need, at_wait,
         at_password, at_half_a_password, at_ready, at_commit]


def vanish(bus, step, polkit):
    c = connect(bus)
    try:
        step(c, polkit)
    finally:
        if not c.gio.is_closed():
            c.close()
    polkit.release(True)                # too late for a caller who has left


def clean(root):
    """What a caller who vanished in Commit may have left is an account that is whole: it is removed like any other."""
    for account in root.accounts():
        account.call('Remove')


def settle(bus, root):
    """All setups have ended."""
    def ended():
        return all(i[SETUP]['State'] in ('cancelled', 'succeeded') for i in root.objects().values() if SETUP in i)
    until(ended, 'the setups to end', 60)
    clean(root)


def descriptors(pid):
    """What the service has open, without the numbers: sockets, files ..."""
    kinds = []
    for fd in os.listdir(f'/proc/{pid}/fd'):
        try:
            kinds.append(re.sub(r'\d+', '', os.readlink(f'/proc/{pid}/fd/{fd}')))
        except FileNotFoundError:
            pass
    return sorted(kinds)


def resident(pid):
    with open(f'/proc/{pid}/status') as f:
        return int(re.search(r'VmRSS:\s+(\d+)', f.read())[1]) * 1024


@pytest.mark.parametrize('callers', [200, pytest.param(10_000, marks=pytest.mark.long)])
def test_callers_vanish_at_each_step(bus, callers):
    pid = bus.activate()
    with Authority(bus) as polkit, Connection(bus) as root:
        for step in STEPS * 3:                      # what is made once, and as many ended setups as are kept
            vanish(bus, step, polkit)
        settle(bus, root)
        before, open_before = resident(pid), descriptors(pid)
        for i in range(callers):
            vanish(bus, STEPS[i % len(STEPS)], polkit)
            if i % 200 == 199:
                settle(bus, root)
        settle(bus, root)
        until(lambda: descriptors(pid) == open_before, f'the descriptors to be {open_before}, they are {descriptors(pid)}', 30)
        grown = resident(pid) - before
        assert grown < 16 << 20, f'{grown >> 10} KiB more after {callers} callers'
        assert len(root.objects()) <= 3 + 128       # the root, two folders, the ended setups that are kept
        with Peer(bus, NOBODY) as peer:             # no grant was left to anybody, and everything works
            assert not peer.accounts()
            setup = root.start_setup('alice@example.test', dry_run=True)
            setup.wait_need('password')
            assert setup.path not in peer.objects()
            setup.cancel()
        assert polkit.verdict is None and len(polkit.questions) >= callers // len(STEPS) * 2
    assert bus.service_pid() == pid


def test_killed_processes(bus):
    """The same with processes that get SIGKILL in the middle of it."""
    pid = bus.activate()
    with Authority(bus) as polkit, Connection(bus) as root:
        settle(bus, root)
        for round_ in range(2):
            peers = [Peer(bus, NOBODY) for _ in range(6)]
            peers[0].begin(ROOT, MANAGER, 'RequestAdminView')
            peers[1].begin(ROOT, MANAGER, 'StartSetup', 'sa{sv}', 'alice@example.test', {})
            for peer in peers[2:5]:
                setup = peer.start_setup('alice@example.test', receive_only=True)
                setup.wait_need('password')
                if peer is not peers[2]:
                    peer.begin(setup.path, SETUP, 'SetPassword', 'ss', '', 'alicepw')
                if peer is peers[4]:
                    peer.begin(setup.path, SETUP, 'Wait', 'st', 'waiting', 2 ** 64 - 1)
            polkit.wait_held(1)
            for peer in peers:
                peer.kill()
            polkit.release(True)
        settle(bus, root)
        assert bus.service_pid() == pid


@pytest.mark.parametrize('protocol', ['pop3', 'imap'])
def test_removed_while_at_work(bus, protocol):
    """An account that is removed, twice at once, while its first fetch and the look for the verification mail are under way."""
    pid = bus.activate()
    with Connection(bus) as root, Connection(bus) as other:
        for i in range(40 if LONG else 6):
            setup = root.start_setup('eve@example.test', protocol=protocol)
            setup.wait_need('password')
            setup.set_password('evepw')
            assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
            account = setup.commit()
            if i % 3 == 1:
                root.wait(lambda: setup.steps['verification'].status != 'pending')
            elif i % 3 == 2:
                root.wait(lambda: account['Run'] or account['LastSuccess'])
            for caller in (root, other):
                send(caller, account.path, ACCOUNT, 'FetchNow', 'a{sv}', {})
                send(caller, account.path, ACCOUNT, 'Remove')
                send(caller, account.path, ACCOUNT, 'Check')
            until(lambda: account.path not in root.objects(), 'the account to go', 30)
            setup.cancel()
            for path, interfaces in root.objects().items():
                if interfaces.get(SETUP, {}).get('State') not in (None, 'cancelled', 'succeeded'):
                    root.call(path, SETUP, 'Cancel')
        assert root.accounts() == []
    assert bus.service_pid() == pid


# -- what was asked is what is done

def test_answer_is_for_what_was_asked(bus):
    """Whatever the caller does while polkit thinks, a yes is for the call that asked: not for his other connection, not for one that comes by
    the same user later, and once."""
    with Authority(bus) as polkit, Connection(bus) as root, Peer(bus, NOBODY) as one, Peer(bus, NOBODY) as two:
        setup = root.start_setup('a@nomail.test', dry_run=True, detached=True)
        first, second = one.begin(ROOT, MANAGER, 'RequestAdminView'), None
        polkit.wait_held(1)
        second = two.begin(ROOT, MANAGER, 'RequestAdminView')
        held = list(polkit.wait_held(2))
        names = [q[0][1]['name'] for q in polkit.questions]
        assert len(set(names)) == 2
        polkit.held = []
        polkit.answer(held[1], True)                # the second one's
        two.collect(second)
        assert setup.path in two.objects() and setup.path not in one.objects()
        polkit.answer(held[0], False)
        with pytest.raises(BusError):
            one.collect(first)
        assert setup.path not in one.objects()
        setup.cancel()


# -- flood

FLOOD = '''
import os, socket, struct, sys, time
address, uid, connections, seconds = sys.argv[1].partition('path=')[2], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
depth = int(sys.argv[5])
os.setgroups([]); os.setgid(uid); os.setuid(uid)

def text(s):
    b = s.encode()
    return struct.pack('<I', len(b)) + b + b'\\0'

def pad(b, n):
    return b + bytes(-len(b) % n)

def call(serial, path, interface, member, destination, body=b'', signature='', flags=0):
    fields = b''
    for code, kind, value in ((1, 'o', path), (2, 's', interface), (3, 's', member), (6, 's', destination)):
        fields = pad(fields, 8) + bytes([code, 1]) + kind.encode() + b'\\0' + text(value)
    if signature:
        fields = pad(fields, 8) + bytes([8, 1]) + b'g\\0' + bytes([len(signature)]) + signature.encode() + b'\\0'
    return pad(struct.pack('<cBBBIII', b'l', 1, flags, 1, len(body), serial, len(fields)) + fields, 8) + body

def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(address)
    s.sendall(b'\\0AUTH EXTERNAL ' + str(uid).encode().hex().encode() + b'\\r\\n')
    s.recv(100)
    s.sendall(b'BEGIN\\r\\n' + call(1, '/', 'org.freedesktop.DBus', 'Hello', 'org.freedesktop.DBus'))
    s.recv(1000)
    s.setblocking(False)
    return s

N, R, M = 'org.waypost.Waypost1', '/org/waypost/Waypost1', 'org.waypost.Waypost1.Manager'
kinds = [call(9, R, 'org.freedesktop.DBus.ObjectManager', 'GetManagedObjects', N), call(9, R, M, 'ListCauses', N),
         call(9, R, 'org.freedesktop.DBus.Introspectable', 'Introspect', N), call(9, R, M, 'FindAccount', N, text('x@example.test'), 's'),
         call(9, R, M, 'RequestAdminView', N), call(9, R + '/setup/x', N + '.Setup', 'Cancel', N)]
sockets = [[connect(), 0, i] for i in range(connections)]
print('flooding', flush=True)
sent, answered, end = 0, 0, time.monotonic() + seconds
while time.monotonic() < end:
    for s in sockets:
        try:
            if s[1] < depth:            # calls under way; what expects no answer counts until the next one that does is answered
                n = depth - s[1]
                s[0].send(b''.join(kinds[(s[2] + i) % len(kinds)] for i in range(n)))
                s[1] += n
                s[2] += 1
                sent += n
        except (BlockingIOError, BrokenPipeError):
            pass
        try:
            while data := s[0].recv(65536):
                answered += 1
                s[1] = max(0, s[1] - max(1, len(data) // 600)) if depth > 1 else 0
        except (BlockingIOError, ConnectionResetError):
            pass
print(sent, flush=True)
'''


def flood(bus, uid, connections, seconds, depth):
    argv = bus.command(['/usr/bin/python3', '-B', '-c', FLOOD, bus.address, str(uid), str(connections), str(seconds), str(depth)])
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=CLEAN_ENV)


@pytest.mark.parametrize('depth', [1, 16])
def test_flood(bus, depth):
    """200 connections of one user call as fast as they are answered, all kinds of calls, each with @depth under way. Another user is answered, and
    in time; the service has not grown, and works for the first user when it is over. (Measured with an optimised build: median 5 ms, worst 33 ms
    with one call under way on each connection; 4 and 107 ms with 16, of which 94 ms are the bus's own.)"""
    pid = bus.activate()
    seconds = 20 if LONG else 3
    with Connection(bus) as root, Peer(bus, BIN) as victim:
        victim.objects()
        before = resident(pid)
        flooder = flood(bus, NOBODY, 200, seconds, depth)
        assert flooder.stdout.readline().strip() == 'flooding'
        took = []
        while flooder.poll() is None:
            begun = time.monotonic()
            victim.objects()
            took.append(time.monotonic() - begun)
            time.sleep(0.02)
        sent = int(flooder.stdout.read())
        grown = resident(pid) - before
        took.sort()
        p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
        print(f'{sent} calls, {len(took)} calls of another user: median {p50 * 1000:.0f} ms, 99th {p99 * 1000:.0f} ms, worst '
              f'{took[-1] * 1000:.0f} ms; {grown >> 10} KiB more')
        assert len(took) > 1 and sent > 500     # a loaded machine manages few in these seconds
        assert p99 < 10
        assert grown < 48 << 20
        with Peer(bus, NOBODY) as again:
            until(lambda: not raises(again.objects), 'the flooder to be served again', 20)
        root.objects()


def raises(function):
    try:
        function()
    except BusError as error:
        return error
    return None
