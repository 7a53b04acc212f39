# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bad input to every method and option: a named error that says what is wrong, and nothing has changed.

The methods and the types of their arguments come from introspection, so that one that comes later is tested too; the keys of dictionaries
are listed here, and a test holds the list against the contract's text."""
import os
import re
import select
import socket
import tempfile
import time
import xml.etree.ElementTree as ElementTree

import pytest
from gi.repository import Gio, GLib

from wplab.bus import Bus, NAME
from wplab.client import ACCOUNT, MANAGER, PROPERTIES, ROOT, SETUP, BusError, Connection, variant
from wplab.run import PROJECT, until

INTROSPECTABLE = 'org.freedesktop.DBus.Introspectable'
ERROR = NAME + '.Error.'
TEXTS = ['', 'x', 'x' * 1025, 'x' * 1_000_000, '\x01', '\x7f', 'a\r\nb', 'a\tb', '\x1b[31m', '\u202eabc', '\u2066', '\ufeff', '\u200b', '\u0085',
         '../../etc', '%s%n', '"', "';--", '{5}', '\U000f0000', 'ü' * 600]
NUMBERS = {'u': [0, 1, 2 ** 31, 2 ** 32 - 1], 't': [0, 1], 'q': [0, 1, 25, 65535]}
# Every type that is not the right one, as what it comes in.
ANY = {'s': ('s', 'text'), 'b': ('b', True), 'y': ('y', 7), 'n': ('n', 7), 'q': ('q', 7), 'i': ('i', 7), 'u': ('u', 7), 'x': ('x', 7), 't': ('t', 7),
       'd': ('d', 7.5), 'o': ('o', '/x'), 'g': ('g', 'as'), 'ay': ('ay', b'\xff\xfe'), 'as': ('as', ['a']), 'a{sv}': ('a{sv}', {}), 'v': ('v', GLib.Variant('s', 'x')),
       '(ss)': ('(ss)', ('a', 'b')), 'aas': ('aas', [['a']]), 'a{ss}': ('a{ss}', {'a': 'b'}), 'ad': ('ad', [1.0]), 'h': ('h', 0)}
INTEGERS = set('ynqiuxt')


@pytest.fixture(scope='module')
def bus(lab, build):
    with Bus(build, lab=lab, config={'limits': {'setups-per-uid': 64}}) as started:
        yield started


@pytest.fixture(scope='module')
def root(bus):
    with Connection(bus) as connection:
        yield connection


@pytest.fixture
def setup(root):
    """Waits for its password."""
    made = root.start_setup('alice@example.test', dry_run=True, receive_only=True)      # no other side that works on
    made.wait_need('password')
    yield made
    made.cancel()


@pytest.fixture(scope='module')
def account(root):
    """Paused, so that it does not change by itself."""
    made = root.make_account('eve', receive_only=True)
    made.call('Pause')
    return made


def check_named(told, *names):
    """An error of ours that says of what; no fault of the service's own."""
    assert told[0].startswith(ERROR) and told[0] != ERROR + 'Failed', told
    assert len(told[1]) < 1000, 'what was given is not echoed whole'
    if names:
        assert any(n in told[1] for n in names), (told, names)


def methods_of(caller, path, name):
    tree = ElementTree.fromstring(caller.call(path, INTROSPECTABLE, 'Introspect'))
    interface = next(i for i in tree.findall('interface') if i.get('name') == name)
    return {m.get('name'): [(a.get('name'), a.get('type')) for a in m.findall('arg') if a.get('direction', 'in') == 'in']
            for m in interface.findall('method')}


# -- texts and numbers

def arguments(types, at, value):
    """One argument is @value, the others are harmless."""
    fill = {'s': '', 'u': 1, 't': 0, 'q': 995, 'a{sv}': {}, 'as': [], 'h': 0}
    words = {'host': 'pop.example.test', 'secret': 'x', 'address': 'a@example.test'}
    return [value if i == at else words.get(name, fill[t]) for i, (name, t) in enumerate(types)]


FINE = {'Explain', 'DescribeCause', 'Wait', 'History', 'ListCauses', 'Report', 'RequestAdminView'}        # anything may be asked


@pytest.mark.parametrize('kind', ['Manager', 'Setup', 'Account'])
def test_texts(root, setup, account, kind):
    """Every method with a text or a number, and everything that may look like one."""
    path = {'Manager': ROOT, 'Setup': setup.path, 'Account': account.path}[kind]
    tried = 0
    for method, types in methods_of(root, path, f'{NAME}.{kind}').items():
        for at, (name, kind_of) in enumerate(types):
            if kind_of not in ('s', 'u', 't', 'q') or any(t == 'h' for _, t in types):
                continue
            for value in TEXTS if kind_of == 's' else NUMBERS[kind_of]:
                if method == 'SetPassword' and name == 'secret' and value and not set('\r\n') & set(value) and len(value) <= 4096:
                    continue                            # a password may be anything else
                if method == 'SetPassword' and name == 'side' and value == '':
                    continue                            # that would be one
                before = setup.all(), account.all()
                told = root.answer(path, f'{NAME}.{kind}', method, ''.join(t for _, t in types), *arguments(types, at, value))
                tried += 1
                if told[0] != 'reply':
                    check_named(told)
                    after = setup.all(), account.all()
                    assert after == before, (method, value, told)
                    if told[0] == ERROR + 'InvalidArgument':
                        check_named(told, f"'{name}'", name)
                else:
                    assert method in FINE or value in ('', 'x') or method == 'Probe', (method, name, value[:20] if kind_of == 's' else value, told)
                    if method in ('StartSetup', 'Probe', 'Check', 'SetPassword') and told[1]:
                        root.call(told[1], SETUP, 'Cancel')
    assert tried > 40 or kind == 'Account' and tried > 15


@pytest.mark.parametrize('text', [t for t in TEXTS if t != 'x'])
def test_addresses(root, text):
    """Alone and inside of what would be an address: always InvalidAddress, never a setup."""
    for address in (text, f'a@{text}', f'a@{text}.test', f'a{text}@' if text else '@', f'a@example.test{text}' if text else 'a@'):
        told = root.answer(ROOT, MANAGER, 'StartSetup', 'sa{sv}', address, {})
        if told[0] == 'reply':
            shown = root.get(told[1], SETUP, 'Address')
            root.call(told[1], SETUP, 'Cancel')
            assert re.fullmatch(r'[ -~]+@[a-z0-9.-]+', shown), (address, shown)
        else:
            assert told[0] == ERROR + 'InvalidAddress', (address[:40], told)
        assert root.answer(ROOT, MANAGER, 'FindAccount', 's', address)[0] in (ERROR + 'InvalidAddress', ERROR + 'NotFound')


# -- dictionaries

def keys_of(path, function):
    """{key: type} of the table that @function holds a dictionary against: what comes later is tested too."""
    with open(os.path.join(PROJECT, 'dbus', 'names.h')) as f:
        names = dict(re.findall(r'#define (KEY_\w+)[ \\\n]+"([^"]+)"', f.read()))
    with open(os.path.join(PROJECT, path)) as f:
        body = re.search(rf'^(?:static )?int {function}\(.*?^}}', f.read(), re.S | re.M)[0]
    table = re.search(r'const DictKey \w+\[\] = \{(.*?)\};', body, re.S)[1]
    return {names[k]: TYPES[t] for k, t in re.findall(r'(KEY_\w+), (DICT_\w+)', table)}


TYPES = {'DICT_TEXT': 's', 'DICT_BOOL': 'b', 'DICT_NUMBER': 't', 'DICT_LIST': 'as', 'DICT_DICT': 'a{sv}'}
CORE, BUS = 'service/core/setup_options.c', 'service/bus/'
START, SERVER, SETTINGS = (keys_of(CORE, f) for f in ('setup_read_options', 'setup_parse_server', 'account_read_settings'))
PROBE, FETCH = keys_of(BUS + 'manager.c', 'method_probe'), keys_of(BUS + 'account.c', 'method_fetch_now')


def right(kind, given):
    return kind == given or kind == 't' and given in INTEGERS


def wrong_dictionaries(keys):
    """(dictionary, a name that the error must say)"""
    yield {'colour': GLib.Variant('s', 'red')}, 'colour'
    yield {'': GLib.Variant('s', 'red')}, "''"
    yield {'x' * 100_000: GLib.Variant('s', 'red')}, 'key'
    yield {'a\x1b[31m': GLib.Variant('s', 'red')}, 'key'
    yield {'\u202e': GLib.Variant('s', 'red')}, 'key'
    yield {f'k{i}': GLib.Variant('s', 'red') for i in range(70)}, 'k'
    yield {'Keep': GLib.Variant('s', 'none')}, 'Keep'
    for key, kind in keys.items():
        yield {key + ' ': GLib.Variant('s', 'x')}, key
        for given, value in ANY.items():
            if not right(kind, given):
                yield {key: GLib.Variant(*value)}, key
        if kind == 's':
            for text in ('', 'x' * 1025, 'x' * 600, 'x' * 1_000_000, 'a\r\nb', '\x01', '\u202e', '\x7f'):
                if not (key == 'display-name' and text == ''):
                    yield {key: GLib.Variant('s', text)}, key
        elif kind == 't':
            for given, number in (('i', -1), ('x', -2 ** 63), ('t', 0), ('t', 2 ** 64 - 1), ('t', 2 ** 32), ('n', -1)):
                yield {key: GLib.Variant(given, number)}, key


def nested(side):
    for wrong, name in wrong_dictionaries(SERVER):
        yield {side: GLib.Variant('a{sv}', wrong)}, name
    deep = GLib.Variant('a{sv}', {})
    for _ in range(20):
        deep = GLib.Variant('a{sv}', {'incoming': deep})
    yield {side: deep}, 'incoming'
    for more in ({'host': 'h.example.test', 'security': 'none'}, {'host': 'h.example.test', 'security': 'plain'},
                 {'host': 'h.example.test', 'port': 65536}, {'host': 'a b'}, {'host': 'http://h'}, {'host': '-x.test'}, {'host': '999.1.1.1.1'},
                 {'host': 'h.example.test', 'user': ''}):
        yield {side: variant(more)}, next(k for k in ('security', 'port', 'user', 'host') if k in more and (k != 'host' or len(more) == 1))


def check_refused(root, watched, path, interface, method, signature, args, dictionaries):
    state = watched()
    for wrong, name in dictionaries:
        told = root.answer(path, interface, method, signature, *args, wrong)
        assert told[0] in (ERROR + 'InvalidArgument', ERROR + 'NotSupported'), (method, str(wrong)[:200], told)
        check_named(told, name)
    assert watched() == state, method       # a serial is in there: none of them changed anything


def objects_of(root):
    return lambda: set(root.objects())


def test_start_options(root):
    check_refused(root, objects_of(root), ROOT, MANAGER, 'StartSetup', 'sa{sv}', ['a@example.test'], wrong_dictionaries(START))
    check_refused(root, objects_of(root), ROOT, MANAGER, 'StartSetup', 'sa{sv}', ['a@example.test'], nested('incoming'))
    check_refused(root, objects_of(root), ROOT, MANAGER, 'StartSetup', 'sa{sv}', ['a@example.test'], nested('outgoing'))


def test_probe_options(root):
    more = [({'host': variant('x')}, 'host'), ({'port': variant(1)}, 'port'), ({'user': variant('x')}, 'user'),
            ({'protocol': variant('gopher')}, 'protocol'), ({'security': variant('none')}, 'security')]
    check_refused(root, objects_of(root), ROOT, MANAGER, 'Probe', 'sqa{sv}', ['pop.example.test', 995], [*wrong_dictionaries(PROBE), *more])
    for host, port in (('', 1), ('a b', 1), ('x' * 300, 1), ('pop.example.test', 0)):
        told = root.answer(ROOT, MANAGER, 'Probe', 'sqa{sv}', host, port, {})
        assert told[0] == ERROR + 'InvalidArgument', (host, told)
        check_named(told, 'port' if port == 0 else 'host')


def test_servers(root, setup):
    check_refused(root, setup.all, setup.path, SETUP, 'SetServers', 'a{sv}', [], [*wrong_dictionaries({'incoming': 'a{sv}'}), *nested('incoming'), *nested('outgoing')])


def test_servers_are_taken_together(root):
    """One side that is refused leaves the other as it was."""
    setup = root.start_setup('a@nomail.test', dry_run=True)
    setup.wait_state('failed')
    told = root.answer(setup.path, SETUP, 'SetServers', 'a{sv}', {'incoming': variant({'host': 'pop.example.test', 'port': 995}),
                                                                   'outgoing': variant({'host': 'smtp.example.test', 'port': 0})})
    check_named(told, 'outgoing.port')
    setup.retry('')
    setup.wait_state('failed')
    assert setup['Cause'] and setup.steps['incoming.port'].status == 'pending', setup.steps
    setup.cancel()


def test_settings(root, account):
    check_refused(root, account.all, account.path, ACCOUNT, 'Configure', 'a{sv}', [], wrong_dictionaries(SETTINGS))
    check_refused(root, account.all, account.path, ACCOUNT, 'FetchNow', 'a{sv}', [], wrong_dictionaries(FETCH))


def test_commit_options(root):
    setup = root.start_setup('frank@example.test', receive_only=True)
    setup.wait_need('password')
    setup.set_password('frankpw')
    assert setup.wait_state('ready', 'failed') == 'ready'
    check_refused(root, setup.all, setup.path, SETUP, 'Commit', 'a{sv}', [], wrong_dictionaries(SETTINGS))
    setup.cancel()


@pytest.mark.parametrize('name,member,keys', [(MANAGER, 'StartSetup', START), (MANAGER, 'Probe', PROBE), (SETUP, 'SetServers', SERVER),
                                              (SETUP, 'Commit', SETTINGS), (ACCOUNT, 'Configure', SETTINGS), (ACCOUNT, 'FetchNow', FETCH)])
def test_keys_are_in_the_contract(name, member, keys):
    """What the program takes is what dbus/*.xml names, with its type."""
    with open(os.path.join(PROJECT, 'dbus', name + '.xml')) as f:
        comment = next(c for c in re.findall(r'<!--(.*?)-->', f.read(), re.S) if re.match(rf'\s*{member}:', c))
    assert keys and all(re.search(rf'(?<![\w-]){key}(?![\w-])', comment) for key in keys), [k for k in keys if k not in comment]


def test_types_of_calls(root, setup, account):
    """Another signature is refused by sd-bus before we see it."""
    for path, interface in ((ROOT, MANAGER), (setup.path, SETUP), (account.path, ACCOUNT)):
        for method, types in methods_of(root, path, interface).items():
            want = ''.join(t for _, t in types)
            for given, value in ANY.items():
                if given == 'h':
                    continue
                if given != want:
                    told = root.answer(path, interface, method, given, value[1])
                    assert told[0] == 'org.freedesktop.DBus.Error.InvalidArgs', (method, given, told)
    assert root.get(setup.path, SETUP, 'State') == 'waiting' and root.get(account.path, ACCOUNT, 'State') == 'paused'


def test_calls_without_an_interface(root, setup):
    """The bus's policy is by interface: a call without one does not pass."""
    message = Gio.DBusMessage.new_method_call(NAME, setup.path, None, 'Cancel')
    reply, _ = root.gio.send_message_with_reply_sync(message, Gio.DBusSendMessageFlags.NONE, 20000, None)
    assert reply.get_error_name() == 'org.freedesktop.DBus.Error.AccessDenied'
    assert setup.state == 'waiting'


@pytest.mark.parametrize('path', ['/', '/org', '/org/waypost', ROOT + '/setup', ROOT + '/account', ROOT + '/setup/x', ROOT + '/account/x/y', ROOT + '/x',
                                  ROOT + '/setup/' + '0' * 5000])
def test_paths(root, path):
    """What is no object of ours has no member of ours; introspection of what is above names what is below."""
    for interface in (MANAGER, SETUP, ACCOUNT):
        for call in ((interface, 'Cancel'), (PROPERTIES, 'GetAll', 's', interface), (PROPERTIES, 'Get', 'ss', interface, 'State')):
            assert root.answer(path, *call)[0] in ('org.freedesktop.DBus.Error.UnknownObject', 'org.freedesktop.DBus.Error.UnknownInterface',
                                                    'org.freedesktop.DBus.Error.UnknownMethod', 'org.freedesktop.DBus.Error.UnknownProperty'), call


# -- descriptors

def pipe_of(data, keep_open=False):
    ours, theirs = os.pipe()
    if data:
        os.write(theirs, data)
    if keep_open:
        return ours, [theirs]
    os.close(theirs)
    return ours, []


def memfd_of(data, flags=0):
    fd = os.memfd_create('secret', flags)
    os.write(fd, data)
    return fd, []


def sparse():
    fd = os.memfd_create('sparse')
    os.truncate(fd, 1 << 40)
    return fd, []


def file_on(folder):
    fd, name = tempfile.mkstemp(dir=folder)
    os.unlink(name)
    os.write(fd, b'secret')
    return fd, []


def sockets():
    one, two = socket.socketpair()
    two.sendall(b'secret')
    return one.detach(), [two]


def epoll():
    poll = select.epoll()
    return os.dup(poll.fileno()), [poll]


def write_end():
    ours, theirs = os.pipe()
    return theirs, [ours]


ODD = {
    '/dev/zero': lambda: (os.open('/dev/zero', os.O_RDONLY), []), '/dev/null': lambda: (os.open('/dev/null', os.O_RDONLY), []),
    '/dev/urandom': lambda: (os.open('/dev/urandom', os.O_RDONLY), []), '/dev/full': lambda: (os.open('/dev/full', os.O_RDWR), []),
    'folder': lambda: (os.open('/', os.O_RDONLY | os.O_DIRECTORY), []), 'path': lambda: (os.open('/etc/passwd', os.O_PATH), []),
    'file': lambda: file_on('/var/tmp'), 'proc': lambda: (os.open('/proc/self/mem', os.O_RDONLY), []),
    'pagemap': lambda: (os.open('/proc/self/status', os.O_RDONLY), []), 'sysfs': lambda: (os.open('/sys/kernel/mm', os.O_RDONLY), []),
    'socket': sockets, 'write end': write_end, 'empty pipe': lambda: pipe_of(b''), 'long pipe': lambda: pipe_of(b'x' * 4200),
    'two lines': lambda: pipe_of(b'one\ntwo'), 'NUL': lambda: pipe_of(b'one\0two'), 'only a line end': lambda: pipe_of(b'\n'),
    'empty memfd': lambda: memfd_of(b''), 'long memfd': lambda: memfd_of(b'x' * 4200), 'sparse memfd': sparse,
    'terminal': lambda: (lambda pair: (pair[1], [pair[0]]))(os.openpty()), 'epoll': epoll,
}


def holders(things):
    for thing in things:
        thing.close() if hasattr(thing, 'close') else os.close(thing)


@pytest.mark.parametrize('what', list(ODD))
def test_odd_descriptors(root, setup, what):
    fd, more = ODD[what]()
    before = setup.all()
    try:
        root.call_fd(setup.path, SETUP, 'SetPasswordFd', 'sh', '', 0, fd=fd)
        told = 'reply', ''
    except BusError as error:
        told = error.name, error.message
    os.close(fd)
    holders(more)
    assert told[0] == ERROR + 'InvalidArgument', (what, told)
    check_named(told, 'secret')
    assert setup.all() == before


def test_pipe_that_never_ends(bus, root, setup):
    """After 5 seconds, while others are served; and one whose writer writes on and on is not read for ever."""
    ours, theirs = os.pipe()
    os.write(theirs, b'alicepw')
    begun = time.monotonic()
    with Connection(bus) as other:
        with pytest.raises(BusError) as refused:
            root.call_fd(setup.path, SETUP, 'SetPasswordFd', 'sh', '', 0, fd=ours)
        other.objects()
    assert 4 < time.monotonic() - begun < 25
    check_named((refused.value.name, refused.value.message), 'in time')
    os.close(ours), os.close(theirs)
    assert setup.state == 'waiting'


def test_bytes_that_are_no_text(root, setup):
    """A password is bytes: what no D-Bus string can carry goes by descriptor, and is just refused by the server."""
    fd, _ = pipe_of(b'\xff\xfe\x80 pw')
    root.call_fd(setup.path, SETUP, 'SetPasswordFd', 'sh', '', 0, fd=fd)
    os.close(fd)
    assert setup.wait_state('failed', 'waiting', 'ready') != 'ready'


def test_many_descriptors(root, setup, bus):
    """More descriptors than the call has arguments for are closed, not kept."""
    held = f'/proc/{bus.service_pid()}/fd'
    before = len(os.listdir(held))
    for _ in range(20):
        fds = Gio.UnixFDList.new()
        for _ in range(10):
            fd = os.memfd_create('x')
            fds.append(fd)
            os.close(fd)
        with pytest.raises(GLib.Error):
            root.gio.call_with_unix_fd_list_sync(NAME, setup.path, SETUP, 'SetPasswordFd', GLib.Variant('(sh)', ('', 3)), None,
                                                 Gio.DBusCallFlags.NONE, 20000, fds, None)
        root.gio.call_with_unix_fd_list_sync(NAME, ROOT, MANAGER, 'ListCauses', None, None, Gio.DBusCallFlags.NONE, 20000, fds, None)
    until(lambda: len(os.listdir(held)) <= before + 2, 'the descriptors to be closed')
