# SPDX-License-Identifier: LGPL-2.1-or-later
"""The HTTPS host of the lab: gives out the documents that a test publishes, 404 for all else, and remembers
what it was asked. In the harness's own process, on sockets made in the server namespace."""
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    timeout = 30

    def setup(self):
        self.request.settimeout(10)
        self.request.do_handshake()
        super().setup()

    def do_GET(self):
        host = (self.headers.get('Host') or '').split(':')[0].lower()
        self.server.web.note(host, self.path, dict(self.headers))
        answer = self.server.web.documents.get((host, self.path.partition('?')[0]))
        if callable(answer):
            answer = answer(self)
            if answer is None:
                return
        status, headers, body = answer or (404, {}, b'not here\n')
        self.send_response(status)
        for name, value in {'Content-Type': 'text/plain', **headers}.items():
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, web, sock, context):
        super().__init__(sock.getsockname()[:2], Handler, bind_and_activate=False)
        self.socket.close()
        self.web, self.socket = web, context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request, client_address):
        pass                                # a client that leaves in the middle is no news


class WebServer:
    def __init__(self, sock, context, also=()):
        self.documents, self.requests, self.lock = {}, [], threading.Lock()
        self.servers = [Server(self, s, context) for s in (sock, *also)]
        for server in self.servers:
            threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()

    def publish(self, host, path, body, status=200, headers=None):
        """Answers https://@host@path. @body: str or bytes, or a function of the handler that returns
        (status, headers, bytes), or None if it has answered by itself."""
        if not callable(body):
            data = body.encode() if isinstance(body, str) else body
            body = (status, headers or {'Content-Type': 'text/xml'}, data)
        self.documents[host, path] = body

    def withdraw(self, host, path):
        self.documents.pop((host, path), None)

    def note(self, host, path, headers):
        with self.lock:
            self.requests.append((host, path, headers))

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()
