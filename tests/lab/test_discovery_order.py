# SPDX-License-Identifier: LGPL-2.1-or-later
"""Discovery in every order of arrival: three HTTPS sources that answer after different times, and SRV that is always first.

Whoever answers when, the ranking is the same, the same server gets the password, what failed before a login is passed over without
anybody seeing a step fail, a refused login ends the search, and when all fail the best candidate's story is told.
"""
import base64
import hashlib
import itertools
import json
import time

import pytest

import wplab.lab
from wplab.bus import Bus
from wplab.client import Connection, endpoint
from wplab.lab import BAD, CLOSED, MAIL, ODD, SMTP, WEB, Lab, host_lines
from wplab.servers import autoconfig

SOURCES = ('pacc', 'autoconfig', 'ispdb', 'srv')
PLACES = {'alive': MAIL, 'closed': CLOSED, 'expired': BAD['expired'], 'gone': None}
# What the servers of each source are, best first; who gets the password, or the story that is told.
DOMAINS = {
    'alive.test': (('alive',) * 4, 'pacc'),
    'first-dead.test': (('closed', 'alive', 'alive', 'alive'), 'autoconfig'),
    'two-dead.test': (('gone', 'closed', 'alive', 'alive'), 'ispdb'),
    'only-last.test': (('closed', 'expired', 'gone', 'alive'), 'srv'),
    'all-dead.test': (('closed', 'gone', 'expired', 'expired'), 'net.refused'),
    'all-dead2.test': (('expired', 'closed', 'gone', 'closed'), 'tls.cert-expired'),
    'all-dead3.test': (('gone', 'expired', 'closed', 'closed'), 'dns.nxdomain'),
}
ORDERS = list(itertools.permutations((0, 0.15, 0.3)))
delays = dict.fromkeys(SOURCES, 0)


def host(kind, source, domain):
    return f'{kind}-{source}.{domain}'


def zone(domain, states):
    lines = ['@ MX 10 mx', *host_lines('mx', SMTP, v6=False), *host_lines('autoconfig', WEB, v6=False), *host_lines('ua-auto-config', WEB, v6=False),
             f'_pop3s._tcp SRV 0 1 995 in-srv', '_submissions._tcp SRV 0 1 465 out-srv']
    for source, state in zip(SOURCES, states):
        for kind, number in (('in', PLACES[state]), ('out', SMTP if state == 'alive' else PLACES[state])):
            lines += host_lines(f'{kind}-{source}', number, v6=False) if number else []
    return lines


def slowly(source, body):
    def answer(handler):
        time.sleep(delays[source])
        return 200, {}, body
    return answer


def publish(lab, domain):
    def document(source):
        return autoconfig(domain, host('in', source, domain), 'imap.example.test', host('out', source, domain)).encode()
    pacc = json.dumps({'protocols': {'pop3': {'host': host('in', 'pacc', domain)}, 'submit': {'host': host('out', 'pacc', domain)}}}).encode()
    lab.zones[domain].append('_ua-auto-config TXT "v=UAAC1; a=sha256; d=%s"' % base64.b64encode(hashlib.sha256(pacc).digest()).decode())
    lab.web.publish(f'ua-auto-config.{domain}', '/.well-known/user-agent-configuration.json', slowly('pacc', pacc))
    lab.web.publish(f'autoconfig.{domain}', '/mail/config-v1.1.xml', slowly('autoconfig', document('autoconfig')))
    lab.web.publish('ispdb.example.test', f'/v1.1/{domain}', slowly('ispdb', document('ispdb')))


@pytest.fixture(scope='module')
def lab():
    kept = wplab.lab.GOOD_NAMES
    wplab.lab.GOOD_NAMES = kept + ['ispdb.example.test', 'mail.watched.test', 'autoconfig.watched.test'] + [
        name for d in DOMAINS for name in (f'autoconfig.{d}', f'ua-auto-config.{d}',
                                           *(host(kind, s, d) for kind in ('in', 'out') for s in SOURCES))]
    try:
        started = Lab()
        started.zones['example.test'] += host_lines('ispdb', WEB, v6=False)
        started.zones['watched.test'] = ['@ MX 10 mx', *host_lines('mx', SMTP, v6=False), *host_lines('mail', ODD, v6=False),
                                         *host_lines('autoconfig', WEB, v6=False)]
        for domain, (states, _) in DOMAINS.items():
            started.zones[domain] = zone(domain, states)
            started.accounts[f'alice@{domain}'] = {'password': 'alicepw'}
        with started:
            for domain in DOMAINS:
                publish(started, domain)
                started.reload_zone(domain)
            yield started
    finally:
        wplab.lab.GOOD_NAMES = kept


@pytest.fixture(scope='module')
def service(lab, build):
    config = {'discovery': {'ispdb': 'https://ispdb.example.test/v1.1/', 'searches-per-minute': 10000, 'patience': '15s'}, 'limits': {'setups-per-uid': 500}}
    with Bus(build, lab=lab, config=config) as bus:
        yield bus


@pytest.fixture
def client(service):
    with Connection(service) as connection:
        yield connection


def changes(client, setup):
    """step -> the statuses that it was seen with, in order."""
    seen = {}
    for signal in client.signals:
        if signal.member == 'StepChanged' and signal.path == setup.path:
            seen.setdefault(signal.args[0], []).append(signal.args[1])
    return seen


def check_calm(client, setup):
    """No step of a setup that gets through is seen to fail, or to run a second time."""
    client.wait(lambda: all(s[-1] in ('passed', 'warned', 'skipped') for s in changes(client, setup).values()))
    for step, statuses in changes(client, setup).items():
        assert 'failed' not in statuses and 'pending' not in statuses, (step, statuses)
        assert statuses.count('running') <= (2 if 'waiting' in statuses else 1), (step, statuses)


@pytest.mark.parametrize('order', ORDERS, ids=lambda o: '-'.join(s for _, s in sorted(zip(o, SOURCES))))
def test_every_order(client, lab, order):
    delays.update(zip(SOURCES, order))
    setups = {d: client.start_setup(f'alice@{d}', dry_run=True, protocol='pop3') for d in DOMAINS}
    for domain, setup in setups.items():
        setup.set_password('alicepw')
    for domain, setup in setups.items():
        states, expected = DOMAINS[domain]
        state = setup.wait_state('ready', 'failed')
        assert [c['source'] for c in setup['Candidates']][:1] == ['pacc'], domain
        if '.' in expected:
            assert (state, setup['Cause']) == ('failed', expected), (domain, setup.steps)
            assert setup.steps['incoming.dns'].evidence['host'] == host('in', 'pacc', domain)
            assert setup.steps['incoming.login'].status == 'pending'
            continue
        assert state == 'ready', (domain, setup.steps)
        assert setup.steps['incoming.login'].evidence['host'] == host('in', expected, domain), setup.call('Report')
        assert setup.steps['outgoing.login'].evidence['host'] == host('out', expected, domain), setup.call('Report')
        check_calm(client, setup)
        setup.cancel()


@pytest.mark.parametrize('order', ORDERS[:1] + ORDERS[-1:], ids=['best-first', 'best-last'])
def test_a_refused_login_ends_the_search(client, lab, order):
    delays.update(zip(SOURCES, order))
    before = lab.run.log('dovecot/dovecot.log').count('alice@first-dead.test')
    setup = client.start_setup('alice@first-dead.test', dry_run=True, protocol='pop3')
    setup.set_password('not-the-password-' + str(order[0]))
    assert setup.wait_state('failed', 'ready') == 'failed' and setup['Cause'] == 'auth.bad-credentials'
    assert setup.steps['incoming.login'].evidence['host'] == host('in', 'autoconfig', 'first-dead.test')
    said = [line for line in lab.run.log('dovecot/dovecot.log').splitlines() if 'alice@first-dead.test' in line]
    assert sum('auth failed' in line for line in said) <= 2 and len(said) > before


def test_works_before_it_is_decided(client, lab):
    """The usual name is tried at once, beside a source that takes its time; its password waits for the source."""
    lab.scripted.play(995, 'pop-ok')
    lab.scripted.play(465, 'smtp-ok')
    lab.scripted.forget(995)
    lab.web.publish('autoconfig.watched.test', '/mail/config-v1.1.xml', lambda handler: (time.sleep(1.5), (404, {}, b''))[1])
    setup = client.start_setup('alice@watched.test', dry_run=True)
    setup.set_password('watched-secret')
    lab.scripted.wait(lambda: b'CAPA' in lab.scripted.received(995))
    assert setup.steps['discovery'].status == 'running' and setup.steps['incoming.dns'].status == 'pending'
    setup.wait_step('incoming.login', 'passed', 'failed')
    client.wait(lambda: changes(client, setup).get('incoming.service', [''])[-1] == 'passed')
    connections = [bytes(c.received) for c in lab.scripted.connections(995)]
    assert sum(b'CAPA' in received for received in connections) == 1, connections     # of the guess it was the only dialogue
    setup.cancel()


# -- single fields by hand, the rest found

def test_user_name_by_hand(client, lab):
    delays.update(dict.fromkeys(SOURCES, 0))
    setup = client.start_setup('bob@alive.test', dry_run=True, incoming={'user': 'alice@alive.test'}, receive_only=True)
    need = setup.wait_need('password')
    assert need['user'] == 'alice@alive.test' and need['hosts'] == [host('in', 'pacc', 'alive.test')]
    best = setup['Candidates'][0]['incoming']
    assert (best['user'], best['by-hand'], best['source']) == ('alice@alive.test', ['user'], 'pacc')
    setup.cancel()


@pytest.mark.parametrize('wish, expected', [
    ({'security': 'starttls'}, ('in-pacc.alive.test', 110, 'starttls')),
    ({'port': 110}, ('in-pacc.alive.test', 110, 'starttls')),
    ({'port': 995}, ('in-pacc.alive.test', 995, 'tls')),
    ({'host': 'in-ispdb.alive.test'}, ('in-ispdb.alive.test', 995, 'tls')),
    ({'host': 'in-ispdb.alive.test', 'security': 'starttls'}, ('in-ispdb.alive.test', 110, 'starttls')),
    ({'host': 'pop.example.test'}, ('pop.example.test', 995, 'tls')),
    ({'protocol': 'imap'}, ('imap.example.test', 993, 'tls')),
], ids=str)
def test_one_field_by_hand(client, lab, wish, expected):
    delays.update(dict.fromkeys(SOURCES, 0))
    setup = client.start_setup('alice@alive.test', dry_run=True, until='incoming.service', incoming=wish)
    assert setup.wait_state('ready', 'failed') == 'ready', setup.steps
    step = setup.steps['incoming.tls'].evidence
    shown = setup.steps['incoming.port'].evidence
    best = next(c['incoming'] for c in setup['Candidates'] if c.get('incoming', {}).get('host') == expected[0])
    assert (best['host'], best['port'], best['security']) == expected
    assert set(best['by-hand']) == set(wish) and step and shown['port'] == expected[1]
    setup.cancel()


def test_a_host_by_hand_takes_the_ports_that_are_known_of_it(client, lab):
    """Its submission is on another port than the usual one; the provider's document says so."""
    doc = autoconfig('alive.test', host('in', 'autoconfig', 'alive.test'), 'i', host('out', 'autoconfig', 'alive.test'))
    starttls = doc.replace('<port>465</port>', '<port>587</port>').replace('SSL', 'STARTTLS').replace('<port>995</port>', '<port>110</port>')
    delays.update(dict.fromkeys(SOURCES, 0))
    kept = slowly('autoconfig', doc.encode())
    try:
        lab.web.publish('autoconfig.alive.test', '/mail/config-v1.1.xml', starttls)
        setup = client.start_setup('alice@alive.test', dry_run=True, until='outgoing.service',
                                   incoming={'host': host('in', 'autoconfig', 'alive.test')},
                                   outgoing={'host': host('out', 'autoconfig', 'alive.test')})
        setup.set_password('alicepw')
        assert setup.wait_state('ready', 'failed') == 'ready', setup.steps
        best = setup['Candidates'][0]
        assert (best['incoming']['port'], best['outgoing']['port'], best['source']) == (110, 587, 'autoconfig')
        assert best['incoming']['by-hand'] == ['host']
        setup.cancel()
    finally:
        lab.web.publish('autoconfig.alive.test', '/mail/config-v1.1.xml', kept)


def test_a_host_by_hand_falls_back_to_its_other_port(client, lab):
    """Nobody knows the host: implicit TLS first, and where nothing answers there STARTTLS."""
    lab.nft('table inet refuse995 { chain in { type filter hook input priority 0; tcp dport 995 reject with tcp reset; }; }')
    try:
        setup = client.start_setup('alice@nomail.test', dry_run=True, until='incoming.service', incoming={'host': 'mail.example.test'},
                                   receive_only=True)
        assert setup.wait_state('ready', 'failed', seconds=90) == 'ready', setup.steps
        assert setup.steps['incoming.port'].evidence['port'] == 110
    finally:
        lab.nft('delete table inet refuse995')


# -- nothing found: both sides are asked for at once

def test_servers_are_asked_for_once(client):
    setup = client.start_setup('alice@hollow.test', dry_run=True)
    setup.wait_need('servers')
    needs = [details['side'] for kind, details in setup['Needs'] if kind == 'servers']
    assert needs == ['incoming', 'outgoing'] and setup['Cause'] == 'discovery.nothing-found'
    assert 'mx' in ''.join(setup.steps['discovery'].evidence['sources'])
    setup.set_servers(incoming=endpoint('pop.example.test', 995))
    client.wait(lambda: [d['side'] for k, d in setup['Needs'] if k == 'servers'] == ['outgoing'])
    setup.set_servers(outgoing=endpoint('smtp.example.test', 465))
    setup.wait_need('password')
    setup.cancel()


# -- what callers do with the result

def test_choose(client, lab):
    delays.update(dict.fromkeys(SOURCES, 0))
    setup = client.start_setup('alice@alive.test', dry_run=True, protocol='pop3')
    setup.wait_need('password')
    chosen = next(c for c in setup['Candidates'] if c['source'] == 'srv')
    setup.call('Choose', 's', chosen['id'])
    setup.set_password('alicepw')
    assert setup.wait_state('ready', 'failed') == 'ready', setup.steps
    assert setup.steps['incoming.login'].evidence['host'] == host('in', 'srv', 'alive.test')
    setup.cancel()


def test_retry_begins_with_the_best_again(client, lab):
    """Nothing worked; then the second best is repaired."""
    delays.update(dict.fromkeys(SOURCES, 0))
    setup = client.start_setup('alice@all-dead3.test', dry_run=True, protocol='pop3')
    setup.set_password('alicepw')
    assert setup.wait_state('failed', 'ready') == 'failed' and setup['Cause'] == 'dns.nxdomain'
    kept = list(lab.zones['all-dead3.test'])
    try:
        lab.zones['all-dead3.test'][:] = [line for line in kept if not line.startswith(('in-ispdb ', 'out-ispdb '))] + \
            host_lines('in-ispdb', MAIL, v6=False) + host_lines('out-ispdb', SMTP, v6=False)
        lab.reload_zone('all-dead3.test')
        setup.retry('')
        assert setup.wait_state('ready', 'failed') == 'ready', setup.steps
        assert setup.steps['incoming.login'].evidence['host'] == host('in', 'ispdb', 'all-dead3.test')
    finally:
        lab.zones['all-dead3.test'][:] = kept
        lab.reload_zone('all-dead3.test')
    setup.cancel()


def test_cancelled_while_it_searches(client, lab, service):
    delays.update(dict.fromkeys(SOURCES, 0.3))
    for domain in DOMAINS:
        setup = client.start_setup(f'alice@{domain}', dry_run=True)
        setup.wait_step('discovery', 'running', 'passed')
        setup.cancel()
        assert setup.state == 'cancelled' and setup['Needs'] == []
    delays.update(dict.fromkeys(SOURCES, 0))
    assert service.service_pid()


def test_servers_named_while_it_searches(client, lab):
    delays.update(dict.fromkeys(SOURCES, 0.3))
    setup = client.start_setup('alice@all-dead.test', dry_run=True)
    setup.set_servers(incoming=endpoint('pop.example.test', 995),
                      outgoing=endpoint('smtp.example.test', 465))
    setup.set_password('alicepw')
    assert setup.wait_state('ready', 'failed') == 'ready', setup.steps
    assert setup.steps['discovery'].evidence == {'source': 'by-hand'}
    setup.cancel()
