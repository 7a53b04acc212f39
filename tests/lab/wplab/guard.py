# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guard: one small process that owns all that a run of the lab starts.

It starts servers, holds the network and mount namespaces, and ends everything when it is told to or when
the harness that asked for it is gone, however that died. It is the child subreaper of all it starts, so
that nothing escapes by forking twice: kill the children, adopt theirs, until there are none.

The surprising thing: namespaces have no names. A holder process sits in each; when the holder is gone the
kernel takes the namespace, its links and its mounts away. So there is nothing in /run/netns to forget.

Run by run.py as `python3 guard.py FD`; FD is a SOCK_SEQPACKET socket that carries one JSON object a packet.
"""
import ctypes
import json
import os
import shutil
import signal
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SYS_OPEN_TREE, SYS_MOVE_MOUNT = 428, 429
OPEN_TREE_CLONE, AT_RECURSIVE, AT_FDCWD = 1, 0x8000, -100
MOVE_MOUNT_F_EMPTY_PATH = 4


def check(result, what):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f'{what}: {os.strerror(code)}')
    return result


def mount(source, target, fstype, flags):
    enc = [None if x is None else x.encode() for x in (source, target, fstype)]
    check(libc.mount(enc[0], enc[1], enc[2], ctypes.c_ulong(flags), None), f'mount {target}')


def make_private():
    """Takes all mounts out of propagation. In a chroot, "/" need not be a mount point and then cannot be
    made private; a copy of the tree, attached below a private mount that we can see, stands in for it."""
    try:
        mount('none', '/', None, MS_REC | MS_PRIVATE)
        return
    except OSError as error:
        if error.errno != 22:
            raise
    mount('none', '/proc', None, MS_PRIVATE)
    tree = check(libc.syscall(SYS_OPEN_TREE, AT_FDCWD, b'/', OPEN_TREE_CLONE | AT_RECURSIVE), 'open_tree')
    mount('tmpfs', '/proc', 'tmpfs', 0)
    mount('none', '/proc', None, MS_PRIVATE)
    os.mkdir('/proc/root')
    check(libc.syscall(SYS_MOVE_MOUNT, tree, b'', AT_FDCWD, b'/proc/root', MOVE_MOUNT_F_EMPTY_PATH), 'move_mount')
    os.chroot('/proc/root')
    os.chdir('/')
    mount('none', '/', None, MS_REC | MS_PRIVATE)


def hold(ready, binds):
    """The life of a holder: take the namespaces, say so, wait for the end."""
    try:
        check(libc.unshare(CLONE_NEWNET | CLONE_NEWNS), 'unshare')
        make_private()
        for source, target in binds:
            mount(source, os.path.realpath(target), None, MS_BIND)
        os.write(ready, b'ok')
    except OSError as error:
        os.write(ready, str(error).encode())
        os._exit(1)
    os.close(ready)
    while True:
        signal.pause()


class Guard:
    def __init__(self, sock):
        self.sock = sock
        self.folders = []

    def child(self):
        """What every child does first."""
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    def do_namespace(self, ask):
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            self.child()
            self.sock.close()
            os.close(r)
            hold(w, ask['binds'])
        os.close(w)
        said = os.read(r, 4096).decode()
        os.close(r)
        if said != 'ok':
            raise OSError(said or 'the holder died')
        return {'pid': pid}

    def do_spawn(self, ask):
        # The pipe is closed by a successful exec, so that a wrong path is the caller's error, not a riddle.
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                self.child()
                os.setsid()
                null = os.open('/dev/null', os.O_RDWR)
                log = os.open(ask['log'], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if ask.get('log') else null
                os.dup2(null, 0)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.chdir(ask.get('cwd') or '/')
                os.execve(ask['argv'][0], ask['argv'], ask['env'])
            except OSError as error:
                os.write(w, f'{ask["argv"][0]}: {error}'.encode())
            os._exit(127)
        os.close(w)
        said = os.read(r, 4096).decode()
        os.close(r)
        if said:
            raise OSError(said)
        return {'pid': pid}

    def do_folder(self, ask):
        self.folders.append(ask['path'])
        return {}

    def end(self):
        me = os.getpid()
        while True:
            with open(f'/proc/{me}/task/{me}/children') as f:
                pids = [int(p) for p in f.read().split()]
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
        for path in self.folders:
            shutil.rmtree(path, ignore_errors=True)

    def serve(self):
        while True:
            try:
                packet = self.sock.recv(1 << 18)
            except ConnectionError:
                return False
            if not packet:
                return False
            ask = json.loads(packet)
            if ask['do'] == 'end':
                return True
            try:
                answer = getattr(self, 'do_' + ask['do'])(ask)
            except OSError as error:
                answer = {'error': str(error)}
            self.sock.send(json.dumps(answer).encode())


def main():
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, signal.SIG_IGN)            # we leave when the harness does, not before
    signal.signal(signal.SIGCHLD, lambda *_: reap())
    guard = Guard(socket.socket(fileno=int(sys.argv[1])))
    try:
        told = guard.serve()
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        guard.end()
    if told:
        guard.sock.send(b'{}')


def reap():
    """Collects what ended, so that a pid that is gone reads as gone."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


if __name__ == '__main__':
    main()
