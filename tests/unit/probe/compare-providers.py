# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every fact of the research about providers stands in the table: hosts, ports, names to sign in with, switches, pages, sign-in, intervals.
compare-providers.py TABLE FACTS REPLIES; without the facts it is skipped (77)."""
import json
import os
import sys

SECURITY = {'implicit': 'tls', 'starttls': 'starttls'}
PASSWORD = {True: 'works', False: 'refused', None: 'unknown'}
# Programs and devices that replies were seen from, not providers.
NO_PROVIDERS = set('android any aws-ses brevo courier courier-esmtp cyrus dovecot email-oauth2-proxy exchange exim gio-tls glibc gnutls hmailserver '
                   'java libcurl libuv linux mailu mox mpop mutt-gnutls oauth-generic openssl php postfix postgrey qmail rfc1939 rfc5530 sendmail '
                   'systemd-resolved tencent-sdk-list unknown zimbra'.split())


def server(fact):
    return fact and {'host': fact['host'], 'port': fact['port'], 'security': SECURITY[fact['security']]}


def of_domain(fact, domain):
    """One provider with a host for each of its domains is several in the table."""
    servers = ('pop3', 'imap', 'submission') if fact['id'] == 'netease' else ()
    return {k: json.loads(json.dumps(v).replace('163.com', domain)) if k in servers else v for k, v in fact.items()}


def differences(fact, p):
    access = fact['pop_default'].split(' ')[0]
    yield 'pop3', p.get('pop3'), server(fact['pop3'])
    yield 'imap', p.get('imap'), server(fact['imap'])
    yield 'smtp', p.get('smtp', []), [server(s) for s in (fact['submission'], fact.get('submission_alternative')) if s]
    yield 'mx', set(p.get('mx', [])) >= set(fact['mx_suffixes'] or []), True
    yield 'user', p['user'], 'local' if fact['username'] == 'localpart' else 'address'
    yield 'account-password', p['account-password'], PASSWORD[fact['account_password_works']]
    yield 'methods', p.get('methods', []), [m for m in fact['auth'] if m != 'none']
    yield 'app-password-page', p.get('app-password-page'), fact['app_password_url']
    yield 'settings-page', p.get('settings-page'), fact['settings_url']
    yield 'pop', p['pop'], access
    yield 'imap-access', p.get('imap-access', 'unknown'), fact['imap_default'].split(' ')[0]
    yield 'poll-minutes', p.get('poll-minutes'), fact.get('min_poll_minutes')
    yield 'plan', 'plan' in p, bool(fact.get('client_access_plan'))
    issuer = (fact['oauth'] or {}).get('issuer')
    yield 'oauth-issuer', p.get('oauth-issuer'), issuer.replace('{tenantid}', 'organizations') if issuer else None


def main():
    table, facts, replies = sys.argv[1:]
    if not os.path.exists(facts):
        sys.exit(77)
    with open(table, encoding='utf-8') as f:
        providers = json.load(f)['providers']
    by_domain = {d: p for p in providers for d in p['domains']}
    known = {name for p in providers for name in (p['id'], *p.get('aliases', []), *p['domains'])}
    bad = 0
    with open(facts, encoding='utf-8') as f:
        for fact in map(json.loads, f):
            for domain in fact['domains']:
                p = by_domain.get(domain)
                if not p:
                    print(f'{fact["id"]}: {domain} is missing')
                    bad += 1
                    continue
                for what, is_, should in differences(of_domain(fact, domain), p):
                    if is_ != should:
                        print(f'{fact["id"]} {domain} {what}: {is_}, not {should}')
                        bad += 1
    with open(replies, encoding='utf-8') as f:
        for label in {json.loads(line)['provider'] for line in f} - NO_PROVIDERS - known:
            print(f'{label}: no provider has this label')
            bad += 1
    sys.exit(bad > 0)


main()
