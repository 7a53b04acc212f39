# SPDX-License-Identifier: LGPL-2.1-or-later
"""POP3 servers that are not Dovecot: every octet, each message once, deleted when it is to be."""
import collections
import hashlib
import os
import poplib
import ssl
import socket

import pytest

from wplab.bus import Bus
from wplab.client import Connection, endpoint, options
from wplab.lab import NET4, ODD
from wplab.others import PASSWORD, USER, Courier, Popa3d

HOST = 'odd.example.test'


def mails():
    made = [f'From: a@example.test\nSubject: number {n}\nMessage-ID: <{n}@example.test>\n\nline\n.\n..two\n{"x" * n}\n'.encode() for n in range(30)]
    made.append(made[4])                                            # two that are the same
    made.append(made[5].replace(b'line', b'another body'))          # two that differ in their bodies alone
    made.append(b'From: a@example.test\nSubject: long\n\n' + (b'y' * 70 + b'\n') * 20000)
    return made


def counted(datas):
    return collections.Counter(hashlib.sha256(d).hexdigest() for d in datas)


class Reader(poplib.POP3_SSL):
    """An independent reader, from the client's side of the lab."""

    def __init__(self, lab, port):
        self.lab = lab
        super().__init__(HOST, port, context=ssl.create_default_context(cafile=lab.pki.ca))

    def _create_socket(self, timeout):
        return self.context.wrap_socket(self.lab.connect(NET4 + str(ODD), self.port), server_hostname=HOST)


def read_all(lab, port):
    poplib._MAXLINE = 1 << 20
    reader = Reader(lab, port)
    reader.user(USER)
    reader.pass_(PASSWORD)
    count = reader.stat()[0]
    datas = [b'\n'.join(reader.retr(n + 1)[1]) + b'\n' for n in range(count)]
    reader.quit()
    return datas


@pytest.mark.parametrize('keep', ['server', 'none'])
@pytest.mark.parametrize('kind', [Courier, Popa3d])
def test_server(lab, build, tmp_path, kind, keep):
    folder = tmp_path / kind.__name__
    os.chmod(tmp_path, 0o755)
    server = kind(lambda port: lab.server.listen(NET4 + str(ODD), port), lab.pki.server_context('good'), str(folder))
    try:
        server.fill([])
        with Bus(build, lab=lab, config={'fetch': {'interval': '30d', 'interval-minimum': '1s'}}) as bus, Connection(bus) as c:
            setup = c.start_setup('alice@example.test', receive_only=True, incoming=endpoint(HOST, server.port, user=USER))
            setup.wait_need('password')
            setup.set_password(PASSWORD)
            assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
            account = setup.commit()
            c.wait(lambda: account.history(1) and not account['Run'], 40)
            account.call('Configure', 'a{sv}', options({'keep': keep}))
            server.fill(mails())
            there = read_all(lab, server.port)
            assert len(there) == len(mails())
            run = account.fetch(seconds=40)
            assert (run['cause'], run['delivered'], run['deleted']) == ('', len(there), len(there) if keep == 'none' else 0)
            new = os.path.join(account['Location'], 'new')
            found = counted(open(os.path.join(new, name), 'rb').read() for name in os.listdir(new))
            assert found == counted(there)
            assert server.count() == (0 if keep == 'none' else len(there))
            again = account.fetch(seconds=40)
            assert (again['cause'], again['delivered']) == ('', 0)
            if kind is Courier:
                assert account['PollMinimum'] == 3
    finally:
        server.close()
