#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads a folder of real autoconfig documents with another XML parser, and compares every server of every document with
what the program reads: compare-ispdb.py PROGRAM FOLDER. Exits 77 (skipped) when the folder does not exist."""
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

ADDRESS = 'tim@example.org'
SECURITY = {'ssl': 'tls', 'tls': 'tls', 'starttls': 'starttls', 'plain': 'none'}
PARTS = {'ADDRESS': ADDRESS, 'LOCALPART': 'tim', 'DOMAIN': 'example.org'}


def fill(text):
    # a file forgets the last percent sign at the end of the value
    return re.sub(r'%EMAIL(ADDRESS|LOCALPART|DOMAIN)(?:%|$)', lambda m: PARTS[m.group(1)], text)


def texts(server, name):
    return [t for t in ((e.text or '').strip() for e in server.findall(name)) if t]


def read(path):
    with open(path, encoding='utf-8-sig') as f:
        root = ElementTree.fromstring(f.read().strip())
    for server in root.find('emailProvider'):
        kind = server.get('type', '')
        if (server.tag, kind) not in (('incomingServer', 'pop3'), ('incomingServer', 'imap'), ('outgoingServer', 'smtp')):
            continue
        host, port, user = texts(server, 'hostname'), texts(server, 'port'), texts(server, 'username')
        security = next((SECURITY[s.lower()] for s in texts(server, 'socketType') if s.lower() in SECURITY), None)
        if host and port and security:
            yield (os.path.basename(path), kind, fill(host[0]).lower().rstrip('.'), port[0], security, fill(user[0]) if user else '-',
                   ','.join(texts(server, 'authentication')) or '-')


def main():
    program, folder = sys.argv[1:]
    if not os.path.isdir(folder):
        print('../shared absent')
        sys.exit(77)
    files = sorted(f for f in os.listdir(folder) if f.endswith('.xml'))
    want = sorted(s for f in files for s in read(os.path.join(folder, f)))
    done = subprocess.run([program, folder, 'print'], capture_output=True, text=True, check=True)
    have = sorted(tuple(line.split('\t')) for line in done.stdout.splitlines())
    for line in sorted(set(want) ^ set(have)):
        print('only we' if line in have else 'only python', *line)
    print(f'{len(files)} documents, {len(want)} servers there, {len(have)} here')
    sys.exit(want != have or not files)


main()
