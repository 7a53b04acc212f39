# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab: DNS, mail and web servers in a network of their own, with a client side to look at them from.

Real software (knot, unbound, Dovecot, Postfix), started without systemd from configurations written here,
in a run's own folder and namespaces: any number of labs may run at once, and none sees the machine's own
servers or settings. What no honest server does is played by scripted.py on the host odd.example.test.
"""
import json
import os
import re
import shutil
import subprocess
import threading
import time

from . import servers
from .issuer import Issuer
from .pki import Pki
from .run import CLEAN_ENV, LabError, Run, until
from .scripted import ScriptedServer
from .web import WebServer

NET4, NET6 = '198.51.100.', '2001:db8:100::'
MAIL, SMTP, DNS, WEB, CLOSED, ODD, SILENT = 10, 25, 53, 80, 40, 41, 201
ISSUER = 44
BAD = {'expired': 31, 'not-yet-valid': 32, 'wrong-name': 33, 'self-signed': 34, 'unknown-ca': 35,
       'missing-intermediate': 36, 'weak-key': 37}
SILENT_MAC = '02:00:00:00:00:01'
CERT_VARIABLES = ('SSL_CERT_FILE', 'SSL_CERT_DIR', 'CURL_CA_BUNDLE', 'REQUESTS_CA_BUNDLE', 'NODE_EXTRA_CA_CERTS',
                  'GIT_SSL_CAINFO', 'NIX_SSL_CERT_FILE', 'PIP_CERT', 'AWS_CA_BUNDLE')


def host_lines(name, number, v6=True):
    lines = [f'{name} A {NET4}{number}']
    return lines + [f'{name} AAAA {NET6}{number}'] if v6 else lines


def start_zones():
    """Domain -> lines of its zone after SOA and NS. What is not here does not exist (NXDOMAIN)."""
    mx = 'MX 10 mx.example.test.'
    example = ['@ MX 10 mx', '@ TXT "v=spf1 mx -all"', 'pop CNAME mail', 'imap CNAME mail',
               '_pop3s._tcp SRV 10 1 995 pop', '_pop3._tcp SRV 0 0 0 .', '_imaps._tcp SRV 0 1 993 imap',
               '_submissions._tcp SRV 0 1 465 smtp', 'loop CNAME loop2', 'loop2 CNAME loop', 'dangling CNAME nowhere',
               f'ns A {NET4}{DNS}', f'half AAAA {NET6}{SILENT}', f'half A {NET4}{MAIL}',
               'noroute A 203.0.113.1']
    for name, number in (('mx', SMTP), ('mail', MAIL), ('smtp', SMTP), ('autoconfig', WEB)):
        example += host_lines(name, number)
    for name, number in (('id', ISSUER), ('silent', SILENT), ('closed', CLOSED), ('odd', ODD), *BAD.items()):
        example += host_lines(name, number, v6=False)
    own = ['@ MX 10 mx', *host_lines('mx', SMTP)]       # an exchanger that betrays nobody else
    full = [*own, *host_lines('mail', MAIL), *host_lines('pop', MAIL), *host_lines('smtp', SMTP)]
    return {
        'example.test': example,
        'auto.test': ['@ ' + mx, *host_lines('autoconfig', WEB), *host_lines('in', MAIL), *host_lines('out', SMTP)],
        'srv.test': ['@ ' + mx, '_pop3s._tcp SRV 0 1 995 in', '_submissions._tcp SRV 0 1 465 out',
                     *host_lines('in', MAIL), *host_lines('out', SMTP)],
        'guess.test': full,
        'foreign.test': ['@ ' + mx, '_pop3s._tcp SRV 0 1 995 pop.example.test.',
                         '_submissions._tcp SRV 0 1 465 smtp.example.test.'],
        'nullmx.test': ['@ MX 0 .'],
        'nomail.test': ['@ TXT "no mail here"'],
        'hollow.test': own,                     # takes mail, but nothing tells where to read it
        'signed.test': full,
        'bogus.test': full,
    }


MAIL_DOMAINS = ('example.test', 'auto.test', 'srv.test', 'guess.test', 'foreign.test', 'hollow.test', 'signed.test')
GOOD_NAMES = ['mail.example.test'] + [h + '.example.test' for h in
                                      'pop imap smtp mx half odd autoconfig silent closed id'.split()] + \
    ['autoconfig.auto.test', 'in.auto.test', 'out.auto.test', 'in.srv.test', 'out.srv.test',
     *[f'{h}.{d}' for d in ('guess.test', 'signed.test') for h in ('mail', 'pop', 'smtp')]]


def start_accounts():
    """Address -> what its servers say. Keys: password; pop3, imap, smtp (a reply text, "tempfail", "disabled" or
    "expired"; Postfix says 535 to each without the text); sender (who owns the address as sender); recipient (reply to RCPT); discard (accept, throw away)."""
    accounts = {f'alice@{d}': {'password': 'alicepw'} for d in MAIL_DOMAINS}
    here = {
        'bob': {'pop3': '[SYS/PERM] Your account is not enabled for POP access.'},
        'carl': {'pop3': 'Application-specific password required: https://example.test/help'},
        'dora': {'pop3': 'tempfail', 'imap': 'tempfail', 'smtp': 'tempfail'},
        'eve': {}, 'frank': {}, 'big': {},
        'later': {'recipient': '451 4.7.1 Greylisted, please try again in 5 minutes'},
        'unknownrcpt': {'recipient': '550 5.1.1 No such user here'},
        'nosend': {'smtp': 'disabled'},
        'badfrom': {'sender': 'somebody-else@example.test'},
        'gone': {'discard': True},
        'locked': {'pop3': '[IN-USE] Mailbox is locked by another session.'},
        'expired': {'pop3': 'expired'},
        'suspended': {'pop3': 'disabled', 'imap': 'disabled', 'smtp': 'disabled'},
        'hasty': {'pop3': '[LOGIN-DELAY] You may log in once every 15 minutes.'},
    }
    for user, keys in here.items():
        accounts[f'{user}@example.test'] = {'password': user + 'pw', **keys}
    return accounts


class Lab:
    """Start with `with Lab() as lab:`. Everything is public; the README lists what is meant to be used.

    With @delay_ms each packet between client and servers takes that long; the program of tests/bench/netdelay.c
    does it, and WAYPOST_NETDELAY says where it is. With @issuer (settings of wplab/issuer.py, {} for none) there is an OpenID
    provider at id.example.test, and Dovecot takes its tokens."""

    def __init__(self, delay_ms=None, auth_mechanisms='plain login', issuer=None):
        self.run, self.delay_ms, self.auth_mechanisms = None, delay_ms, auth_mechanisms
        self.issuer_settings = issuer
        self.zones, self.accounts = start_zones(), start_accounts()
        self.serial = 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        started = time.monotonic()
        self.run = Run()
        try:
            self.start_all()
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.monotonic() - started

    def start_all(self):
        self.path = self.run.path
        with_pki = threading.Thread(target=self.make_pki)
        with_pki.start()
        self.make_network()
        self.dns = servers.Dns(self)
        with_pki.join()
        if not hasattr(self, 'pki'):
            raise LabError('the certificates could not be made')
        self.issuer = Issuer(self, NET4 + str(ISSUER), **self.issuer_settings) if self.issuer_settings is not None else None
        self.dovecot = servers.Dovecot(self)
        self.postfix = servers.Postfix(self)
        self.web = WebServer(self.server.listen(NET4 + str(WEB), 443), self.pki.server_context('good'),
                             also=[self.server.listen(NET6 + str(WEB), 443)])
        self.scripted = ScriptedServer(listen=lambda port: self.server.listen(NET4 + str(ODD), port), pki=self.pki)
        self.publish_autoconfig()
        self.make_client()
        self.dns.ready()
        self.dovecot.ready()
        self.postfix.ready()

    def stop(self):
        for part in ('scripted', 'web'):
            if hasattr(self, part):
                getattr(self, part).close()
        if self.run:
            self.run.close()

    # -- parts

    def make_pki(self):
        bad = {kind: [kind + '.example.test'] for kind in BAD}
        self.pki = Pki(self.run.file('pki'), GOOD_NAMES, bad)

    def make_network(self):
        resolv = self.run.write('resolv.conf', f'nameserver {NET4}{DNS}\n')
        hosts = self.run.write('hosts', '127.0.0.1 localhost\n::1 localhost\n')
        binds = [(resolv, '/etc/resolv.conf'), (hosts, '/etc/hosts')]
        self.resolv_conf = resolv
        self.server = self.run.namespace(binds)
        self.certs = self.run.file('certs')
        shutil.copytree('/etc/ssl/certs', self.certs, symlinks=True)
        self.client = self.run.namespace(binds + [(self.certs, '/etc/ssl/certs')])
        numbers = [1, MAIL, SMTP, DNS, WEB, CLOSED, ODD, ISSUER, *BAD.values()]
        self.server.ip('link set lo up')
        self.client.ip('link set lo up')
        self.make_link()
        self.server.ip(*[f'address add {NET4}{n}/24 dev wp-s' for n in numbers],
                       *[f'address add {NET6}{n:d}/64 dev wp-s nodad' for n in (MAIL, SMTP, WEB)], 'link set wp-s up')
        self.client.ip(f'address add {NET4}100/24 dev wp-c', f'address add {NET6}100/64 dev wp-c nodad', 'link set wp-c up')
        if self.delay_ms is None:               # a slow link has no neighbours; there the servers' side drops it
            self.client.ip(*[f'neighbour replace {net}{SILENT} lladdr {SILENT_MAC} dev wp-c nud permanent'
                             for net in (NET4, NET6)])

    def make_link(self):
        if self.delay_ms is None:
            self.server.ip(f'link add wp-s type veth peer name wp-c netns {self.client.pid}')
            return
        program = os.environ.get('WAYPOST_NETDELAY')
        if not program:
            raise LabError('WAYPOST_NETDELAY does not say where the program netdelay is (scripts/bench builds it)')
        self.netdelay = self.run.spawn([program, self.client.net, 'wp-c', self.server.net, 'wp-s', str(self.delay_ms)],
                                       log='netdelay.log')
        until(lambda: 'ready' in self.run.log('netdelay.log'), 'netdelay')

    def make_client(self):
        """The client trusts the lab's CA: as a bundle, and by hash for programs that use the folder."""
        with open(self.pki.ca) as f:
            ca = f.read()
        bundle = os.path.join(self.certs, 'ca-certificates.crt')
        try:
            with open('/etc/ssl/certs/ca-certificates.crt') as f:
                system = f.read()
        except FileNotFoundError:
            system = ''
        if os.path.islink(bundle):
            os.unlink(bundle)
        with open(bundle, 'w') as f:
            f.write(system + ca)
        self.bundle = self.run.write('bundle.pem', system + ca)
        digest = subprocess.run(['/usr/bin/openssl', 'x509', '-hash', '-noout', '-in', self.pki.ca],
                                capture_output=True, text=True, check=True, env=CLEAN_ENV).stdout.strip()
        shutil.copy(self.pki.ca, os.path.join(self.certs, digest + '.0'))

    def publish_autoconfig(self):
        self.web.publish('autoconfig.example.test', '/mail/config-v1.1.xml', servers.autoconfig(
            'example.test', 'pop.example.test', 'imap.example.test', 'smtp.example.test'))
        self.web.publish('autoconfig.auto.test', '/mail/config-v1.1.xml', servers.autoconfig(
            'auto.test', 'in.auto.test', 'in.auto.test', 'out.auto.test'))

    # -- what tests do with it

    def set_account(self, user, **keys):
        """Changes what the servers say about @user from the next command on. A value of None removes the key;
        a new user is made. See start_accounts() for the keys."""
        account = self.accounts.setdefault(user, {})
        for key, value in keys.items():
            if value is None:
                account.pop(key, None)
            else:
                account[key] = value
        self.dovecot.write_accounts()
        self.postfix.write_maps()

    def remove_account(self, user):
        self.accounts.pop(user, None)
        self.dovecot.write_accounts()
        self.postfix.write_maps()

    def reload_zone(self, domain):
        """Serves what self.zones[domain] now says (the resolver caches nothing)."""
        self.serial += 1
        self.dns.write_zone(domain)
        self.dns.reload(domain)

    def set_resolver(self, address):
        """Makes @address the resolver of both sides: NET4 + '201' is one that never answers."""
        with open(self.resolv_conf, 'r+') as f:         # in place: the file is bind-mounted
            f.truncate()
            f.write(f'nameserver {address}\n' if address else '')

    def maildir(self, user):
        return self.run.file('dovecot', 'home', user, 'Maildir')

    def deliver(self, user, message):
        """Puts @message (bytes) into the mailbox by LMTP, as the next mail that comes."""
        self.dovecot.deliver(user, message)

    def connect(self, host, port, timeout=10):
        """A socket from the client side to @host, a name of the lab's zones or an address."""
        return self.client.connect(self.address(host), port, timeout)

    def address(self, host):
        if re.fullmatch(r'[0-9.]+|[0-9a-f:]*:[0-9a-f:]*', host):
            return host
        for domain, lines in self.zones.items():
            if host.endswith('.' + domain):
                label = host[:-len(domain) - 1]
                for line in lines:
                    name, kind, value = line.split(None, 2)
                    if name == label and kind == 'A':
                        return value
                    if name == label and kind == 'CNAME':
                        return self.address(value[:-1] if value.endswith('.') else f'{value}.{domain}')
        raise LabError(f'the lab has no host {host}')

    def cut(self, port, on=True):
        """Drops (or lets through again) all that reaches server port @port: a connection hangs, but lives."""
        rule = f'table inet cut{port} {{ chain in {{ type filter hook input priority 0; tcp dport {port} drop; }}; }}'
        self.nft(rule if on else f'delete table inet cut{port}')

    def nft(self, script):
        done = self.server.call(['/usr/sbin/nft', script])
        if done.returncode:
            raise LabError('nft: ' + done.stderr.decode())

    def reset(self, port):
        """Resets every connection to server port @port."""
        done = self.server.call(['/usr/bin/ss', '-K', 'sport', '=', f':{port}'])
        if done.returncode:
            raise LabError('ss: ' + done.stderr.decode())

    def facts(self):
        return {'path': self.path, 'server_pid': self.server.pid, 'client_pid': self.client.pid, 'ca': self.pki.ca,
                'bundle': self.bundle, 'odd': f'odd.example.test ({NET4}{ODD})',
                'accounts': {u: a['password'] for u, a in self.accounts.items()}}

    def client_environment(self, base):
        """@base without what would make a program trust other roots than the client side's."""
        return {k: v for k, v in base.items() if k not in CERT_VARIABLES}
