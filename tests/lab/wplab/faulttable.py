# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/faults.md: the faults of the lab with what the service says of them. Written with WAYPOST_WRITE_DOCS=1, else compared: all but
proof and seconds, which differ from machine to machine."""
import datetime
import os
import re
from collections import namedtuple

WRITE = bool(os.environ.get('WAYPOST_WRITE_DOCS'))
Row = namedtuple('Row', 'fault where step cause proof seconds')
PROOF_MAX = 110
# Tells of the fault, where the test looks at nothing in particular.
TELLING = ('reply', 'error', 'verify-errors', 'attempts', 'first-bytes', 'names', 'capabilities', 'host')
HEAD = """# Faults, and what is said of them

<!-- Made by tests/lab/test_faults.py with WAYPOST_WRITE_DOCS=1: do not edit. -->

Each of these {n} faults is played in the lab, by real servers or a scripted one, and goes through the bus; each must end in exactly its cause, with
the step that has failed and the proof. {causes} causes are among them. The seconds are those from StartSetup to the cause, each fault alone, on the
machine that wrote this page: a port that is silent takes its time limit, and nothing else takes more than its own round trips.

"""


def text_of(value):
    """A piece of evidence as text: of a list its parts, of bytes what they say."""
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], int):
            return bytes(value).decode('latin-1')
        return '; '.join(map(str, value))
    return str(value)


def proof(wanted, evidence):
    """What the test looks at, as the service has said it."""
    keys = sorted((key for key in wanted if key in evidence), key=lambda key: key in ('spki-sha256', 'subject', 'host', 'port', 'user')) or [key for key in TELLING if key in evidence][:1]
    parts = []
    for key in keys[:2]:
        text = text_of(evidence[key])
        if key in ('not-before', 'not-after'):
            text = datetime.datetime.fromtimestamp(int(text) / 1e6, datetime.timezone.utc).strftime('%Y-%m-%d')
        text = re.sub(r'\b[0-9a-f]{64}\b', lambda m: m[0][:12] + '...', text)
        text = re.sub(r'\b(port |:)[0-9]{5}\b', r'\g<1>N', ''.join(c if c.isprintable() else '?' for c in text))
        parts.append(f'{key}: {text}')
    text = '; '.join(parts)
    return text if len(text) <= PROOF_MAX else text[:PROOF_MAX - 3] + '...'


def cell(text):
    return text.replace('\\', '\\\\').replace('|', '\\|').replace('<', '&lt;').replace('*', '\\*').replace('_', '\\_')


class Table:
    def __init__(self, path):
        self.path = path

    def write(self, rows):
        causes = len({row.cause for row in rows})
        out = [HEAD.format(n=len(rows), causes=causes) + '| fault | where | step | cause | proof | seconds |\n| --- | --- | --- | --- | --- | ---: |']
        for row in rows:
            out.append(f'| {row.fault} | {cell(row.where)} | {row.step} | `{row.cause}` | {cell(row.proof)} | {row.seconds:.2f} |')
        with open(self.path, 'w', encoding='utf-8') as f:
            f.write('\n'.join(out) + '\n')

    def faults(self):
        """The first four columns."""
        with open(self.path, encoding='utf-8') as f:
            lines = [line.split(' | ') for line in f if line.startswith('| ') and not line.startswith(('| fault', '| ---'))]
        return [(c[0][2:], re.sub(r'\\(.)', r'\1', c[1]).replace('&lt;', '<'), c[2], c[3].strip('`')) for c in lines]
