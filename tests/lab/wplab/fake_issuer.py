# SPDX-License-Identifier: LGPL-2.1-or-later
"""An authorization server that does what a test says: right by default, wrong in one respect where a test replaces an answer. It
rotates refresh tokens as the strictest do: the old one is good until the new one, or the access token that came with it, is used.
"""
import base64
import hashlib
import http.server
import json
import secrets
import threading
import urllib.parse

HOST = 'id.example.test'
ISSUER = f'https://{HOST}'


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def reply(self, status, body, kind='application/json', headers=()):
        data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def handle_one(self, form):
        issuer, path = self.server.issuer, self.path.split('?')[0]
        with issuer.lock:
            issuer.requests.append((path, form, dict(self.headers)))
            answer = issuer.answers.get(path)
            if callable(answer):
                answer = answer(form)
            if answer is None:
                answer = issuer.answer(path, form)
        self.reply(*answer)

    def do_GET(self):
        self.handle_one(None)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0))).decode()
        self.handle_one(json.loads(body) if 'json' in self.headers.get('Content-Type', '') else dict(urllib.parse.parse_qsl(body)))


class FakeIssuer:
    def __init__(self, lab, address, life=3600):
        self.lock, self.life = threading.RLock(), life
        self.requests, self.answers = [], {}
        self.codes, self.used = {}, lambda token: False
        self.refresh, self.previous, self.access = {}, {}, {}       # token -> user; new -> (old, access token)
        self.user, self.metadata = 'alice@example.test', {}
        self.lost = 0                                               # a refresh token that was good, and is not any more, was used
        self.server = http.server.ThreadingHTTPServer.__new__(http.server.ThreadingHTTPServer)
        self.server.daemon_threads = True
        sock = lab.server.listen(address, 443)
        http.server.ThreadingHTTPServer.__init__(self.server, sock.getsockname()[:2], Handler, bind_and_activate=False)
        self.server.socket.close()
        self.server.socket = lab.pki.server_context('good').wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self.server.issuer = self
        threading.Thread(target=self.server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def description(self):
        return {'issuer': ISSUER, 'authorization_endpoint': ISSUER + '/auth', 'token_endpoint': ISSUER + '/token',
                'device_authorization_endpoint': ISSUER + '/device', 'revocation_endpoint': ISSUER + '/revoke',
                'scopes_supported': ['openid', 'offline_access', 'email', 'mail'], 'code_challenge_methods_supported': ['S256'],
                'authorization_response_iss_parameter_supported': True, **self.metadata}

    def answer(self, path, form):
        if path in ('/.well-known/oauth-authorization-server', '/.well-known/openid-configuration'):
            return 200, self.description()
        if path == '/token':
            return self.token(form)
        if path == '/device':
            return 200, {'device_code': 'dev', 'user_code': 'ABCD-EFGH', 'verification_uri': ISSUER + '/d', 'expires_in': 60, 'interval': 1}
        return 200, {}

    def redirect(self, url, **changes):
        """What the browser is sent to when @url is opened: a dictionary of parameters may be changed (None removes one)."""
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        answer = {'code': code, 'state': asked['state'], 'iss': ISSUER, **changes}
        return asked['redirect_uri'] + '?' + urllib.parse.urlencode({k: v for k, v in answer.items() if v is not None})

    def id_token(self, asked):
        claims = {'iss': ISSUER, 'sub': self.user, 'email': self.user, 'aud': 'waypost', 'nonce': asked.get('nonce')}
        return '.'.join(base64.urlsafe_b64encode(json.dumps(x).encode()).decode().rstrip('=') for x in ({'alg': 'none'}, claims)) + '.sig'

    def mint(self, **more):
        refresh, access = 'rt-' + secrets.token_urlsafe(16), 'at-' + secrets.token_urlsafe(16)
        self.refresh[refresh] = access
        return {'access_token': access, 'refresh_token': refresh, 'token_type': 'Bearer', 'expires_in': self.life, **more}

    def token(self, form):
        kind = form.get('grant_type')
        if kind == 'authorization_code':
            asked = self.codes.pop(form.get('code'), None)
            challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get('code_verifier', '').encode()).digest()).decode().rstrip('=')
            if not asked or asked['code_challenge'] != challenge or asked['redirect_uri'] != form.get('redirect_uri'):
                return 400, {'error': 'invalid_grant'}
            return 200, self.mint(id_token=self.id_token(asked))
        if kind == 'refresh_token':
            old = form.get('refresh_token')
            # One that has been replaced comes back: its answer was lost, or somebody had the new one already.
            for new, before in list(self.previous.items()):
                if before == old and (new not in self.refresh or self.used(self.refresh[new])):
                    self.refresh.pop(old, None)
            if old not in self.refresh:
                self.lost += 1
                return 400, {'error': 'invalid_grant'}
            if old in self.previous:
                self.refresh.pop(self.previous.pop(old), None)      # the new one is in use: the one before it is over
            tokens = self.mint()
            self.previous[tokens['refresh_token']] = old
            return 200, tokens
        return 400, {'error': 'unsupported_grant_type'}
