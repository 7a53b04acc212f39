# SPDX-License-Identifier: LGPL-2.1-or-later
"""A run: a folder, a guard process and what it started. The harness's side of guard.py.

Processes are known by pid and killed by pid. Everything lives until close(), or until the process that
made the Run is gone; then the guard ends it all.
"""
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
CLEAN_ENV = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'LANG': 'C.UTF-8'}


class LabError(Exception):
    pass


def script(path):
    """The command of a Python program, for users who cannot read this tree."""
    with open(path) as f:
        return ['/usr/bin/python3', '-B', '-c', f.read()]


def until(condition, what, seconds=10.0):
    """Waits for what no file descriptor tells: a socket file of somebody else's server."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise LabError(f'waited {seconds:g} s in vain for {what}')
        time.sleep(0.005)


def alive(pid):
    try:
        with open(f'/proc/{pid}/stat') as f:
            return f.read().rpartition(')')[2].split()[0] not in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_gone(pid, seconds):
    """True once process @pid, child or not, has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], seconds)[0])
    finally:
        os.close(fd)


def end_process(pid, seconds=10.0):
    """SIGTERM, time to leave, SIGKILL. True if it left by itself."""
    for sig, wait in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5)):
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            return True
        if wait_gone(pid, wait):
            return sig == signal.SIGTERM
    raise LabError(f'process {pid} does not end')


class Run:
    def __init__(self, name='waypost-lab'):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Not below $TMPDIR: paths of Unix sockets are short, and other users must be able to pass.
        self.path = tempfile.mkdtemp(prefix=f'{name}-{os.getpid()}-', dir='/tmp')
        os.chmod(self.path, 0o755)
        self.keep = bool(os.environ.get('WAYPOST_KEEP'))
        self.sock, self.lock = ours, threading.Lock()
        self.process = subprocess.Popen(
            ['/usr/bin/python3', '-I', '-S', os.path.join(HERE, 'guard.py'), str(theirs.fileno())],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=CLEAN_ENV, cwd='/', start_new_session=True)
        theirs.close()
        if not self.keep:
            self.ask('folder', path=self.path)

    def ask(self, do, **more):
        with self.lock:
            self.sock.send(json.dumps(dict(more, do=do)).encode())
            packet = self.sock.recv(1 << 16)
        if not packet:
            raise LabError('the guard of this run has died')
        answer = json.loads(packet)
        if 'error' in answer:
            raise LabError(answer['error'])
        return answer

    def file(self, *names):
        return os.path.join(self.path, *names)

    def write(self, name, text, mode=0o644):
        path = self.file(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        os.chmod(path, mode)
        return path

    def spawn(self, argv, log=None, env=None, namespace=None, cwd='/'):
        """Starts @argv in the background; returns its pid (nsenter execs, so it is the program's own)."""
        if not argv[0].startswith('/'):
            full = shutil.which(argv[0], path=CLEAN_ENV['PATH'])
            if not full:
                raise LabError(f'{argv[0]} is not installed')
            argv = [full, *argv[1:]]
        if namespace:
            argv = namespace.enter(argv)
        return self.ask('spawn', argv=argv, log=log and self.file(log), env=CLEAN_ENV if env is None else env,
                        cwd=cwd)['pid']

    def namespace(self, binds=()):
        return Namespace(self.ask('namespace', binds=list(binds))['pid'])

    def log(self, name):
        try:
            with open(self.file(name), errors='replace') as f:
                return f.read()
        except FileNotFoundError:
            return ''

    def close(self):
        if not self.sock:
            return
        with self.lock:
            sock, self.sock = self.sock, None
        try:
            sock.send(b'{"do": "end"}')
            sock.recv(16)
        except OSError:
            pass
        sock.close()
        self.process.wait()
        if self.keep:
            print(f'kept: {self.path}', file=sys.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Namespace:
    """A network and mount namespace, held by process @pid."""

    def __init__(self, pid):
        self.pid = pid
        self.net = f'/proc/{pid}/ns/net'

    def enter(self, argv, cwd='/'):
        return ['/usr/bin/nsenter', '-t', str(self.pid), '-n', '-m', '-r', '-W', cwd, '--', *argv]

    def call(self, argv, **more):
        """Runs @argv there to its end; like subprocess.run with text output kept."""
        more.setdefault('env', CLEAN_ENV)
        more.setdefault('stdin', subprocess.DEVNULL)
        return subprocess.run(self.enter(argv), capture_output=True, **more)

    def ip(self, *commands):
        done = subprocess.run(['/usr/bin/nsenter', '-t', str(self.pid), '-n', '/sbin/ip', '-batch', '-'],
                              input='\n'.join(commands), text=True, capture_output=True, env=CLEAN_ENV)
        if done.returncode:
            raise LabError('ip: ' + done.stderr)

    def inside(self, function, *args):
        """Calls @function in a thread that is in the network namespace: sockets it makes stay there."""
        result = []

        def body():
            import ctypes
            try:
                fd = os.open(self.net, os.O_RDONLY)
                try:
                    if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000) < 0:
                        raise OSError(ctypes.get_errno(), 'setns')
                finally:
                    os.close(fd)
                result.append((function(*args), None))
            except BaseException as error:
                result.append((None, error))

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        value, error = result[0]
        if error:
            raise error
        return value

    def listen(self, address, port, backlog=64):
        family = socket.AF_INET6 if ':' in address else socket.AF_INET
        return self.inside(lambda: socket.create_server((address, port), family=family, backlog=backlog))

    def connect(self, address, port, timeout=10):
        return self.inside(lambda: socket.create_connection((address, port), timeout=timeout))
