# SPDX-License-Identifier: LGPL-2.1-or-later
"""Other servers of Debian's archive (archive.py), behind TLS of ours, a process for each connection.

courier: courierpop3d on a Maildir; what comes before the login is played here. popa3d: the whole server, on an mbox, for a user that exists in
its own mount namespace only; it knows neither CAPA nor PIPELINING, and names messages by their headers, so that two may have one UIDL.
courier-imap: imapd on a Maildir, told that somebody has signed in already, by a user without a home: it lists what it sees.
"""
import os
import shutil
import socket
import subprocess
import threading

from .archive import libraries, unpacked
from .listening import Listening
from .run import CLEAN_ENV

COURIER = ('courier-pop', 'courier-imap', 'courier-base', 'courier-authlib', 'libcourier-unicode4', 'libgamin0', 'libgdbm6', 'libidn12')
USER, PASSWORD, UID = 'popper', 'popperpw', 64321
NOBODY = 'nobody'
SETUP = '''set -e
for f in passwd group shadow; do mount --bind "$1/etc/$f" "/etc/$f"; done
mount --bind "$1/pam" /etc/pam.d
mount --bind "$1/mail" /var/mail
[ -d /var/lib/popa3d ] || { mount -t tmpfs tmpfs /var/lib; mkdir /var/lib/popa3d; }
exec "$2"
'''


class Other(Listening):
    """One server behind TLS; each connection has a process of its own."""

    def __init__(self, listen, context, folder, port=0):
        self.root, self.folder, self.context = unpacked(*self.packages), folder, context
        os.makedirs(folder, exist_ok=True)
        self.prepare()
        self.listen_at(listen(port))

    def prepare(self):
        pass

    def serve(self, sock):
        try:
            with self.context.wrap_socket(sock, server_side=True) as client:
                early = self.before_login(client)
                ours, its = socket.socketpair()
                with ours:
                    process = subprocess.Popen(stdin=its, stdout=its, stderr=subprocess.DEVNULL, **self.command())
                    its.close()
                    if early:
                        ours.sendall(early)
                    back = threading.Thread(target=self.relay, args=(ours, client), daemon=True)
                    back.start()
                    self.relay(client, ours)
                    ours.shutdown(socket.SHUT_WR)
                    back.join(5)
                process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            pass

    @staticmethod
    def relay(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass

    def before_login(self, client):
        return b''


class Courier(Other):
    packages = COURIER

    def prepare(self):
        for name in ('cur', 'new', 'tmp'):
            os.makedirs(os.path.join(self.folder, 'Maildir', name), exist_ok=True)

    def fill(self, mails):
        shutil.rmtree(os.path.join(self.folder, 'Maildir'))
        self.prepare()
        for n, mail in enumerate(mails):
            with open(os.path.join(self.folder, 'Maildir', 'new', f'{1000 + n}.x'), 'wb') as f:
                f.write(mail)

    def count(self):
        return sum(len(os.listdir(os.path.join(self.folder, 'Maildir', name))) for name in ('new', 'cur'))

    def command(self):
        return {'args': [os.path.join(self.root, 'usr/lib/courier/courier/courierpop3d'), 'Maildir'], 'cwd': self.folder,
                'env': {**CLEAN_ENV, 'AUTHENTICATED': USER, 'LD_LIBRARY_PATH': libraries(self.root)}}

    def before_login(self, client):
        client.sendall(b'+OK Hello there.\r\n')
        buffer = b''
        while True:
            while b'\n' not in buffer:
                data = client.recv(4096)
                if not data:
                    raise OSError
                buffer += data
            line, _, buffer = buffer.partition(b'\n')
            verb, _, rest = line.strip().partition(b' ')
            if verb.upper() == b'CAPA':
                client.sendall(b'+OK\r\nTOP\r\nUSER\r\nLOGIN-DELAY 3\r\nPIPELINING\r\nUIDL\r\n.\r\n')
            elif verb.upper() == b'PASS' and rest.decode() == PASSWORD:
                return buffer
            else:
                client.sendall(b'+OK\r\n' if verb.upper() == b'USER' else b'-ERR Login failed.\r\n')


class CourierImap(Other):
    """@folder is a Maildir that there is; its parent is all that the server is told of."""

    packages = COURIER

    def command(self):
        home, maildir = os.path.split(self.folder)
        return {'args': [os.path.join(self.root, 'usr/bin/imapd'), maildir], 'cwd': home,
                'user': NOBODY, 'group': 'nogroup', 'extra_groups': [],
                'env': {'PATH': '/usr/bin:/bin', 'HOME': home, 'LD_LIBRARY_PATH': libraries(self.root), 'AUTHENTICATED': 'tim',
                        'IMAP_CAPABILITY': 'IMAP4rev1 UIDPLUS CHILDREN NAMESPACE IDLE', 'IMAP_ENHANCEDIDLE': '0'}}


class Popa3d(Other):
    packages = ('popa3d',)

    def prepare(self):
        for name in ('etc', 'mail'):
            os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        secret = subprocess.run(['openssl', 'passwd', '-6', PASSWORD], capture_output=True, text=True, check=True, env=CLEAN_ENV).stdout.strip()
        more = {'passwd': [f'{USER}:x:{UID}:{UID}::/nonexistent:/bin/false', 'popa3d:x:64322:64322::/nonexistent:/bin/false'],
                'group': [f'{USER}:x:{UID}:', 'popa3d:x:64322:'], 'shadow': [f'{USER}:{secret}:19000:0:99999:7:::']}
        for name, lines in more.items():
            with open(f'/etc/{name}') as f:
                kept = [line for line in f.read().splitlines() if line.split(':')[0] not in (USER, 'popa3d')]
            with open(os.path.join(self.folder, 'etc', name), 'w') as f:
                f.write('\n'.join(kept + lines) + '\n')
        os.chmod(os.path.join(self.folder, 'etc', 'shadow'), 0o600)
        shutil.copytree('/etc/pam.d', os.path.join(self.folder, 'pam'), dirs_exist_ok=True)
        shutil.copy(os.path.join(self.root, 'etc/pam.d/popa3d'), os.path.join(self.folder, 'pam'))
        os.chmod(os.path.join(self.folder, 'mail'), 0o1777)

    @property
    def mbox(self):
        return os.path.join(self.folder, 'mail', USER)

    def fill(self, mails):
        with open(self.mbox, 'wb') as f:
            for n, mail in enumerate(mails):
                f.write(b'From a@example.test Mon Jan  1 00:%02d:00 2024\n' % (n % 60) + mail + b'\n')
        os.chown(self.mbox, UID, UID)
        os.chmod(self.mbox, 0o600)

    def count(self):
        with open(self.mbox, 'rb') as f:
            return sum(line.startswith(b'From a@example.test ') for line in f)

    def command(self):
        return {'args': ['/usr/bin/unshare', '-m', '/bin/sh', '-c', SETUP, 'sh', self.folder, os.path.join(self.root, 'usr/sbin/popa3d')],
                'env': CLEAN_ENV}
