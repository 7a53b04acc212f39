# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program in a real terminal of a size, tmux's, which reflows what stands there when it is resized, as most terminals do.

`with Tmux(argv, env, columns=80, rows=24) as terminal:` ends what is still running. The screen stays after the program has."""
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time

SECONDS = 90            # for a loaded machine; what is waited for comes within one


class Tmux:
    def __init__(self, argv, env, columns=80, rows=24):
        self.argv, self.size = argv, (columns, rows)
        self.env = {'LC_ALL': 'C.UTF-8', **env, 'TERM': 'xterm-256color'}
        self.extra = [f'{k}={v}' for k, v in env.items() if k in ('TERM', 'LC_ALL', 'NO_COLOR')]

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix='waypost-tmux-')
        self.status = os.path.join(self.folder, 'status')
        # No shell of the user's and none of his settings; the program sees the variables that were asked for, TERM among them.
        # tmux itself loses an exit status now and then, so a shell notes it; Ctrl-C is not for the shell.
        script = 'trap : INT; "$@"; echo $? > "$0.new"; mv "$0.new" "$0"'
        command = shlex.join(['/bin/sh', '-c', script, self.status, '/usr/bin/env', *self.extra, *self.argv])
        self.tmux('-f', '/dev/null', '-u', 'new-session', '-d', '-x', str(self.size[0]), '-y', str(self.size[1]), 'read',
                  ';', 'set-option', '-g', 'remain-on-exit', 'on', ';', 'set-option', '-g', 'remain-on-exit-format', '',
                  ';', 'set-option', '-g', 'status', 'off', ';', 'set-option', '-g', 'default-terminal', 'tmux-256color',
                  ';', 'respawn-pane', '-k', command)
        self.resize(*self.size)
        return self

    def __exit__(self, *_):
        subprocess.run([*self.base, 'kill-server'], capture_output=True, env=self.env)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def base(self):
        return ['/usr/bin/tmux', '-S', os.path.join(self.folder, 'socket')]

    def tmux(self, *arguments):
        return subprocess.run([*self.base, *arguments], check=True, capture_output=True, text=True, env=self.env, cwd='/').stdout

    def screen(self, history=False, colours=False):
        """What stands there as lines; with @history also what has scrolled away."""
        text = self.tmux('capture-pane', '-p', *(['-S', '-'] if history else []), *(['-e'] if colours else []))
        return [line.rstrip() for line in text.rstrip().split('\n')]

    def text(self, **more):
        return '\n'.join(self.screen(**more))

    def wait(self, what, seconds=SECONDS):
        """Until the screen shows @what, a regular expression; the text of it."""
        limit = time.monotonic() + seconds
        while not re.search(what, text := self.text(), re.M):
            assert time.monotonic() < limit, f'{what!r} did not come:\n{self.text(history=True)}'
            assert not self.ended() or re.search(what, self.text(), re.M), f'ended without {what!r}:\n{self.text(history=True)}'
            time.sleep(0.02)
        return text

    def type(self, text, enter=True):
        if text:
            self.tmux('send-keys', '-l', text)
        if enter:
            self.key('Enter')

    def key(self, *names):
        self.tmux('send-keys', *names)

    def resize(self, columns, rows):
        self.tmux('resize-window', '-x', str(columns), '-y', str(rows))

    def ended(self):
        return os.path.exists(self.status)

    def finish(self, seconds=SECONDS):
        """Until the program has ended; its exit status."""
        limit = time.monotonic() + seconds
        while not self.ended():
            assert time.monotonic() < limit, f'it does not end:\n{self.text(history=True)}'
            time.sleep(0.02)
        with open(self.status) as f:
            return int(f.read())
