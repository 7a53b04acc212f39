# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes docs/causes.md and docs/waypost-causes.7.scd of data/causes.json. With --check nothing is written; it fails when they are not up to date."""
import json
import sys
from itertools import groupby
from pathlib import Path

root = Path(__file__).resolve().parent.parent
GROUPS = {
    'input': 'What was typed', 'local': 'This computer', 'discovery': 'Finding the servers', 'dns': 'Names', 'net': 'The network',
    'policy': 'Rules of this computer', 'tls': 'Encryption', 'auth': 'Signing in', 'access': 'What the account may do',
    'oauth': 'Signing in through the browser', 'limit': 'Limits of the provider', 'mailbox': 'The mailbox', 'server': 'The server',
    'smtp': 'Sending', 'fetch': 'Fetching', 'delivery': 'Storing', 'verification': 'The verification mail',
}
WHO = {'user': 'you', 'provider': 'the provider', 'administrator': 'the administrator', 'nobody': 'nobody: time mends it', 'us': "this program's makers"}
CLASS = {'user-action': 'Somebody has to act', 'temporary': 'It passes by itself', 'permanent': 'It does not pass by itself'}


def plain(text):
    """Without places in braces, as it is said when nothing is known; None when it is not said then."""
    without = text[1] if isinstance(text, list) else text
    return None if '{' in without else without


def remedies(cause):
    return [t for t in map(plain, cause['remedies']) if t]


def groups(causes):
    order = list(GROUPS)
    for area, codes in groupby(sorted(causes, key=lambda c: (order.index(c.split('.')[0]), c)), lambda c: c.split('.')[0]):
        yield GROUPS[area], list(codes)


def markdown(causes):
    out = ['# Causes', '', '<!-- Made of data/causes.json by data/make-docs.py: do not edit. -->', '',
           f'waypost names {len(causes)} causes why mail does not come or go. Their codes never change; new ones are added.', '']
    for title, codes in groups(causes):
        out += [f'## {title}', '']
        for code in codes:
            cause = causes[code]
            out += [f'### `{code}`: {cause["title"]}', '', plain(cause['explanation']),
                    f'{CLASS[cause["class"]]}; who can mend it: {WHO[cause["who"]]}. Severity: {cause["severity"]}.', '']
            out += [f'{i}. {text}' for i, text in enumerate(remedies(cause), 1)] + ['']
    return '\n'.join(out).rstrip('\n') + '\n'


def scd(text):
    return text.replace('\\', '\\\\').replace('_', '\\_').replace('*', '\\*')


def manual(causes):
    out = ['waypost-causes(7)', '', '; Made of data/causes.json by data/make-docs.py: do not edit.', '',
           '# NAME', '', 'waypost-causes - why mail does not come or go, and what to do', '', '# DESCRIPTION', '',
           f'*waypost*(1) and its service name one of these {len(causes)} causes when something does not work. Codes never change; new ones are added.', '']
    for title, codes in groups(causes):
        out += [f'# {title.upper()}', '']
        for code in codes:
            cause = causes[code]
            out += [f'*{code}*', f'\t{scd(cause["title"])}. {scd(plain(cause["explanation"]))}', '']
            out += [f'\t- {scd(text)}' for text in remedies(cause)] + ['']
    return '\n'.join(out + ['# SEE ALSO', '', '*waypost*(1)', ''])


causes = json.loads((root / 'data/causes.json').read_text(encoding='utf-8'))
stale = False
for path, text in ((root / 'docs/causes.md', markdown(causes)), (root / 'docs/waypost-causes.7.scd', manual(causes))):
    if path.exists() and path.read_text(encoding='utf-8') == text:
        continue
    if '--check' in sys.argv:
        print(f'{path.relative_to(root)} is not up to date: run data/make-docs.py')
        stale = True
    else:
        path.write_text(text, encoding='utf-8')
sys.exit(stale)
