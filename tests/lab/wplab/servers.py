# SPDX-License-Identifier: LGPL-2.1-or-later
"""The honest servers of the lab: knot and unbound, Dovecot, Postfix. Only Lab makes them.

Each class writes its configuration, starts its programs in the server namespace and knows when they are
ready. Nothing outside the run's folder is read, except what the packages install under /usr.
"""
import grp
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess

from .run import CLEAN_ENV, LabError, until


def lab():
    from . import lab as module
    return module


def owned(path, user, mode=0o755, group=None):
    os.makedirs(path, exist_ok=True)
    who = pwd.getpwnam(user)
    os.chown(path, who.pw_uid, grp.getgrnam(group).gr_gid if group else who.pw_gid)
    os.chmod(path, mode)
    return path


def autoconfig(domain, pop, imap, smtp):
    def server(kind, protocol, host, port, security):
        return f'''    <{kind}Server type="{protocol}">
      <hostname>{host}</hostname>
      <port>{port}</port>
      <socketType>{security}</socketType>
      <username>%EMAILADDRESS%</username>
      <authentication>password-cleartext</authentication>
    </{kind}Server>
'''
    return f'''<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1">
  <emailProvider id="{domain}">
    <domain>{domain}</domain>
    <displayName>The mail of {domain}</displayName>
    <displayShortName>{domain}</displayShortName>
{server('incoming', 'imap', imap, 993, 'SSL')}{server('incoming', 'pop3', pop, 995, 'SSL')}''' \
           f'''{server('incoming', 'pop3', pop, 110, 'STARTTLS')}{server('outgoing', 'smtp', smtp, 465, 'SSL')}''' \
           f'''{server('outgoing', 'smtp', smtp, 587, 'STARTTLS')}  </emailProvider>
</clientConfig>
'''


class Dns:
    """knot knows and signs; unbound, which validates, is what clients ask. Nothing is cached."""

    def __init__(self, lab_):
        self.lab, self.run = lab_, lab_.run
        self.path = self.run.file('dns')
        for name in ('run', 'keys'):
            owned(os.path.join(self.path, name), 'knot')
        for domain in self.lab.zones:
            self.write_zone(domain)
        self.conf = self.run.write('dns/knot.conf', self.knot_conf())
        self.knot = self.run.spawn(['knotd', '-c', self.conf], log='dns/knot.log', namespace=self.lab.server)
        until(lambda: all(re.search(rf'\[{re.escape(d)}\.\] .*loaded', self.run.log('dns/knot.log'))
                          for d in self.lab.zones), 'knot to load its zones')
        self.run.write('dns/unbound.conf', self.unbound_conf(self.ds('signed.test'), self.ds('bogus.test')))
        self.unbound = self.run.spawn(['unbound', '-d', '-c', self.run.file('dns/unbound.conf')], log='dns/unbound.log',
                                      namespace=self.lab.server)

    def ready(self):
        until(lambda: os.path.exists(self.run.file('dns/unbound.ctl')), 'unbound')

    def write_zone(self, domain):
        head = ['$TTL 60', f'@ SOA ns.example.test. hostmaster.example.test. {self.lab.serial} 3600 600 86400 5',
                '@ NS ns.example.test.']
        self.run.write(f'dns/zones/{domain}.zone', '\n'.join(head + self.lab.zones[domain]) + '\n')

    def reload(self, domain):
        done = self.lab.server.call(['/usr/sbin/knotc', '-b', '-c', self.conf, 'zone-reload', domain])
        if done.returncode:
            raise LabError('knotc: ' + done.stderr.decode() + done.stdout.decode())

    def ds(self, domain):
        found = []

        def look():
            done = subprocess.run(['/usr/sbin/keymgr', '-c', self.conf, domain, 'ds'], capture_output=True, text=True,
                                  env=CLEAN_ENV)
            found[:] = done.stdout.splitlines()
            return found
        until(look, f'the key of {domain}')
        return found[0]

    def knot_conf(self):
        zones = ''.join(f'  - domain: {d}\n' + ('    dnssec-signing: on\n' if d in ('signed.test', 'bogus.test') else '')
                        for d in [*self.lab.zones, 'broken.test'])      # broken.test has no file: SERVFAIL
        # Without "user" knotd, as root, drops the capabilities that let it write its own folders.
        return f'''server:
    user: "knot:knot"
    rundir: "{self.path}/run"
    listen: 127.0.0.1@5300
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{self.path}/keys"
template:
  - id: default
    storage: "{self.path}/zones"
    file: "%s.zone"
    zonefile-sync: -1
    zonefile-load: difference
    journal-content: all
zone:
{zones}'''

    def unbound_conf(self, signed, bogus):
        bogus = bogus[:-1] + ('1' if bogus.endswith('0') else '0')      # no key has this digest
        zones = [*self.lab.zones, 'broken.test']
        local = '\n'.join(f'  local-zone: "{d}." transparent' for d in zones)
        stubs = '\n'.join(f'stub-zone:\n  name: "{d}."\n  stub-addr: 127.0.0.1@5300' for d in zones)
        insecure = '\n'.join(f'  domain-insecure: "{d}."' for d in zones if d not in ('signed.test', 'bogus.test'))
        return f'''server:
  directory: ""
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  num-threads: 1
  interface: {lab().NET4}{lab().DNS}
  access-control: 0.0.0.0/0 allow
  do-not-query-localhost: no
  cache-max-ttl: 0
  cache-max-negative-ttl: 0
  module-config: "validator iterator"
  ede: yes
{insecure}
  trust-anchor: "{signed}"
  trust-anchor: "{bogus}"
  local-zone: "." always_nxdomain
{local}
  local-zone: "timeout.test." deny
  local-zone: "refused.test." refuse
remote-control:
  control-enable: yes
  control-interface: {self.path}/unbound.ctl
{stubs}
'''


LUA = '''-- SPDX-License-Identifier: LGPL-2.1-or-later
-- Dovecot asks here at each login, so that a test can change what is said without a reload.
local function account(user)
  return dofile("%(path)s/accounts.lua")[user]
end
function auth_passdb_lookup(req)
  local a = account(req.user)
  if a == nil then return dovecot.auth.PASSDB_RESULT_USER_UNKNOWN, "" end
  local say = a[req.service]
  if say == "tempfail" then return dovecot.auth.PASSDB_RESULT_INTERNAL_FAILURE, "" end
  if say == "disabled" then return dovecot.auth.PASSDB_RESULT_USER_DISABLED, "" end
  if say == "expired" then return dovecot.auth.PASSDB_RESULT_PASS_EXPIRED, "" end
  -- Postfix passes no text on and takes "nologin" for a success.
  if say ~= nil and req.service == "smtp" then return dovecot.auth.PASSDB_RESULT_USER_DISABLED, "" end
  local fields = { password = "{PLAIN}" .. a.password }
  if say ~= nil then fields.nologin = "yes"; fields.reason = say end
  return dovecot.auth.PASSDB_RESULT_OK, fields
end
function auth_userdb_lookup(req)
  if account(req.user) == nil then return dovecot.auth.USERDB_RESULT_USER_UNKNOWN, "" end
  return dovecot.auth.USERDB_RESULT_OK, {}
end
function script_init() return 0 end
function script_deinit() end
'''


def lua_string(text):
    return '"' + re.sub(r'[\\"\n\r\0]', lambda m: '\\%03d' % ord(m[0]), text) + '"'


class Dovecot:
    """POP3, IMAP and LMTP, and the judge of passwords for Postfix."""

    def __init__(self, lab_):
        self.lab, self.run = lab_, lab_.run
        self.path = self.run.file('dovecot')
        os.makedirs(self.path)
        owned(os.path.join(self.path, 'home'), 'vmail')
        self.run.write('dovecot/auth.lua', LUA % {'path': self.path})
        self.write_accounts()
        if self.lab.issuer:
            self.run.write('dovecot/oauth2.conf', self.oauth2_conf())
        conf = self.run.write('dovecot/dovecot.conf', self.conf())
        self.pid = self.run.spawn(['dovecot', '-F', '-c', conf], log='dovecot/start.log', namespace=self.lab.server)

    def ready(self):
        until(lambda: all(os.path.exists(f'{self.path}/run/{s}') for s in ('lmtp', 'sasl-postfix')), 'Dovecot')

    def write_accounts(self):
        lines = []
        for user, a in self.lab.accounts.items():
            keys = ', '.join(f'{k} = {lua_string(a[k])}' for k in ('password', 'pop3', 'imap', 'smtp') if k in a)
            lines.append(f'  [{lua_string(user)}] = {{ {keys} }},')
        new = self.run.write('dovecot/accounts.new', 'return {\n' + '\n'.join(lines) + '\n}\n')
        os.rename(new, self.run.file('dovecot/accounts.lua'))

    def deliver(self, user, message):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(f'{self.path}/run/lmtp')
        with sock, sock.makefile('rwb') as f:
            def say(line, want):
                if line is not None:
                    f.write(line + b'\r\n')
                    f.flush()
                while True:
                    got = f.readline()
                    if got[3:4] != b'-':
                        break
                if not got.startswith(want):
                    raise LabError(f'LMTP: {line!r}: {got!r}')
            say(None, b'220')
            say(b'LHLO lab', b'250')
            say(b'MAIL FROM:<sender@example.test>', b'250')
            say(b'RCPT TO:<' + user.encode() + b'>', b'250')
            say(b'DATA', b'354')
            text = re.sub(rb'\r?\n', b'\r\n', message)
            text = re.sub(rb'(?m)^\.', b'..', text)
            say(text + (b'.' if text.endswith(b'\r\n') else b'\r\n.'), b'250')
            say(b'QUIT', b'221')

    def oauth2_conf(self):
        """Each token is asked for at the issuer; the user it belongs to has to be the one who signs in."""
        return f'''introspection_url = https://dovecot:dovecot-secret@id.example.test/token/introspection
introspection_mode = post
force_introspection = yes
username_attribute = email
active_attribute = active
active_value = true
tls_ca_cert_file = {self.lab.pki.ca}
openid_configuration_url = https://id.example.test/.well-known/openid-configuration
'''

    def conf(self):
        m, pki = lab(), self.lab.pki
        tokens = f'''passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {self.path}/oauth2.conf
}}
''' if self.lab.issuer else ''
        mechanisms = self.lab.auth_mechanisms + (' xoauth2 oauthbearer' if self.lab.issuer else '')
        listen = ', '.join([m.NET4 + str(n) for n in (m.MAIL, *m.BAD.values())] + [m.NET6 + str(m.MAIL)])
        local = ''.join(f'''local {m.NET4}{number} {{
  ssl_cert = <{pki.file(kind + '.pem')}
  ssl_key = <{pki.file(kind + '.key')}
  ssl_cipher_list = {'DEFAULT@SECLEVEL=0' if kind == 'weak-key' else 'DEFAULT'}
}}
''' for kind, number in m.BAD.items())
        return f'''base_dir = {self.path}/run
state_dir = {self.path}/state
listen = {listen}
protocols = pop3 imap lmtp
log_path = {self.path}/dovecot.log
auth_verbose = yes
hostname = mail.example.test
first_valid_uid = 1
mail_uid = vmail
mail_gid = vmail
mail_home = {self.path}/home/%u
mail_location = maildir:~/Maildir
mail_fsync = never
ssl = yes
ssl_cert = <{pki.file('good.pem')}
ssl_key = <{pki.file('good.key')}
ssl_dh = </usr/share/dovecot/dh.pem
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
auth_cache_size = 0
# no growing delay after wrong passwords from one address
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener sasl-postfix {{
    mode = 0666
  }}
}}
{tokens}passdb {{
  driver = lua
  args = file={self.path}/auth.lua blocking=yes
}}
userdb {{
  driver = lua
  args = file={self.path}/auth.lua blocking=yes
}}
protocol pop3 {{
  pop3_uidl_format = %08Xu%08Xv
  pop3_lock_session = yes
  mail_max_userip_connections = 20
}}
{local}'''


class Postfix:
    """Submission with TLS at once and by STARTTLS, and the MX that hands mail to Dovecot."""

    SPOOL = [(n, 'postfix', 0o700, None) for n in
             'active bounce corrupt defer deferred flush hold incoming private saved trace'.split()] + \
            [('public', 'postfix', 0o710, 'postdrop'), ('maildrop', 'postfix', 0o730, 'postdrop'), ('pid', 'root', 0o755, None)]

    def __init__(self, lab_):
        self.lab, self.run = lab_, lab_.run
        self.path = self.run.file('postfix')
        os.makedirs(self.path + '/spool')
        for name, user, mode, group in self.SPOOL:
            owned(f'{self.path}/spool/{name}', user, mode, group)
        owned(self.path + '/data', 'postfix')
        self.maps = {}
        self.pid = None
        self.write_maps()
        self.run.write('postfix/etc/main.cf', self.main_cf())
        self.run.write('postfix/etc/master.cf', self.master_cf())
        self.run.write('postfix/etc/dynamicmaps.cf', '')
        for name in os.listdir(self.path + '/etc'):
            self.age(name)
        self.pid = self.run.spawn(['/usr/lib/postfix/sbin/master', '-d'], log='postfix/start.log',
                                  env=dict(CLEAN_ENV, MAIL_CONFIG=self.path + '/etc'), namespace=self.lab.server)

    def age(self, name):
        os.utime(f'{self.path}/etc/{name}', (1, 1))     # Postfix waits for files that are younger than a second

    def ready(self):
        m = lab()

        def listening():
            try:
                self.lab.client.connect(m.NET4 + str(m.SMTP), 465).close()
                return True
            except OSError:
                return False
        until(listening, 'Postfix')

    def write_maps(self):
        accounts = self.lab.accounts
        # An address that is nobody's as sender still needs a line, or any signed-in user might use it.
        maps = {
            'mailboxes': {u: u for u in accounts},
            'senders': {u: a.get('sender', u) for u, a in accounts.items()},
            'recipients': {u: a['recipient'] for u, a in accounts.items() if 'recipient' in a},
            'transports': {u: 'discard:' for u, a in accounts.items() if a.get('discard')},
        }
        if maps == self.maps:
            return
        self.maps = maps
        for name, table in maps.items():
            new = self.run.write(f'postfix/etc/{name}.new', ''.join(f'{k} {v}\n' for k, v in table.items()))
            os.utime(new, (1, 1))
            os.rename(new, f'{self.path}/etc/{name}')
        if self.pid:
            os.kill(self.pid, signal.SIGHUP)

    def main_cf(self):
        m, pki = lab(), self.lab.pki
        etc = self.path + '/etc'
        return f'''compatibility_level = 3.6
config_directory = {etc}
queue_directory = {self.path}/spool
data_directory = {self.path}/data
maillog_file_prefixes = /tmp
maillog_file = {self.path}/mail.log
myhostname = mx.example.test
mydestination =
local_recipient_maps =
alias_maps =
inet_interfaces = {m.NET4}{m.SMTP}, {m.NET6}{m.SMTP}
inet_protocols = all
mynetworks = 127.0.0.1
smtp_host_lookup = dns
message_size_limit = 41943040
# Each process serves one client, so that it has read the maps as they are now.
max_use = 1
virtual_mailbox_limit = 0
virtual_mailbox_domains = {' '.join(m.MAIL_DOMAINS)}
virtual_mailbox_maps = texthash:{etc}/mailboxes
virtual_transport = lmtp:unix:{self.lab.dovecot.path}/run/lmtp
transport_maps = texthash:{etc}/transports
smtpd_tls_chain_files = {pki.file('good.key')}, {pki.file('good.pem')}
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {self.lab.dovecot.path}/run/sasl-postfix
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access texthash:{etc}/recipients
smtpd_sender_login_maps = texthash:{etc}/senders
smtpd_client_connection_rate_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_error_sleep_time = 0
minimal_backoff_time = 5s
queue_run_delay = 5s
service_throttle_time = 1s
'''

    def master_cf(self):
        m, pki = lab(), self.lab.pki
        auth = ('-o smtpd_sasl_auth_enable=yes -o smtpd_client_restrictions=permit_sasl_authenticated,reject '
                '-o smtpd_sender_restrictions=reject_sender_login_mismatch')
        lines = ['smtp inet n - n - - smtpd']

        def submission(prefix, more=''):
            lines.append(f'{prefix}587 inet n - n - - smtpd -o smtpd_tls_security_level=encrypt {auth} {more}')
            lines.append(f'{prefix}465 inet n - n - - smtpd -o smtpd_tls_wrappermode=yes {auth} {more}')
        submission('')
        for kind, number in m.BAD.items():
            weak = ' -o tls_medium_cipherlist=DEFAULT@SECLEVEL=0' if kind == 'weak-key' else ''
            submission(f'{m.NET4}{number}:',
                       f'-o smtpd_tls_chain_files={pki.file(kind + ".key")},{pki.file(kind + ".pem")}{weak}')
        lines += '''pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd'''.splitlines()
        return '\n'.join(lines) + '\n'
