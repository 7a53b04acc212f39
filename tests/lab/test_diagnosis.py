# SPDX-License-Identifier: LGPL-2.1-or-later
"""The closer look at what failed: our own side first, then the port, then encryption. What each fault's own words say is
tested in test_faults.py; here are those that only become clear when something else is looked at, too.

What needs nothing of its own runs at the same time (`played`), so that a silent port takes its time only once.
"""
import datetime
import fcntl
import http.server
import json
import os
import pty
import re
import socket
import sqlite3
import ssl
import struct
import subprocess
import termios
import threading
import time
import warnings
from collections import namedtuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import ocsp

import wplab.web
from wplab.bus import Bus
from wplab.client import Connection, Setup, endpoint, options
from wplab.lab import MAIL, NET4, ODD, SILENT, Lab
from wplab.run import until
from wplab.servers import autoconfig
from wplab.screen import final_screen

HTTP = {'diagnosis': {'connectivity-url': 'http://check.example.test/nm'}}
CONFIG = {'limits': {'setups-per-uid': 1000}, **HTTP}

Case = namedtuple('Case', 'name server step cause evidence absent')
CASES = []


def case(name, server, step, cause, evidence=None, absent=()):
    """@server: (host, port, security), or the text of a dialogue and its security."""
    CASES.append(pytest.param(Case(name, server, step, cause, evidence or {}, absent), id=name))


# -- the port, and what there is instead

case('closed-beside-others', ('mail.example.test', 1995, 'tls'), 'port', 'net.refused',
     {'controls': r'port 995 \(POP3 with TLS\) answers', 'alternative': 'POP3 with TLS answers at port 995'})
case('closed-altogether', ('closed.example.test', 995, 'tls'), 'port', 'net.refused', {'controls': 'port 993.* refused'},
     absent=['alternative'])
case('silent-host', ('silent.example.test', 995, 'tls'), 'port', 'net.timeout', {'controls': 'port 993 .*no answer'})
case('silent-port', ('mail.example.test', 2994, 'tls'), 'port', 'net.timeout', {'controls': 'port 993 .*answers',
     'ipv4': 'no answer', 'ipv6': 'no answer'})
case('blocked-port', ('mail.example.test', 2995, 'tls'), 'port', 'net.port-blocked',
     {'controls': r'pop\.one\.test, port 2995.*no answer.*pop\.two\.test, port 2995.*no answer'})
case('blocked-25', ('smtp.example.test', 25, 'starttls'), 'port', 'net.port-blocked', {'controls': r'port 587 \(SMTP\) answers'})
case('forbidden-here', ('frank.example.test', 995, 'tls'), 'port', 'net.blocked-locally', {'attempts': 'forbidden.* by this computer'})
case('dropped-here', ('dropped.example.test', 995, 'tls'), 'port', 'net.blocked-locally', {'attempts': 'no answer'})
case('rejected-here', ('rejected.example.test', 995, 'tls'), 'port', 'net.blocked-locally', {'attempts': 'forbidden'})
case('forbidden-there', ('mail.example.test', 2996, 'tls'), 'port', 'net.refused', {'attempts': rf'forbidden.*by {NET4}{MAIL}'})
case('prohibited-route', ('prohibited.example.test', 995, 'tls'), 'port', 'net.blocked-locally')
case('one-family', ('half.example.test', 995, 'tls'), None, '', {'ipv4': 'works', 'ipv6': 'no answer'})

# -- names

case('alias-loop', ('loop.example.test', 995, 'tls'), 'dns', 'dns.cname-loop')
case('bogus', ('mail.bogus.test', 995, 'tls'), 'dns', 'dns.dnssec-bogus')
case('servfail', ('mail.broken.test', 995, 'tls'), 'dns', 'dns.servfail')
case('dropped-names', ('mail.timeout.test', 995, 'tls'), 'dns', 'dns.timeout', {'controls': 'answers other questions'})

# -- encryption

case('old-version', ('tls old\nsend +OK', 'tls'), 'tls', 'tls.version-unsupported', {'tls': r'TLSv1\.1', 'controls': 'comes about'})
case('small-group', ('tls small-dh\nsend +OK', 'tls'), 'tls', 'tls.weak-crypto', {'key-exchange': 'DH 1024'})
case('no-cipher', ('tls null\nsend +OK', 'tls'), 'tls', 'tls.weak-crypto', {'cipher': 'NULL'})
case('no-tls-at-all', ('close', 'tls'), 'tls', 'tls.handshake-failed', {'controls': 'fails, too'})
case('silent-tls', ('tls good\nsend +OK', 'starttls'), 'tls', 'tls.mode-mismatch', {'controls': 'TLS is begun at once', 'tls': 'TLS', 'alternative': 'encrypted at once'})
case('asterisks', ('send 220 ****************\nserve\non ^EHLO\nsend 250-odd\nsend 250 8BITMIME\ndefault 500 no\nend', 'starttls', 'smtp'),
     'tls', 'tls.starttls-stripped', {'greeting': r'\*\*\*\*'})
case('without-starttls', ('send 220 odd ESMTP\nserve\non ^EHLO\nsend 250-odd\nsend 250 8BITMIME\ndefault 500 no\nend', 'starttls', 'smtp'),
     'tls', 'tls.starttls-unavailable', {'capabilities': '8BITMIME'})
case('appliance', ('tls appliance\nsend +OK', 'tls'), 'tls', 'tls.cert-untrusted-ca', {'intercepted-by': 'Fortinet'})
case('same-issuer', ('same.example.test', 2997, 'tls'), 'tls', 'tls.cert-untrusted-ca',
     {'intercepted-by': 'Nobody Knows', 'controls': r'of the same issuer'})
# A big provider has a public certificate, and STARTTLS: without them somebody else answers.
case('provider-self-signed', ('pop.gmail.com', 995, 'tls'), 'tls', 'tls.cert-self-signed', {'intercepted-by': r'odd\.example\.test'})
case('provider-stripped', ('smtp.gmail.com', 587, 'starttls'), 'tls', 'tls.starttls-stripped', {'capabilities': '8BITMIME'})
case('other-name', ('vanity.example.test', 995, 'tls'), 'tls', 'tls.cert-name-mismatch', {'suggested-host': r'^mail\.example\.test$'})
case('no-such-name', ('wrong-name.example.test', 995, 'tls'), 'tls', 'tls.cert-name-mismatch', {'names': '.'}, absent=['suggested-host'])
case('expired', ('expired.example.test', 995, 'tls'), 'tls', 'tls.cert-expired', {'clock': r'autoconfig\.example\.test says it is'},
     absent=['offset'])
case('ssh', ('send SSH-2.0-OpenSSH_9.2', 'tls'), 'tls', 'net.wrong-service', {'speaks': 'ssh'})
case('imap-on-pop-port', ('mail.example.test', 993, 'tls'), 'service', 'net.wrong-service',
     {'speaks': 'imap', 'alternative': 'POP3 with TLS answers at port 995'})
case('plain-on-tls-port', ('mail.example.test', 110, 'tls'), 'tls', 'tls.mode-mismatch', {'speaks': 'pop3', 'alternative': 'same port with STARTTLS'})
case('web', ('send HTTP/1.1 400 Bad Request', 'tls'), 'tls', 'net.wrong-service', {'speaks': 'http'})

ADDRESSES = {'frank': 61, 'dropped': 62, 'rejected': 63, 'prohibited': 64, 'vanity': MAIL, 'same': ODD}
DH = '''-----BEGIN DH PARAMETERS-----
MIGHAoGBAP//////////yQ/aoiFowjTExmKLgNwc0SkCTgiKZ8x0Agu+pjsTmyJR
Sgh5jjQE3e+VGbPNOkMbMCsKbfJfFDdP4TVtbVHCReSFtXZiXn7G9ExC6aY37WsL
/1y29Aa37e44a/taiZ+lrp8kEXxLH+ZJKGZR7OZTgf//////////AgEC
-----END DH PARAMETERS-----
'''


def lab_ca(lab):
    with open(lab.pki.file('ca.pem'), 'rb') as c, open(lab.pki.file('ca.key'), 'rb') as k:
        return x509.load_pem_x509_certificate(c.read()), load_pem_private_key(k.read(), None)


def odd_tls(lab):
    """Encryption as nobody should have it any more, and issuers that nobody knows."""
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')         # that it is old is why it is here
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers('ALL:@SECLEVEL=0')
    old.load_cert_chain(lab.pki.file('good.pem'), lab.pki.file('good.key'))
    small = rsa_context(lab, 'DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0')
    small.load_dh_params(lab.run.write('dh.pem', DH))
    lab.scripted.contexts.update({'old': old, 'small-dh': small, 'null': rsa_context(lab, 'NULL-SHA256:@SECLEVEL=0')})
    ca = lab.pki.make('appliance-ca', 'FortiGate CA', ca=True)
    lab.pki.make('appliance', 'odd.example.test', ca, names=['odd.example.test'], send=ca[:1])
    lab.pki.make('self-signed-odd', 'odd.example.test', names=['odd.example.test', 'pop.gmail.com'])
    lab.pki.make('strangers', 'same.example.test', lab_ca(lab), names=['same.example.test', 'pop.one.test', 'pop.two.test'],
                 start=-90, end=-2)
    nobody = lab.pki.make('nobody-ca', 'Nobody Knows', ca=True)
    lab.pki.make('same', 'same.example.test', nobody, names=['same.example.test', 'pop.one.test', 'pop.two.test'])


def rsa_context(lab, ciphers, issuer=None):
    """TLS 1.2 with these ciphers, and an RSA key signed by @issuer (None: by somebody whom nobody knows)."""
    stem = 'rsa-known' if issuer else 'rsa'
    issuer = issuer or lab.pki.make('rsa-ca', 'Some RSA CA', ca=True)
    lab.pki.make(stem, 'odd.example.test', issuer, names=['odd.example.test'], key=rsa.generate_private_key(65537, 2048))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(ciphers)
    made.load_cert_chain(lab.pki.file(stem + '.pem'), lab.pki.file(stem + '.key'))
    return made


def zones(lab):
    lab.zones['example.test'] += [f'{name} A {NET4}{number}' for name, number in ADDRESSES.items()]
    lab.zones['example.test'] += [f'check A {NET4}{ODD}']
    lab.zones['gmail.com'] = [f'pop A {NET4}{ODD}', f'smtp A {NET4}{ODD}']
    lab.zones['one.test'] = [f'pop A {NET4}{ODD}']
    lab.zones['two.test'] = [f'pop A {NET4}{ODD}']


def firewalls(lab):
    # On the servers' side: ports that are silent, and one that is forbidden with words.
    lab.nft('table inet closed { chain in { type filter hook input priority 0; tcp dport { 25, 2994, 2995 } drop; '
            'tcp dport 2996 reject with icmpx type admin-prohibited; }; }')
    rules = ('table inet own { chain out { type filter hook output priority 0; '
             f'ip daddr {NET4}61 tcp dport 995 reject with icmpx type admin-prohibited; ip daddr {NET4}62 drop; '
             f'ip daddr {NET4}63 reject; }}; }}')
    done = lab.client.call(['/usr/sbin/nft', rules])
    assert done.returncode == 0, done.stderr
    lab.client.ip(f'route add prohibit {NET4}64/32')


def probe(client, host, port, security='tls', smtp=False):
    keys = options({'protocol': 'smtp' if smtp else 'pop3', 'security': security})
    return Setup(client, client.manager('Probe', 'sqa{sv}', host, port, keys))


@pytest.fixture(scope='module')
def lab():
    made = Lab()
    zones(made)
    with made as started:
        firewalls(started)
        odd_tls(started)
        yield started


@pytest.fixture(scope='module')
def providers(lab):
    """Servers of others, in the administrator's files: what control probes may ask."""
    def one(domain, port):
        return {'id': f'{domain}-{port}', 'name': domain, 'domains': [f'{port}.{domain}'],
                'pop3': {'host': f'pop.{domain}', 'port': port, 'security': 'tls'}, 'user': 'address', 'checked': '2026-11'}
    table = {'providers': [one(domain, port) for port in (2995, 2997, 2998) for domain in ('one.test', 'two.test')]}
    lab.run.write('providers.d/others.json', json.dumps(table))
    return {'discovery': {'providers-directory': lab.run.file('providers.d')}}


@pytest.fixture(scope='module')
def played(lab, build, providers):
    lab.scripted.play_text(2997, 'tls same\nsend +OK')
    lab.scripted.play_text(995, 'tls self-signed-odd\nsend +OK')
    lab.scripted.play_text(587, 'send 220 smtp.gmail.com ESMTP\nserve\non ^EHLO\nsend 250-at your service\nsend 250 8BITMIME\ndefault 500 no\nend')
    with Bus(build, lab=lab, config={**CONFIG, **providers}) as bus, Connection(bus) as client:
        setups = {}
        for param in CASES:
            one = param.values[0]
            if len(one.server) == 3 and isinstance(one.server[1], int):
                server, smtp = one.server, one.server[1] in (25, 465, 587)
            else:
                port = lab.scripted.play_text(0, one.server[0])
                server, smtp = ('odd.example.test', port, one.server[1]), one.server[2:] == ('smtp',)
            setups[one.name] = probe(client, *server, smtp=smtp)
        pending = dict(setups)

        def ended():
            for name in list(pending):
                if pending[name].state in ('failed', 'ready', 'waiting'):
                    del pending[name]
            return not pending
        try:
            client.wait(ended, 100)
        except TimeoutError:
            pass
        yield {name: (setup.state, setup['Cause'], setup.steps, setup.needs) for name, setup in setups.items()}


def text_of(value):
    return '; '.join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def side_of(one, steps):
    return 'outgoing' if steps['outgoing.port'].status != 'skipped' else 'incoming'


@pytest.mark.parametrize('one', CASES)
def test_cause(played, one):
    state, cause, steps, needs = played[one.name]
    side = side_of(one, steps)
    step = steps[f'{side}.{one.step or "port"}']
    assert cause == one.cause, {k: s for k, s in steps.items() if s.status != 'skipped'}
    assert not needs
    assert step.status == ('failed' if one.step else 'passed')
    for key, pattern in one.evidence.items():
        assert re.search(pattern, text_of(step.evidence.get(key, ''))), (key, pattern, step)
    for key in one.absent:
        assert key not in step.evidence, step


def test_refused_is_told_at_once(played):
    """A refusal takes a round trip, and what is looked at beside not much longer."""
    for name in ('closed-beside-others', 'closed-altogether'):
        assert played[name][2]['incoming.port'].usec < 5_000_000


def test_no_probe_has_signed_in(lab, played):
    assert 'auth failed' not in lab.run.log('dovecot/dovecot.log') and 'Login:' not in lab.run.log('dovecot/dovecot.log')


# -- what a step waits for

def test_running_step_says_what_it_waits_for(lab, build):
    with Bus(build, lab=lab, config=HTTP) as bus, Connection(bus) as client:
        before = time.time()
        setup = probe(client, 'silent.example.test', 995)
        step = setup.wait_step('incoming.port', 'running')
        assert step.cause == '' and step.evidence['addresses'] == [f'{NET4}{SILENT}'] and step.evidence['port'] == 995
        assert before - 5 < step.evidence['since'] / 1e6 < time.time() + 5
        assert 5_000_000 <= step.evidence['budget-usec'] <= 60_000_000
        setup.cancel()


# -- the clock

@pytest.fixture
def shifted(lab, monkeypatch):
    """What the web server says the time is."""
    def shift(days):
        moment = time.time() + days * 86400
        monkeypatch.setattr(wplab.web.Handler, 'date_time_string',
                            lambda self, timestamp=None: time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime(moment)))
    return shift


@pytest.mark.parametrize('days, start, end, cause', [
    (400, 399, 500, 'local.clock-wrong'), (-400, -500, -399, 'local.clock-wrong'),
    (0, 399, 500, 'tls.cert-not-yet-valid'), (400, -500, -399, 'tls.cert-expired')])
def test_clock(lab, build, shifted, days, start, end, cause):
    """A certificate out of its time: an HTTPS server's clock tells whose fault it is."""
    shifted(days)
    stem = f'dated{days}{start}'
    lab.pki.make(stem, 'odd.example.test', lab_ca(lab), names=['odd.example.test'], start=start, end=end)
    port = lab.scripted.play_text(0, f'tls {stem}\nsend +OK')
    with Bus(build, lab=lab, config=HTTP) as bus, Connection(bus) as client:
        setup = probe(client, 'odd.example.test', port)
        setup.wait_state('failed')
        step = setup.steps['incoming.tls']
        assert setup['Cause'] == cause, step
        assert any('autoconfig.example.test says it is' in line for line in step.evidence['clock'])
        assert ('offset' in step.evidence) == (days != 0)
        if cause == 'local.clock-wrong':
            assert step.evidence['offset'] == ('400 days behind' if days > 0 else '400 days ahead')


def test_clock_by_strangers(lab, build, providers, monkeypatch):
    """Two servers that have nothing to do with each other cannot both have forgotten theirs; unless a clock agrees with ours."""
    lab.scripted.play_text(2998, 'tls strangers\nsend +OK')
    for name, cause in (('date', 'tls.cert-expired'), ('no-date', 'local.clock-wrong')):
        if name == 'no-date':
            monkeypatch.setattr(wplab.web.Handler, 'date_time_string', lambda self, timestamp=None: 'never')
        with Bus(build, lab=lab, config={**HTTP, **providers}) as bus, Connection(bus) as client:
            setup = probe(client, 'same.example.test', 2998)
            setup.wait_state('failed')
            assert setup['Cause'] == cause, setup.steps['incoming.tls']


# -- networks that want a sign-in

class Portal(http.server.BaseHTTPRequestHandler):
    answer = (200, None, b'NetworkManager is online\n')

    def do_GET(self):
        status, where, body = Portal.answer
        self.send_response(status)
        if where:
            self.send_header('Location', where)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope='module')
def web(lab):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Portal, bind_and_activate=False)
    server.socket.close()
    server.socket = lab.server.listen(NET4 + str(ODD), 80)
    threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(web):
    """The page that everybody knows, here: what it answers, for one test."""
    yield Portal
    Portal.answer = (200, None, b'NetworkManager is online\n')


@pytest.mark.parametrize('answer, cause', [
    ((302, 'http://login.hotspot.test/', b''), 'net.captive-portal'), ((200, None, b'<html>Welcome</html>'), 'net.captive-portal'),
    ((511, None, b'sign in'), 'net.captive-portal'), ((200, None, b'NetworkManager is online\n'), 'tls.cert-self-signed'),
    ((404, None, b''), 'tls.cert-self-signed')])
def test_portal_by_page(lab, build, page, answer, cause):
    page.answer = answer
    with Bus(build, lab=lab, config=HTTP) as bus, Connection(bus) as client:
        setup = probe(client, 'self-signed.example.test', 995)
        setup.wait_state('failed', 'waiting')
        step = setup.steps['incoming.tls']
        assert step.cause == cause, step
        if cause == 'net.captive-portal':
            assert 'hotspot.test' in step.evidence['portal'] or 'check.example.test' in step.evidence['portal']
            assert not setup.needs


def test_portal_that_refuses_all_but_the_web(lab, build, page):
    page.answer = (302, 'http://login.hotspot.test/', b'')
    with Bus(build, lab=lab, config=HTTP) as bus, Connection(bus) as client:
        setup = probe(client, 'closed.example.test', 995)
        setup.wait_state('failed')
        assert setup['Cause'] == 'net.captive-portal', setup.steps['incoming.port']


def unbound(lab, *words):
    done = lab.server.call(['/usr/sbin/unbound-control', '-c', lab.run.file('dns/unbound.conf'), *words])
    assert done.returncode == 0, done


def test_portal_by_name(lab, build):
    """Whatever is asked for, the answer is one and the same address."""
    unbound(lab, 'local_zone', 'invalid.', 'redirect')
    unbound(lab, 'local_data', f'invalid. 1 IN A {NET4}34')
    try:
        with Bus(build, lab=lab, config=HTTP) as bus, Connection(bus) as client:
            setup = probe(client, 'self-signed.example.test', 995)
            setup.wait_state('failed', 'waiting')
            assert setup['Cause'] == 'net.captive-portal'
            assert setup.steps['incoming.tls'].evidence['portal'] == f'{NET4}34'
    finally:
        unbound(lab, 'local_zone_remove', 'invalid.')


# -- our own side: each of these takes the network away

OFFLINE = {
    'link-down': ['link set wp-c down'],
    'no-address': ['address flush dev wp-c'],
    'no-way-out': None,
}


@pytest.mark.parametrize('kind', OFFLINE)
def test_offline(build, kind):
    with Lab() as lab, Bus(build, lab=lab) as bus, Connection(bus) as client:
        bus.activate()
        if OFFLINE[kind]:
            lab.client.ip(*OFFLINE[kind])
        else:
            lab.set_resolver('203.0.113.53')        # somewhere in the world, and there is no way there
        setup = client.start_setup('alice@example.test', dry_run=True)
        byhand = probe(client, 'pop.example.test', 995)
        literal = probe(client, '203.0.113.9', 995)
        for one, step in ((setup, 'discovery'), (byhand, 'incoming.dns'), (literal, 'incoming.port')):
            one.wait_state('failed')
            assert one['Cause'] == 'net.offline', one.steps
            assert one.steps[step].evidence['network']


# -- one trouble, one Since

def onboard(client, lab, **more):
    """An account whose server is a scripted one; returns it and the port."""
    port = lab.scripted.play(0, 'pop-ok')
    setup = client.start_setup('alice@example.test', receive_only=True, incoming=endpoint('odd.example.test', port), **more)
    setup.wait_need('password')
    setup.set_password('alicepw')
    setup.wait_state('ready', 'failed')
    account = setup.commit()
    client.wait(lambda: account.history(1) and not account['Run'], what='the first fetch')
    return account, port


def test_trouble_that_takes_turns_is_one(lab, build):
    """Temporary causes in turn, and one that comes back at once: one Since, one warning in the log, one end."""
    with Bus(build, lab=lab, config={**HTTP, 'fetch': {'interval': '30d'}}) as bus, Connection(bus) as client:
        account, port = onboard(client, lab)
        fine = account['Since']
        seen = []
        for dialogue in ('pop-tempfail', 'pop-close-after-pass', 'pop-err-greeting', 'pop-ok', 'pop-tempfail', 'pop-ok'):
            lab.scripted.play(port, dialogue)
            run = account.fetch()
            seen.append((run['cause'], account['State'], account['Since']))
        assert [s[:2] for s in seen] == [
            ('auth.temporary-failure', 'failing'), ('net.reset', 'failing'), ('server.temporary', 'failing'), ('', 'active'),
            ('auth.temporary-failure', 'failing'), ('', 'active')]
        since = [s[2] for s in seen]
        assert fine < since[0] == since[1] == since[2] == since[4] < since[3] < since[5]
        told = [line[:3] for line in bus.log().splitlines() if 'alice@example.test is ' in line and 'setup of' not in line]
        assert told == ['<4>', '<6>', '<6>', '<5>', '<6>', '<6>']       # warning, notice; the rest is for whoever reads along
        assert not [line for line in bus.log().splitlines() if line.startswith('<4>') and 'stopped by' in line]
        lab.scripted.play(port, 'pop-wrong-password')     # another one
        account.fetch()
        assert account['State'] == 'needs-password' and account['Since'] > since[5]


# -- words in another charset

@pytest.mark.parametrize('words, cause', [
    (r'\xc7\xeb\xca\xb9\xd3\xc3\xca\xda\xc8\xa8\xc2\xeb\xb5\xc7\xc2\xbc', 'auth.app-password-required'),      # GBK: use the code to sign in
    (r'Acc\xe8s POP d\xe9sactiv\xe9 pour cette bo\xeete', 'access.pop-disabled')])                           # Latin-1
def test_words_are_judged_as_they_came(lab, build, words, cause):
    port = lab.scripted.play_text(0, f'tls good\nsend +OK\nserve\non ^PASS|^AUTH|^[A-Za-z0-9+/=]+$\nsend -ERR {words}\ninclude pop3.rules\nend')
    with Bus(build, lab=lab, config=HTTP) as bus, Connection(bus) as client:
        setup = client.start_setup('alice@example.test', dry_run=True, receive_only=True,
                                   incoming=endpoint('odd.example.test', port))
        setup.wait_need('password')
        setup.set_password('anything-1')
        setup.wait_state('failed', 'ready')
        step = setup.steps['incoming.login']
        assert step.cause == cause and step.evidence['reply'].isprintable(), step


# -- doctor

@pytest.fixture(scope='module')
def clinic(lab, build, providers):
    with Bus(build, lab=lab, config={**CONFIG, **providers}) as bus:
        yield bus


def on_terminal(bus, *args, columns=80, rows=24):
    """What somebody sees who runs `waypost ARGS` at a terminal of this size, as lines without colours; and the exit status."""
    pid, fd = pty.fork()
    if pid == 0:
        argv = bus.command([bus.binary('cli', 'waypost'), *args])
        os.execvpe(argv[0], argv, {**bus.environment(), 'TERM': 'xterm', 'ASAN_OPTIONS': 'detect_leaks=0'})
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
    seen = b''
    while True:
        try:
            part = os.read(fd, 65536)
        except OSError:
            break
        if not part:
            break
        seen += part
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(fd)
    return final_screen(seen.decode()), status


@pytest.mark.parametrize('what, status, shows', [
    (['mail.example.test:995'], 0, ['The server answers as it should']),
    (['expired.example.test:995'], 5, ['FAIL  incoming.tls', r'\(tls\.cert-expired\)', '> Certificate: certificate has expired',
                                       '-     not reached: incoming.service', r'1\. ']),
    (['closed.example.test:995'], 4, ['FAIL  incoming.port', 'net.refused', r'> .*refused after', '> Beside: port']),
    (['closed.example.test:995', '--exit-by=family'], 13, ['net.refused']),
    (['expired.example.test:995', '--exit-by=family'], 14, ['tls.cert-expired']),
    (['half.example.test:995'], 0, ['! IPv6 is broken here']),
    (['bob@example.test', '--password-file', 'bobpw'], 3, [r'\(access\.pop-disabled\)', r'> The server said: "Your account is not',
                                                         'ok    outgoing.service', 'not reached: .*incoming.mailbox']),
    (['alice@example.test', '--password-file', 'alicepw'], 0, ['ok    outgoing.sender', 'All of it works'])])
def test_doctor_is_one_screen(lab, clinic, what, status, shows):
    for user in ('bob', 'alice'):
        lab.run.write(f'{user}pw', user + 'pw\n', 0o644)
    what = [lab.run.file(w) if w.endswith('pw') else w for w in what]
    lines, result = on_terminal(clinic, 'doctor', *what)
    assert result == status, lines
    assert len(lines) <= 24 and max(map(len, lines)) <= 80, lines
    for pattern in shows:
        assert any(re.search(pattern, line) for line in lines), (pattern, lines)
    assert sum('FAIL' in line for line in lines) == (status != 0)


def test_doctor_of_a_cause_on_both_sides_has_one_error(lab, clinic):
    """Both sides have failed for the same reason: it is told once."""
    lines, status = on_terminal(clinic, 'doctor', 'alice@example.test', '--incoming', 'expired.example.test:995/tls',
                                '--outgoing', 'expired.example.test:465/tls')
    assert status == 5 and sum('FAIL' in line for line in lines) == 1 and any('same  outgoing.tls' in line for line in lines), lines


def test_doctor_warns(lab, clinic):
    """Of what works, but should be known; and in JSON by its code."""
    lab.pki.make('soon', 'odd.example.test', lab_ca(lab), names=['odd.example.test'], start=-80, end=12)
    port = lab.scripted.play_text(0, 'tls soon\nsend +OK here\nserve\non ^CAPA\nsend +OK\nsend USER\nsend TOP\n'
                                     'send EXPIRE 0\nsend LOGIN-DELAY 600\nsend .\ninclude pop3.rules\nend')
    lab.run.write('alicepw', 'alicepw\n', 0o644)
    done = clinic.cli('doctor', 'alice@example.test', '--incoming', f'odd.example.test:{port}/tls', '--password-file',
                      lab.run.file('alicepw'), '--json')
    told = json.loads(done.stdout)
    warned = {w['code']: w['text'] for w in told['warnings']}
    assert {'certificate-ends', 'no-uidl', 'expires-at-once', 'login-delay'} <= set(warned), told
    assert re.search(r'ends in 1[12] days', warned['certificate-ends']) and '10 min' in warned['login-delay']


def test_doctor_warns_of_weak_encryption(lab, clinic):
    lab.scripted.contexts['weak'] = rsa_context(lab, 'AES128-SHA256', lab_ca(lab))
    port = lab.scripted.play_text(0, 'tls weak\nsend +OK\nserve\ninclude pop3.rules\nend')
    told = json.loads(clinic.cli('doctor', f'odd.example.test:{port}/tls', '--protocol=pop3', '--json').stdout)
    assert [w['code'] for w in told['warnings']] == ['weak-encryption'] and 'AES128' in told['warnings'][0]['text'], told


def test_doctor_fills_texts_with_what_was_found(clinic):
    told = json.loads(clinic.cli('doctor', 'closed.example.test:995', '--json').stdout)
    assert 'closed.example.test' in told['explanation'] and '995' in told['explanation']


def test_doctor_watches(lab, clinic):
    """Only what has changed is told again."""
    port = lab.scripted.play(0, 'pop-ok')
    argv = clinic.command([clinic.binary('cli', 'waypost'), 'doctor', f'odd.example.test:{port}/tls', '--protocol=pop3', '--watch=5', '--json'])
    watching = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=clinic.environment())
    try:
        seen = {}
        while 'result' not in seen or 'incoming.service' not in seen:
            line = json.loads(watching.stdout.readline())
            seen[line['what']] = line
        assert seen['result']['now'] == 'works' and seen['result']['before'] is None
        lab.scripted.play(port, 'pop-err-greeting')
        while seen['result']['now'] == 'works' or not seen['incoming.service']['now'].startswith('failed'):
            line = json.loads(watching.stdout.readline())
            if line['before'] is None:
                continue                # of the first look, which tells all
            assert line['what'] in ('result', 'incoming.service')
            seen[line['what']] = line
        assert seen['result']['now'] == 'server.temporary' and seen['result']['before'] == 'works'
    finally:
        watching.kill()
        watching.wait()
        watching.stdout.close()


# -- certificates after handover

def dated(lab, stem, days, key=None):
    lab.pki.make(stem, 'odd.example.test', lab_ca(lab), names=['odd.example.test'], start=-10, end=days, key=key)
    return f'tls {stem}\n' + open(os.path.join(os.path.dirname(__file__), 'dialogues', 'pop-ok.dlg')).read().partition('tls good\n')[2]


def test_certificate_care(lab, build):
    """A forecast, and a key that changed: told in the account, in the log once, and over a restart."""
    with Bus(build, lab=lab, config={**HTTP, 'fetch': {'interval': '30d'}}) as bus, Connection(bus) as client:
        account, port = onboard(client, lab)
        first = account['Incoming']
        assert account['Warnings'] == [] and first['days-left'] > 300 and 'changed' not in first
        lab.scripted.play_text(port, dated(lab, 'twelve', 12))
        for _ in range(2):
            assert account.fetch()['cause'] == ''
        assert set(account['Warnings']) == {'tls.cert-expiring', 'tls.cert-key-changed'}
        seen = account['Incoming']
        assert seen['days-left'] in (11, 12) and seen['spki-sha256'] != first['spki-sha256'] and seen['changed'] > 0
        assert account['State'] == 'active'
        lab.scripted.play_text(port, dated(lab, 'two', 2))
        account.fetch()
        told = [re.sub(r' WAYPOST.*', '', line) for line in bus.log().splitlines() if 'odd.example.test ends in' in line]
        assert len(told) == 2 and told[0].startswith('<4>') and re.search(r'in 1[12] days', told[0]) and 'in 1 days' in told[1], told
        bus.stop_service()
    with Bus(build, lab=lab, config=HTTP, state=bus.state) as bus, Connection(bus) as client:
        account, = client.accounts()
        assert {'tls.cert-expiring', 'tls.cert-key-changed'} <= set(account['Warnings']) and account['Incoming']['days-left'] == 1


def test_exception_has_an_end(lab, build):
    """What was approved holds for one key, one host, and a year."""
    port = lab.scripted.play(0, 'pop-cert-self-signed')
    with Bus(build, lab=lab, config={**HTTP, 'fetch': {'interval': '30d'}}) as bus, Connection(bus) as client:
        lab.scripted.play_text(port, 'tls self-signed-odd\n' + dated(lab, 'unused', 12).partition('\n')[2])
        setup = client.start_setup('alice@example.test', receive_only=True, incoming=endpoint('odd.example.test', port))
        need = setup.wait_need('certificate-approval')
        setup.approve(need['token'])
        setup.wait_need('password')
        setup.set_password('alicepw')
        assert setup.wait_state('ready', 'failed') == 'ready', setup.steps
        account = setup.commit()
        client.wait(lambda: account.history(1) and not account['Run'])
        until = account['Incoming']['approved-until'] / 1e6
        assert 364 * 86400 < until - time.time() < 366 * 86400 and account['State'] == 'active'
        bus.stop_service()
        database = sqlite3.connect(os.path.join(bus.state, 'waypost.db'))
        with database:
            database.execute('UPDATE certificate SET approved_until_usec = ?', (int((time.time() - 60) * 1e6),))
        database.close()
        with Connection(bus) as again:
            account, = again.accounts()
            assert account.fetch()['cause'] == 'tls.cert-self-signed'
            assert account['State'] == 'needs-approval'
            repair = Setup(again, account.call('Repair', 'a{sv}', {}))
            repair.approve(repair.wait_need('certificate-approval')['token'])
            assert repair.wait_state('succeeded', 'failed', 'waiting') == 'succeeded', repair.steps
            assert account.fetch()['cause'] == '' and account['State'] == 'active'
            assert account['Incoming']['approved-until'] / 1e6 > time.time() + 364 * 86400


# -- what is found, and may not be used

def test_document_that_names_other_ports(lab, build):
    """A document must not aim us at whatever it likes: it is said why its servers are not used."""
    document = autoconfig('auto.test', 'in.auto.test', 'in.auto.test', 'out.auto.test')
    before = lab.web.documents['autoconfig.auto.test', '/mail/config-v1.1.xml']
    lab.web.publish('autoconfig.auto.test', '/mail/config-v1.1.xml', re.sub(r'<port>(\d+)</port>', r'<port>6\1</port>', document))
    try:
        with Bus(build, lab=lab, config={**HTTP, 'discovery': {'mx': 'no', 'guess': 'no'}}) as bus, Connection(bus) as client:
            setup = client.start_setup('alice@auto.test', dry_run=True)
            assert setup.wait_state('waiting', 'failed') == 'waiting'
            assert setup['Cause'] == 'policy.port-forbidden' and setup.need('servers'), setup.steps['discovery']
    finally:
        lab.web.documents['autoconfig.auto.test', '/mail/config-v1.1.xml'] = before


@pytest.mark.long
def test_verification_that_takes_long(lab, build):
    """It says so, before it gives up."""
    with Bus(build, lab=lab, config={**HTTP, 'verification': {'timeout': '40s'}}) as bus, Connection(bus) as client:
        setup = client.start_setup('gone@example.test')
        setup.wait_need('password')
        setup.set_password('gonepw')
        setup.wait_state('ready')
        setup.commit()
        setup.wait_need('verification-code')
        client.wait(lambda: setup.steps['verification'].cause == 'verification.delayed')
        setup.wait_state('failed')
        assert setup['Cause'] == 'verification.not-arrived'


def test_doctor_of_what_is_no_address(clinic):
    lines, status = on_terminal(clinic, 'doctor', 'alice@@example.test')
    assert status == 3 and any('(input.address-syntax)' in line for line in lines), lines
    assert any('alice@@example.test cannot be one' in line for line in lines), lines
    told = json.loads(clinic.cli('doctor', 'alice@@example.test', '--json').stdout)
    assert told['cause'] == 'input.address-syntax' and told['remedies'] and told['state'] == 'failed'


def test_fetch_is_judged_by_the_same_engine(build):
    """Offline, a closed port, a network that wants a sign-in: a fetch says what a setup says, and goes on by itself."""
    with Lab() as lab, Bus(build, lab=lab, config={**HTTP, 'fetch': {'interval': '30d'}}) as bus, Connection(bus) as client:
        account, port = onboard(client, lab)
        lab.client.ip('link set wp-c down')
        assert account.fetch()['cause'] == 'net.offline' and account['State'] == 'failing'
        since = account['Since']
        lab.client.ip('link set wp-c up')
        lab.scripted.stop(port)
        client.wait(lambda: account.fetch()['cause'] == 'net.refused', what='the network to be up')
        assert account['State'] == 'failing' and account['Since'] == since
        lab.scripted.play(port, 'pop-ok')
        assert account.fetch()['cause'] == '' and account['State'] == 'active'


def test_doctor_of_an_account(lab, build):
    """Its life until now in a line, its own warnings besides those of the steps; the stored password signs in."""
    with Bus(build, lab=lab, config={**HTTP, 'fetch': {'interval': '30d'}}) as bus, Connection(bus) as client:
        account, port = onboard(client, lab)
        lab.scripted.play_text(port, dated(lab, 'other-key', 300))
        account.fetch()
        lines, status = on_terminal(bus, 'doctor', 'alice@example.test')
        assert status == 0 and len(lines) <= 24, lines
        assert re.match(r'  active since .*; last fetched .*, next in ', lines[1]), lines
        assert any('ok    incoming.mailbox' in line for line in lines) and any('! The server has another key' in line for line in lines)
        assert 'tls.cert-key-changed' in [w['code'] for w in json.loads(bus.cli('doctor', 'alice@example.test', '--json').stdout)['warnings']]


# -- a certificate that was withdrawn

def stapled(lab, stem, status):
    """The chain of @stem, and what its issuer says of it."""
    issuer, key = lab_ca(lab)
    cert, _ = lab.pki.make(stem, 'odd.example.test', (issuer, key), names=['odd.example.test'])
    now = datetime.datetime.utcnow()
    revoked = status == ocsp.OCSPCertStatus.REVOKED
    word = ocsp.OCSPResponseBuilder().add_response(
        cert=cert, issuer=issuer, algorithm=hashes.SHA1(), cert_status=status, this_update=now - datetime.timedelta(hours=1),
        next_update=now + datetime.timedelta(days=1), revocation_time=now - datetime.timedelta(days=1) if revoked else None,
        revocation_reason=x509.ReasonFlags.key_compromise if revoked else None
    ).responder_id(ocsp.OCSPResponderEncoding.HASH, issuer).sign(key, hashes.SHA256())
    lab.pki.write(stem + '.ocsp', word.public_bytes(serialization.Encoding.DER), 0o644)
    return lab.pki.file(stem + '.ocsp')


@pytest.mark.parametrize('status, cause', [(ocsp.OCSPCertStatus.REVOKED, 'tls.cert-revoked'), (ocsp.OCSPCertStatus.GOOD, None)])
def test_stapled_word_of_the_issuer(lab, build, status, cause):
    port = 2911 + (status == ocsp.OCSPCertStatus.GOOD)
    stem = f'stapled-{port}'
    file = stapled(lab, stem, status)
    lab.run.spawn(['/usr/bin/openssl', 's_server', '-quiet', '-accept', f'{NET4}{ODD}:{port}', '-cert', lab.pki.file(stem + '.pem'),
                   '-key', lab.pki.file(stem + '.key'), '-status_file', file], log=f'{stem}.log', namespace=lab.server)
    until(lambda: lab.server.call(['/usr/bin/ss', '-Hltn', f'sport = :{port}']).stdout, 'openssl s_server')
    with Bus(build, lab=lab, config=HTTP) as bus, Connection(bus) as client:
        setup = probe(client, 'odd.example.test', port)
        if cause:
            setup.wait_state('failed')
            assert setup['Cause'] == cause and 'certificate revoked' in setup.steps['incoming.tls'].evidence['verify-errors']
        else:
            assert setup.wait_step('incoming.tls', 'passed', 'failed').status == 'passed'
        setup.cancel()


def test_offline_behind_a_resolver_of_ones_own(build):
    """A stub on this computer answers although it can ask nobody: "failed" is all that it knows then."""
    with Lab() as lab, Bus(build, lab=lab) as bus, Connection(bus) as client:
        stub = lab.client.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        stub.bind(('127.0.0.53', 53))

        def answer():
            while True:
                try:
                    question, who = stub.recvfrom(4096)
                except OSError:
                    return
                stub.sendto(question[:2] + b'\x81\x82' + question[4:6] + bytes(6) + question[12:], who)
        threading.Thread(target=answer, daemon=True).start()
        lab.set_resolver('127.0.0.53')
        setup = probe(client, 'pop.example.test', 995)
        setup.wait_state('failed')
        assert setup['Cause'] == 'net.offline', setup.steps['incoming.dns']
        stub.close()
