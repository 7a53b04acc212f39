# SPDX-License-Identifier: LGPL-2.1-or-later
"""A client of the service for tests: calls, properties, and waiting by signals instead of sleeping.

Connection is in this process, with this process's uid. Peer is the same for another uid: a child process that
has the connection. Both are used alike. Setup and Account wrap an object of either.
"""
import json
import os
import subprocess
import sys
import time
from collections import namedtuple

import gi
gi.require_version('Gio', '2.0')
from gi.repository import Gio, GLib            # noqa: E402

from .bus import NAME, gid_of                  # noqa: E402
from .run import CLEAN_ENV                     # noqa: E402

ROOT = '/org/waypost/Waypost1'
MANAGER, SETUP, ACCOUNT = (f'{NAME}.{n}' for n in ('Manager', 'Setup', 'Account'))
PROPERTIES = 'org.freedesktop.DBus.Properties'
OBJECT_MANAGER = 'org.freedesktop.DBus.ObjectManager'

Step = namedtuple('Step', 'status cause usec evidence')


class Signal(namedtuple('Signal', 'path interface member args')):
    """A signal that came; .body is its untouched variant."""

    @classmethod
    def of(cls, path, interface, member, body):
        signal = cls(path, interface, member, body.unpack())
        signal.body = body
        return signal


class BusError(Exception):
    """An error reply; .name is the D-Bus error name."""

    def __init__(self, name, message):
        super().__init__(f'{name}: {message}')
        self.name, self.message = name, message


def variant(value):
    """Python to a variant: str s, bool b, int t (all numbers of the contract are), bytes ay, dict a{sv}, list of str as;
    a pair (signature, value) says its type itself."""
    if isinstance(value, GLib.Variant):
        return value
    if isinstance(value, tuple):
        return GLib.Variant(*value)
    if isinstance(value, bool):
        return GLib.Variant('b', value)
    if isinstance(value, int):
        return GLib.Variant('t', value)
    if isinstance(value, str):
        return GLib.Variant('s', value)
    if isinstance(value, bytes):
        return GLib.Variant('ay', value)
    if isinstance(value, dict):
        return GLib.Variant('a{sv}', options(value))
    if isinstance(value, list):
        return GLib.Variant('as', value)
    raise TypeError(f'no bus type for {value!r}')


def options(values):
    return {k: variant(v) for k, v in values.items()}


def endpoint(host, port, security='tls', **more):
    """An a{sv} for SetServers, or for the options incoming and outgoing of StartSetup."""
    return {'host': host, 'port': port, 'security': security, **more}


class Caller:
    """What Connection and Peer share: everything but the transport."""

    def __init__(self):
        self.signals = []

    def call(self, path, interface, method, signature='', *args, timeout=30, destination=NAME, interactive=False):
        """Calls and returns the reply's values: None, the one value, or a tuple. Raises BusError. @interactive: polkit may ask."""
        body = GLib.Variant(f'({signature})', args)
        reply = self.transact(destination, path, interface, method, body, timeout, interactive)
        values = reply.unpack()
        return None if not values else values[0] if len(values) == 1 else values

    def get(self, path, interface, name):
        return self.call(path, PROPERTIES, 'Get', 'ss', interface, name)

    def get_all(self, path, interface):
        return self.call(path, PROPERTIES, 'GetAll', 's', interface)

    def objects(self):
        return self.call(ROOT, OBJECT_MANAGER, 'GetManagedObjects')

    def manager(self, method, signature='', *args, **more):
        return self.call(ROOT, MANAGER, method, signature, *args, **more)

    def start_setup(self, address, **opts):
        """Starts a setup. Option names with _ for -; see variant() for the types."""
        keys = {k.replace('_', '-'): v for k, v in opts.items()}
        return Setup(self, self.manager('StartSetup', 'sa{sv}', address, options(keys)))

    def answer(self, path, *call):
        """What a call comes to: ('reply', values), or the error's name and words, the latter with PATH for the path."""
        try:
            return 'reply', self.call(path, *call)
        except BusError as error:
            return error.name, error.message.replace(path, 'PATH')

    def make_account(self, user, seconds=60, **opts):
        """An account of the lab's user @user (the password is `USERpw`), set up, fetched once and at rest. @opts are StartSetup's."""
        setup = self.start_setup(f'{user}@example.test', **opts)
        setup.wait_need('password', seconds)
        setup.set_password(f'{user}pw')
        if setup.wait_state('ready', 'failed', seconds=seconds) != 'ready':
            raise BusError('local', f'no account: {setup.all()}')
        account = setup.commit()
        setup.wait_state('succeeded', seconds=seconds)
        self.wait(lambda: account['LastSuccess'] and not account['Run'], seconds)
        return account

    def accounts(self):
        return [Account(self, path) for path, ifaces in self.objects().items() if ACCOUNT in ifaces]

    def wait(self, condition, seconds=30, what='what was waited for'):
        """Returns the first true value of @condition(), which is looked at after each signal."""
        end = time.monotonic() + seconds
        while True:
            seen = len(self.signals)
            value = condition()
            if value:
                return value
            if len(self.signals) == seen and not self.pump(end - time.monotonic()):
                raise TimeoutError(f'{what} did not come within {seconds:g} s')

    def settle(self, setups, seconds=120):
        """Gives each of @setups (name -> (Setup, password)) its password when it wants one, and waits until all have failed, are ready, or want
        something else."""
        answered, left = set(), set(setups)

        def settled():
            for name in list(left):
                setup, password = setups[name]
                state = setup.state
                if state == 'waiting' and setup.need('password') and name not in answered:
                    answered.add(name)
                    setup.set_password(password)
                elif state in ('failed', 'ready') or state == 'waiting' and not setup.need('password'):
                    left.discard(name)
            return not left
        self.wait(settled, seconds, 'the end of every setup')

    def wait_signal(self, member, path=None, seconds=30, since=0):
        def found():
            return next((s for s in self.signals[since:] if s.member == member and path in (None, s.path)), None)
        return self.wait(found, seconds, f'signal {member}')


class Connection(Caller):
    def __init__(self, bus):
        super().__init__()
        flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
        self.context = GLib.MainContext.new()
        self.context.push_thread_default()
        try:
            self.gio = Gio.DBusConnection.new_for_address_sync(bus if isinstance(bus, str) else bus.address, flags)
            # Unicast signals need no match rule; without MATCH_RULE none is added, and broadcasts do not come.
            self.gio.signal_subscribe(NAME, None, None, None, None, Gio.DBusSignalFlags.NO_MATCH_RULE, self.on_signal)
        finally:
            self.context.pop_thread_default()
        self.gio.set_exit_on_close(False)

    def on_signal(self, _connection, _sender, path, interface, member, body):
        self.signals.append(Signal.of(path, interface, member, body))

    def transact(self, destination, path, interface, method, body, timeout, interactive=False):
        flags = Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION if interactive else Gio.DBusCallFlags.NONE
        try:
            return self.gio.call_sync(destination, path, interface, method, body, None, flags, int(timeout * 1000))
        except GLib.Error as error:
            raise BusError(Gio.DBusError.get_remote_error(error) or 'local', error.message) from None

    def call_fd(self, path, interface, method, signature, *args, fd):
        """Like call(); the argument for each h is 0, and stands for @fd."""
        fds = Gio.UnixFDList.new()
        fds.append(fd)
        try:
            reply, _ = self.gio.call_with_unix_fd_list_sync(
                NAME, path, interface, method, GLib.Variant(f'({signature})', args), None, Gio.DBusCallFlags.NONE,
                30000, fds, None)
        except GLib.Error as error:
            raise BusError(Gio.DBusError.get_remote_error(error) or 'local', error.message) from None
        values = reply.unpack()
        return None if not values else values[0] if len(values) == 1 else values

    def pump(self, seconds):
        """Handles what has come; else waits. False when the time is over."""
        if seconds <= 0:
            return False
        over = []
        timer = GLib.timeout_source_new(max(1, int(seconds * 1000)))
        timer.set_callback(lambda *_: over.append(1) or False)
        timer.attach(self.context)
        before = len(self.signals)
        while not over and len(self.signals) == before:
            self.context.iteration(True)
        timer.destroy()
        return not over

    def watch_all(self):
        """Also asks for broadcasts of the service: for tests that there are none."""
        self.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'AddMatch', 's', f"type='signal',sender='{NAME}'",
                  destination='org.freedesktop.DBus')

    def close(self):
        self.gio.close_sync(None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.gio.is_closed():
            self.close()


class Peer(Caller):
    """A connection of user @uid, in a process of its own. It sees signals whenever it is asked something."""

    def __init__(self, bus, uid):
        super().__init__()
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        self.process = subprocess.Popen(
            ['/usr/bin/python3', '-B', '-m', 'wplab.client', bus.address, str(uid), str(gid_of(uid))], cwd=here,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=CLEAN_ENV, text=True, bufsize=1)
        self.pid = self.process.pid
        self.ask(do='hello')

    def ask(self, **question):
        self.process.stdin.write(json.dumps(question) + '\n')
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise BusError('local', 'the peer has died')
        answer = json.loads(line)
        for path, interface, member, text in answer.pop('signals', []):
            self.signals.append(Signal.of(path, interface, member, GLib.Variant.parse(None, text)))
        if 'error' in answer:
            raise BusError(*answer['error'])
        return answer

    def transact(self, destination, path, interface, method, body, timeout, interactive=False):
        answer = self.ask(do='call', destination=destination, path=path, interface=interface, method=method,
                          body=body.print_(True), timeout=timeout, interactive=interactive)
        return GLib.Variant.parse(None, answer['reply'])

    def begin(self, path, interface, method, signature='', *args, interactive=False, timeout=120):
        """Calls without waiting for the answer, which collect() fetches. Returns the call's number."""
        return self.ask(do='begin', path=path, interface=interface, method=method, interactive=interactive, timeout=timeout,
                        body=GLib.Variant(f'({signature})', args).print_(True))['number']

    def collect(self, number):
        values = GLib.Variant.parse(None, self.ask(do='collect', number=number)['reply']).unpack()
        return None if not values else values[0] if len(values) == 1 else values

    def watch_all(self):
        self.ask(do='watch')

    def pump(self, seconds):
        if seconds <= 0:
            return False
        before = len(self.signals)
        self.ask(do='pump', seconds=seconds)
        return len(self.signals) > before

    def kill(self):
        """Gone without a word, in the middle of whatever it does."""
        self.process.kill()
        self.close()

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Object:
    INTERFACE = None

    def __init__(self, caller, path):
        self.caller, self.path = caller, path

    def __getitem__(self, name):
        return self.caller.get(self.path, self.INTERFACE, name)

    def call(self, method, signature='', *args, **more):
        return self.caller.call(self.path, self.INTERFACE, method, signature, *args, **more)

    def all(self):
        return self.caller.get_all(self.path, self.INTERFACE)

    @property
    def state(self):
        return self['State']

    def wait_state(self, *states, seconds=60):
        """Waits for one of @states and returns it; the error tells what stood instead."""
        seen = []

        def there():
            seen[:] = [self.state]
            return seen[0] if seen[0] in states else None
        try:
            return self.caller.wait(there, seconds)
        except TimeoutError:
            raise TimeoutError(f'{self.path}: waited for {"/".join(states)}, it is {seen[0]}: {self.all()}') from None


class Setup(Object):
    INTERFACE = SETUP

    @property
    def steps(self):
        return {s[0]: Step(*s[1:]) for s in self['Steps']}

    @property
    def needs(self):
        """[(kind, keys)]"""
        return self['Needs']

    def need(self, kind):
        return next((keys for k, keys in self.needs if k == kind), None)

    def wait_need(self, kind, seconds=60):
        try:
            return self.caller.wait(lambda: self.need(kind), seconds)
        except TimeoutError:
            raise TimeoutError(f'no need of kind {kind}: {self.all()}') from None

    def wait_step(self, step, *statuses, seconds=60):
        def there():
            found = self.steps.get(step)
            return found if found and found.status in statuses else None
        try:
            return self.caller.wait(there, seconds)
        except TimeoutError:
            raise TimeoutError(f'step {step} is not {"/".join(statuses)}: {self.all()}') from None

    def set_password(self, secret, side=''):
        self.call('SetPassword', 'ss', side, secret)

    def set_servers(self, incoming=None, outgoing=None):
        servers = {k: v for k, v in (('incoming', incoming), ('outgoing', outgoing)) if v}
        self.call('SetServers', 'a{sv}', options(servers))

    def approve(self, token):
        self.call('Approve', 's', token)

    def choose(self, candidate):
        self.call('Choose', 's', candidate)

    def retry(self, step):
        self.call('Retry', 's', step)

    def cancel(self):
        self.call('Cancel')

    def commit(self, **opts):
        return Account(self.caller, self.call('Commit', 'a{sv}', options({k.replace('_', '-'): v for k, v in opts.items()})))


class Account(Object):
    INTERFACE = ACCOUNT

    def fetch_now(self, **opts):
        return self.call('FetchNow', 'a{sv}', options({k.replace('_', '-'): v for k, v in opts.items()}))

    def fetch(self, seconds=120, **opts):
        """Fetches and returns the dictionary of RunFinished."""
        since = len(self.caller.signals)
        run = self.fetch_now(**opts)

        def over():
            return next((s.args[0] for s in self.caller.signals[since:] if s.path == self.path
                         and s.member == 'RunFinished' and s.args[0].get('run', run) == run), None)
        return self.caller.wait(over, seconds, 'RunFinished')

    def history(self, count=50):
        return self.call('History', 'u', count)

    def remove(self):
        self.call('Remove')


def begin(connection, ask, results):
    number = ask['number'] = len(results)
    results.append(None)

    def on_reply(gio, task):
        try:
            results[number] = gio.call_finish(task)
        except GLib.Error as error:
            results[number] = BusError(Gio.DBusError.get_remote_error(error) or 'local', error.message)
    flags = Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION if ask['interactive'] else Gio.DBusCallFlags.NONE
    connection.context.push_thread_default()
    connection.gio.call(NAME, ask['path'], ask['interface'], ask['method'], GLib.Variant.parse(None, ask['body']), None, flags,
                        int(ask['timeout'] * 1000), None, on_reply)
    connection.context.pop_thread_default()
    connection.gio.flush_sync(None)
    return number


def collect(connection, number, results):
    while results[number] is None:
        connection.context.iteration(True)
    if isinstance(results[number], BusError):
        raise results[number]
    return results[number].print_(True)


def peer_main(address, uid, gid):
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    connection = Connection(address)
    sent, results = 0, []
    for line in sys.stdin:
        ask, answer = json.loads(line), {}
        try:
            if ask['do'] == 'call':
                body = GLib.Variant.parse(None, ask['body'])
                reply = connection.transact(ask['destination'], ask['path'], ask['interface'], ask['method'], body,
                                            ask['timeout'], ask['interactive'])
                answer['reply'] = reply.print_(True)
            elif ask['do'] == 'begin':
                answer['number'] = begin(connection, ask, results)
            elif ask['do'] == 'collect':
                answer['reply'] = collect(connection, ask['number'], results)
            elif ask['do'] == 'watch':
                connection.watch_all()
            elif ask['do'] == 'pump':
                connection.pump(ask['seconds'])
        except BusError as error:
            answer['error'] = [error.name, error.message]
        while connection.context.iteration(False):
            pass
        new, sent = connection.signals[sent:], len(connection.signals)
        answer['signals'] = [[s.path, s.interface, s.member, s.body.print_(True)] for s in new]
        print(json.dumps(answer), flush=True)


if __name__ == '__main__':
    peer_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
