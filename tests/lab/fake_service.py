#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service that only plays: the contract's objects on a bus, with canned setups, for tests of the client alone.

It speaks to no server. What a setup does is chosen by the address's local part (see SCENARIOS). All signals are
unicast to whoever called, as the real service sends them. Each call is written to the file in argv[1] as a JSON line;
the password that came by a descriptor, too.
"""
import json
import os
import secrets
import sys
import time

import gi
gi.require_version('Gio', '2.0')
from gi.repository import Gio, GLib            # noqa: E402

NAME = 'org.waypost.Waypost1'
ROOT = '/org/waypost/Waypost1'
PASSWORD = 'right secret'
SPKI = 'ab' * 32
ARG = '<arg type="%s" direction="%s"/>'


def method(name, takes, gives=()):
    args = ''.join(ARG % (t, 'in') for t in takes) + ''.join(ARG % (t, 'out') for t in gives)
    return f'<method name="{name}">{args}</method>'


def interface(name, methods, properties=()):
    members = ''.join(methods) + ''.join(f'<property name="{n}" type="{t}" access="read"/>' for n, t in properties)
    node = Gio.DBusNodeInfo.new_for_xml(f'<node><interface name="{name}">{members}</interface></node>')
    return node.interfaces[0]


SETUP_PROPERTIES = {'Address': 's', 'State': 's', 'Steps': 'a(sssta{sv})', 'Needs': 'a(sa{sv})', 'Candidates': 'aa{sv}',
                    'Cause': 's', 'Account': 's', 'Serial': 't'}
ACCOUNT_PROPERTIES = {'Address': 's', 'DisplayName': 's', 'Owner': 'u', 'Protocol': 's', 'State': 's', 'Cause': 's',
                      'Since': 't', 'LastSuccess': 't', 'NextRun': 't', 'Interval': 'u', 'PollMinimum': 'u', 'Keep': 's',
                      'CanSend': 'b', 'Incoming': 'a{sv}', 'Outgoing': 'a{sv}', 'Delivery': 's', 'Location': 's',
                      'Folders': 'as', 'Warnings': 'as', 'Run': 'a{sv}', 'MessagesFetched': 't'}
MANAGER = interface(NAME + '.Manager', [
    method('StartSetup', ['s', 'a{sv}'], ['o']), method('Probe', ['s', 'q', 'a{sv}'], ['o']),
    method('DescribeCause', ['s', 'a{sv}'], ['a{sv}']), method('ListCauses', [], ['as']), method('RequestAdminView', []), method('FindAccount', ['s'], ['o'])])
OBJECTS = interface('org.freedesktop.DBus.ObjectManager', [method('GetManagedObjects', [], ['a{oa{sa{sv}}}'])])
SETUP = interface(NAME + '.Setup', [
    method('SetPasswordFd', ['s', 'h']), method('Approve', ['s']), method('Commit', ['a{sv}'], ['o']), method('Cancel', []),
    method('ConfirmCode', ['s']), method('Retry', ['s']), method('SetServers', ['a{sv}']), method('Report', [], ['s'])], SETUP_PROPERTIES.items())
ACCOUNT = interface(NAME + '.Account', [
    method('FetchNow', ['a{sv}'], ['t']), method('Check', [], ['o']), method('History', ['u'], ['aa{sv}']),
    method('Remove', []), method('Pause', []), method('Resume', []), method('Configure', ['a{sv}']),
    method('SetPassword', ['s', 's'], ['o'])], ACCOUNT_PROPERTIES.items())

CAUSES = {
    'auth.bad-credentials': ('user-action', 'The server refused the user name or the password',
                             'The server was reached and its certificate is fine; it does not take this sign-in.',
                             ['Type the password again.', 'Sign in at the provider\'s web page to see whether it works.']),
    'dns.timeout': ('temporary', 'No answer from the name servers', 'Nothing came back.', ['Try again later.']),
    'access.pop-disabled': ('permanent', 'POP is switched off', 'The provider does not allow it.', ['Ask the provider.']),
    'verification.not-arrived': ('temporary', 'The mail to yourself did not arrive', 'It was sent.', ['Look for it.']),
    'mailbox.in-use': ('temporary', 'Another program uses the mailbox', 'POP3 allows one at a time.', ['Wait.']),
}


class Refused(Exception):
    def __init__(self, name, message):
        super().__init__(message)
        self.name = name if '.' in name else f'{NAME}.Error.{name}'


def box(value):
    """Python to a variant; integers are t."""
    if isinstance(value, bool):
        return GLib.Variant('b', value)
    if isinstance(value, int):
        return GLib.Variant('t', value)
    if isinstance(value, list):
        return GLib.Variant('as', value)
    if isinstance(value, dict):
        return GLib.Variant('a{sv}', boxes(value))
    return GLib.Variant('s', value)


def boxes(values):
    return {k: box(v) for k, v in values.items()}


def now():
    return int(time.time() * 1e6)


class Object:
    """Something on a path with one interface; state is a dict of properties."""
    info, types, prefix = None, {}, ''

    def __init__(self, service, **properties):
        self.service = service
        self.path = f'{ROOT}/{self.prefix}/{secrets.token_hex(16)}'
        self.properties = properties
        self.slot = service.connection.register_object(self.path, self.info, self.on_call, self.on_get, None)
        service.objects[self.path] = self
        self.signal(ROOT, 'org.freedesktop.DBus.ObjectManager', 'InterfacesAdded', '(oa{sa{sv}})', self.path,
                    {self.info.name: self.all()})

    def all(self):
        return {k: GLib.Variant(t, self.value(k)) for k, t in self.types.items()}

    def value(self, name):
        return self.properties[name]

    def on_get(self, _connection, _sender, _path, _interface, name):
        return GLib.Variant(self.types[name], self.value(name))

    def on_call(self, _connection, sender, path, _interface, name, arguments, invocation):
        self.service.dispatch(self, sender, name, arguments, invocation)

    def signal(self, path, interface_name, member, signature, *args):
        for watcher in self.service.watchers:
            self.service.connection.emit_signal(watcher, path, interface_name, member, GLib.Variant(signature, args))

    def changed(self, *names, invalidated=()):
        self.signal(self.path, 'org.freedesktop.DBus.Properties', 'PropertiesChanged', '(sa{sv}as)', self.info.name,
                    {n: GLib.Variant(self.types[n], self.value(n)) for n in names}, list(invalidated))

    def remove(self):
        self.service.connection.unregister_object(self.slot)
        del self.service.objects[self.path]
        self.signal(ROOT, 'org.freedesktop.DBus.ObjectManager', 'InterfacesRemoved', '(oas)', self.path, [self.info.name])


STEPS = ('address discovery incoming.dns incoming.port incoming.tls incoming.service incoming.login incoming.mailbox '
         'outgoing.dns outgoing.port outgoing.tls outgoing.service outgoing.login outgoing.sender handover '
         'verification').split()


class Setup(Object):
    info, types, prefix = SETUP, SETUP_PROPERTIES, 'setup'

    def __init__(self, service, address, options, account=''):
        self.options, self.account = options, account
        self.steps = {s: ('pending', '', 0, {}) for s in STEPS}
        self.needs, self.password, self.outgoing = {}, None, None
        self.approved, self.code, self.over = set(), None, False
        self.servers = None
        self.work = None
        super().__init__(service, Address=address, State='running', Candidates=[], Cause='', Account=account, Serial=1)

    def value(self, name):
        if name == 'Steps':
            return [(i, *s[:3], boxes(s[3])) for i, s in self.steps.items()]
        if name == 'Needs':
            return [(kind, boxes(details)) for (kind, _), details in self.needs.items()]
        return self.properties[name]

    def set(self, name, value):
        self.properties['Serial'] += 1
        self.properties[name] = value
        self.changed(name, 'Serial')

    def step(self, name, status, cause='', usec=0, **evidence):
        self.properties['Serial'] += 1
        self.steps[name] = (status, cause, usec, {k.replace('_', '-'): v for k, v in evidence.items()})
        self.signal(self.path, SETUP.name, 'StepChanged', '(sssta{sv}t)', name, status, cause, usec,
                    boxes(self.steps[name][3]), self.properties['Serial'])
        if status == 'failed':
            self.set('Cause', cause)
        self.changed(invalidated=['Steps'])

    def need(self, kind, **details):
        details = {k.replace('_', '-'): v for k, v in details.items()}
        details['token'] = f'token of {kind}'
        self.needs[kind, details.get('side', '')] = details
        self.changed('Needs')
        self.set('State', 'waiting')

    def met(self, kind, side=''):
        del self.needs[kind, side]
        self.changed('Needs')
        if not self.needs:
            self.set('State', 'running')

    def fail(self):
        self.set('State', 'failed')

    # Work is a generator: it yields milliseconds, or None to wait for the next call.

    def run(self, work):
        self.work = work
        self.resume()

    def resume(self):
        if self.over or self.work is None:
            return False
        try:
            pause = next(self.work)
        except StopIteration:
            self.work = None
            return False
        if pause is not None:
            GLib.timeout_add(pause, self.resume)
        return False

    def woken(self):
        """After a call that may have answered something; the reply goes first, and the need stays a moment longer."""
        GLib.timeout_add(20, self.resume)

    def do_SetPasswordFd(self, side, fd):
        with os.fdopen(fd, 'rb') as f:
            secret = f.read(5000).decode()
        self.service.record(password=secret, side=side)
        if side == 'outgoing':
            self.outgoing = secret
        else:
            self.password = secret
        if self.properties['State'] == 'failed':
            self.run(login(self))
        elif side != 'outgoing' or self.properties['State'] == 'waiting':
            self.woken()

    def do_Approve(self, token):
        if token not in [d['token'] for d in self.needs.values()]:
            raise Refused('Stale', 'The token is not that of what is shown now.')
        self.approved.add(token)
        self.woken()

    def do_SetServers(self, servers):
        self.servers = servers
        self.woken()

    def do_Commit(self, settings):
        if self.properties['State'] != 'ready' or self.options.get('dry-run'):
            raise Refused('InvalidState', 'This is not possible in the present state.')
        account = self.service.add_account(self.properties['Address'], Keep=settings.get('keep', 'server'))
        self.account = account.path
        self.set('Account', account.path)
        self.set('State', 'running')
        self.run(after_commit(self, account))
        return GLib.Variant('(o)', (account.path,))

    def do_ConfirmCode(self, code):
        if code != '123456':
            raise Refused('InvalidArgument', 'code: it is another one')
        self.code = code
        self.woken()

    def do_Report(self):
        return GLib.Variant('(s)', (f'waypost report\naddress: {self.properties["Address"]}\n  reply: \x1b[31mred\n',))

    def do_Cancel(self):
        if not self.over:
            self.over = True
            if self.properties['State'] not in ('succeeded', 'cancelled'):
                self.set('State', 'cancelled')


def reach(setup, side):
    host = 'mail.example.test' if side == 'incoming' else 'smtp.example.test'
    port = 995 if side == 'incoming' else 465
    setup.step(side + '.dns', 'passed', usec=12000, host=host, addresses=['192.0.2.1', '2001:db8::1'])
    setup.step(side + '.port', 'passed', usec=21000, host=host, port=port, peer='192.0.2.1')
    yield 1
    setup.step(side + '.tls', 'passed', usec=43000, tls='TLSv1.3', subject=host, issuer='Lab Intermediate CA', days_left=364)
    yield 1
    setup.step(side + '.service', 'passed', usec=5000, greeting='+OK ready', capabilities=['UIDL', 'TOP'])


def discover(setup):
    setup.step('address', 'passed', address=setup.properties['Address'])
    setup.step('discovery', 'running')
    yield 1
    setup.step('discovery', 'passed', usec=43000, source='srv', candidates=2, sources=['srv: 2 servers, 12 ms'])


def login(setup):
    setup.set('State', 'running')
    setup.set('Cause', '')
    if setup.password is None:
        setup.step('incoming.login', 'waiting')
        setup.need('password', side='incoming', user=setup.properties['Address'], host='mail.example.test',
                   secret_kind='password')
        while setup.password is None:
            yield None
        setup.met('password', 'incoming')
    setup.step('incoming.login', 'running')
    yield 5
    if setup.password != PASSWORD:
        setup.step('incoming.login', 'failed', 'auth.bad-credentials', 512000, method='PLAIN',
                   reply=setup.service.bad_reply)
        setup.fail()
        return
    setup.step('incoming.login', 'passed', usec=99000, user=setup.properties['Address'], method='PLAIN')
    setup.step('incoming.mailbox', 'passed', usec=8000, messages=503, octets=31200000)
    yield 1
    if not setup.options.get('receive-only'):
        setup.step('outgoing.login', 'passed', usec=70000, user=setup.properties['Address'], method='PLAIN')
        setup.step('outgoing.sender', 'passed', usec=9000, sender=setup.properties['Address'], reply='250 ok')
    setup.set('State', 'ready')


def good(setup):
    yield from discover(setup)
    yield from reach(setup, 'incoming')
    if not setup.options.get('receive-only'):
        yield from reach(setup, 'outgoing')
    yield from login(setup)


def foreign(setup):
    yield from discover(setup)
    setup.need('server-approval', side='incoming', hosts=['pop.elsewhere.test'], domains=['elsewhere.test'], source='guess')
    while 'token of server-approval' not in setup.approved:
        yield None
    setup.met('server-approval', 'incoming')
    yield from reach(setup, 'incoming')
    yield from login(setup)


def certificate(setup):
    yield from discover(setup)
    setup.step('incoming.tls', 'waiting', 'tls.cert-self-signed')
    setup.need('certificate-approval', side='incoming', host='mail.example.test', subject='mail.example.test',
               issuer='mail.example.test', spki_sha256=SPKI, verify_errors=['self-signed certificate'])
    while 'token of certificate-approval' not in setup.approved:
        yield None
    setup.met('certificate-approval', 'incoming')
    yield from login(setup)


def lost(setup):
    setup.step('discovery', 'waiting', 'discovery.nothing-found')
    setup.need('servers', side='incoming', domain='example.test')
    while not setup.servers:
        yield None
    setup.met('servers', 'incoming')
    yield from reach(setup, 'incoming')
    yield from login(setup)


def timeout(setup):
    yield 1
    setup.step('discovery', 'failed', 'dns.timeout', 5000000, error='no answer within 5 s')
    setup.fail()


def disabled(setup):
    yield from discover(setup)
    setup.step('incoming.mailbox', 'failed', 'access.pop-disabled', 1000, reply='-ERR [SYS/PERM] POP is off')
    setup.fail()


def unknown(setup):
    yield 1
    setup.step('discovery', 'failed', 'later.invention', 1000)
    setup.step('incoming.novelty', 'passed', '', 1000, colour='green')
    setup.fail()


def die(setup):
    yield from discover(setup)
    yield 50
    os._exit(1)


def hang(setup):
    yield from discover(setup)
    setup.step('incoming.dns', 'running')
    yield None


def after_commit(setup, account):
    kind = setup.kind
    setup.step('handover', 'passed', usec=4000, location=account.properties['Location'])
    setup.step('verification', 'running')
    yield 20
    if kind == 'lostmail':
        setup.step('verification', 'failed', 'verification.not-arrived', 1000000)
        setup.fail()
        return
    if kind in ('code', 'found'):
        setup.need('verification-code')
        if kind == 'found':
            yield 300
        while kind == 'code' and setup.code is None:
            yield None
        setup.met('verification-code')
    account.properties['CanSend'] = True
    account.changed('CanSend')
    setup.step('verification', 'passed', usec=1200000, found='code' if setup.code else 'server', travel_usec=1187000)
    setup.set('State', 'succeeded')


SCENARIOS = {'good': good, 'alice': good, 'foreign': foreign, 'certificate': certificate, 'lost': lost, 'timeout': timeout,
             'disabled': disabled, 'unknown': unknown, 'die': die, 'hang': hang}


class Account(Object):
    info, types, prefix = ACCOUNT, ACCOUNT_PROPERTIES, 'account'

    def do_FetchNow(self, _options):
        if self.properties['State'] == 'blocked':
            raise Refused('InvalidState', 'This is not possible in the present state.')
        self.service.runs += 1
        self.number, self.started = self.service.runs, now()
        self.delivered = 0
        GLib.timeout_add(5, self.progress)
        return GLib.Variant('(t)', (self.number,))

    def progress(self):
        self.delivered += 1
        local = self.properties['Address'].split('@')[0]
        if local == 'die' and self.delivered == 2:
            os._exit(1)
        if local == 'removed' and self.delivered == 2:
            self.remove()
            return False
        self.properties['Run'] = boxes({'run': self.number, 'state': 'running', 'started': self.started, 'listed': 8, 'new': 5,
                                        'delivered': self.delivered, 'bytes': 1000 * self.delivered, 'total-bytes': 5000})
        self.changed('Run')
        if self.delivered < 5 and local != 'busy':
            return True
        cause = {'cause': 'mailbox.in-use', 'reply': '-ERR [IN-USE] locked'} if local == 'busy' else {}
        self.properties['Run'] = {}
        self.changed('Run')
        self.signal(self.path, ACCOUNT.name, 'MailArrived', '(ut)', self.delivered, 1000 * self.delivered)
        # Of another run, whose end must not be taken for this one's.
        self.signal(self.path, ACCOUNT.name, 'RunFinished', '(a{sv})', boxes({'run': self.number + 1000}))
        self.signal(self.path, ACCOUNT.name, 'RunFinished', '(a{sv})', boxes(self.run_of(**cause)))
        return False

    def run_of(self, **more):
        return {'run': self.number, 'started': self.started, 'ended': self.started + 500000, 'listed': 8, 'new': 5,
                'skipped': 3, 'delivered': self.delivered, 'bytes': 1000 * self.delivered, 'manual': True, **more}

    def do_Check(self):
        setup = Setup(self.service, self.properties['Address'], {'dry-run': True}, self.path)
        setup.password = PASSWORD if self.properties['State'] == 'active' else 'old'
        setup.kind = 'good'
        GLib.idle_add(setup.run, good(setup))
        return GLib.Variant('(o)', (setup.path,))

    def do_History(self, count):
        self.number, self.started, self.delivered = 7, 1700000000000000, 5
        runs = [boxes(self.run_of()), boxes(self.run_of(cause='mailbox.in-use', manual=False))]
        return GLib.Variant('(aa{sv})', (runs[:count],))

    def do_Remove(self):
        self.remove()

    def state(self, state):
        self.properties['State'] = state
        self.changed('State')

    def do_Pause(self):
        self.state('paused')

    def do_Resume(self):
        self.state('active')

    def do_Configure(self, settings):
        if settings.get('interval', 60) < 60:
            raise Refused('InvalidArgument', 'interval: 1 is too short')
        names = {'keep': 'Keep', 'interval': 'Interval', 'display-name': 'DisplayName'}
        self.properties.update({names[k]: v for k, v in settings.items()})

    def do_SetPassword(self, side, secret):
        self.service.record(password=secret, side=side)
        setup = Setup(self.service, self.properties['Address'], {'dry-run': True}, self.path)
        setup.password, setup.kind = secret, 'good'
        GLib.idle_add(setup.run, good(setup))
        return GLib.Variant('(o)', (setup.path,))


class Service:
    def __init__(self, log):
        self.log, self.objects, self.watchers, self.runs = log, {}, set(), 40
        self.bad_reply = '-ERR [AUTH] no \x1b[31mred\x07 \u202ereversed'
        self.loop = GLib.MainLoop()
        self.connection = Gio.bus_get_sync(Gio.BusType.SYSTEM)
        for info in (MANAGER, OBJECTS):
            self.connection.register_object(ROOT, info, self.on_call, None, None)
        for name, state, cause in (('alice', 'active', ''), ('blocked', 'blocked', 'access.pop-disabled'),
                                   ('busy', 'failing', 'mailbox.in-use'), ('die', 'active', ''), ('removed', 'active', '')):
            self.add_account(f'{name}@old.test', State=state, Cause=cause)
        Gio.bus_own_name_on_connection(self.connection, NAME, Gio.BusNameOwnerFlags.NONE, None, None)

    def record(self, **what):
        with open(self.log, 'a') as f:
            f.write(json.dumps(what) + '\n')

    def add_account(self, address, **more):
        values = {'Address': address, 'DisplayName': '', 'Owner': os.getuid(), 'Protocol': 'pop3', 'State': 'active',
                  'Cause': '', 'Since': now() - 90 * 10**6, 'LastSuccess': now() - 180 * 10**6,
                  'NextRun': now() + 125 * 10**6, 'Interval': 300, 'PollMinimum': 0, 'Keep': 'server', 'CanSend': False,
                  'Incoming': boxes({'host': 'mail.old.test', 'port': 995, 'security': 'tls', 'user': address}),
                  'Outgoing': {}, 'Delivery': 'maildir', 'Location': os.environ.get('LOCATION', f'/var/lib/mail/{address}'), 'Folders': [], 'Warnings': [], 'Run': {},
                  'MessagesFetched': 12, **more}
        return Account(self, **values)

    def on_call(self, _connection, sender, _path, _interface, name, arguments, invocation):
        self.dispatch(self, sender, name, arguments, invocation)

    def dispatch(self, target, sender, name, arguments, invocation):
        self.watchers.add(sender)
        values = list(arguments.unpack())
        self.record(call=name, args=[v for v in values])
        if name == 'SetPasswordFd':
            values[1] = invocation.get_message().get_unix_fd_list().get(values[1])
        try:
            reply = getattr(target, 'do_' + name)(*values)
            invocation.return_value(reply)
        except Refused as refused:
            invocation.return_dbus_error(refused.name, str(refused))
        except Exception as fault:
            invocation.return_dbus_error(NAME + '.Error.Failed', f'the fake is wrong: {fault!r}')
            raise

    def do_StartSetup(self, address, options):
        kind = address.split('@')[0]
        if kind == 'exists':
            raise Refused('AccountExists', 'There is such an account already: /org/waypost/Waypost1/account/x')
        if '@' not in address:
            raise Refused('InvalidAddress', 'This is not a mail address')
        setup = Setup(self, address, options)
        setup.kind = kind
        # The reply goes first, then the work begins.
        GLib.idle_add(setup.run, SCENARIOS.get(kind, good)(setup))
        return GLib.Variant('(o)', (setup.path,))

    def do_Probe(self, host, _port, options):
        setup = Setup(self, '', options)
        setup.kind = 'probe'

        def work():
            yield from reach(setup, 'incoming')
            setup.need('password', side='incoming')
        GLib.idle_add(setup.run, work())
        return GLib.Variant('(o)', (setup.path,))

    def do_DescribeCause(self, code, _options):
        if code not in CAUSES:
            raise Refused('NotFound', 'There is no such thing.')
        kind, title, explanation, remedies = CAUSES[code]
        return GLib.Variant('(a{sv})', (boxes({'title': title, 'explanation': explanation, 'remedies': remedies,
                                               'links': [], 'class': kind, 'severity': 'block'}),))

    def do_ListCauses(self):
        return GLib.Variant('(as)', (sorted(CAUSES),))

    def do_RequestAdminView(self):
        if os.path.exists(self.log + '.refuse'):
            raise Refused('org.freedesktop.DBus.Error.AccessDenied', 'polkit says no')

    def do_FindAccount(self, address):
        for path, thing in self.objects.items():
            if isinstance(thing, Account) and thing.properties['Address'] == address:
                return GLib.Variant('(o)', (path,))
        raise Refused('NotFound', 'There is no such thing.')

    def do_GetManagedObjects(self):
        return GLib.Variant('(a{oa{sa{sv}}})', ({p: {o.info.name: o.all()} for p, o in self.objects.items()},))


if __name__ == '__main__':
    Service(sys.argv[1]).loop.run()
