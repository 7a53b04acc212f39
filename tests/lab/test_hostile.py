# SPDX-License-Identifier: LGPL-2.1-or-later
"""Servers that mean harm: what never ends, what never comes, what is not what it says. Each ends with a cause, memory stays where it was, and a
healthy account beside them is fetched as if they were not there."""
import os
import time

import pytest

from test_fetch import EMPTY, HOST, text_of
from wplab import mailbox
from wplab.bus import Bus
from wplab.client import Connection, endpoint

LONG = bool(os.environ.get('WAYPOST_LONG'))
X = 'x' * 1000
# name: (rules, how its run ends: a cause's beginning)
CASES = {
    'endless greeting': 'tls good\nflood +OK\n',
    'endless line': f'tls good\nsend +OK\nserve\non ^CAPA$\nraw +OK\\r\\n\nflood {X}\nend\n',
    'endless capabilities': 'tls good\nsend +OK\nserve\non ^CAPA$\nraw +OK\\r\\n\nflood X-MORE\\r\\n\nend\n',
    'endless message': text_of(('^RETR 1$', 'raw +OK\\r\\n', f'flood {X}\\r\\n')),
    'endless header line': text_of(('^RETR 1$', 'raw +OK\\r\\n', f'flood {X}')),
    'endless headers by TOP': text_of(('^TOP', 'raw +OK\\r\\n', f'flood X-H: {X}\\r\\n'), capa='TOP USER'),
    'long uidl': text_of(('^UIDL$', 'send +OK', 'send 1 ' + 'u' * 5000, 'send .')),
    'no uidl at all': text_of(('^UIDL$', 'garbage 4000', 'bye')),
    'numbers out of range': text_of(('^UIDL$', 'send +OK', 'send 4294967296 a', 'send .')),
    'nul and controls': text_of(('^UIDL$', 'send +OK', 'send 1 a\\0b\\x01', 'send .')),
    'garbage for a message': text_of(('^RETR 1$', 'garbage 100000', 'bye')),
    'answers nobody asked for': text_of(('^UIDL$', *['send +OK'] * 50, 'send .')),
    'closes at once': 'close\n',
    'reset in the handshake': 'reset\n',
    'half a status': text_of(('^RETR 1$', 'raw +O', 'bye')),
}


def resident(pid):
    with open(f'/proc/{pid}/status') as f:
        return next(int(line.split()[1]) for line in f if line.startswith('VmRSS')) >> 10


def test_all_of_them_at_once(lab, build):
    """Beside them one healthy mailbox, which is fetched again and again."""
    config = {'fetch': {'interval': '30d', 'interval-minimum': '1s', 'dialogues-per-host': 64, 'message-maximum': '4M'},
              'limits': {'accounts-per-uid': 64, 'setups-per-uid': 64}, 'discovery': {'searches-per-minute': 1000}}
    env = {'ASAN_OPTIONS': 'quarantine_size_mb=1:detect_leaks=1:abort_on_error=1'}
    with Bus(build, lab=lab, config=config, env=env) as bus, Connection(bus) as c:
        server, accounts, ports = lab.scripted, {}, {}
        for name in CASES:
            ports[name] = server.play_text(0, EMPTY)
        setups = {}
        for n, (name, port) in enumerate(ports.items()):
            setups[name] = c.start_setup('alice@example.test', receive_only=True, incoming=endpoint(HOST, port, user=f'user{n}'))
            setups[name].wait_need('password')
            setups[name].set_password('oddpw')
            assert setups[name].wait_state('ready', 'failed') == 'ready', name
            accounts[name] = setups[name].commit()
        healthy = c.start_setup('frank@example.test', receive_only=True)
        healthy.wait_need('password')
        healthy.set_password('frankpw')
        assert healthy.wait_state('ready', 'failed') == 'ready'
        healthy = healthy.commit()
        everyone = [*accounts.values(), healthy]
        c.wait(lambda: all(a.history(1) and not a['Run'] for a in everyone), 60)
        pid = bus.service_pid()
        before = resident(pid)
        mailbox.fill(lab.maildir('frank@example.test'), [(f'h{os.getpid()}-{i}', mailbox.header(i)) for i in range(20)])
        for name, text in CASES.items():
            server.stop(ports[name])
            server.play_text(ports[name], text)
        asked = {name: account.fetch_now() for name, account in accounts.items()}
        most, begun = before, time.monotonic()
        run = healthy.fetch()
        assert run['cause'] == ''
        ended = {}

        def over():
            nonlocal most
            most = max(most, resident(pid))
            for name, account in accounts.items():
                found = [r for r in account.history(2) if r['run'] == asked[name]]
                ended.update({name: r for r in found})
            return len(ended) == len(accounts)
        while not over():
            c.pump(0.2)
            assert time.monotonic() - begun < 150, f'still under way: {set(accounts) - set(ended)}'
        for name, r in ended.items():
            assert r['delivered'] == 0 or name in ('endless message', 'endless header line', 'garbage for a message', 'half a status'), (name, r)
            assert r['cause'] or r['skipped'], (name, r)
        assert bus.service_pid() == pid, 'it did not survive'
        assert most - before <= 8 * len(CASES), f'from {before} MB to {most} MB'
        assert healthy.fetch()['cause'] == ''
        for port in ports.values():
            server.stop(port)


@pytest.mark.parametrize('where', ['greeting', 'status', 'message'])
def test_silence_ends(lab, build, where):
    """A server that says nothing more holds up its account for a minute, not for ever; here its limit is seen, not waited for."""
    config = {'fetch': {'interval': '30d'}}
    text = {'greeting': 'tls good\nsilence\n', 'status': text_of(('^RETR 1$', 'silence')),
            'message': text_of(('^RETR 1$', 'raw +OK\\r\\nhalf', 'silence'))}[where]
    with Bus(build, lab=lab, config=config) as bus, Connection(bus) as c:
        port = lab.scripted.play_text(0, EMPTY)
        setup = c.start_setup('alice@example.test', receive_only=True, incoming=endpoint(HOST, port))
        setup.wait_need('password')
        setup.set_password('oddpw')
        assert setup.wait_state('ready', 'failed') == 'ready'
        account = setup.commit()
        c.wait(lambda: account.history(1) and not account['Run'], 30)
        lab.scripted.stop(port)
        lab.scripted.play_text(port, text)
        account.fetch_now()
        lab.scripted.wait(lambda: lab.scripted.connections(port))
        if LONG:
            c.wait(lambda: account.history(1)[0]['cause'] and not account['Run'], 90)
            assert account.history(1)[0]['cause'] in ('net.timeout', 'net.idle-timeout')
        else:
            account.remove()            # a silent server does not keep anybody from leaving
            assert c.accounts() == []
        lab.scripted.stop(port)
