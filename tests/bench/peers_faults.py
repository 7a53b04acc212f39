#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same faults given to waypost, mpop, fetchmail and curl, side by side: what each says, and how many it names rightly.

All fetch by POP3 from the same servers of the lab, each with its ordinary settings and verbosity, a trust file and a time limit of 8 s. A peer names a
fault when its words tell it, be it in words of its own or by handing through those of the server: the pattern of each fault says
which. waypost names it when its cause is the one of the catalogue that fits. `--write FILE` writes the table as Markdown.
"""
import argparse
import os
import re
import shutil
import sys

from wplab.bus import Bus
from wplab.client import Connection, endpoint
from wplab.lab import Lab

SECONDS = 8
# fault, (host or dialogue, port, security), user, cause, what a peer has to say
FAULTS = (
    ('no such host', ('no-such.example.test', 995, 'tls'), 'alice', 'dns.nxdomain', r'not known|not resolve|cannot locate|unknown host|does not exist|nodename'),
    ('nothing listens', ('closed.example.test', 995, 'tls'), 'alice', 'net.refused', r'refused'),
    ('silent host', ('silent.example.test', 995, 'tls'), 'alice', 'net.timeout', r'timed? ?out|timeout'),
    ('no route', ('noroute.example.test', 995, 'tls'), 'alice', 'net.unreachable', r'unreachable|no route'),
    ('certificate expired', ('expired.example.test', 995, 'tls'), 'alice', 'tls.cert-expired', r'expired'),
    ('certificate of tomorrow', ('not-yet-valid.example.test', 995, 'tls'), 'alice', 'tls.cert-not-yet-valid', r'not yet (valid|activated)'),
    ('certificate of another name', ('wrong-name.example.test', 995, 'tls'), 'alice', 'tls.cert-name-mismatch',
     r'name.*(mismatch|match)|does not match|!= '),
    ('certificate signed by itself', ('self-signed.example.test', 995, 'tls'), 'alice', 'tls.cert-self-signed', r'self.signed'),
    ('unknown authority', ('unknown-ca.example.test', 995, 'tls'), 'alice', 'tls.cert-untrusted-ca', r'unknown (issuer|ca)|issuer is unknown|known issuer'),
    ('intermediate missing', ('missing-intermediate.example.test', 995, 'tls'), 'alice', 'tls.cert-chain-incomplete',
     r'incomplete|intermediate (certificate )?(is )?missing|missing intermediate|broken certification chain'),
    ('key too weak', ('weak-key.example.test', 995, 'tls'), 'alice', 'tls.weak-crypto', r'too weak|insecure|key too small'),
    ('plain server on a TLS port', ('plain-pop-on-tls-port', 0, 'tls'), 'alice', 'tls.mode-mismatch',
     r'wrong version number|unexpected tls packet|not.*(tls|ssl).*(port|server)|plain'),
    ('TLS not offered', ('pop-no-stls', 0, 'starttls'), 'alice', 'tls.starttls-unavailable', r'(stls|tls).*not supported|not support.*tls|stls not'),
    ('TLS refused', ('pop-stls-refused', 0, 'starttls'), 'alice', 'tls.starttls-failed', r'not available'),
    ('SMTP server', ('other-smtp-greeting-tls', 0, 'tls'), 'alice', 'net.wrong-service', r'not.*pop|wrong (service|protocol|server)|smtp'),
    ('busy at the greeting', ('pop-err-greeting', 0, 'tls'), 'alice', 'server.temporary', r'busy'),
    ('wrong password', ('pop.example.test', 995, 'tls'), 'eve', 'auth.bad-credentials', r'authenticat.*fail|authoriz.*fail|login denied|password'),
    ('POP switched off', ('pop.example.test', 995, 'tls'), 'bob', 'access.pop-disabled', r'not enabled for POP'),
    ('app password needed', ('pop.example.test', 995, 'tls'), 'carl', 'auth.app-password-required', r'application.specific'),
    ('temporary trouble at the login', ('pop.example.test', 995, 'tls'), 'dora', 'auth.temporary-failure', r'temporar'),
    ('mailbox in use', ('pop.example.test', 995, 'tls'), 'locked', 'mailbox.locked', r'lock'),
    ('asked too often', ('pop.example.test', 995, 'tls'), 'hasty', 'limit.login-delay', r'15 minutes|login.?delay'),
    ('password expired', ('pop.example.test', 995, 'tls'), 'expired', 'auth.password-expired', r'password expired'),
    ('sign-in on the web needed', ('pop-web-login', 0, 'tls'), 'alice', 'auth.web-login-required', r'web browser'),
    ('POP off, told at STAT', ('pop-gmail-stat-disabled', 0, 'tls'), 'alice', 'access.pop-disabled', r'not enabled for POP'),
    ('hangs up after the password', ('pop-close-after-pass', 0, 'tls'), 'alice', 'net.reset', r'clos|reset|EOF|broke|lost|terminated|socket error'),
)
PEERS = ('mpop', 'fetchmail', 'curl')


class Fault:
    def __init__(self, lab, name, server, user, cause, pattern):
        self.name, self.user, self.cause, self.pattern = name, user, cause, pattern
        host, self.port, self.security = server
        if not self.port:
            host, self.port = 'odd.example.test', lab.scripted.play(0, host)
        self.host = host
        self.address, self.password = f'{user}@example.test', 'wrong' if name == 'wrong password' else user + 'pw'


class Peers:
    def __init__(self, lab):
        self.lab, self.home = lab, lab.run.file('peers')
        os.makedirs(self.home, exist_ok=True)

    def run(self, argv):
        done = self.lab.client.call(['/usr/bin/timeout', str(SECONDS + 4), *argv], env={'PATH': '/usr/bin:/bin', 'HOME': self.home, 'LC_ALL': 'C.UTF-8'})
        return (done.stdout + done.stderr).decode('utf-8', 'replace')

    def config(self, name, text):
        path = self.lab.run.write(f'peers/{name}', text, 0o600)
        return path

    def mpop(self, fault):
        maildir = os.path.join(self.home, 'mail')
        for part in ('cur', 'new', 'tmp'):
            os.makedirs(os.path.join(maildir, part), exist_ok=True)
        path = self.config('mpoprc', f'account default\nhost {fault.host}\nport {fault.port}\nuser {fault.address}\npassword {fault.password}\n'
                           f'tls on\ntls_starttls {"on" if fault.security == "starttls" else "off"}\ntls_trust_file {self.lab.bundle}\n'
                           f'timeout {SECONDS}\nkeep on\nuidls_file {self.home}/uidls\ndelivery maildir {maildir}\n')
        return self.run(['mpop', '-C', path])

    def fetchmail(self, fault):
        security = "ssl" if fault.security == 'tls' else "sslproto 'TLS1.2+'"
        path = self.config('fetchmailrc', f'set no syslog\nset idfile "{self.home}/fetchids"\npoll {fault.host} protocol POP3 service {fault.port} timeout {SECONDS}\n'
                           f'  user "{fault.address}" password "{fault.password}" {security} sslcertck sslcertfile "{self.lab.bundle}" keep\n'
                           f'  mda "/bin/cat >/dev/null"\n')
        return self.run(['fetchmail', '--nodetach', '--pidfile', f'{self.home}/pid', '-f', path])

    def curl(self, fault):
        scheme = 'pop3s' if fault.security == 'tls' else 'pop3'
        return self.run(['curl', '-sS', '--ssl-reqd', '--cacert', self.lab.bundle, '--max-time', str(SECONDS), '--user', f'{fault.address}:{fault.password}',
                         f'{scheme}://{fault.host}:{fault.port}/'])


def told(text):
    """The line that says most, without the program's own banner."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # the lab's hosts have no names of their own, which fetchmail regrets; what follows is said whatever the fault is
    own = re.escape(os.uname().nodename)
    skip = re.compile(r'(fetchmail: )?(getaddrinfo failed for "' + own + '"|Cannot find my own host|Trying to continue with unqualified|DO NOT report broken|DO repair your|'
                      r'.*(Query status|normal termination|awakened at|sleeping at|Running as root|unless absolutely necessary))'
                      r'|mpop: error during mail retrieval|More details here|curl failed to verify|establish a secure connection|how to fix it|'
                      r'the web page mentioned above', re.I)
    return ' / '.join([line for line in lines if not skip.match(line)] or ['(nothing)'])


def ask_waypost(connection, faults):
    setups = {}
    for fault in faults:
        setups[fault] = connection.start_setup(fault.address, dry_run=True, receive_only=True,
                                               incoming=endpoint(fault.host, fault.port, fault.security))
    connection.settle({fault: (setup, fault.password) for fault, setup in setups.items()})
    return {fault: setup['Cause'] or next((s.cause for s in setup.steps.values() if s.cause), '') for fault, setup in setups.items()}


def table(rows, named, markdown):
    total = len(rows)
    if not markdown:
        for name, causes in rows:
            print(name)
            for who, (right, text) in causes.items():
                print(f'  {"yes" if right else "no ":4}{who:10}{text[:150]}')
        print('\n' + '; '.join(f'{who} names {named[who]} of {total}' for who in named))
        return None
    out = ['# The same faults, given to others', '', '<!-- Made by tests/bench/peers_faults.py --write: do not edit. -->', '',
           f'{total} faults, fetched by POP3 from the same servers of the lab by programs of Debian 12 with ordinary settings. A program names a fault when its',
           'words tell it, its own or those of the server that it hands through; waypost when its cause is the one that fits.', '',
           '| | named rightly |', '| --- | ---: |', *[f'| {who} | {named[who]} of {total} |' for who in named], '',
           '| fault | waypost | ' + ' | '.join(PEERS) + ' |', '| --- | --- |' + ' --- |' * len(PEERS)]
    for name, causes in rows:
        cells = []
        for who, (right, text) in causes.items():
            text = re.sub(r'(:|port |/)[0-9]{5}\b', r'\1N', text)
            text = re.sub(r'/[^ ]*/peers/', '', text).replace('|', '\\|').replace('<', '&lt;').replace('*', '\\*').replace('_', '\\_')
            cells.append(('**yes** ' if right else 'no ') + (text if len(text) <= 160 else text[:157] + '...'))
        out.append(f'| {name} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(out) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--write', metavar='FILE')
    args = parser.parse_args()
    missing = [name for name in PEERS if not shutil.which(name)]
    if missing:
        print('not installed:', *missing)
        return 1
    with Lab() as lab, Bus(os.environ['WAYPOST_BUILD'], lab=lab, config={'limits': {'setups-per-uid': 100}}) as bus, Connection(bus) as connection:
        faults = [Fault(lab, *fault) for fault in FAULTS]
        causes = ask_waypost(connection, faults)
        peers, rows = Peers(lab), []
        for fault in faults:
            row = {'waypost': (causes[fault] == fault.cause, causes[fault])}
            for who in PEERS:
                text = told(getattr(peers, who)(fault))
                row[who] = bool(re.search(fault.pattern, text, re.I)), text
            rows.append((fault.name, row))
    named = {who: sum(row[who][0] for _, row in rows) for who in ('waypost', *PEERS)}
    text = table(rows, named, bool(args.write))
    if args.write:
        with open(args.write, 'w', encoding='utf-8') as f:
            f.write(text)
    return 0 if named['waypost'] == len(rows) else 1


if __name__ == '__main__':
    sys.exit(main())
