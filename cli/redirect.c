/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See redirect.h. */
#include "cli/redirect.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { VISITORS = 8, REQUEST_MAX = 16 * 1024 };

/* One connection: browsers open some that they never use. */
typedef struct Visitor {
        Redirect *redirect;
        sd_event_source *source;
        int fd;
        size_t len;
        char request[REQUEST_MAX + 1];
} Visitor;

struct Redirect {
        Cli *cli;
        int fd;
        bool six;
        uint16_t port;
        char *origin, *path; /* "http://127.0.0.1:1234", "/callback" */
        char *address;
        bool *arrived;
        sd_event_source *source;
        Visitor *visitors[VISITORS];
        size_t next; /* the oldest one goes when there are too many */
};

/* --- one visitor ------------------------------------------------------------------------------------------------- */

static Visitor *visitor_free(Visitor *visitor)
{
        if (!visitor)
                return NULL;
        sd_event_source_disable_unref(visitor->source);
        close(visitor->fd);
        explicit_bzero(visitor->request, sizeof(visitor->request));
        free(visitor);
        return NULL;
}

static void visitor_answer(Visitor *visitor, const char *status, const char *sentence)
{
        char text[1024];
        int n = snprintf(
                text, sizeof(text),
                "HTTP/1.1 %s\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"
                "Referrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'\r\n"
                "Connection: close\r\n\r\n<!doctype html><title>waypost</title><p>%s</p>\n",
                status, sentence);

        /* What does not fit into an empty socket is lost with the visitor. */
        (void) !send(visitor->fd, text, (size_t) n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static bool line_is(const char *request, const char *name, const char *value)
{
        for (const char *line = strstr(request, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
                size_t len = strlen(name);

                if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':') {
                        const char *is = line + 3 + len + strspn(line + 3 + len, " \t");

                        return strncmp(is, value, strlen(value)) == 0 &&
                               strncmp(is + strlen(value), "\r\n", 2) == 0;
                }
        }
        return false;
}

/* "GET /callback?code=... HTTP/1.1" for our very address: another name for it would be another site's doing. */
static char *visitor_target(Visitor *visitor)
{
        const Redirect *r = visitor->redirect;
        char *target = visitor->request + strlen("GET "), *end;
        size_t len = r->path ? strlen(r->path) : 0;

        if (!r->path || strncmp(visitor->request, "GET ", 4) != 0 ||
            !line_is(visitor->request, "Host", r->origin + strlen("http://")))
                return NULL;
        end = strchr(target, ' ');
        if (!end || strncmp(end, " HTTP/1.", 8) != 0 || strncmp(target, r->path, len) != 0 ||
            target[len] != '?')
                return NULL;
        return strndup(target, (size_t) (end - target));
}

static void visitor_serve(Visitor *visitor)
{
        Redirect *r = visitor->redirect;
        _cleanup_free_ char *target = visitor_target(visitor);

        if (!target) {
                visitor_answer(visitor, "404 Not Found", "There is nothing here.");
                return;
        }
        visitor_answer(visitor, "200 OK",
                       "Thank you. You can close this window and go back to the terminal.");
        if (!r->address && asprintf(&r->address, "%s%s", r->origin, target) < 0)
                r->address = NULL;
        if (r->address && r->arrived)
                *r->arrived = true;
}

static void visitor_drop(Visitor *visitor)
{
        Redirect *r = visitor->redirect;

        for (size_t i = 0; i < VISITORS; i++)
                if (r->visitors[i] == visitor)
                        r->visitors[i] = visitor_free(visitor);
}

static int on_visitor(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        Visitor *visitor = userdata;
        ssize_t n = recv(fd, visitor->request + visitor->len, REQUEST_MAX - visitor->len,
                         MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n > 0) {
                visitor->len += (size_t) n;
                visitor->request[visitor->len] = 0;
                if (!strstr(visitor->request, "\r\n\r\n") && visitor->len < REQUEST_MAX)
                        return 0;
                visitor_serve(visitor);
        }
        visitor_drop(visitor);
        return 0;
}

/* --- the port ---------------------------------------------------------------------------------------------------- */

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        Redirect *r = userdata;
        int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        Visitor **slot = &r->visitors[r->next];
        Visitor *visitor;

        if (client < 0)
                return 0;
        visitor = calloc(1, sizeof(*visitor));
        if (!visitor) {
                close(client);
                return 0;
        }
        visitor->redirect = r;
        visitor->fd = client;
        if (sd_event_add_io(r->cli->event, &visitor->source, client, EPOLLIN, on_visitor, visitor) <
            0) {
                visitor_free(visitor);
                return 0;
        }
        visitor_free(*slot);
        *slot = visitor;
        r->next = (r->next + 1) % VISITORS;
        return 0;
}

static int bind_loopback(Redirect *r, bool six)
{
        struct sockaddr_in four = { .sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        struct sockaddr_in6 addr6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
        struct sockaddr *address = six ? (struct sockaddr *) &addr6 : (struct sockaddr *) &four;
        socklen_t len = six ? sizeof(addr6) : sizeof(four);

        r->fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (r->fd < 0)
                return -errno;
        if (bind(r->fd, address, len) < 0 || listen(r->fd, VISITORS) < 0 ||
            getsockname(r->fd, address, &len) < 0) {
                int error = -errno;

                close(r->fd);
                r->fd = -1;
                return error;
        }
        r->six = six;
        r->port = ntohs(six ? addr6.sin6_port : four.sin_port);
        return 0;
}

int redirect_new(Redirect **ret, Cli *cli)
{
        _cleanup_redirect_ Redirect *redirect = calloc(1, sizeof(*redirect));
        int r;

        if (!redirect)
                return cli_failed(cli, -ENOMEM, "Waiting for the browser");
        redirect->cli = cli;
        redirect->fd = -1;
        r = bind_loopback(redirect, false);
        if (r < 0)
                r = bind_loopback(redirect, true);
        if (r >= 0)
                r = sd_event_add_io(cli->event, &redirect->source, redirect->fd, EPOLLIN,
                                    on_connection, redirect);
        if (r < 0)
                return cli_failed(cli, r, "Waiting for the browser");
        *ret = TAKE(redirect);
        return 0;
}

Redirect *redirect_free(Redirect *redirect)
{
        if (!redirect)
                return NULL;
        for (size_t i = 0; i < VISITORS; i++)
                visitor_free(redirect->visitors[i]);
        sd_event_source_disable_unref(redirect->source);
        if (redirect->fd >= 0)
                close(redirect->fd);
        if (redirect->address)
                explicit_bzero(redirect->address, strlen(redirect->address));
        free(redirect->address);
        free(redirect->origin);
        free(redirect->path);
        free(redirect);
        return NULL;
}

const char *redirect_host(const Redirect *redirect)
{
        return redirect->six ? "::1" : "127.0.0.1";
}

uint16_t redirect_port(const Redirect *redirect)
{
        return redirect->port;
}

int redirect_wait(Redirect *redirect, const char *uri, bool *arrived)
{
        const char *path = strncmp(uri, "http://", 7) == 0 ? strchr(uri + 7, '/') : NULL;

        redirect->origin = path ? strndup(uri, (size_t) (path - uri)) : strdup(uri);
        redirect->path = strdup(path ? path : "/");
        if (!redirect->origin || !redirect->path || strncmp(uri, "http://", 7) != 0)
                return cli_failed(redirect->cli, -ENOMEM, "Waiting for the browser");
        redirect->arrived = arrived;
        return 0;
}

const char *redirect_address(const Redirect *redirect)
{
        return redirect->address;
}
