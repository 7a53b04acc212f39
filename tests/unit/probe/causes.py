# SPDX-License-Identifier: LGPL-2.1-or-later
"""causes.py PROJECT: the catalogue is whole, C and the rules use no cause that it lacks, nothing in it is without use, and the documents made
of it are up to date. A cause that nothing can produce yet stands in WAITING with what it waits for."""
import json
import re
import subprocess
import sys
from pathlib import Path

root = Path(sys.argv[1])
CODE = re.compile(r'"((?:input|local|dns|net|tls|auth|access|limit|mailbox|server|smtp|oauth|fetch|verification|discovery|delivery|policy)\.[a-z0-9-]*[a-z0-9])"')
WAITING = {
}
CLASSES = {'user-action', 'temporary', 'permanent'}
SEVERITIES = {'block', 'degrade', 'info', 'ours'}
WHO = {'user', 'provider', 'administrator', 'nobody', 'us'}
JARGON = re.compile(r'\b(DNS|TLS|SSL|SMTP|STARTTLS|SASL|OAuth|MX|CNAME|CA|PTR|EHLO|TCP|token|scope|client|handshake|socket)\b')
failed = False


def wrong(what):
    global failed
    failed = True
    print(what)


def texts(value):
    return value if isinstance(value, list) else [value]


catalogue = json.loads((root / 'data/causes.json').read_text())
for code, cause in catalogue.items():
    if set(cause) - {'pages'} != {'class', 'severity', 'who', 'title', 'explanation', 'remedies'}:
        wrong(f'{code}: keys {sorted(cause)}')
        continue
    if cause['class'] not in CLASSES or cause['severity'] not in SEVERITIES or cause['who'] not in WHO:
        wrong(f'{code}: class, severity or who')
    if JARGON.search(cause['title']) or cause['title'].endswith('.') or '{' in cause['title']:
        wrong(f'{code}: title {cause["title"]!r}')
    if not cause['remedies']:
        wrong(f'{code}: no remedy')
    for text in [cause['explanation'], *cause['remedies']]:
        for one in texts(text):
            if not re.match(r'[A-Z].*[.?]$', one):
                wrong(f'{code}: no sentence: {one!r}')
        if len(texts(text)) == 2 and ('{' in text[1] or '{' not in text[0]):
            wrong(f'{code}: places {text!r}')

    if set(cause.get('pages', [])) - {'settings', 'app-password'}:
        wrong(f'{code}: pages {cause["pages"]}')


def places_of(value):
    return set(re.findall(r'\{([a-z0-9-]+)\}', json.dumps(value)))


def check_translation(code, words):
    """What is translated says as much as the English does: as many remedies, with the same places."""
    english = catalogue.get(code)
    if not english or set(words) - {'title', 'explanation', 'remedies'}:
        wrong(f'{code}: {sorted(words)} is not what a translation has')
        return
    if 'title' in words and (words['title'].endswith('.') or JARGON.search(words['title'])):
        wrong(f'{code}: title {words["title"]!r}')
    if len(words.get('remedies', english['remedies'])) != len(english['remedies']):
        wrong(f'{code}: not as many remedies as in English')
    for text, was in [(words.get('explanation', english['explanation']), english['explanation']),
                      *zip(words.get('remedies', english['remedies']), english['remedies'])]:
        if len(texts(text)) != len(texts(was)) or places_of(texts(text)[0]) != places_of(texts(was)[0]):
            wrong(f'{code}: not the same places: {text!r}')
        for one in texts(text):
            if not re.match(r'[A-ZÄÖÜ].*[.?]$', one):
                wrong(f'{code}: no sentence: {one!r}')


languages = sorted(root.glob('data/causes.*.json'))
for path in languages:
    translation = json.loads(path.read_text())
    for code, words in translation.items():
        check_translation(code, words)
    if len(translation) < 0.95 * len(catalogue):   # a new cause is told in English until somebody translates it
        wrong(f'{path.name}: lacks {sorted(set(catalogue) - set(translation))}')
if not languages:
    wrong('no translation')

keys = set(re.findall(r'#define KEY_\w+(?: \\\n *| )"([a-z0-9-]+)"', (root / 'dbus/names.h').read_text()))
places = set(re.findall(r'\{([a-z0-9-]+)\}', json.dumps(catalogue)))
if places - keys:
    wrong(f'places that no evidence has: {sorted(places - keys)}')

used = {}
for path in [*root.glob('service/**/*.[ch]'), *root.glob('cli/**/*.[ch]')]:
    for code in CODE.findall(path.read_text()):
        if not code.endswith(('.h', '.c', '.json', '.conf')):
            used.setdefault(code, path.relative_to(root))
for rule in json.loads((root / 'data/replies.json').read_text())['rules']:
    used.setdefault(rule['cause'], 'data/replies.json')
for code, where in used.items():
    if code not in catalogue:
        wrong(f'{where}: {code} is not in the catalogue')
for code in catalogue:
    if code not in used and code not in WAITING:
        wrong(f'{code}: nothing produces it')
    if code in used and code in WAITING:
        wrong(f'{code}: is produced, and need not wait')

made = subprocess.run([sys.executable, root / 'data/make-docs.py', '--check'], cwd=root)
sys.exit(failed or made.returncode != 0)
