# SPDX-License-Identifier: LGPL-2.1-or-later
"""Discovery: each source right, absent, broken and hostile; rank, trust, hints, and what is told to whom.

A lab of its own, with domains made for one question each. The attack scenarios give the password before anything is asked and then look at every
byte that came to the attacker.
"""
import base64
import hashlib
import json
import os
import threading
import time

import pytest

import wplab.lab
from wplab.bus import Bus
from wplab.client import BusError, Connection, Peer
from wplab.lab import BAD, MAIL, NET4, ODD, SMTP, WEB, Lab, host_lines
from wplab.servers import autoconfig

SECRET = 'correct-horse-7.battery'
FOREIGN = autoconfig('x', 'odd.example.test', 'odd.example.test', 'odd.example.test')
CONFIG_PATH, WELL_KNOWN = '/mail/config-v1.1.xml', '/.well-known/autoconfig/mail/config-v1.1.xml'
ISPDB = 'https://ispdb.example.test/v1.1/'


def web(name):
    return host_lines(name, WEB, v6=False)


def a(name, number):
    return host_lines(name, number, v6=False)


def autoconfig_zone(*more):
    return ['@ MX 10 mx', *a('mx', SMTP), *web('autoconfig'), *more]


MX = ['@ MX 10 mx', *a('mx', SMTP)]
ZONES = {
    'pacc.test': [*MX, *web('ua-auto-config'), *a('pop', MAIL), *a('smtp', SMTP)],
    'pacc-odd.test': [*MX, *web('ua-auto-config')],
    'known.test': [*MX, f'@ A {NET4}{WEB}', *a('in', MAIL), *a('out', SMTP)],
    'address.test': autoconfig_zone(),
    'db.test': MX,
    'hoster.test': [*web('autoconfig'), *web('autoconfig.eu')],
    'mxbase.test': ['@ MX 10 mx1.hoster.test.'],
    'mxfull.test': ['@ MX 10 mx1.eu.hoster.test.'],
    'mxdb.test': ['@ MX 10 mx.dbhoster.test.'],
    'dbhoster.test': ['@ TXT "nothing here"'],
    'mxtable.test': ['@ MX 10 aspmx.l.google.com.'],
    'filtered.test': ['@ MX 10 mxa-001.pphosted.com.'],
    'dot.test': [*MX, '_pop3s._tcp SRV 0 0 0 .', '_pop3._tcp SRV 0 0 0 .', '_imaps._tcp SRV 0 1 993 imap',
                 '_submissions._tcp SRV 0 1 465 smtp', *a('imap', MAIL), *a('smtp', SMTP)],
    'names.test': [*MX, *a('mail', BAD['wrong-name'])],
    'slow.test': autoconfig_zone('_pop3s._tcp SRV 0 1 995 in', '_submissions._tcp SRV 0 1 465 out', *a('in', MAIL),
                                 *a('out', SMTP)),
    'dead.test': autoconfig_zone('_pop3s._tcp SRV 0 1 995 pop.dead.test.', '_submissions._tcp SRV 0 1 465 smtp.dead.test.',
                                 *a('pop', MAIL), *a('smtp', SMTP)),
    'broken-doc.test': autoconfig_zone(),
    'plain.test': [*MX, f'autoconfig A {NET4}{ODD}'],
    'rebind.test': [*MX, 'autoconfig A 127.0.0.1', 'autoconfig A 10.1.2.3', 'autoconfig AAAA ::1', 'ua-auto-config A 169.254.169.254',
                    'mail A 127.0.0.1', 'pop A 192.168.1.1', 'pop3 A 127.0.0.2', 'smtp A 10.0.0.1'],
    'admin.test': MX,
    'sso.test': MX,
    'gmial.test': MX,
    # of the attacks
    'forged-srv.test': [*MX, '_pop3s._tcp SRV 0 1 995 odd.example.test.', '_submissions._tcp SRV 0 1 465 odd.example.test.'],
    'forged-mx.test': ['@ MX 10 mx.evil.test.'],
    'evil.test': [*web('autoconfig')],
    'bad-tls.test': [*MX, *web('autoconfig'), *web('ua-auto-config'), *a('mail', BAD['wrong-name'])],
    'redirected.test': autoconfig_zone(),
    'unsafe.test': autoconfig_zone(*a('in', ODD), *a('out', ODD)),
    'self.test': [*MX, '_pop3s._tcp SRV 0 1 995 mail', '_submissions._tcp SRV 0 1 465 mail', *a('mail', BAD['self-signed'])],
    'stripped.test': [*MX, '_pop3._tcp SRV 0 1 110 mail', '_submission._tcp SRV 0 1 587 mail', *a('mail', ODD)],
    'local-doc.test': autoconfig_zone(),
    'ports.test': autoconfig_zone(),
}
NAMES = [f'{host}.{domain}' for domain in ZONES for host in ('autoconfig', 'ua-auto-config', 'mail', 'pop', 'smtp', 'in', 'out')
         if domain not in ('bad-tls.test', 'names.test', 'self.test')] + ['known.test', 'ispdb.example.test', 'autoconfig.eu.hoster.test']


@pytest.fixture(scope='module')
def lab():
    kept = wplab.lab.GOOD_NAMES
    wplab.lab.GOOD_NAMES = kept + NAMES
    try:
        started = Lab()
        started.zones.update({k: list(v) for k, v in ZONES.items()})
        started.zones['example.test'] += web('ispdb')
        for domain in ZONES:
            started.accounts[f'alice@{domain}'] = {'password': 'alicepw'}
        with started:
            publish(started)
            yield started
    finally:
        wplab.lab.GOOD_NAMES = kept


def publish(lab):
    doc = json.dumps({'protocols': {'pop3': {'host': 'pop.pacc.test'}, 'submit': {'host': 'smtp.pacc.test'}},
                      'authentication': {'password': True, 'oauth-public': {'issuer': 'https://login.pacc.test'}},
                      'info': {'provider': {'name': 'Pacc'}}}).encode()
    path = '/.well-known/user-agent-configuration.json'
    for domain in ('pacc.test', 'pacc-odd.test'):
        lab.web.publish(f'ua-auto-config.{domain}', path, doc.replace(b'pacc.test', domain.encode()))
    digest = base64.b64encode(hashlib.sha256(doc).digest()).decode()
    lab.zones['pacc.test'].append(f'_ua-auto-config TXT "v=UAAC1; " "a=sha256; d={digest};"')
    lab.zones['pacc-odd.test'].append(f'_ua-auto-config TXT "v=UAAC1; a=sha256; d={digest}"')  # of another document
    for domain in ('pacc.test', 'pacc-odd.test'):
        lab.reload_zone(domain)
    lab.web.publish('known.test', WELL_KNOWN, autoconfig('known.test', 'in.known.test', 'in.known.test', 'out.known.test'))

    def with_address(handler):
        body = autoconfig('address.test', 'pop.example.test', 'imap.example.test', 'smtp.example.test').encode()
        return (200, {}, body) if 'emailaddress=alice%40address.test' in handler.path else (404, {}, b'who?')
    lab.web.publish('autoconfig.address.test', CONFIG_PATH, with_address)
    lab.web.publish('ispdb.example.test', '/v1.1/db.test', autoconfig('db.test', 'pop.example.test', 'imap.example.test', 'smtp.example.test'))
    lab.web.publish('ispdb.example.test', '/v1.1/dbhoster.test', autoconfig('dbhoster.test', 'pop.example.test', 'imap.example.test',
                                                                            'smtp.example.test'))
    lab.web.publish('autoconfig.hoster.test', CONFIG_PATH, autoconfig('hoster.test', 'pop.hoster.test', 'i', 'smtp.hoster.test'))
    lab.web.publish('autoconfig.eu.hoster.test', CONFIG_PATH, autoconfig('eu', 'pop.eu.hoster.test', 'i', 'smtp.eu.hoster.test'))

    def slowly(handler):
        time.sleep(4)
        return 200, {}, autoconfig('slow.test', 'slow.example.test', 'i', 'slow.example.test').encode()
    lab.web.publish('autoconfig.slow.test', CONFIG_PATH, slowly)
    lab.web.publish('autoconfig.dead.test', CONFIG_PATH, autoconfig('dead.test', 'closed.example.test', 'i', 'closed.example.test'))


@pytest.fixture(scope='module')
def folder(lab):
    path = lab.run.file('administrator')
    for name in ('providers.d', 'autoconfig'):
        os.makedirs(os.path.join(path, name))
    with open(os.path.join(path, 'providers.d', '10-sso.json'), 'w') as f:
        json.dump({'providers': [
            {'id': 'sso', 'name': 'Single Sign', 'domains': ['sso.test'], 'pop3': {'host': 'pop.example.test', 'port': 995, 'security': 'tls'},
             'smtp': [{'host': 'smtp.example.test', 'port': 465, 'security': 'tls'}], 'methods': ['oauth2'],
             'account-password': 'refused', 'oauth-issuer': 'https://login.sso.test'},
            {'id': 'apps', 'name': 'Apps', 'domains': ['example.test'], 'pop3': {'host': 'pop.example.test'},
             'smtp': [{'host': 'smtp.example.test'}], 'methods': ['app-password'], 'account-password': 'refused', 'app-password': 'yes',
             'app-password-page': 'https://example.test/apps', 'pop': 'off', 'settings-page': 'https://example.test/switch-on-pop'}]}, f)
    with open(os.path.join(path, 'providers.d', '20-broken.json'), 'w') as f:
        f.write('{"providers": [{"id": 5}]')
    with open(os.path.join(path, 'autoconfig', 'admin.test.xml'), 'w') as f:
        f.write(autoconfig('admin.test', 'pop.example.test', 'imap.example.test', 'smtp.example.test'))
    with open(os.path.join(path, 'autoconfig', 'broken.xml'), 'w') as f:
        f.write('<clientConfig>')
    for top, _, files in os.walk(path):
        os.chmod(top, 0o755)
    return path


def bus_config(**discovery):
    return {'discovery': {'ispdb': ISPDB, 'searches-per-minute': 10000, **{k.replace('_', '-'): v for k, v in discovery.items()}},
            'limits': {'setups-per-uid': 500}, 'verification': {'timeout': '4s'}}


@pytest.fixture(scope='module')
def service(lab, build):
    with Bus(build, lab=lab, config=bus_config()) as bus:
        yield bus


@pytest.fixture
def client(service):
    with Connection(service) as connection:
        yield connection


@pytest.fixture(scope='module')
def administered(lab, build, folder):
    config = bus_config(providers_directory=folder + '/providers.d', autoconfig_directory=folder + '/autoconfig')
    with Bus(build, lab=lab, config=config) as bus:
        yield bus


def search(client, address, protocol='pop3', **options):
    setup = client.start_setup(address, dry_run=True, until='discovery', protocol=protocol, **options)
    setup.wait_state('ready', 'failed', 'waiting')
    return setup


def summary(setup):
    return [(c['source'], *(f"{c[s]['host']}:{c[s]['port']} {c[s]['trust']}" if s in c else None for s in ('incoming', 'outgoing')))
            for c in setup['Candidates']]


def sources(setup):
    return dict(line.split(': ', 1) for line in setup.steps['discovery'].evidence['sources'])


# -- each source, found

FOUND = {
    'pacc.test': ('pacc', 'pop.pacc.test:995 provider', 'smtp.pacc.test:465 provider'),
    'known.test': ('autoconfig', 'in.known.test:995 provider', 'out.known.test:465 provider'),
    'address.test': ('autoconfig', 'pop.example.test:995 provider', 'smtp.example.test:465 provider'),
    'db.test': ('ispdb', 'pop.example.test:995 ispdb', 'smtp.example.test:465 ispdb'),
    'srv.test': ('srv', 'in.srv.test:995 domain', 'out.srv.test:465 domain'),
    'foreign.test': ('srv', 'pop.example.test:995 none', 'smtp.example.test:465 none'),
    'mxbase.test': ('mx', 'pop.hoster.test:995 none', 'smtp.hoster.test:465 none'),
    'mxfull.test': ('mx', 'pop.eu.hoster.test:995 none', 'smtp.eu.hoster.test:465 none'),
    'mxdb.test': ('mx', 'pop.example.test:995 none', 'smtp.example.test:465 none'),
    'mxtable.test': ('mx', 'pop.gmail.com:995 none', 'smtp.gmail.com:465 none'),
    'names.test': ('certificate', 'mail.other-host.test:995 none', 'mail.other-host.test:465 none'),
    'guess.test': ('guess', 'mail.guess.test:995 domain', 'mail.guess.test:465 domain'),
    'gmail.com': ('table', 'pop.gmail.com:995 table', 'smtp.gmail.com:465 table'),
}


@pytest.mark.parametrize('domain', FOUND)
def test_found(client, domain):
    setup = search(client, f'alice@{domain}')
    assert summary(setup)[0] == FOUND[domain], sources(setup)
    assert setup.steps['discovery'].evidence['source'] == FOUND[domain][0]


FOUND_IMAP = {
    'example.test': ('autoconfig', 'imap.example.test:993 provider', 'smtp.example.test:465 provider'),
    'db.test': ('ispdb', 'imap.example.test:993 ispdb', 'smtp.example.test:465 ispdb'),
    'dot.test': ('srv', 'imap.dot.test:993 domain', 'smtp.dot.test:465 domain'),
    'mxtable.test': ('mx', 'imap.gmail.com:993 none', 'smtp.gmail.com:465 none'),
    'guess.test': ('guess', 'mail.guess.test:993 domain', 'mail.guess.test:465 domain'),
    'gmail.com': ('table', 'imap.gmail.com:993 table', 'smtp.gmail.com:465 table'),
    'icloud.com': ('table', 'imap.mail.me.com:993 table', 'smtp.mail.me.com:587 table'),
}


@pytest.mark.parametrize('domain', FOUND_IMAP)
def test_found_for_imap(client, domain):
    setup = search(client, f'alice@{domain}', protocol='imap')
    assert summary(setup)[0] == FOUND_IMAP[domain], sources(setup)
    assert {c['incoming']['protocol'] for c in setup['Candidates'] if 'incoming' in c} == {'imap'}


@pytest.mark.parametrize('domain, protocols', [('example.test', ['pop3', 'pop3', 'imap', 'imap']), ('gmail.com', ['pop3', 'pop3', 'imap', 'imap']),
                                               ('dot.test', ['imap']), ('icloud.com', ['imap'])])
def test_pop3_first_where_both_are_known(client, domain, protocols):
    setup = search(client, f'alice@{domain}', protocol='auto')
    assert [c['incoming']['protocol'] for c in setup['Candidates']] == protocols


def test_a_host_by_hand_is_trusted(client):
    """The mail exchanger names it too, which alone would need an approval."""
    setup = search(client, 'alice@mxbase.test', incoming={'host': 'pop.hoster.test'})
    best = setup['Candidates'][0]
    assert (best['incoming']['trust'], best['outgoing']['trust'], best['source']) == ('user', 'none', 'mx')


def test_same_servers_same_id(client):
    first, second = search(client, 'alice@example.test'), search(client, 'alice@example.test')
    ids = [c['id'] for c in first['Candidates']]
    assert ids == [c['id'] for c in second['Candidates']] and len(set(ids)) == len(ids)


def test_methods_are_told(client):
    assert search(client, 'a@gmail.com')['Candidates'][0]['methods'] == ['oauth2', 'app-password']
    assert search(client, 'alice@pacc.test')['Candidates'][0]['methods'] == ['password', 'oauth2']
    assert search(client, 'alice@example.test')['Candidates'][0]['methods'] == ['password']


def test_table_needs_no_network(client, lab):
    try:
        lab.set_resolver('')
        setup = client.start_setup('someone@gmail.com', dry_run=True, until='incoming.dns')
        step = setup.wait_step('discovery', 'passed')
        assert set(sources(setup)) == {'administrator', 'table'} and 'disclosed' not in step.evidence
        assert step.usec < 50000
        hints = step.evidence['hints']
        assert any('POP must be switched on' in h and '#settings/fwdandpop' in h for h in hints)
        assert any('app password' in h and 'https://myaccount.google.com/apppasswords' in h for h in hints)
    finally:
        lab.set_resolver(wplab.lab.NET4 + str(wplab.lab.DNS))


def test_absent_digest(client):
    """A PACC document that DNS does not confirm is not used."""
    setup = search(client, 'alice@pacc-odd.test')
    assert all(c['source'] == 'guess' for c in setup['Candidates'])
    assert 'digest' in sources(setup)['pacc']


def test_issuer(client):
    assert search(client, 'alice@pacc.test')['Candidates'][0]['oauth-issuer'] == 'https://login.pacc.test'
    assert search(client, 'a@gmail.com')['Candidates'][0]['oauth-issuer'] == 'https://accounts.google.com'


def test_user_forms(client):
    incoming = search(client, 'tim@web.de')['Candidates'][0]['incoming']
    assert (incoming['host'], incoming['user']) == ('pop3.web.de', 'tim')


def test_certificate_of_the_web_server(client, lab):
    """A document from a host whose certificate has another name is not read."""
    forged(lab, 'bad-tls.test', FOREIGN)
    setup = search(client, 'alice@bad-tls.test')
    assert 'certificate' in sources(setup)['autoconfig'] and not any(c['source'] == 'autoconfig' for c in setup['Candidates'])


# -- rank and time

def test_slow_source_is_not_waited_for(client):
    """SRV inside the domain is trusted: a slower source above it gets a second, not four."""
    started = time.monotonic()
    setup = client.start_setup('alice@slow.test', dry_run=True, until='incoming.dns')
    setup.wait_step('discovery', 'passed')
    assert time.monotonic() - started < 3
    assert summary(setup)[0][0] == 'srv' and 'not waited for' in sources(setup)['autoconfig']


def test_all_sources_are_heard_for_those_who_only_look(client):
    setup = search(client, 'alice@slow.test')
    assert [c[0] for c in summary(setup)[:3]] == ['autoconfig', 'autoconfig', 'srv']


def test_rank_not_arrival(client):
    """example.test has SRV too, and DNS answers long before HTTPS does."""
    setup = search(client, 'alice@example.test')
    assert summary(setup)[0][0] == 'autoconfig' and ' found' in sources(setup)['srv']


def test_falls_back_to_what_was_not_waited_for(client):
    setup = client.start_setup('alice@dead.test', dry_run=True)
    setup.wait_need('password')
    assert setup.steps['incoming.dns'].evidence['host'] == 'pop.dead.test'
    setup.set_password('alicepw')
    assert setup.wait_state('ready', 'failed') == 'ready', setup.steps


# -- hints, and passwords that are not tried

def test_app_password_is_asked_for_before_the_first_failure(administered):
    with Connection(administered) as client:
        setup = client.start_setup('alice@example.test', dry_run=True)
        need = setup.wait_need('password')
        assert need['secret-kind'] == 'app-password' and need['hint-url'] == 'https://example.test/apps'
        assert any('POP must be switched on first: https://example.test/switch-on-pop' in h for h in need['hints'])
        assert need['provider'] == 'apps' and setup['Candidates'][0]['incoming']['trust'] == 'administrator'


def test_useless_password_is_not_asked_for(administered, lab):
    with Connection(administered) as client:
        setup = client.start_setup('alice@sso.test', dry_run=True)
        assert setup.wait_state('failed', 'waiting') == 'failed'
        assert setup['Cause'] == 'oauth.no-client' and not setup.need('password')
        assert setup.steps['incoming.login'].evidence['oauth-issuer'] == 'https://login.sso.test'


def test_administrators_autoconfig(administered):
    with Connection(administered) as client:
        setup = search(client, 'alice@admin.test')
        assert summary(setup)[0] == ('administrator', 'pop.example.test:995 administrator', 'smtp.example.test:465 administrator')
        assert 'admin.test.xml' in sources(setup)['administrator']
    assert '20-broken.json' in administered.log() and 'broken.xml' in administered.log()


# -- by hand, the rest found

def test_one_field_by_hand(client):
    setup = client.start_setup('alice@auto.test', dry_run=True, incoming={'user': 'alice', 'port': 110})
    need = setup.wait_need('password')
    assert (need['user'], need['host'], need['port'], need['security']) == ('alice', 'in.auto.test', 110, 'starttls')
    assert setup.steps['discovery'].evidence['source'] == 'autoconfig'


# -- answers when nothing is found

ANSWERS = {
    'a@proton.me': ('discovery.no-client-access', {'provider': 'Proton', 'alternative': 'bridge', 'hint-url': 'proton.me'}),
    'a@tuta.com': ('discovery.no-client-access', {'alternative': 'own programs'}),
    'a@icloud.com': ('discovery.no-client-access', {'alternative': 'IMAP'}),
    'a@dot.test': ('discovery.no-client-access', {'alternative': 'no POP3'}),
    'a@gmial.com': ('input.domain-typo', {'suggestion': 'gmail.com'}),
    'a@hotmial.con': ('input.domain-typo', {'suggestion': 'hotmail.com'}),
    'a@no-such.test': ('dns.nxdomain', {}),
    'a@nullmx.test': ('dns.null-mx', {}),
    'a@broken.test': ('dns.servfail', {}),
}


@pytest.mark.parametrize('address', ANSWERS)
def test_answers(client, address):
    cause, evidence = ANSWERS[address]
    setup = search(client, address)
    assert setup['Cause'] == cause, setup.steps['discovery']
    for key, part in evidence.items():
        assert part in setup.steps['discovery'].evidence[key]


def test_filter_service(client):
    setup = search(client, 'a@filtered.test')
    assert setup.steps['discovery'].evidence['filter'] == 'Proofpoint'


@pytest.mark.parametrize('resolver, cause', [('', 'dns.resolver-unavailable'), ('127.0.0.53', 'dns.resolver-unavailable')])
def test_no_resolver(client, lab, resolver, cause):
    try:
        lab.set_resolver(resolver)
        assert search(client, 'alice@example.test')['Cause'] == cause
    finally:
        lab.set_resolver(wplab.lab.NET4 + str(wplab.lab.DNS))


# -- what is told to whom

def test_disclosure(client, lab):
    before = len(lab.web.requests)
    setup = search(client, 'alice@address.test')
    asked = lab.web.requests[before:]
    with_address = [(host, path) for host, path, _ in asked if 'alice' in path]
    assert with_address and {host for host, _ in with_address} == {'autoconfig.address.test'}
    assert all('Cookie' not in h and 'Authorization' not in h for _, _, h in asked)
    told = setup.steps['discovery'].evidence['disclosed']
    assert 'HTTPS autoconfig.address.test: the address' in told and 'HTTPS ispdb.example.test: the domain' in told
    assert 'HTTPS autoconfig.address.test: the address' in setup.call('Report')


def test_the_address_follows_no_redirect(client, lab):
    """Who wants the address and sends it on gets it, and the other host does not."""
    def answer(handler):
        if 'emailaddress=' in handler.path:
            return 302, {'Location': 'https://autoconfig.evil.test/mail/config-v1.1.xml?emailaddress=alice%40local-doc.test'}, b''
        return 404, {}, b''
    lab.web.publish('autoconfig.local-doc.test', CONFIG_PATH, answer)
    before = len(lab.web.requests)
    setup = search(client, 'alice@local-doc.test')
    asked = [host for host, path, _ in lab.web.requests[before:] if 'alice' in path]
    assert asked == ['autoconfig.local-doc.test'], asked
    assert not any(c['source'] == 'autoconfig' for c in setup['Candidates'])


def test_slow_drip(client, lab):
    """A document that comes in drops costs its own time, and nobody else's."""
    def drip(handler):
        try:
            handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 100000\r\n\r\n<clientConfig>')
            for _ in range(60):
                handler.wfile.write(b' ')
                handler.wfile.flush()
                time.sleep(0.5)
        except OSError:
            pass
        handler.close_connection = True
    lab.web.publish('autoconfig.slow.test', CONFIG_PATH, drip)
    started = time.monotonic()
    setup = search(client, 'alice@slow.test')
    assert summary(setup)[0][0] == 'srv' and any(told in sources(setup)['autoconfig'] for told in ('no answer in time', 'timeout'))
    assert 5 < time.monotonic() - started < 20


def test_rate_limit(lab, build):
    with Bus(build, lab=lab, config={'discovery': {'searches-per-minute': 3}}) as bus, Peer(bus, 65534) as client:
        for _ in range(3):
            search(client, 'a@gmail.com').cancel()
        with pytest.raises(BusError, match='QuotaExceeded'):
            search(client, 'a@gmail.com')
        with pytest.raises(BusError, match='QuotaExceeded'):
            client.manager('Probe', 'sqa{sv}', 'pop.example.test', 995, {})
        with Peer(bus, 1) as other:
            search(other, 'a@gmail.com')


# -- documents that are wrong, big, or meant to hurt

def bomb(handler):
    try:
        handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n')
        for _ in range(4096):
            handler.wfile.write(b'<a>' * 8192)
    except OSError:
        pass
    handler.close_connection = True


DOCUMENTS = {
    'doctype': '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + FOREIGN[FOREIGN.index('<clientConfig'):],
    'laughs': '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><clientConfig>&b;</clientConfig>',
    'deep': '<clientConfig>' * 100000,
    'attributes': '<clientConfig ' + ' '.join(f'a{i}="1"' for i in range(10000)) + '>' + FOREIGN[FOREIGN.index('<emailProvider'):],
    'html': '<html><body>Welcome!</body></html>',
    'empty': '',
    'endless': bomb,
    'to-http': lambda h: (302, {'Location': 'http://autoconfig.auto.test/mail/config-v1.1.xml'}, b''),
    'to-address': lambda h: (302, {'Location': f'https://{NET4}{WEB}/mail/config-v1.1.xml'}, b''),
    'to-port': lambda h: (302, {'Location': 'https://autoconfig.auto.test:8443/x'}, b''),
    'to-file': lambda h: (302, {'Location': 'file:///etc/passwd'}, b''),
    'to-itself': lambda h: (302, {'Location': 'https://autoconfig.broken-doc.test/mail/config-v1.1.xml'}, b''),
    'zipped': lambda h: (200, {'Content-Encoding': 'gzip'}, bytes.fromhex('1f8b0800000000000003') + b'\0' * 100),
}


@pytest.mark.parametrize('kind', DOCUMENTS)
def test_hostile_document(client, lab, service, kind):
    lab.web.publish('autoconfig.broken-doc.test', CONFIG_PATH, DOCUMENTS[kind])
    started = time.monotonic()
    setup = search(client, 'alice@broken-doc.test')
    assert [c for c in setup['Candidates'] if c['source'] != 'guess'] == [], setup.steps['discovery']
    assert time.monotonic() - started < 8
    assert service.service_pid()


def test_rebinding(client, lab):
    """Names that lead to this machine or into its network: nothing is connected to."""
    caught = []

    def listen(address, port):
        sock = lab.client.listen(address, port)
        sock.settimeout(6)
        try:
            sock.accept()
            caught.append((address, port))
        except OSError:
            pass
        sock.close()
    threads = [threading.Thread(target=listen, args=(host, port)) for host, port in
               (('127.0.0.1', 443), ('127.0.0.1', 995), ('127.0.0.2', 995), ('127.0.0.1', 465), ('::1', 443))]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    setup = client.start_setup('alice@rebind.test', dry_run=True)
    setup.wait_state('failed', 'waiting')
    assert setup['Cause'] == 'policy.address-forbidden', setup.steps
    for thread in threads:
        thread.join()
    assert caught == []


# -- ten and more ways to get at the password by a forged configuration

def forged(lab, domain, body):
    lab.web.publish(f'autoconfig.{domain}', CONFIG_PATH, body)


def plain_web(lab):
    """http://autoconfig.plain.test, in clear."""
    listener = lab.server.listen(NET4 + str(ODD), 80)

    def serve():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.recv(4096)
            sock.sendall(f'HTTP/1.1 200 OK\r\nContent-Length: {len(FOREIGN)}\r\nConnection: close\r\n\r\n{FOREIGN}'.encode())
            sock.close()
    threading.Thread(target=serve, daemon=True).start()
    return listener


ATTACKS = {
    'forged-srv.test': ('server-approval', None),
    'forged-mx.test': ('server-approval', lambda lab: forged(lab, 'evil.test', FOREIGN)),
    'plain.test': ('server-approval', plain_web),
    'bad-tls.test': (None, lambda lab: forged(lab, 'bad-tls.test', FOREIGN)),
    'redirected.test': (None, lambda lab: forged(lab, 'redirected.test', lambda h: (
        301, {'Location': 'http://autoconfig.plain.test/mail/config-v1.1.xml'}, b''))),
    'unsafe.test': (None, lambda lab: forged(lab, 'unsafe.test', FOREIGN.replace('SSL', 'plain').replace('STARTTLS', 'plain'))),
    'self.test': ('certificate-approval', None),
    'stripped.test': (None, None),
    'pacc-odd.test': (None, None),
    'local-doc.test': (None, lambda lab: forged(lab, 'local-doc.test', FOREIGN.replace('odd.example.test', '127.0.0.1'))),
    'ports.test': (None, lambda lab: forged(lab, 'ports.test', FOREIGN.replace('>995<', '>22<').replace('>110<', '>25000<')
                                            .replace('>465<', '>80<').replace('>587<', '>2525<'))),
    'rebind.test': (None, None),
}


@pytest.fixture(scope='module')
def attacker(lab):
    for port, dialogue in ((995, 'pop-ok'), (465, 'smtp-ok'), (110, 'pop-no-stls'), (587, 'smtp-no-starttls'), (2525, 'smtp-no-starttls'),
                           (22, 'pop-ok'), (25000, 'pop-ok')):
        lab.scripted.play(port, dialogue)
    return (995, 465, 110, 587, 2525, 22, 25000)


@pytest.fixture(scope='module')
def lenient(lab, build):
    with Bus(build, lab=lab, config=bus_config(http='yes')) as bus:
        yield bus


@pytest.mark.parametrize('domain', ATTACKS)
def test_attack(lab, lenient, attacker, domain):
    need, prepare = ATTACKS[domain]
    listener = prepare(lab) if prepare else None
    try:
        with Connection(lenient) as client:
            setup = client.start_setup(f'alice@{domain}', dry_run=True)
            setup.set_password(SECRET)
            state = setup.wait_state('failed', 'waiting', 'ready')
            assert state == ('waiting' if need or setup.need('servers') else 'failed'), setup.steps
            if need:
                assert setup.wait_need(need)
                if need == 'server-approval':
                    assert setup.need(need)['domains'] == ['example.test']
            setup.cancel()
    finally:
        if listener:
            listener.close()
    seen = b''.join(lab.scripted.received(port) for port in attacker)
    for form in (SECRET.encode(), base64.b64encode(SECRET.encode())[:16],
                 base64.b64encode(f'\0alice@{domain}\0{SECRET}'.encode())[:24]):
        assert form not in seen


def test_approval_is_for_this_host_only(lab, lenient, attacker):
    """The same attack, approved by the user: now the password goes there, so the test above can fail."""
    with Connection(lenient) as client:
        setup = client.start_setup('alice@forged-srv.test', dry_run=True, receive_only=True)
        setup.set_password('approved-' + SECRET)
        token = setup.wait_need('server-approval')['token']
        setup.approve(token)
        setup.wait_step('incoming.login', 'passed', 'failed')
    assert ('approved-' + SECRET).encode() in lab.scripted.received(995) or base64.b64encode(
        f'\0alice@forged-srv.test\0approved-{SECRET}'.encode()) in lab.scripted.received(995)


# -- waypost discover

def test_cli(service):
    done = service.cli('discover', 'tim@gmail.com')
    assert done.returncode == 0
    assert 'pop.gmail.com:995/tls' in done.stdout and 'POP must be switched on first' in done.stdout
    assert 'What' not in done.stderr and 'table' in done.stdout and ' ms' in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines()), done.stdout
    typo = service.cli('discover', 'tim@gmial.com')
    assert typo.returncode == 3 and 'gmail.com' in typo.stdout
    # What each source said stands there already.
    assert 'Who was asked' in typo.stdout and 'waypost discover' not in typo.stdout + typo.stderr


def test_cli_json(service):
    done = service.cli('discover', '--json', 'alice@foreign.test')
    assert done.returncode == 0
    result = json.loads(done.stdout)
    assert [(c['source'], c['incoming']['protocol']) for c in result['candidates'][:2]] == [('srv', 'pop3'), ('mx', 'pop3')]
    assert result['candidates'][0]['incoming']['trust'] == 'none'
    evidence = next(s for s in result['steps'] if s['id'] == 'discovery')['evidence']
    assert {line.split(':')[0] for line in evidence['sources']} >= {'table', 'pacc', 'autoconfig', 'ispdb', 'srv', 'mx', 'certificate'}
