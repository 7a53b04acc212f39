# SPDX-License-Identifier: LGPL-2.1-or-later
"""Packages of Debian's archive that cannot be installed beside the lab's own, because they conflict with them: fetched by apt-get, which checks
them, and unpacked into a folder that is kept, outside the tree."""
import glob
import hashlib
import os
import subprocess
import tempfile

from .run import CLEAN_ENV, LabError

CACHE = os.environ.get('WAYPOST_CACHE') or '/var/cache/waypost-lab'


def fetch(packages, folder):
    argv = ['apt-get', '-q', '-o', 'APT::Sandbox::User=root', 'download', *packages]
    done = subprocess.run(argv, cwd=folder, env=CLEAN_ENV, capture_output=True, text=True)
    if done.returncode:             # what is known of the archive may be old, or nothing
        subprocess.run(['apt-get', '-q', 'update'], env=CLEAN_ENV, capture_output=True, check=False)
        done = subprocess.run(argv, cwd=folder, env=CLEAN_ENV, capture_output=True, text=True)
    if done.returncode:
        raise LabError('apt-get download: ' + done.stderr)


def unpacked(*packages):
    """The folder that holds the files of @packages."""
    root = os.path.join(CACHE, 'packages-' + hashlib.sha256(' '.join(packages).encode()).hexdigest()[:16])
    if os.path.isdir(root):
        return root
    os.makedirs(CACHE, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
        fetch(packages, temporary)
        new = os.path.join(temporary, 'root')
        for package in glob.glob(os.path.join(temporary, '*.deb')):
            subprocess.run(['dpkg', '-x', package, new], check=True, env=CLEAN_ENV)
        os.chmod(new, 0o755)
        try:
            os.rename(new, root)
        except OSError:             # somebody else was quicker
            pass
    return root


def libraries(root):
    """LD_LIBRARY_PATH for programs under @root."""
    return ':'.join(sorted({os.path.dirname(path) for path in glob.glob(root + '/**/*.so*', recursive=True)}))
