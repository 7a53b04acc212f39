# SPDX-License-Identifier: LGPL-2.1-or-later
"""panel.py, driven as a user would: what it shows comes from the bus alone. It is a user's process; root's client beside it changes things behind its
back, and the service is restarted under it."""
import json
import os
import select
import subprocess
import time

import pytest

from wplab import mailbox, oauth
from wplab.bus import Bus
from wplab.client import Account, Connection, Peer
from wplab.issuer import Browser
from wplab.lab import Lab
from wplab.run import CLEAN_ENV, script

NOBODY = 65534
HERE = os.path.dirname(os.path.abspath(__file__))


class Screen:
    """`with Screen(bus) as s: s.add('a@b'); s.wait(lambda screen: ...)`"""

    def __init__(self, bus, uid=NOBODY):
        argv = bus.command(script(os.path.join(HERE, 'panel.py')), uid)
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env={**CLEAN_ENV, 'DBUS_SYSTEM_BUS_ADDRESS': bus.address})
        self.buffer, self.screen, self.toasts = b'', None, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def do(self, what, **more):
        self.process.stdin.write(json.dumps({'do': what, **more}).encode() + b'\n')
        self.process.stdin.flush()

    def wait(self, condition, seconds=40):
        """The first screen for which @condition holds."""
        end = time.monotonic() + seconds
        while not (self.screen and condition(self.screen)):
            if not select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError(f'the panel does not show it: {json.dumps(self.screen, indent=1)} {self.toasts}')
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            assert data, 'the panel has died'
            self.buffer += data
            while b'\n' in self.buffer and not (self.screen and condition(self.screen)):
                line, _, self.buffer = self.buffer.partition(b'\n')
                self.screen = json.loads(line)
                self.toasts += self.screen['toasts']
        return self.screen

    def dialog(self, condition, seconds=40):
        return self.wait(lambda s: s['dialog'] and condition(s['dialog']), seconds)['dialog']

    def title(self, words, seconds=40):
        return self.dialog(lambda d: words in d['title'], seconds)

    def row(self, address, **state):
        def there(screen):
            row = next((r for r in screen['rows'] if r['address'] == address), None)
            return row and all(row[k] == v for k, v in state.items())
        return next(r for r in self.wait(there)['rows'] if r['address'] == address)


RULES = 'polkit.addRule(function(a, s) { if (s.user == "daemon") return polkit.Result.YES; });'


@pytest.fixture(scope='module')
def bus(lab, build):
    with Bus(build, lab=lab, polkit=True, rules=RULES) as started:
        yield started


def test_a_whole_day(lab, bus):
    """An account is added after a wrong password, fetches, is paused by somebody else, survives a restart, and goes."""
    mailbox.fill(lab.maildir('frank@example.test'), [(str(i), mailbox.header(i)) for i in range(7)])
    with Screen(bus) as panel, Connection(bus) as root:
        assert panel.wait(lambda s: True)['rows'] == []
        panel.do('add', address='frank@example.test')
        asks = panel.title('Password of frank@example.test')
        assert asks['fields'][0]['secret'] and 'pop.example.test' in ' '.join(asks['text'])
        panel.do('answer', fields={'password': 'wrong'})
        failed = panel.dialog(lambda d: d['state'] in ('failed', 'waiting') and d['title'] and any('server said' in t for t in d['text']))
        assert 'not accepted' in failed['title'] or 'Password' in failed['title'], failed
        assert len(failed['text']) >= 2
        panel.do('answer', fields={'password': 'frankpw'})
        ready = panel.title('Everything works')
        assert any(s == 'incoming.mailbox: passed' for s in ready['steps']) and any(s == 'outgoing.sender: passed' for s in ready['steps'])
        panel.do('button', label='Add')
        row = panel.row('frank@example.test', state='active', sends=True)
        panel.row('frank@example.test', fetched=8)          # the verification mail too
        assert '/65534/' in row['where']
        panel.dialog(lambda d: d['state'] == 'succeeded' and d['buttons'] == ['Close'])
        panel.do('button', label='Close')
        panel.wait(lambda s: s['dialog'] is None)
        mailbox.fill(lab.maildir('frank@example.test'), [('more', mailbox.header(99))])
        panel.do('account', address='frank@example.test', method='FetchNow')
        panel.row('frank@example.test', fetched=9)
        panel.wait(lambda s: any('new messages for frank@example.test' in t for t in panel.toasts))
        account = root.accounts()[0]
        account.call('Pause')
        panel.row('frank@example.test', state='paused')
        assert bus.stop_service()
        panel.wait(lambda s: not s['there'] and s['rows'] == [])
        bus.activate()
        panel.row('frank@example.test', state='paused', fetched=9)
        Account(root, account.path).call('Resume')          # and it hears of changes again
        panel.row('frank@example.test', state='active')
        bus.kill_service()
        panel.wait(lambda s: s['rows'] == [])
        bus.activate()
        panel.row('frank@example.test', state='active')
        panel.do('account', address='frank@example.test', method='Remove')
        panel.wait(lambda s: s['there'] and s['rows'] == [])


def test_servers_of_another_domain(bus):
    with Screen(bus) as panel:
        panel.do('add', address='alice@foreign.test')
        asks = panel.title('Are these the right servers?')
        assert 'example.test' in ' '.join(asks['text']) and 'Yes' in asks['buttons']
        panel.do('button', label='Yes')
        panel.title('Password of')
        panel.do('button', label='Cancel')
        panel.dialog(lambda d: d['state'] == 'cancelled')


def test_nothing_found_then_a_certificate(bus):
    """The form for servers, then a server that vouches only for itself."""
    with Screen(bus) as panel:
        panel.do('add', address='alice@nomail.test')
        asks = panel.dialog(lambda d: d['state'] in ('waiting', 'failed') and d['text'])
        if not asks['fields'] or asks['fields'][0]['name'] == 'password':
            assert 'Try again' in asks['buttons']
        panel.do('answer', fields={'incoming.host': 'self-signed.example.test', 'incoming.port': '995', 'outgoing.host': 'smtp.example.test',
                                   'outgoing.port': '465'})
        asks = panel.title('cannot prove')
        assert any('Fingerprint ' in t for t in asks['text']) and len(asks['text']) >= 3
        panel.do('button', label='Yes')
        panel.title('Password of')
        panel.do('button', label='Cancel')
        panel.dialog(lambda d: d['state'] == 'cancelled')


def test_something_to_be_done_elsewhere(bus):
    """What is wrong and what mends it is the service's own words."""
    with Screen(bus) as panel:
        panel.do('add', address='bob@example.test')
        panel.title('Password of')
        panel.do('answer', fields={'password': 'bobpw'})
        told = panel.dialog(lambda d: 'switched off' in d['title'] and d['state'] == 'failed')
        assert len(told['text']) >= 2 and any(t.startswith('The server said:') for t in told['text']) and 'Try again' in told['buttons']
        panel.do('button', label='Cancel')
        panel.dialog(lambda d: d['state'] == 'cancelled')


def test_refusals_are_shown(bus):
    with Screen(bus) as panel:
        panel.do('add', address='no address')
        panel.wait(lambda s: any('mail address' in t for t in panel.toasts))


def test_an_administrators_panel(bus):
    """Everybody's accounts come into the list once polkit has said yes, and are followed like one's own; a no is shown."""
    with Peer(bus, NOBODY) as owner, Screen(bus, 1) as panel, Screen(bus, 2) as other:
        account = owner.make_account('eve', receive_only=True)
        assert panel.wait(lambda s: s['there'])['rows'] == []
        for one in (panel, other):
            one.do('everybody')
        row = panel.row('eve@example.test', owner=NOBODY)
        assert row['state'] == 'active'
        account.call('Pause')
        panel.row('eve@example.test', state='paused')
        panel.do('account', address='eve@example.test', method='Remove')
        panel.wait(lambda s: s['rows'] == [])
        other.wait(lambda s: any('allow' in t or 'authenticate' in t for t in other.toasts))
        assert other.screen['rows'] == []


def test_a_sign_in_in_the_browser(build):
    """The panel shows the page, the browser comes back to the panel's own port, and the panel needs to understand nothing of it."""
    with Lab(issuer={}) as lab, Bus(build, lab=lab, config=oauth.config(lab, 'panel')) as bus, Screen(bus) as panel:
        lab.set_account('code@example.test', password='codepw')
        panel.do('add', address='code@example.test')
        assert 'Sign in' in panel.title('code@example.test signs in at ')['buttons']
        panel.do('button', label='Sign in')
        asks = panel.dialog(lambda d: any(t.startswith('url: ') for t in d['text']))
        url = next(t for t in asks['text'] if t.startswith('url: ')).partition(' ')[2]
        back = Browser(lab).go(url, 'code@example.test')
        done = subprocess.run(bus.command(['/usr/bin/curl', '-s', back]), capture_output=True, text=True, env=CLEAN_ENV)
        assert 'close this' in done.stdout
        panel.title('Everything works')
        panel.do('button', label='Cancel')
        panel.dialog(lambda d: d['state'] == 'cancelled')


def test_others_are_not_in_the_list(bus):
    with Screen(bus) as panel, Peer(bus, 2) as other:
        panel.wait(lambda s: s['there'])
        setup = other.start_setup('eve@example.test', dry_run=True)
        setup.wait_need('password')
        panel.do('add', address='nonsense')                 # a whole way there and back
        panel.wait(lambda s: panel.toasts)
        assert panel.screen['rows'] == [] and panel.screen['dialog'] is None
        setup.cancel()
