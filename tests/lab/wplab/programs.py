# SPDX-License-Identifier: LGPL-2.1-or-later
"""Server programs of Debian packages that cannot be installed beside the lab's own (they conflict with it): fetched by apt, unpacked, and
run behind a TLS socket of this process, one for each connection, as inetd would. They are told that somebody has signed in already. They run
as a user without a home: some list the home of whoever runs them, and see nothing but the Maildir that they are given."""
import glob
import os
import socket
import subprocess
import threading

CACHE = '/var/cache/waypost-lab'
USER = 'nobody'
PACKAGES = {
    'courier': ('courier-imap', 'courier-base', 'courier-authlib', 'libgamin0', 'libcourier-unicode4', 'libgdbm6', 'libidn12'),
}


def unpacked(name):
    """The folder that the packages of @name are unpacked in."""
    place = os.path.join(CACHE, name)
    if os.path.isdir(place):
        return place
    half = f'{place}.{os.getpid()}'
    os.makedirs(half)
    for package in PACKAGES[name]:
        if subprocess.run(['apt-get', 'download', '-q', '-o', 'APT::Sandbox::User=root', package], cwd=half, capture_output=True).returncode and package == PACKAGES[name][0]:
            subprocess.run(['apt-get', 'update', '-q'], check=True, capture_output=True)
            subprocess.run(['apt-get', 'download', '-q', '-o', 'APT::Sandbox::User=root', package], cwd=half, check=True, capture_output=True)
    for deb in glob.glob(half + '/*.deb'):
        subprocess.run(['dpkg-deb', '-x', deb, half], check=True)
        os.unlink(deb)
    try:
        os.rename(half, place)
    except OSError:                 # another one was quicker
        subprocess.run(['rm', '-rf', half], check=True)
    return place


def libraries(place):
    return ':'.join(sorted({os.path.dirname(path) for path in glob.glob(place + '/**/*.so*', recursive=True)}))


class Program:
    """One of PACKAGES over the Maildir @maildir. @listen and @context as of Imapbox."""

    def __init__(self, name, maildir, listen, context, port=0):
        place = unpacked(name)
        self.env = {'PATH': '/usr/bin:/bin', 'LD_LIBRARY_PATH': libraries(place), 'HOME': os.path.dirname(maildir)}
        self.cwd = os.path.dirname(maildir)
        self.argv = [place + '/usr/bin/imapd', os.path.basename(maildir)]
        self.env |= {'AUTHENTICATED': 'tim', 'IMAP_CAPABILITY': 'IMAP4rev1 UIDPLUS CHILDREN NAMESPACE IDLE', 'IMAP_ENHANCEDIDLE': '0'}
        self.context = context
        self.listener = listen(port)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            with self.context.wrap_socket(sock, server_side=True) as outer:
                inner, theirs = socket.socketpair()
                with subprocess.Popen(self.argv, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=self.env, cwd=self.cwd,
                                      user=USER, group='nogroup', extra_groups=[]) as program:
                    theirs.close()
                    up = threading.Thread(target=self.pump, args=(outer, inner), daemon=True)
                    up.start()
                    self.pump(inner, outer)
                    outer.close()
                    program.kill()
        except (OSError, ValueError):
            pass

    @staticmethod
    def pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except (OSError, ValueError):
            pass

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
