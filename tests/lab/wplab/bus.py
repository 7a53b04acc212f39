# SPDX-License-Identifier: LGPL-2.1-or-later
"""A private bus of the system type, on which the built service can be activated.

It runs the system bus's own policy with another socket, so that the project's policy file is tested against
the real default rules. In a lab, the daemon (and so the service that it starts) lives in the client
namespace, where the lab's resolver and CA are the machine's.

The surprising thing: a bus without <servicehelper> ignores User= of a service file. The generated one
therefore runs a small script that changes the user by setpriv.
"""
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess

from .run import CLEAN_ENV, LabError, PROJECT, Run, alive, end_process, until, wait_gone

NAME = 'org.waypost.Waypost1'
SERVICE_USER = 'waypost'
SANITIZERS = {'ASAN_OPTIONS': 'abort_on_error=0:detect_leaks=1:strict_string_checks=1',
              'UBSAN_OPTIONS': 'print_stacktrace=1:halt_on_error=1', 'LSAN_OPTIONS': 'print_suppressions=0'}
DROP = re.compile(r'<fork/>|<user>|<pidfile>|<servicehelper>|<syslog/>|<standard_system_servicedirs/>|<includedir>|<include ')
BAD_LOG = re.compile(r'ERROR: \w+Sanitizer|runtime error:|LeakSanitizer|==\d+== +(Invalid|definitely lost: [1-9])|'
                     r'assert(ion)? .*failed', re.I)


def write_config(path, sections):
    """The service's configuration: {section: {key: value}}. A value of None leaves the key out."""
    with open(path, 'w') as f:
        for section, keys in sections.items():
            f.write(f'[{section}]\n')
            for key, value in keys.items():
                if value is not None:
                    f.write(f'{key}={value}\n')
    os.chmod(path, 0o644)
    return path


def reachable(path, uid_other=True):
    """Whether any user may reach @path: a clone below a private home is not for the service's user."""
    while path != '/':
        path = os.path.dirname(path)
        if not os.stat(path).st_mode & 0o001:
            return False
    return True


class Bus:
    """`with Bus(build_dir, lab=lab) as bus:`

    @config overrides or adds keys of the configuration, by section; @wrapper stands before the service's
    command (strace, valgrind); @polkit starts a polkitd with the project's actions and @rules (JavaScript);
    @state is a state directory to use, else a fresh one is made."""

    def __init__(self, build, lab=None, config=None, polkit=False, rules='', wrapper=(), env=None, state=None):
        self.build = os.path.abspath(build)
        self.lab, self.config, self.polkit, self.rules = lab, config or {}, polkit, rules
        self.wrapper, self.env = list(wrapper), env or {}
        self.state = state
        self.run, self.pid, self.polkit_pid = None, None, None
        self.allow_bad_log = False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.stop(check=kind is None)

    def start(self):
        self.run = self.lab.run if self.lab else Run('waypost-bus')
        self.owns_run = not self.lab
        try:
            self.start_all()
        except BaseException:
            self.stop(check=False)
            raise

    def file(self, *names):
        return os.path.join(self.path, *names)

    def start_all(self):
        number = next(n for n in range(1000) if not os.path.exists(self.run.file(f'bus{n}')))
        self.path = self.run.file(f'bus{number}')
        os.makedirs(self.file('services'))
        self.log_path = self.file('service.log')
        with open(self.log_path, 'w'):
            pass
        try:
            self.user = pwd.getpwnam(SERVICE_USER)
        except KeyError:
            raise LabError(f'there is no user {SERVICE_USER}; scripts/test and scripts/with-service make it') from None
        if self.state is None:
            self.state = self.file('state')
            os.mkdir(self.state, 0o711)
            os.chown(self.state, self.user.pw_uid, self.user.pw_gid)
        self.write_service()
        self.address = f'unix:path={self.file("bus.sock")}'
        self.namespace = self.lab.client if self.lab else None
        self.pid = self.run.spawn(['dbus-daemon', f'--config-file={self.write_bus()}', '--nofork', '--nopidfile',
                                   '--nosyslog'], log=f'bus{number}/bus.log', namespace=self.namespace)
        until(lambda: self.listening() or not alive(self.pid), 'the bus')
        if not alive(self.pid):
            raise LabError('the bus does not start: ' + self.run.log(f'bus{number}/bus.log'))
        if self.polkit:
            self.start_polkit(number)

    def listening(self):
        """Whether the bus takes connections: the socket's file is there a moment earlier."""
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(self.file('bus.sock'))
                return True
            except OSError:
                return False

    def binary(self, *names):
        path = os.path.join(self.build, *names)
        if not os.access(path, os.X_OK):
            raise LabError(f'{path} is not built')
        if reachable(path):
            return path
        copy = self.file(names[-1])
        shutil.copy2(path, copy)
        os.chmod(copy, 0o755)
        return copy

    def write_service(self):
        sections = {'service': {'state-directory': self.state, 'log-level': 'debug'}, 'network': {}}
        if self.lab:
            sections['network']['ca-file'] = self.lab.bundle
        for section, keys in self.config.items():
            sections.setdefault(section, {}).update(keys)
        self.config_path = write_config(self.file('waypost.conf'), sections)
        program = [*self.wrapper, self.binary('service', 'bus', 'waypostd'), '--config', self.config_path]
        user = ['/usr/bin/setpriv', f'--reuid={self.user.pw_uid}', f'--regid={self.user.pw_gid}', '--clear-groups', '--']
        env = {**CLEAN_ENV, **SANITIZERS, **self.env}
        if self.wrapper and 'ASAN_OPTIONS' not in self.env:
            env['ASAN_OPTIONS'] += ':detect_leaks=0'        # LeakSanitizer does not work beside ptrace
        exports = ''.join(f'export {k}={shlex.quote(v)}\n' for k, v in env.items())
        script = self.file('waypostd.sh')
        with open(script, 'w') as f:
            f.write(f'#!/bin/sh\n{exports}cd /\nexec {shlex.join(user + program)} </dev/null '
                    f'>>{shlex.quote(self.log_path)} 2>&1\n')
        os.chmod(script, 0o755)
        with open(self.file('services', NAME + '.service'), 'w') as f:
            f.write(f'[D-BUS Service]\nName={NAME}\nExec={script}\n')

    def write_bus(self):
        with open('/usr/share/dbus-1/system.conf') as f:
            lines = [line for line in f if not DROP.search(line)]
        policies = [os.path.join(PROJECT, 'dbus', NAME + '.conf')]
        polkit = '/usr/share/dbus-1/system.d/org.freedesktop.PolicyKit1.conf'
        if os.path.exists(polkit):
            policies.append(polkit)
        includes = ''.join(f'  <include>{p}</include>\n' for p in policies)
        text = ''.join(lines)
        text = re.sub(r'<listen>.*</listen>', f'<listen>{"unix:path=" + self.file("bus.sock")}</listen>\n'
                      f'  <servicedir>{self.file("services")}</servicedir>', text)
        text = text.replace('</busconfig>', includes + '</busconfig>')
        path = self.file('bus.conf')
        with open(path, 'w') as f:
            f.write(text)
        return path

    def start_polkit(self, number):
        actions, rules = self.file('actions'), self.file('rules.d')
        os.mkdir(actions)
        os.mkdir(rules)
        for name in os.listdir(os.path.join(PROJECT, 'dbus')):
            if name.endswith('.policy'):
                shutil.copy(os.path.join(PROJECT, 'dbus', name), actions)
        with open(os.path.join(rules, '10-lab.rules'), 'w') as f:
            f.write(self.rules)
        script = (f'mount --bind {actions} /usr/share/polkit-1/actions && mount --bind {rules} /etc/polkit-1/rules.d && '
                  'mount -t tmpfs -o mode=755 tmpfs /usr/share/polkit-1/rules.d && exec /usr/lib/polkit-1/polkitd')
        holder = self.run.namespace()
        self.polkit_pid = self.run.spawn(['/bin/sh', '-c', script], log=f'bus{number}/polkit.log', namespace=holder,
                                         env=dict(CLEAN_ENV, DBUS_SYSTEM_BUS_ADDRESS=self.address))
        until(lambda: self.owner('org.freedesktop.PolicyKit1'), 'polkitd')

    # -- the service

    def ask_bus(self, method, name):
        done = subprocess.run(['/usr/bin/busctl', f'--address={self.address}', 'call', 'org.freedesktop.DBus', '/',
                               'org.freedesktop.DBus', method, 's', name], capture_output=True, text=True, env=CLEAN_ENV)
        return done.stdout.split()[1] if done.returncode == 0 else None

    def owner(self, name=NAME):
        return self.ask_bus('GetNameOwner', name)

    def service_pid(self):
        """The service's pid, or None while it does not run. With a wrapper that forks: the service's own."""
        pid = self.ask_bus('GetConnectionUnixProcessID', NAME)
        return int(pid) if pid else None

    def activate(self):
        """Starts the service, if need be, and returns its pid."""
        done = subprocess.run(['/usr/bin/busctl', f'--address={self.address}', 'call', 'org.freedesktop.DBus', '/',
                               'org.freedesktop.DBus', 'StartServiceByName', 'su', NAME, '0'], capture_output=True,
                              text=True, env=CLEAN_ENV)
        if done.returncode:
            raise LabError(f'the service does not start: {done.stderr.strip()}\n{self.log()[-3000:]}')
        return self.service_pid()

    def stop_service(self, seconds=15):
        """SIGTERM and time to leave, as systemd does. False if it had to be killed."""
        pid = self.service_pid()
        return True if pid is None else end_process(pid, seconds)

    def kill_service(self):
        pid = self.service_pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            if not wait_gone(pid, 10):
                raise LabError('the service does not die')
            until(lambda: self.owner() is None, 'the bus to notice')

    def configure(self, config):
        """Writes the configuration anew with these overrides; holds from the next start of the service."""
        self.config = config
        self.write_service()
        os.kill(self.pid, signal.SIGHUP)

    def log(self):
        with open(self.log_path, errors='replace') as f:
            return f.read()

    def check_log(self):
        """Raises if the service's own log tells of a bug: a sanitizer's report or a failed assertion."""
        log = self.log()
        found = BAD_LOG.search(log)
        if found:
            raise LabError('the service complained of itself:\n' + log[max(0, found.start() - 500):found.start() + 4000])

    def stop(self, check=True):
        left = True
        try:
            if self.pid:
                left = self.stop_service()
        finally:
            for pid in (self.pid, self.polkit_pid):
                if pid:
                    end_process(pid, 2)
            self.pid = self.polkit_pid = None
            if check and not self.allow_bad_log:
                try:
                    self.check_log()
                    if not left:
                        raise LabError('the service did not leave on SIGTERM')
                finally:
                    self.end_run()
            else:
                self.end_run()

    def end_run(self):
        if self.owns_run:
            self.run.close()

    # -- clients

    def environment(self, base=None):
        env = dict(CLEAN_ENV if base is None else base)
        if self.lab:
            env = self.lab.client_environment(env)
        env['DBUS_SYSTEM_BUS_ADDRESS'] = self.address
        env['PATH'] = os.path.join(self.build, 'cli') + ':' + env.get('PATH', CLEAN_ENV['PATH'])
        env['WAYPOST_STATE_DIR'], env['WAYPOST_SERVICE_LOG'] = self.state, self.log_path
        if self.lab:
            env['WAYPOST_LAB_DIR'] = self.lab.path
        return env

    def command(self, argv, uid=None, cwd='/'):
        """@argv, to be run with environment(): in the client namespace, as user @uid."""
        if uid is not None:
            argv = ['/usr/bin/setpriv', f'--reuid={uid}', f'--regid={gid_of(uid)}', '--clear-groups', '--', *argv]
        return self.namespace.enter(argv, cwd) if self.namespace else list(argv)

    def cli(self, *args, uid=None, timeout=60, input=None, env=None):
        """Runs `waypost ARGS` to its end; result as of subprocess.run, with text."""
        argv = self.command([self.binary('cli', 'waypost'), *args], uid)
        return subprocess.run(argv, capture_output=True, text=True, input=input, timeout=timeout,
                              stdin=subprocess.DEVNULL if input is None else None,
                              env={**self.environment(), **SANITIZERS, **(env or {})})


def gid_of(uid):
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return uid
