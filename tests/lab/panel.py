#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a settings panel does, without the widgets: a GDBusObjectManagerClient that watches the accounts, sets one up, renders what the setup
needs from the details of the need alone, and follows it all over a restart of the service.

It knows dbus/*.xml and nothing else: no provider, no port, no meaning of a cause. What it would show is printed as JSON, one screen a line:
{"rows": [...], "dialog": {...} or null, "toasts": [...]}. What a user would do comes as JSON on standard input: {"do": "add", "address": ...},
"answer" (fields of the dialog), "button" (one of its buttons), "account" (address, method), "everybody" (whoever may: all users' accounts),
"quit"."""
import json
import socket
import sys

import gi
gi.require_version('Gio', '2.0')
from gi.repository import Gio, GLib            # noqa: E402

NAME, ROOT = 'org.waypost.Waypost1', '/org/waypost/Waypost1'
MANAGER, SETUP, ACCOUNT = (f'{NAME}.{n}' for n in ('Manager', 'Setup', 'Account'))
SIDES = {'incoming': 'receiving', 'outgoing': 'sending', '': 'receiving and sending'}


def value(proxy, name, otherwise=None):
    found = proxy.get_cached_property(name)
    return otherwise if found is None else found.unpack()


class Panel:
    def __init__(self, connection):
        self.connection, self.loop = connection, GLib.MainLoop()
        self.causes, self.steps, self.setup, self.toasts, self.shown, self.redraw = {}, {}, None, [], None, 0
        self.signing_in = {}
        self.objects = Gio.DBusObjectManagerClient.new_sync(connection, Gio.DBusObjectManagerClientFlags.NONE, NAME, ROOT, None, None, None)
        self.objects.connect('object-added', lambda *_: self.draw())
        self.objects.connect('object-removed', self.on_removed)
        self.objects.connect('interface-proxy-properties-changed', lambda *_: self.draw())
        self.objects.connect('interface-proxy-signal', self.on_signal)
        self.objects.connect('notify::name-owner', lambda *_: self.draw())
        self.draw()

    # -- talking to the service

    def call(self, path, interface, method, signature, *args, then=None):
        def done(connection, result):
            try:
                reply = connection.call_finish(result).unpack()
            except GLib.Error as error:
                Gio.DBusError.strip_remote_error(error)
                self.toast(error.message)
                return
            if then:
                then(*reply)
            self.draw()
        self.connection.call(NAME, path, interface, method, GLib.Variant(f'({signature})', args), None,
                             Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION, -1, None, done)

    def proxies(self, interface):
        found = [(o.get_object_path(), o.get_interface(interface)) for o in self.objects.get_objects()]
        return {path: proxy for path, proxy in found if proxy}

    def describe(self, cause, details=None):
        """The service's own words for a cause; asked once, drawn again when they have come."""
        if not cause:
            return None
        if cause not in self.causes:
            self.causes[cause] = None
            options = {k: GLib.Variant('s', v) for k, v in (('provider', (details or {}).get('provider')),) if v}
            self.call(ROOT, MANAGER, 'DescribeCause', 'sa{sv}', cause, options, then=lambda told: self.causes.update({cause: told}))
        return self.causes[cause]

    # -- events

    def on_signal(self, _manager, obj, proxy, _sender, member, parameters):
        if member == 'StepChanged' and obj.get_object_path() == self.setup:
            step, status, cause, usec, evidence, _serial = parameters.unpack()
            self.steps[step] = status, cause, usec, evidence
        elif member == 'MailArrived':
            self.toast(f'{parameters.unpack()[0]} new messages for {value(proxy, "Address")}')
        elif member == 'RunFinished' and parameters.unpack()[0]['cause']:
            self.toast(f'{value(proxy, "Address")}: {parameters.unpack()[0]["cause"]}')
        self.draw()

    def on_removed(self, _manager, obj):
        if obj.get_object_path() == self.setup:
            self.setup = None
        self.draw()

    def toast(self, text):
        self.toasts.append(text)
        self.draw()

    # -- what is seen

    def rows(self):
        for _, account in sorted(self.proxies(ACCOUNT).items(), key=lambda item: value(item[1], 'Address', '')):
            told = self.describe(value(account, 'Cause', ''))
            run = value(account, 'Run', {})
            yield {'address': value(account, 'Address'), 'owner': value(account, 'Owner'), 'state': value(account, 'State'), 'title': told and told['title'],
                   'remedies': told['remedies'] if told else [], 'fetched': value(account, 'MessagesFetched'),
                   'busy': bool(run), 'sends': value(account, 'CanSend'), 'where': value(account, 'Location')}

    def dialog(self):
        setup = self.proxies(SETUP).get(self.setup)
        if not setup:
            return None
        state = value(setup, 'State', '')
        screen = {'address': value(setup, 'Address'), 'state': state, 'title': '', 'text': [], 'fields': [], 'buttons': ['Cancel'],
                  'steps': [f'{step}: {status}' for step, (status, *_) in self.steps.items()]}
        needs = value(setup, 'Needs', [])
        if needs:
            self.render(screen, *needs[0])
        elif state == 'ready':
            screen['title'] = 'Everything works'
            screen['buttons'].append('Add')
        elif state in ('succeeded', 'cancelled'):
            screen['buttons'] = ['Close']
        cause = value(setup, 'Cause', '')
        if cause and not needs:
            self.explain(screen, cause)
            if state == 'failed':
                screen['buttons'].append('Try again')
                screen['fields'] += [{'name': 'password', 'label': 'Another password', 'secret': True}]
        return screen

    def explain(self, screen, cause, details=None):
        told = self.describe(cause, details)
        if told:
            screen['title'] = screen['title'] or told['title']
            screen['text'] += [told['explanation'], *told['remedies']]
        self.words(screen)

    def words(self, screen):
        """The proof: what the server said, in the step that failed or waits."""
        for status, _cause, _usec, evidence in self.steps.values():
            if status in ('failed', 'waiting') and evidence.get('reply'):
                screen['text'].append(f'The server said: {evidence["reply"]}')

    def render(self, screen, kind, details):
        """One need, from what stands in it."""
        side, hosts = SIDES[details.get('side', '')], ', '.join(details.get('hosts', []) or filter(None, [details.get('host')]))
        if kind == 'password':
            word = {'app-password': 'App password', 'password': 'Password'}.get(details.get('secret-kind'), 'Password')
            screen['title'] = f'{word} of {details["user"]} for {side}'
            screen['text'] += [f'It is given to {hosts}.', *details.get('hints', [])]
            screen['fields'] = [{'name': 'password', 'label': word, 'secret': True}]
        elif kind == 'server-approval':
            screen['title'] = 'Are these the right servers?'
            screen['text'] += [f'They belong to {", ".join(details["domains"])}.', f'Servers: {hosts}', f'Found by: {details["source"]}']
            screen['buttons'].append('Yes')
        elif kind == 'certificate-approval':
            screen['title'] = f'{hosts} cannot prove that it is {hosts}'
            screen['text'] += [f'Issued to {details["subject"]} by {details["issuer"]}', f'Fingerprint {details["spki-sha256"]}', *details['verify-errors']]
            screen['buttons'].append('Yes')
        elif kind == 'servers':
            screen['title'] = 'Which are the servers?'
            screen['fields'] = [{'name': f'{s}.{f}', 'label': f'{f} for {SIDES[s]}', 'secret': False} for s in ('incoming', 'outgoing') for f in ('host', 'port')]
        elif kind == 'authorization':
            screen['title'] = f'{details["user"]} signs in at {details["oauth-issuer"]}'
            screen['text'] += [f'{k}: {self.signing_in[k]}' for k in ('url', 'user-code') if k in self.signing_in]
            screen['buttons'].append('Sign in')
            if details.get('alternative'):
                screen['fields'] = [{'name': 'password', 'label': details['alternative'], 'secret': True}]
        elif kind == 'verification-code':
            screen['title'] = 'Which code does the mail to yourself show?'
            screen['fields'] = [{'name': 'code', 'label': 'Code', 'secret': False}]
        else:                               # user-action, and whatever is added one day: its cause says what is to be done
            screen['buttons'].append('Try again')
        for key in ('hint-url', 'password-url'):
            screen['text'] += [details[key]] if details.get(key) else []
        self.explain(screen, details.get('cause'), details)

    def draw(self):
        """Once for all that comes in one turn of the loop."""
        if not self.redraw:
            self.redraw = GLib.idle_add(self.draw_now)

    def draw_now(self):
        self.redraw = 0
        screen = {'rows': list(self.rows()), 'dialog': self.dialog(), 'there': bool(self.objects.get_name_owner())}
        if screen != self.shown or self.toasts:
            self.shown = screen
            print(json.dumps({**screen, 'toasts': self.toasts}), flush=True)
            self.toasts = []
        return False

    # -- what the user does

    def add(self, address):
        def started(path):
            # It was announced before the reply, so it is there.
            assert path in self.proxies(SETUP), 'a setup that was not announced'
            self.setup = path
            self.steps = {s[0]: s[1:] for s in value(self.proxies(SETUP)[path], 'Steps', []) if s[1] != 'pending'}
        self.call(ROOT, MANAGER, 'StartSetup', 'sa{sv}', address, {}, then=started)

    def answer(self, fields):
        if 'password' in fields:
            needs = value(self.proxies(SETUP)[self.setup], 'Needs', [])
            side = ''
            if needs and len([k for k, _ in needs if k == 'password']) > 1:
                side = needs[0][1].get('side', '')
            self.call(self.setup, SETUP, 'SetPassword', 'ss', side, fields['password'])
        elif 'code' in fields:
            self.call(self.setup, SETUP, 'ConfirmCode', 's', fields['code'])
        else:
            servers = {}
            for name, text in fields.items():
                side, _, key = name.partition('.')
                servers.setdefault(side, {})[key] = GLib.Variant('t', int(text)) if key == 'port' else GLib.Variant('s', text)
            self.call(self.setup, SETUP, 'SetServers', 'a{sv}', {side: GLib.Variant('a{sv}', keys) for side, keys in servers.items()})

    def button(self, label):
        needs = value(self.proxies(SETUP)[self.setup], 'Needs', [])
        if label == 'Yes':
            self.call(self.setup, SETUP, 'Approve', 's', needs[0][1]['token'])
        elif label == 'Add':
            self.call(self.setup, SETUP, 'Commit', 'a{sv}', {})
        elif label == 'Sign in':
            self.sign_in('code' if 'code' in needs[0][1]['methods'] else 'device')
        elif label == 'Try again':
            self.call(self.setup, SETUP, 'Retry', 's', '')
        elif label == 'Cancel':
            self.call(self.setup, SETUP, 'Cancel', '')
        elif label == 'Close':
            self.setup = None
            self.draw()

    def sign_in(self, flow):
        """The browser comes back to a port of ours; what it brings is handed on unread."""
        options = {'flow': GLib.Variant('s', flow)}
        if flow == 'code':
            listener = socket.create_server(('127.0.0.1', 0))
            options['redirect-port'] = GLib.Variant('t', listener.getsockname()[1])
            GLib.io_add_watch(listener.fileno(), GLib.PRIORITY_DEFAULT, GLib.IO_IN, self.on_browser, listener, self.setup)
        self.call(self.setup, SETUP, 'Authorize', 'a{sv}', options, then=self.signing_in.update)

    def on_browser(self, _fd, _condition, listener, setup):
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(5)
            line = connection.makefile('rb').readline(16384).decode('ascii', 'replace')
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 22\r\nConnection: close\r\n\r\nYou may close this now')
        self.call(setup, SETUP, 'CompleteAuthorization', 's', f'http://127.0.0.1:{listener.getsockname()[1]}{line.split(" ")[1]}')
        return True

    def account(self, address, method):
        path = next(p for p, a in self.proxies(ACCOUNT).items() if value(a, 'Address') == address)
        self.call(path, ACCOUNT, method, *(('a{sv}', {}) if method == 'FetchNow' else ('',)))

    def everybody(self):
        """What becomes visible is announced before the reply: nothing has to be listed again."""
        self.call(ROOT, MANAGER, 'RequestAdminView', '')

    def on_input(self, channel, _condition):
        line = sys.stdin.readline()
        if not line:
            self.loop.quit()
            return False
        what = json.loads(line)
        do = what.pop('do')
        if do == 'quit':
            self.loop.quit()
            return False
        getattr(self, do)(**what)
        return True


def main():
    panel = Panel(Gio.bus_get_sync(Gio.BusType.SESSION if '--user' in sys.argv else Gio.BusType.SYSTEM, None))
    GLib.io_add_watch(GLib.IOChannel.unix_new(0), GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, panel.on_input)
    panel.loop.run()


if __name__ == '__main__':
    main()
