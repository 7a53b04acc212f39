#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The form of providers.json: known keys, words from their lists, no domain, id or alias twice, hosts that are hosts, ports that fit their
security, pages that are pages. check-providers.py FILE."""
import json
import re
import sys

HOST = re.compile(r'(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$')
PAGE = re.compile(r'https?://[^ "<>]+$')
WORDS = {'user': {'address', 'local'}, 'user-outgoing': {'address', 'local'}, 'account-password': {'works', 'refused', 'unknown'},
         'app-password': {'no', 'with-2fa', 'yes'}, 'pop': {'on', 'off', 'unavailable', 'unknown'},
         'imap-access': {'on', 'off', 'unavailable', 'unknown'}}
METHODS = {'password', 'app-password', 'oauth2'}
PORTS = {'pop3': {('tls', 995), ('starttls', 110)}, 'imap': {('tls', 993), ('starttls', 143)},
         'smtp': {('tls', 465), ('starttls', 587), ('tls', 587), ('starttls', 25), ('starttls', 2525)}}
TEXT = {'id', 'name', 'plan', 'alternative', 'checked', 'app-password-shape', 'sasl-unlisted', 'oauth-scopes', 'oauth-parameters'}
PAGES = {'app-password-page', 'settings-page', 'oauth-issuer'}
LISTS = {'domains', 'mx', 'aliases', 'methods'}
KEYS = TEXT | PAGES | LISTS | set(WORDS) | set(PORTS) | {'poll-minutes', 'pop-window', 'oauth-endpoints', 'oauth-registration'}
SHAPE = re.compile(r'[aAx9]+([ -][aAx9]+)*$')


def faults(p, seen):
    yield from (f'unknown key {k}' for k in set(p) - KEYS)
    yield from (f'{k} is missing' for k in ('id', 'name', 'domains', 'user', 'account-password', 'app-password', 'pop', 'checked')
                if k not in p and not (k == 'app-password' and p.get('account-password') == 'unknown'))
    yield from (f'{k}: {p[k]}' for k, words in WORDS.items() if k in p and p[k] not in words)
    yield from (f'{k} is no text' for k in TEXT & set(p) if not isinstance(p[k], str) or not p[k].strip())
    yield from (f'{k}: {p[k]}' for k in PAGES & set(p) if not PAGE.match(p[k]))
    yield from (f'host {h}' for k in ('domains', 'mx') for h in p.get(k, []) if not HOST.match(h))
    yield from (f'method {m}' for m in p.get('methods', []) if m not in METHODS)
    if 'app-password-shape' in p and (not SHAPE.match(p['app-password-shape']) or 'app-password-page' not in p):
        yield f'app-password-shape: {p["app-password-shape"]}'
    endpoints = p.get('oauth-endpoints', {'token': 'https://x/'})
    if not set(endpoints) <= {'authorization', 'token', 'device'} or 'token' not in endpoints or \
            not all(re.match('https://', e) for e in endpoints.values()):
        yield f'oauth-endpoints: {endpoints}'
    yield from (f'{k} without an issuer' for k in p if k.startswith('oauth-') and 'oauth-issuer' not in p)
    for protocol, ports in PORTS.items():
        servers = p.get(protocol, [])
        for e in servers if isinstance(servers, list) else [servers]:
            if set(e) != {'host', 'port', 'security'} or not HOST.match(e['host']) or (e['security'], e['port']) not in ports:
                yield f'{protocol}: {e}'
    for name in [p.get('id'), *p.get('aliases', []), *p.get('domains', [])]:
        owner = seen.setdefault(name, p.get('id'))
        if owner != p.get('id'):
            yield f'{name} is also {owner}'
    if not re.fullmatch(r'20\d\d-[01]\d(-[0-3]\d)?', p.get('checked', '')):
        yield f'checked: {p.get("checked")}'
    if not isinstance(p.get('pop-window', False), bool):
        yield 'pop-window'
    if 'poll-minutes' in p and not 1 <= p['poll-minutes'] <= 1440:
        yield 'poll-minutes'
    for protocol, access in (('pop3', 'pop'), ('imap', 'imap-access')):
        if p.get(access) == 'unavailable' and protocol in p:
            yield f'has {protocol} and has it not'
    if p.get('pop') == p.get('imap-access') == 'unavailable' and 'alternative' not in p:
        yield 'nothing that fetches mail, and not a word what there is instead'
    if 'app-password' in p.get('methods', []) and p.get('app-password') == 'no':
        yield 'app passwords are a method and are not'
    if p.get('account-password') == 'refused' and 'password' in p.get('methods', []):
        yield 'a refused password is no method'


def main():
    with open(sys.argv[1], encoding='utf-8') as f:
        data = json.load(f)
    seen, bad = {}, 0
    for p in data['providers']:
        for fault in faults(p, seen):
            print(f'{p.get("id")}: {fault}')
            bad += 1
    for one in data['filters']:
        if set(one) != {'name', 'mx'} or not all(HOST.match(h) for h in one['mx']):
            print('filter', one)
            bad += 1
    print(f'{len(data["providers"])} providers, {bad} faults')
    sys.exit(bad > 0 or set(data) != {'providers', 'filters'} or len(data['providers']) < 90)


main()
