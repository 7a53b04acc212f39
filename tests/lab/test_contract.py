# SPDX-License-Identifier: LGPL-2.1-or-later
"""The contract: dbus/*.xml against the binary, who sees what, to whom signals go, and in which order.

The matrices are made from the XML: a member that comes later is tested without a line here.
"""
import os
import re
import subprocess
import time
import xml.etree.ElementTree as ElementTree

import pytest
from gi.repository import Gio, GLib

from wplab.bus import Bus, NAME
from wplab.client import (ACCOUNT, MANAGER, OBJECT_MANAGER, PROPERTIES, ROOT, SETUP, BusError, Connection, Peer, endpoint,
                          options)
from wplab.run import CLEAN_ENV, PROJECT

INTROSPECTABLE = 'org.freedesktop.DBus.Introspectable'
NOBODY = 65534
EMITS = 'org.freedesktop.DBus.Property.EmitsChangedSignal'
ERROR = NAME + '.Error.'


@pytest.fixture(scope='module')
def bus(lab, build):
    """One service for all: each test cleans up behind itself."""
    with Bus(build, lab=lab) as started:
        yield started


@pytest.fixture
def root(bus):
    with Connection(bus) as connection:
        yield connection


@pytest.fixture
def nobody(bus):
    with Peer(bus, NOBODY) as peer:
        yield peer


@pytest.fixture(scope='module')
def account(bus):
    """An account of root's."""
    with Connection(bus) as connection:
        setup = connection.start_setup('alice@example.test')
        setup.wait_need('password')
        setup.set_password('alicepw')
        assert setup.wait_state('ready', 'failed') == 'ready'
        made = setup.commit()
        setup.wait_state('succeeded')
        yield made


# -- the XML

def interface_of(text, name):
    tree = ElementTree.fromstring(text)
    return next(i for i in tree.findall('interface') if i.get('name') == name)


def written(name):
    with open(os.path.join(PROJECT, 'dbus', name + '.xml')) as f:
        return interface_of(f.read(), name)


def args_of(member, direction):
    return [(a.get('name'), a.get('type')) for a in member.findall('arg') if a.get('direction', direction) == direction]


def annotations_of(member):
    """What is said of it; "true" is what holds where nothing is said."""
    found = {a.get('name'): a.get('value') for a in member.findall('annotation')}
    if found.get(EMITS) == 'true':
        del found[EMITS]
    return found


def members_of(interface):
    members = {}
    for m in interface.findall('method'):
        members['method', m.get('name')] = args_of(m, 'in'), args_of(m, 'out'), annotations_of(m)
    for s in interface.findall('signal'):
        members['signal', s.get('name')] = args_of(s, 'out'), annotations_of(s)
    for p in interface.findall('property'):
        members['property', p.get('name')] = p.get('type'), p.get('access'), annotations_of(p)
    return members


def check_contract(caller, path, name):
    text = caller.call(path, INTROSPECTABLE, 'Introspect')
    assert members_of(interface_of(text, name)) == members_of(written(name))


def test_manager_is_as_written(root):
    check_contract(root, ROOT, MANAGER)
    assert root.get(ROOT, MANAGER, 'Version')
    assert 'pop3' in root.get(ROOT, MANAGER, 'Features')


def test_setup_is_as_written(root):
    setup = root.start_setup('a@nomail.test')
    check_contract(root, setup.path, SETUP)
    setup.cancel()


def test_account_is_as_written(root, account):
    check_contract(root, account.path, ACCOUNT)


def test_every_member_is_documented():
    """Each member has a comment that begins with its name, right before it or before the one it is paired with."""
    plain = {'Address', 'DisplayName', 'Outgoing'}
    for name in (MANAGER, SETUP, ACCOUNT):
        with open(os.path.join(PROJECT, 'dbus', name + '.xml')) as f:
            begins = {c.split('-->')[0].strip().replace(',', ':').split(':')[0] for c in f.read().split('<!--')[1:]}
        missing = {member for _, member in members_of(written(name))} - begins - plain
        assert not missing, name


def documented(name, member):
    """All words of the comment of @member: what it does not name is not in the contract."""
    with open(os.path.join(PROJECT, 'dbus', name + '.xml')) as f:
        comment = next(c for c in re.findall(r'<!--(.*?)-->', f.read(), re.S) if re.match(rf'\s*(\w+, )*{member}\b[^:]*:', c))
    return set(re.findall(r'[a-z0-9][a-z0-9-]*', comment))


def test_needs_say_what_is_written(root):
    """The kinds of needs that the lab knows, and each key of theirs; and of the steps' evidence and of the candidates."""
    seen = {}
    for address, opts in (('alice@example.test', {}), ('alice@foreign.test', {}), ('alice@hollow.test', {}), ('alice@guess.test', {}),
                          ('alice@auto.test', {}), ('bob@example.test', {}),
                          ('alice@example.test', {'incoming': endpoint('self-signed.example.test', 995)})):
        setup = root.start_setup(address, dry_run=True, **opts)
        setup.wait_state('waiting', 'failed')
        for kind, details in setup.needs:
            assert {'side', 'token'} <= set(details), kind
            seen.setdefault(kind, set()).update(details)
        if setup.need('password') is not None:
            setup.set_password('alicepw')
            setup.wait_state('ready', 'failed', 'waiting')
        assert {k for step in setup.steps.values() for k in step.evidence} <= documented(SETUP, 'Steps')
        candidates = setup['Candidates']
        assert {k for c in candidates for k in (*c, *c.get('incoming', ()), *c.get('outgoing', ()))} <= documented(SETUP, 'Candidates')
        setup.cancel()
    assert {'password', 'server-approval', 'certificate-approval'} <= set(seen)
    text = documented(SETUP, 'Needs')
    for kind, keys in seen.items():
        assert kind in text and keys <= text, (kind, keys - text)


def test_runs_say_what_is_written(root, account):
    root.objects()
    run = account.fetch()
    assert set(run) <= documented(ACCOUNT, 'RunFinished') and set(account.history(1)[0]) == set(run)
    root.wait(lambda: any(s.member == 'PropertiesChanged' and s.args[1].get('Run') for s in root.signals))
    for s in root.signals:
        if s.member == 'PropertiesChanged' and s.path == account.path:
            assert set(s.args[1].get('Run', {})) <= documented(ACCOUNT, 'Run'), s.args[1]
    for name in ('Incoming', 'Outgoing'):
        assert set(account[name]) <= documented(ACCOUNT, name)


def test_causes(root):
    codes = root.manager('ListCauses')
    assert codes == sorted(set(codes)) and len(codes) > 50
    for code in codes:
        told = root.manager('DescribeCause', 'sa{sv}', code, {})
        assert told['cause'] == code and told['title'] and told['explanation']
        assert told['class'] in ('user-action', 'temporary', 'permanent')
        assert told['severity'] in ('block', 'degrade', 'info', 'ours')
        assert isinstance(told['remedies'], list)
    for cause, opts, error in (('no.such-code', {}, 'NotFound'), (codes[0], {'x': True}, 'InvalidArgument'),
                               (codes[0], {'locale': True}, 'InvalidArgument')):
        with pytest.raises(BusError) as refused:
            root.manager('DescribeCause', 'sa{sv}', cause, options(opts))
        assert refused.value.name == ERROR + error


# -- who sees what

EXAMPLES = {'s': 'x', 'u': 1, 't': 1, 'a{sv}': {}, 'h': 0}


def calls_of(name):
    """Every way to touch an object of this interface."""
    interface = written(name)
    for method in interface.findall('method'):
        args = args_of(method, 'in')
        yield (name, method.get('name'), ''.join(t for _, t in args), *[EXAMPLES[t] for _, t in args])
    for prop in interface.findall('property'):
        yield (PROPERTIES, 'Get', 'ss', name, prop.get('name'))
        yield (PROPERTIES, 'Set', 'ssv', name, prop.get('name'), GLib.Variant('s', 'x'))
    yield (PROPERTIES, 'GetAll', 's', name)
    yield (PROPERTIES, 'GetAll', 's', '')
    yield (PROPERTIES, 'Get', 'ss', name, 'NoSuch')
    yield (name, 'NoSuch')
    yield (INTROSPECTABLE, 'Introspect')
    yield (OBJECT_MANAGER, 'GetManagedObjects')


def check_hidden(peer, path, name):
    never_was = path[:path.rindex('/') + 1] + '0' * 32
    assert never_was != path
    for call in calls_of(name):
        expected = peer.answer(never_was, *call)
        assert expected[0] == 'org.freedesktop.DBus.Error.UnknownObject', call
        assert peer.answer(path, *call) == expected, call
    assert path not in peer.objects()
    parent, _, own = path.rpartition('/')
    assert own not in peer.call(parent, INTROSPECTABLE, 'Introspect')


def test_foreign_setup_is_unknown(root, nobody):
    setup = root.start_setup('a@nomail.test', detached=True)
    before = root.get_all(setup.path, SETUP)
    check_hidden(nobody, setup.path, SETUP)
    setup.wait_state('failed', 'waiting', 'running')
    assert root.get_all(setup.path, SETUP)['Address'] == before['Address']
    assert setup.path in root.objects()
    setup.cancel()


def test_foreign_account_is_unknown(account, nobody):
    check_hidden(nobody, account.path, ACCOUNT)
    with pytest.raises(BusError) as refused:
        nobody.manager('FindAccount', 's', 'alice@example.test')
    with pytest.raises(BusError) as unknown:
        nobody.manager('FindAccount', 's', 'never@example.test')
    assert refused.value.name == ERROR + 'NotFound'
    assert refused.value.message == unknown.value.message


def test_owner_and_root_see(root, nobody):
    setup = nobody.start_setup('a@nomail.test')
    mine, all_of_it = nobody.objects(), root.objects()
    assert mine[setup.path][SETUP]['Address'] == 'a@nomail.test'
    assert all_of_it[setup.path][SETUP]['Address'] == 'a@nomail.test'
    assert set(mine[setup.path]) == set(all_of_it[setup.path]) > {SETUP}
    assert root.get(setup.path, SETUP, 'State')
    own = setup.path.rpartition('/')[2]
    assert own in nobody.call(ROOT + '/setup', INTROSPECTABLE, 'Introspect')
    setup.cancel()


def test_find_account(root, account):
    assert root.manager('FindAccount', 's', 'alice@example.test') == account.path


# -- signals

def of_path(signals, path):
    return [s for s in signals if s.path == path or (s.interface == OBJECT_MANAGER and s.args[0] == path)]


def test_signals_go_to_those_who_may_see(bus, root, nobody):
    nobody.watch_all()
    nobody.objects()
    root.objects()
    with Connection(bus) as same, Connection(bus) as silent:
        same.objects()
        silent.watch_all()
        setup = root.start_setup('a@nomail.test')
        setup.wait_state('failed')
        setup.cancel()
        same.wait(lambda: any(s.member == 'PropertiesChanged' and s.args[1].get('State') == 'cancelled'
                              for s in of_path(same.signals, setup.path)))
        assert {'InterfacesAdded', 'PropertiesChanged', 'StepChanged'} <= {s.member for s in of_path(same.signals, setup.path)}
        silent.pump(0.3)
        assert of_path(silent.signals, setup.path) == []
    nobody.objects()
    assert of_path(nobody.signals, setup.path) == []


def test_every_change_is_told():
    """A property that the contract says is announced is in the table of what is announced: else it would change in silence."""
    with open(os.path.join(PROJECT, 'service', 'bus', 'publish.c')) as f:
        table = re.search(r'\bchanges\[\] = \{(.*?)^\};', f.read(), re.S | re.M)[1]
    told = set(re.findall(r'"(\w+)"', table))
    for name in (SETUP, ACCOUNT):
        silent = {n for (kind, n), what in members_of(written(name)).items()
                  if kind == 'property' and what[2].get(EMITS) != 'const'} - told
        assert not silent, name


def test_what_signals_say(root):
    root.objects()
    setup = root.start_setup('a@nomail.test')
    setup.wait_state('failed')
    root.pump(0.1)
    heard = of_path(root.signals, setup.path)
    added = heard[0]
    assert added.member == 'InterfacesAdded'
    properties = {n for k, n in members_of(written(SETUP)) if k == 'property'}
    assert set(added.args[1][SETUP]) == properties
    assert set(added.args[1]) == set(root.objects()[setup.path])
    changes = [s for s in heard if s.member == 'PropertiesChanged']
    assert changes and all(s.args[0] == SETUP and 'Serial' in s.args[1] and 'Steps' not in s.args[1] for s in changes)
    assert any('Steps' in s.args[2] for s in changes)
    steps = [s.args for s in heard if s.member == 'StepChanged']
    assert steps[0][:2] == ('address', 'running')
    serials = [s[5] for s in steps]
    assert serials == sorted(serials) and setup['Serial'] >= serials[-1]
    last = {s[0]: s for s in steps}
    for step, now in setup.steps.items():
        if step in last:
            assert (now.status, now.cause, now.evidence) == (last[step][1], last[step][2], last[step][4]), step
    setup.cancel()


def test_properties_before_what_tells_of_them(root, account):
    """Whoever hears RunFinished finds the account as it is then, also in what a library has cached."""
    account.caller = root
    root.objects()
    since = len(root.signals)
    run = account.fetch()
    heard = root.signals[since:]
    end = next(i for i, s in enumerate(heard) if s.member == 'RunFinished' and s.path == account.path)
    before = [s.args[1] for s in heard[:end] if s.member == 'PropertiesChanged' and s.path == account.path]
    assert any(c.get('LastSuccess', 0) >= run['started'] for c in before), before
    assert [c['Run'] for c in before if 'Run' in c][-1] == {}


def test_fetch_at_the_end_of_a_fetch(root, account):
    """A fetch that is asked for at the very moment at which another one ends is not forgotten: each run that was promised comes."""
    account.caller = root
    root.objects()
    begun = time.monotonic()
    account.fetch()
    took = time.monotonic() - begun
    for i in range(40):
        since = len(root.signals)
        first = account.fetch_now()
        time.sleep(took * (0.3 + i / 40))
        promised = {first, account.fetch_now()}

        def over():
            return promised <= {s.args[0]['run'] for s in root.signals[since:] if s.member == 'RunFinished' and s.path == account.path}
        root.wait(over, 60, f'one of the runs {promised}')


class Recorder:
    """The bare order in which messages come to a connection."""

    def __init__(self, connection):
        self.came = []
        connection.gio.add_filter(self.on_message)

    def on_message(self, _connection, message, incoming):
        if incoming:
            self.came.append((message.get_message_type(), message.get_member(), message.get_reply_serial(),
                              message.get_error_name()))
        return message

    def replies(self, sent=None):
        """(reply serial, error name or None) in the order of coming; only to the calls @sent."""
        return [c[2:] for c in self.came if c[0] in (Gio.DBusMessageType.METHOD_RETURN, Gio.DBusMessageType.ERROR)
                and (sent is None or c[2] in sent)]

    def wait(self, connection, sent, seconds=20):
        """All replies to @sent. A plain reply is no signal, so Caller.wait() would not wake for it."""
        end = time.monotonic() + seconds
        while len(self.replies(sent)) < len(sent) and time.monotonic() < end:
            connection.pump(0.01)
        return self.replies(sent)


def test_added_then_reply_then_work(root):
    root.objects()
    recorder = Recorder(root)
    setup = root.start_setup('a@nomail.test')
    setup.wait_state('failed')
    root.pump(0.1)
    serial = recorder.replies()[0][0]
    reply = next(i for i, c in enumerate(recorder.came) if c[2] == serial)
    members = [c[1] for c in recorder.came]
    assert 'InterfacesAdded' in members[:reply]
    assert not {'StepChanged', 'PropertiesChanged'} & set(members[:reply])
    assert 'StepChanged' in members[reply:]
    setup.cancel()


# -- callers

def send(connection, path, interface, member, body=None):
    message = Gio.DBusMessage.new_method_call(NAME, path, interface, member)
    if body:
        message.set_body(body)
    return connection.gio.send_message(message, Gio.DBusSendMessageFlags.NONE)[1]


def test_first_calls_keep_their_order(bus):
    """While it is not known whose a connection is, its calls wait; none may overtake another."""
    for _ in range(5):
        with Connection(bus) as fresh:
            recorder = Recorder(fresh)
            sent = [send(fresh, ROOT, MANAGER, 'FindAccount', GLib.Variant('(s)', ('never@example.test',)))
                    for _ in range(60)]
            fresh.gio.flush_sync(None)
            replies = recorder.wait(fresh, sent)
            assert [serial for serial, _ in replies] == sent
            assert {error for _, error in replies} == {ERROR + 'NotFound'}


def test_flood_is_answered(bus):
    """More first calls than are held: the rest is refused, none is lost. (The bus itself allows 128 pending ones.)"""
    with Connection(bus) as fresh:
        recorder = Recorder(fresh)
        sent = [send(fresh, ROOT, MANAGER, 'ListCauses') for _ in range(120)]
        fresh.gio.flush_sync(None)
        replies = recorder.wait(fresh, set(sent))
        assert sorted(serial for serial, _ in replies) == sent
        assert {error for _, error in replies} <= {None, ERROR + 'QuotaExceeded'}


def test_connections_of_one_user_are_counted(bus, nobody):
    peers = []
    try:
        nobody.objects()
        for _ in range(31):
            peers.append(Peer(bus, NOBODY))
            peers[-1].objects()
        peers.append(Peer(bus, NOBODY))
        with pytest.raises(BusError) as refused:
            peers[-1].objects()
        assert refused.value.name == ERROR + 'QuotaExceeded'
        peers.pop(0).close()
        peers[-1].wait(lambda: not raises(peers[-1].objects), 10)
    finally:
        for peer in peers:
            peer.close()


def raises(function):
    try:
        function()
    except BusError as error:
        return error
    return None


def test_setup_ends_with_its_creator(bus, root):
    with Connection(bus) as creator:
        left = creator.start_setup('a@nomail.test')
        stays = creator.start_setup('b@nomail.test', detached=True)
        creator.objects()
    root.objects()
    left.caller = stays.caller = root
    left.wait_state('cancelled')
    assert stays.wait_state('running', 'failed', 'waiting')
    stays.cancel()


def test_gone_before_it_was_known(bus, root):
    """A connection that calls and leaves at once leaves nothing behind."""
    before = set(root.objects())
    for _ in range(20):
        with Connection(bus) as fresh:
            send(fresh, ROOT, MANAGER, 'StartSetup', GLib.Variant('(sa{sv})', ('gone@nomail.test', {})))
            fresh.gio.flush_sync(None)
    for path in set(root.objects()) - before:
        root.wait(lambda: path not in root.objects() or root.get(path, SETUP, 'State') == 'cancelled', 10)


# -- waiting

FOREVER = 2 ** 64 - 1


def test_wait(bus, root):
    setup = root.start_setup('alice@example.test', dry_run=True)
    setup.wait_need('password')
    assert setup.call('Wait', 'st', 'running', FOREVER) == 'waiting'
    assert setup.call('Wait', 'st', 'waiting', 0) == 'waiting'
    begun = time.monotonic()
    assert setup.call('Wait', 'st', 'waiting', 200_000) == 'waiting'
    assert 0.19 < time.monotonic() - begun < 5
    recorder = Recorder(root)
    serial = send(root, setup.path, SETUP, 'Wait', GLib.Variant('(st)', ('waiting', FOREVER)))
    with Connection(bus) as other:
        other.call(setup.path, SETUP, 'Cancel')
    assert recorder.wait(root, [serial]) == [(serial, None)]
    assert setup.call('Wait', 'st', 'waiting', FOREVER) == 'cancelled'


def test_waits_are_counted(root):
    setup = root.start_setup('alice@example.test', dry_run=True)
    setup.wait_need('password')
    recorder = Recorder(root)
    sent = [send(root, setup.path, SETUP, 'Wait', GLib.Variant('(st)', ('waiting', FOREVER))) for _ in range(65)]
    root.gio.flush_sync(None)
    assert setup.state == 'waiting'
    assert recorder.replies(sent) == [(sent[-1], ERROR + 'QuotaExceeded')]
    setup.cancel()
    assert sorted(recorder.wait(root, sent)) == [(s, None if s != sent[-1] else ERROR + 'QuotaExceeded') for s in sent]
    assert setup.call('Wait', 'st', 'x', FOREVER) == 'cancelled'


# -- arguments

def test_refused_arguments(root):
    cases = [('a@example.test', {'colour': 'red'}, 'InvalidArgument', 'colour'),
             ('a@example.test', {'dry-run': 'yes'}, 'InvalidArgument', 'dry-run'),
             ('a@example.test', {'until': 'doomsday'}, 'InvalidArgument', 'until'),
             ('a@example.test', {'incoming': endpoint('h.example.test', 70000 % 65536, port_=1)}, 'InvalidArgument', 'port_'),
             ('a@example.test', {'incoming': {'host': 'x\ny'}}, 'InvalidArgument', 'host'),
             ('a@example.test', {'incoming': {'host': 'h', 'port': ('i', -1)}}, 'InvalidArgument', 'port'),
             ('a@example.test', {'incoming': {'a': {'b': 'c'}}}, 'InvalidArgument', "'a'"),
             ('a@example.test', {'protocol': 'jmap'}, 'InvalidArgument', 'protocol'),
             ('no address', {}, 'InvalidAddress', ''), ('', {}, 'InvalidAddress', ''),
             ('a' * 2000 + '@example.test', {}, 'InvalidAddress', ''), ('a@example.test\r\n', {}, 'InvalidAddress', ''),
             ('a@example.test', {'interval': 1}, 'InvalidArgument', 'interval'),
             ('a@example.test', {'keep': 'some'}, 'InvalidArgument', 'keep')]
    before = set(root.objects())
    for address, opts, error, named in cases:
        with pytest.raises(BusError) as refused:
            root.manager('StartSetup', 'sa{sv}', address, options(opts))
        assert refused.value.name == ERROR + error, (address, opts, refused.value)
        assert named in refused.value.message
    assert set(root.objects()) == before


def test_refused_calls(root):
    setup = root.start_setup('alice@example.test', dry_run=True)
    setup.wait_need('password')
    for call, error in ((('Choose', 's', 'nothing'), 'NotFound'), (('Approve', 's', '00'), 'Stale'),
                        (('Retry', 's', 'doomsday'), 'NotFound'), (('Commit', 'a{sv}', {}), 'InvalidState'),
                        (('SetPassword', 'ss', 'both', 'x'), 'InvalidArgument'),
                        (('SetPassword', 'ss', '', ''), 'InvalidArgument'),
                        (('SetPassword', 'ss', '', 'two\nlines'), 'InvalidArgument'),
                        (('SetPassword', 'ss', '', 'x' * 4097), 'InvalidArgument'),
                        (('SetServers', 'a{sv}', options({'sideways': {}})), 'InvalidArgument')):
        with pytest.raises(BusError) as refused:
            setup.call(*call)
        assert refused.value.name == ERROR + error, (call, refused.value)
    assert setup.state == 'waiting'
    assert 'alice@example.test' in setup.call('Report')
    setup.cancel()


def test_password_by_descriptor(root):
    setup = root.start_setup('alice@example.test', dry_run=True)
    setup.wait_need('password')
    null = os.open('/dev/zero', os.O_RDONLY)
    with pytest.raises(BusError) as refused:
        root.call_fd(setup.path, SETUP, 'SetPasswordFd', 'sh', '', 0, fd=null)
    assert refused.value.name == ERROR + 'InvalidArgument'
    os.close(null)
    fd = os.memfd_create('secret')
    os.write(fd, b'alicepw\n')
    root.call_fd(setup.path, SETUP, 'SetPasswordFd', 'sh', '', 0, fd=fd)
    os.close(fd)
    assert setup.wait_state('ready', 'succeeded', 'failed') != 'failed'
    setup.cancel()


# -- the account's own

def test_account_calls(root, account):
    account.caller = root
    root.objects()
    account.call('Pause')
    assert account.state == 'paused'
    with pytest.raises(BusError) as refused:
        account.fetch_now()
    assert refused.value.name == ERROR + 'InvalidState'
    account.call('Resume')
    assert account.wait_state('active') == 'active'
    account.call('Configure', 'a{sv}', options({'display-name': 'Alice', 'interval': ('u', 1200)}))
    assert (account['DisplayName'], account['Interval']) == ('Alice', 1200)
    with pytest.raises(BusError) as refused:
        account.call('Configure', 'a{sv}', options({'colour': 'red'}))
    assert refused.value.name == ERROR + 'InvalidArgument' and 'colour' in refused.value.message
    run = account.fetch()
    assert run['cause'] == '' and account.history(5)[0]['run'] == run['run']
    assert account['Delivery'] == 'maildir' and os.path.isdir(account['Location'])
    root.wait(lambda: any(s.path == account.path and s.member == 'PropertiesChanged'
                          and s.args[1].get('DisplayName') == 'Alice' for s in root.signals))


def test_account_exists(root, account):
    with pytest.raises(BusError) as refused:
        setup = root.start_setup('alice@example.test')
        setup.wait_need('password')
        setup.set_password('alicepw')
        setup.wait_state('ready')
        setup.commit()
    assert refused.value.name == ERROR + 'AccountExists'
    assert refused.value.message.endswith(account.path)


def test_check_and_remove(root, bus):
    setup = root.start_setup('eve@example.test')
    setup.wait_need('password')
    setup.set_password('evepw')
    setup.wait_state('ready')
    account = setup.commit()
    setup.wait_state('succeeded')
    root.objects()
    path = account.call('Check')
    assert root.get(path, SETUP, 'Account') == account.path
    root.call(path, SETUP, 'Cancel')
    account.remove()
    gone = root.wait_signal('InterfacesRemoved')
    assert gone.args[0] == account.path and ACCOUNT in gone.args[1]
    assert raises(lambda: account.state).name == 'org.freedesktop.DBus.Error.UnknownObject'


# -- the bus's policy

def test_policy(bus, nobody):
    with pytest.raises(BusError) as refused:
        nobody.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'RequestName', 'su', NAME, 4,
                    destination='org.freedesktop.DBus')
    assert refused.value.name == 'org.freedesktop.DBus.Error.AccessDenied'
    with pytest.raises(BusError) as refused:
        nobody.call(ROOT, 'org.example.Other', 'Anything')
    assert refused.value.name == 'org.freedesktop.DBus.Error.AccessDenied'
    nobody.call(ROOT, 'org.freedesktop.DBus.Peer', 'Ping')


def test_policy_is_narrow():
    """Each rule of the policy names the service it is about; only the service's user and root may be the service; nothing is denied or eavesdropped."""
    tree = ElementTree.parse(os.path.join(PROJECT, 'dbus', NAME + '.conf')).getroot()
    owners, interfaces = set(), set()
    for policy in tree.findall('policy'):
        assert not policy.findall('deny')
        for rule in policy.findall('allow'):
            assert set(rule.keys()) in ({'own'}, {'send_destination', 'send_interface'}), rule.attrib
            assert rule.get('own', NAME) == NAME and rule.get('send_destination', NAME) == NAME
            if rule.get('own'):
                owners.add(policy.get('user'))
            else:
                assert policy.get('context') == 'default'
                interfaces.add(rule.get('send_interface'))
    assert owners == {'waypost', 'root'}
    assert interfaces == {MANAGER, SETUP, ACCOUNT, OBJECT_MANAGER, PROPERTIES, INTROSPECTABLE, 'org.freedesktop.DBus.Peer'}


def test_actions_are_well_formed():
    """Each action of polkit is one that names.h has; nobody has it for nothing; polkit answers the service about it."""
    tree = ElementTree.parse(os.path.join(PROJECT, 'dbus', NAME + '.policy')).getroot()
    with open(os.path.join(PROJECT, 'dbus', 'names.h')) as f:
        known = {NAME + a for a in re.findall(r'#define ACTION_\w+ BUS_NAME "([\w.-]+)"', f.read())}
    assert {a.get('id') for a in tree.findall('action')} == known
    for action in tree.findall('action'):
        defaults = {d.tag: d.text for d in action.find('defaults')}
        assert set(defaults) == {'allow_any', 'allow_inactive', 'allow_active'} and 'yes' not in defaults.values()
        if action.get('id').endswith('.admin-view'):
            assert set(defaults.values()) == {'auth_admin'}
        assert {a.get('key'): a.text for a in action.findall('annotate')}['org.freedesktop.policykit.owner'] == 'unix-user:waypost'
        assert action.findtext('description') and action.findtext('message')


def test_features_are_documented(root):
    assert set(root.get(ROOT, MANAGER, 'Features')) <= documented(MANAGER, 'Features')


def test_usage(build):
    program = os.path.join(build, 'service', 'bus', 'waypostd')
    assert subprocess.run([program, '--help'], env=CLEAN_ENV, capture_output=True).returncode == 0
    assert subprocess.run([program, '--version'], env=CLEAN_ENV, capture_output=True).returncode == 0
    assert subprocess.run([program, '--nonsense'], env=CLEAN_ENV, capture_output=True).returncode == 2
    assert subprocess.run([program, 'extra'], env=CLEAN_ENV, capture_output=True).returncode == 2
    done = subprocess.run([program, '--config', '/nonexistent.conf'], env=CLEAN_ENV, capture_output=True)
    assert done.returncode == 1
