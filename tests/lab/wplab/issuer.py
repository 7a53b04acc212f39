# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab's OpenID provider (npm's oidc-provider, pinned by a lock file), and a browser of a few lines to sign in there.

The packages are installed once, outside the tree: in WAYPOST_NPM_CACHE, or /var/cache/waypost-lab. `python3 -m wplab.issuer` does
just that, for scripts/test.
"""
import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import urllib.parse

from .run import LabError, until

HERE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'issuer')
HOST = 'id.example.test'
ISSUER = f'https://{HOST}'
MAIL_SCOPE = 'urn:ietf:params:oauth:scope:mail'


def modules():
    """The folder with the installed packages; installs them if need be. Raises LabError, which says what is missing."""
    with open(os.path.join(HERE, 'package-lock.json'), 'rb') as f:
        lock = f.read()
    cache = os.environ.get('WAYPOST_NPM_CACHE') or '/var/cache/waypost-lab'
    path = os.path.join(cache, 'issuer-' + hashlib.sha256(lock).hexdigest()[:16])
    if os.path.exists(path + '/ready'):
        return path
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, 'lock'), 'w') as one:
        fcntl.flock(one, fcntl.LOCK_EX)
        if not os.path.exists(path + '/ready'):
            install(path)
    return path


def install(path):
    npm = shutil.which('npm')
    if not npm:
        raise LabError('npm is not installed: the lab\'s OpenID provider cannot be fetched')
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    for name in ('package.json', 'package-lock.json'):
        shutil.copy(os.path.join(HERE, name), path)
    # npm reads where its registry is from the environment and from the user's files: these are not the lab's business.
    done = subprocess.run([npm, 'ci', '--ignore-scripts', '--no-audit', '--no-fund'], cwd=path, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise LabError('npm could not fetch oidc-provider (is its registry reachable?): ' + (done.stderr or done.stdout)[-600:])
    open(path + '/ready', 'w').close()


class Issuer:
    """The provider at https://id.example.test, started in the lab's server namespace."""

    def __init__(self, lab, address, access_token_seconds=300, device_code_seconds=120, registration=True, aliases=None):
        self.lab, self.run = lab, lab.run
        path, self.secret = modules(), 'a secret & more of it'
        settings = {'issuer': ISSUER, 'address': address, 'port': 443, 'cert': lab.pki.file('good.pem'), 'key': lab.pki.file('good.key'),
                    'accessTokenSeconds': access_token_seconds, 'deviceCodeSeconds': device_code_seconds, 'registration': registration,
                    'secret': self.secret, 'aliases': aliases or {}}
        self.settings = lab.run.write('issuer/settings.json', json.dumps(settings))
        # Node looks for packages beside the program.
        self.program = lab.run.file('issuer', 'issuer.mjs')
        shutil.copy(os.path.join(HERE, 'issuer.mjs'), self.program)
        os.symlink(path + '/node_modules', lab.run.file('issuer', 'node_modules'))
        self.start()

    def start(self):
        node = shutil.which('node', path='/usr/bin:/usr/local/bin') or 'node'
        ready = self.log().count('ready')
        self.pid = self.run.spawn([node, self.program, self.settings],
                                  log='issuer/issuer.log', namespace=self.lab.server)
        until(lambda: self.log().count('ready') > ready, 'the OpenID provider')

    def log(self):
        return self.run.log('issuer/issuer.log')

    def count(self, *words):
        """How many lines of the log begin with @words."""
        return sum(line.startswith(' '.join(words)) for line in self.log().splitlines())

    def revoke(self, user):
        """All that was granted to @user is over, at the provider."""
        time.sleep(1.1)         # whole seconds are compared
        Browser(self.lab).ask('POST', f'{ISSUER}/lab/revoke?user=' + urllib.parse.quote(user))


class Browser:
    """Follows redirects, keeps cookies and submits the provider's forms, as somebody would who says yes to everything."""

    def __init__(self, lab):
        self.lab, self.cookies = lab, {}
        self.context = ssl.create_default_context(cafile=lab.pki.ca)

    def ask(self, method, url, form=None):
        """(status, Location or None, text)"""
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPSConnection(parts.hostname, 443)
        connection.sock = self.context.wrap_socket(self.lab.connect(parts.hostname, parts.port or 443), server_hostname=parts.hostname)
        path = parts.path + ('?' + parts.query if parts.query else '')
        headers = {'Cookie': '; '.join(f'{k}={v}' for k, v in self.cookies.items())} if self.cookies else {}
        body = urllib.parse.urlencode(form).encode() if form is not None else None
        if body is not None:
            headers['Content-Type'] = 'application/x-www-form-urlencoded'
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        text = response.read().decode()
        for cookie in response.headers.get_all('Set-Cookie') or ():
            name, _, value = cookie.split(';')[0].partition('=')
            self.cookies[name] = value
        connection.close()
        return response.status, response.headers.get('Location'), text

    def go(self, url, user, deny=False):
        """Signs in as @user. Returns the address to which the provider sends the browser in the end, or the last page's."""
        method, form = 'GET', None
        for _ in range(20):
            status, where, text = self.ask(method, url, form)
            method, form = 'GET', None
            if status in (302, 303):
                url = urllib.parse.urljoin(url, where)
                if not url.startswith(ISSUER + '/'):
                    return url
                continue
            cancel = re.search(r'href="([^"]*/abort)"', text)
            if deny and cancel:
                url = urllib.parse.urljoin(url, cancel[1])
                continue
            found = re.search(r'<form[^>]*action="([^"]+)"', text)
            if not found:
                self.page = text
                return url
            method, form = 'POST', dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', text))
            url = urllib.parse.urljoin(url, found[1])
            if 'name="login"' in text:
                form.update(login=user, password='x')
        raise LabError(f'the provider asks for ever: {url}')


if __name__ == '__main__':
    try:
        modules()
    except LabError as error:
        sys.exit(str(error))
