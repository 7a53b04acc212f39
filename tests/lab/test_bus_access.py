# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may do what: every member, as introspection tells them, by every kind of caller; numbers that were given to somebody else; users
without a name; what an outsider can learn with match rules, a stop watch and a monitor; quotas over all connections of a user.

The matrix is made from introspection: a member that comes later is tested without a line here."""
import os
import sqlite3
import statistics
import subprocess
import time
import xml.etree.ElementTree as ElementTree

import pytest
from gi.repository import Gio, GLib

from wplab.bus import Bus, NAME
from wplab.client import (ACCOUNT, MANAGER, OBJECT_MANAGER, PROPERTIES, ROOT, SETUP, Account, BusError, Connection, Peer)
from wplab.run import CLEAN_ENV, script, until

DAEMON, BIN, NOBODY = 1, 2, 65534
HIGH, HIGHEST = 3_000_000_001, 2 ** 32 - 2      # above 2^31
INTROSPECTABLE, PEER = 'org.freedesktop.DBus.Introspectable', 'org.freedesktop.DBus.Peer'
UNKNOWN, DENIED = 'org.freedesktop.DBus.Error.UnknownObject', 'org.freedesktop.DBus.Error.AccessDenied'
ERROR = NAME + '.Error.'
RULES = 'polkit.addRule(function(a, s) { if (s.user == "daemon") return polkit.Result.YES; });'


@pytest.fixture(scope='module')
def people(lab):
    """Users with high numbers, in the lab's own passwd: dbus-daemon lets nobody in who has no name."""
    with open('/etc/passwd') as f:
        text = f.read()
    text += ''.join(f'high{i}:x:{uid}:{uid}::/nonexistent:/bin/sh\n' for i, uid in enumerate((HIGH, HIGHEST)))
    lab.client.call(['mount', '--bind', lab.run.write('passwd', text), '/etc/passwd'])


@pytest.fixture(scope='module')
def bus(lab, build, people):
    with Bus(build, lab=lab, polkit=True, rules=RULES) as started:
        yield started


@pytest.fixture(scope='module')
def bare(lab, build):
    """Without polkit; a state of its own for tests that restart the service."""
    with Bus(build, lab=lab) as started:
        yield started


def make_setup(caller):
    """A setup that waits for its password, and will for ever."""
    setup = caller.start_setup('eve@example.test', dry_run=True, detached=True)
    setup.wait_need('password')
    return setup


# -- the matrix

EXAMPLES = {'s': 'x', 'u': 1, 't': 0, 'a{sv}': {}, 'as': [], 'q': 995, 'h': 0}
ENDS = {('Setup', 'Cancel'), ('Account', 'Remove')}
ONCE = {'Wait', 'SetPassword', 'SetPasswordFd', 'Retry', 'FetchNow'}    # done once is done: what comes after is answered otherwise
BEGINS = set()                                                          # what gives a path back, by introspection


def members(caller, path, name):
    """Every way to touch an object with interface @name, as it tells itself. What ends it comes last."""
    tree = ElementTree.fromstring(caller.call(path, INTROSPECTABLE, 'Introspect'))
    interface = next(i for i in tree.findall('interface') if i.get('name') == name)
    calls, last = [], []
    BEGINS.update(m.get('name') for m in interface.findall('method') if m.find('arg[@direction="out"][@type="o"]') is not None)
    for method in interface.findall('method'):
        types = [a.get('type') for a in method.findall('arg') if a.get('direction', 'in') == 'in']
        call = (name, method.get('name'), ''.join(types), *[EXAMPLES[t] for t in types])
        (last if (name.rpartition('.')[2], method.get('name')) in ENDS else calls).append(call)
    for prop in interface.findall('property'):
        calls.append((PROPERTIES, 'Get', 'ss', name, prop.get('name')))
        calls.append((PROPERTIES, 'Set', 'ssv', name, prop.get('name'), GLib.Variant(prop.get('type'), EXAMPLE_VALUES[prop.get('type')])))
    calls += [(PROPERTIES, 'GetAll', 's', name), (PROPERTIES, 'GetAll', 's', ''), (PROPERTIES, 'Get', 'ss', name, 'NoSuch'),
              (name, 'NoSuch'), (INTROSPECTABLE, 'Introspect'), (OBJECT_MANAGER, 'GetManagedObjects'),
              (PEER, 'Ping'), (PEER, 'GetMachineId')]
    return calls + last


EXAMPLE_VALUES = {'s': 'x', 'u': 1, 't': 1, 'b': True, 'o': '/', 'as': [], 'a{sv}': {}, 'aa{sv}': [], 'a(sa{sv})': [], 'a(sssta{sv})': []}
# What is no different for an object that never was, or is not an object's matter: a Peer's, and what there is only at the root.
NOT_OURS = {PEER}
REFUSED = {UNKNOWN, DENIED}


def allowed(result):
    """The service has taken the call up: it did it, or it had something to say about it that only who may see it is told."""
    return result[0] not in REFUSED


@pytest.mark.parametrize('kind', ['Setup', 'Account'])
def test_matrix(bus, bare, kind):
    """Each member of an object of NOBODY's: root, the owner on another connection, and a granted viewer are answered alike; another user is
    told what he is told of an object that never was, with and without polkit."""
    name = f'{NAME}.{kind}'
    rows = 0
    for here, viewer_uid in ((bus, DAEMON), (bare, None)):
        with Peer(here, NOBODY) as owner, Peer(here, NOBODY) as same, Connection(here) as root, Peer(here, BIN) as other:
            thing = make_setup(owner) if kind == 'Setup' else owner.make_account('alice', receive_only=True)
            viewer = Peer(here, viewer_uid) if viewer_uid is not None else None
            never = thing.path[:thing.path.rindex('/') + 1] + '0' * 32
            if viewer:
                viewer.manager('RequestAdminView')
            calls = members(owner, thing.path, name)
            assert len(calls) > 25
            for call in calls:
                told = other.answer(thing.path, *call)
                assert told == other.answer(never, *call), call
                assert not allowed(told) or call[0] in NOT_OURS, (call, told)
                rows += 1
            before = owner.get_all(thing.path, name)
            assert thing.state == before['State']               # none of it did anything
            for call in calls:
                if call[1] in ONCE | BEGINS - {'Commit'} or (name.rpartition('.')[2], call[1]) in ENDS:
                    continue                                    # see below
                results = {who: caller.answer(thing.path, *call)[0] for who, caller in
                           (('owner', owner), ('same', same), ('root', root), ('viewer', viewer)) if caller}
                assert len(set(results.values())) == 1, (call, results)
                if call[1] not in ('NoSuch', 'GetManagedObjects') and call[1] != 'Set':
                    assert allowed((results['owner'],)), (call, results)
                rows += len(results)
            for caller in (c for c in (same, root, viewer) if c):
                for call in calls:
                    if call[1] in BEGINS - {'Commit'} | {'SetPassword'}:
                        told = caller.answer(thing.path, *call)
                        assert allowed(told), (call, told)
                        if kind == 'Account' and told[0] == 'reply':
                            caller.call(told[1], SETUP, 'Cancel')
                            assert told[1] in owner.objects()   # whoever asked, it is the owner's
            if kind == 'Setup':
                (viewer or root).call(thing.path, SETUP, 'Cancel')
                assert thing.state == 'cancelled'
            else:
                (viewer or root).call(thing.path, ACCOUNT, 'Remove')
                assert owner.answer(thing.path, ACCOUNT, 'Pause')[0] == UNKNOWN
            if viewer:
                viewer.close()
    assert rows > 150


def test_manager_matrix(bus):
    """The root object is everybody's, and what it lists is each one's own."""
    with Connection(bus) as root, Peer(bus, NOBODY) as owner, Peer(bus, BIN) as other, Peer(bus, HIGH) as high:
        mine, theirs = make_setup(owner), make_setup(other)
        for call in members(root, ROOT, MANAGER):
            if call[1] in BEGINS - {'FindAccount'} | {'RequestAdminView', 'GetManagedObjects'}:
                continue
            results = {caller.answer(ROOT, *call)[0] for caller in (root, owner, other, high)}
            assert len(results) == 1, call
            assert allowed((next(iter(results)),)) or call[1] in ('NoSuch', 'Set'), (call, results)
        listed = [set(p for p in c.objects() if p != ROOT) for c in (root, owner, other, high)]
        assert mine.path in listed[1] - listed[2] and theirs.path in listed[2] - listed[1] and listed[3] == set()
        assert listed[0] >= listed[1] | listed[2] and not listed[1] & listed[2]
        mine.cancel(), theirs.cancel()


def test_vanished_caller(bus):
    """Calls of a connection that is gone when they are dispatched: nobody is answered, nothing is begun, nothing is kept."""
    with Connection(bus) as root, Peer(bus, NOBODY) as owner:
        thing = make_setup(owner)
        before, others = thing.all(), set(root.objects())
        for call in members(root, thing.path, SETUP) + members(root, ROOT, MANAGER):
            if call[1] == 'SetPasswordFd':
                continue                                        # test_bus_storm
            path = ROOT if call[0] == MANAGER else thing.path
            with Connection(bus) as gone:
                gone.gio.call(NAME, path, call[0], call[1], GLib.Variant(f'({call[2] if len(call) > 2 else ""})', tuple(call[3:])),
                              None, Gio.DBusCallFlags.NONE, 1000, None, None)
                gone.gio.flush_sync(None)
        root.wait(lambda: all(root.get(p, SETUP, 'State') == 'cancelled' for p in set(root.objects()) - others), 20)
        if thing.state != 'cancelled':                          # the bus may have let a call by root through before it noticed
            assert thing.all()['Address'] == before['Address']
            thing.cancel()
        assert root.manager('ListCauses')


# -- numbers of users

@pytest.mark.parametrize('uid', [DAEMON, HIGH, HIGHEST])
def test_any_number(bus, uid):
    """Users of the system and those above 2^31 have accounts like anybody; mail is delivered and is theirs."""
    with Peer(bus, uid) as peer, Connection(bus) as root, Peer(bus, NOBODY) as other:
        account = peer.make_account('frank', receive_only=True)
        assert account['Owner'] == uid and account.state == 'active'
        assert f'/{uid}/' in account['Location']
        assert root.get(account.path, ACCOUNT, 'Owner') == uid
        assert account.path not in other.objects()
        told = subprocess.run(['getfacl', '-cpn', os.path.join(account['Location'], 'new')], capture_output=True, text=True,
                              env=CLEAN_ENV).stdout
        assert f'user:{uid}:rwx' in told
        account.remove()


def set_owner_name(bus, account, name):
    """What the store remembers; returns what it did before. The service must not run."""
    assert bus.stop_service()
    with sqlite3.connect(os.path.join(bus.state, 'waypost.db')) as store:
        row = store.execute('SELECT user_name FROM account WHERE id = ?', [account.path.rpartition('/')[2]]).fetchone()
        store.execute('UPDATE account SET user_name = ? WHERE id = ?', [name, account.path.rpartition('/')[2]])
    return row[0]


def test_number_of_somebody_else(bare):
    """The uid has another login name than when the account was made: nobody's account, blocked, and the newcomer is not told of it."""
    with Connection(bare) as root:
        with Peer(bare, NOBODY) as before:
            account = before.make_account('frank', receive_only=True)
            path = account.path
        name = set_owner_name(bare, account, 'somebody')
        assert name == 'nobody'
        account = Account(root, path)
        root.objects()
        with Peer(bare, NOBODY) as newcomer:
            assert path not in newcomer.objects()
            assert newcomer.answer(path, PROPERTIES, 'GetAll', 's', ACCOUNT)[0] == UNKNOWN
            assert newcomer.answer(path, ACCOUNT, 'Remove')[0] == UNKNOWN
            assert newcomer.answer(ROOT, MANAGER, 'FindAccount', 's', 'frank@example.test')[0] == ERROR + 'NotFound'
            assert (account.state, account['Cause'], account['NextRun']) == ('blocked', 'local.owner-changed', 0)
            for method, signature, *args in (('FetchNow', 'a{sv}', {}), ('Resume', ''), ('Check', '')):
                assert root.answer(path, ACCOUNT, method, signature, *args)[0] == ERROR + 'InvalidState', method
            assert account.state == 'blocked'
            # He may have accounts of his own; the very same one is in the way, and he is not told where.
            own = newcomer.make_account('eve', receive_only=True)
            own.remove()
            with pytest.raises(BusError) as told:
                newcomer.make_account('frank', receive_only=True)
            assert told.value.name == ERROR + 'AccountExists' and ROOT not in told.value.message
            assert 'administrator' in root.manager('DescribeCause', 'sa{sv}', 'local.owner-changed', {})['who']
        set_owner_name(bare, account, name)
        with Peer(bare, NOBODY) as again:
            assert path in again.objects()
            back = Account(again, path)
            again.wait(lambda: back.state == 'active')
            assert back['Cause'] == '' and back['NextRun'] > 0
            back.remove()


# -- what an outsider can learn

def test_match_all_hears_nothing(bus):
    """A user who asks the bus for everything hears of a whole life of somebody else's account what everybody hears of the bus itself."""
    here = os.path.dirname(os.path.abspath(__file__))
    ears = subprocess.Popen(['/usr/bin/setpriv', f'--reuid={BIN}', f'--regid={BIN}', '--clear-groups', '--',
                             *script(os.path.join(here, 'wplab', 'ears.py')), bus.address], stdout=subprocess.PIPE, stdin=subprocess.PIPE,
                            text=True, env=CLEAN_ENV)
    try:
        assert ears.stdout.readline().strip() == 'listening'
        with Peer(bus, NOBODY) as owner:
            account = owner.make_account('frank', receive_only=True)
            account.fetch_now()
            owner.wait(lambda: not account['Run'])
            account.call('Pause')
            account.remove()
        with Connection(bus) as other:                  # what is broadcast, so that silence means something
            name = other.gio.get_unique_name()
        out, _ = ears.communicate('\n', timeout=30)
    finally:
        ears.kill()
        ears.wait()
    assert f"'{name}'" in out                    # it did listen
    assert 'monitor refused' in out
    for secret in ('frank', 'example.test', ROOT + '/', 'waypost.Waypost1.Setup', 'waypost.Waypost1.Account', 'InterfacesAdded'):
        assert secret not in out, secret


def test_timing_does_not_tell(bus):
    """Asking for a foreign account takes as long as asking for one that never was."""
    with Peer(bus, NOBODY) as owner, Peer(bus, BIN) as other:
        setup = make_setup(owner)
        never = setup.path[:setup.path.rindex('/') + 1] + '0' * 32
        took = {setup.path: [], never: []}
        for path in list(took) * 300:
            begun = time.perf_counter()
            assert other.answer(path, PROPERTIES, 'GetAll', 's', SETUP)[0] == UNKNOWN
            took[path].append(time.perf_counter() - begun)
        foreign, unknown = (statistics.median(took[p]) for p in (setup.path, never))
        assert abs(foreign - unknown) < max(0.3 * unknown, 0.0003), (foreign, unknown)
        setup.cancel()


def test_ids_are_not_guessable(bus):
    with Connection(bus) as root:
        made = [root.start_setup(f'a{i}@nomail.test', dry_run=True) for i in range(4)]
        ids = [s.path.rpartition('/')[2] for s in made]
        assert all(len(i) == 32 and int(i, 16) for i in ids) and len({i[:8] for i in ids}) == 4
        for setup in made:
            setup.cancel()


# -- quotas

def test_setups_are_counted_over_connections(bus):
    """Four for each user, however many connections; another user's are not counted; an ended one gives its place back."""
    with Peer(bus, NOBODY) as one, Peer(bus, NOBODY) as two, Peer(bus, BIN) as other:
        made = [make_setup(p) for p in (one, two, one, two)]
        for caller in (one, two):
            told = caller.answer(ROOT, MANAGER, 'StartSetup', 'sa{sv}', 'eve@example.test', {})
            assert told[0] == ERROR + 'QuotaExceeded' and '4' in told[1]
            assert caller.answer(ROOT, MANAGER, 'Probe', 'sqa{sv}', 'pop.example.test', 995, {})[0] == ERROR + 'QuotaExceeded'
        theirs = make_setup(other)
        made.pop().cancel()
        made.append(make_setup(one))
        for setup in (*made, theirs):
            setup.cancel()


def test_searches_are_counted(bus):
    """Whatever makes connections for a user is: a setup that is told to try again and again is no tool for scanning."""
    with Peer(bus, HIGH) as peer, Peer(bus, HIGHEST) as other:
        setup = peer.start_setup('a@nomail.test', dry_run=True)
        told, tried = ('reply', None), 0
        while told[0] != ERROR + 'QuotaExceeded':
            assert tried < 40
            setup.wait_state('failed')
            told = peer.answer(setup.path, SETUP, *(('Retry', 's', ''), ('SetServers', 'a{sv}', {}))[tried % 2])
            tried += told[0] == 'reply'
        assert tried > 20
        assert peer.answer(ROOT, MANAGER, 'Probe', 'sqa{sv}', 'pop.example.test', 995, {})[0] == ERROR + 'QuotaExceeded'
        other.start_setup('a@nomail.test', dry_run=True).cancel()


def test_accounts_are_counted(lab, build):
    with Bus(build, lab=lab, config={'limits': {'accounts-per-uid': 1}}) as bus, Peer(bus, NOBODY) as one, Peer(bus, NOBODY) as two:
        early = two.start_setup('eve@example.test', receive_only=True)
        early.wait_need('password')
        account = one.make_account('alice', receive_only=True)
        early.set_password('evepw')
        assert early.wait_state('ready', 'failed') == 'ready'
        told = two.answer(early.path, SETUP, 'Commit', 'a{sv}', {})
        assert told[0] == ERROR + 'QuotaExceeded' and 'account' in told[1]
        dry = two.start_setup('frank@example.test', dry_run=True)       # looking costs nothing
        dry.cancel()
        account.remove()
        assert two.call(early.path, SETUP, 'Commit', 'a{sv}', {})


def test_calls_in_flight_are_counted(bus):
    """64 for each user over all his connections; then they are refused, and another user is answered."""
    with Peer(bus, NOBODY) as one, Peer(bus, NOBODY) as two, Peer(bus, BIN) as other:
        setup = make_setup(one)
        pending = [(p, p.begin(setup.path, SETUP, 'Wait', 'st', 'waiting', 2 ** 64 - 1)) for _ in range(32) for p in (one, two)]
        until(lambda: two.answer(setup.path, SETUP, 'Wait', 'st', 'waiting', 1)[0] == ERROR + 'QuotaExceeded', 'the quota')
        assert other.manager('ListCauses') and one.objects()
        two.close()                                                     # gives 32 places back
        until(lambda: one.answer(setup.path, SETUP, 'Wait', 'st', 'waiting', 1)[0] == 'reply', 'places')
        setup.cancel()
        assert all(p.collect(n) == 'cancelled' for p, n in pending if p is one)
