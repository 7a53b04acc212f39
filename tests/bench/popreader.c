/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * popreader: the limit of a POP3 fetch. Signs in over TLS, asks for every message with as many commands under way as the
 * server takes, and throws the octets away.
 *
 *     popreader HOST PORT CA-FILE USER PASSWORD
 *
 * It is no mail fetcher: it believes in PIPELINING without asking for it, keeps nothing and looks at nothing but the end
 * of each message. It prints "MESSAGES OCTETS SECONDS". The time includes the name's look-up, the connection and the login.
 */

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
        WINDOW = 256, /* commands under way */
        BUFFER_SIZE = 64 * 1024,
};

static _Noreturn void fail(const char *what)
{
        fprintf(stderr, "popreader: %s\n", what);
        exit(1);
}

static double now(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static int tcp_connect(const char *host, const char *port)
{
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
        int fd = -1, one = 1;

        if (getaddrinfo(host, port, &hints, &list) != 0)
                fail("the name is not known");
        for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
                fd = socket(a->ai_family, a->ai_socktype, 0);
                if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
                        close(fd);
                        fd = -1;
                }
        }
        freeaddrinfo(list);
        if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
                fail("cannot connect");
        return fd;
}

static SSL *tls_start(int fd, const char *host, const char *ca)
{
        SSL_CTX *context = SSL_CTX_new(TLS_client_method());
        SSL *ssl;

        if (!context || SSL_CTX_load_verify_locations(context, ca, NULL) != 1)
                fail("cannot read the CA file");
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_read_ahead(context, 1);
        SSL_CTX_set_default_read_buffer_len(context, BUFFER_SIZE);
        ssl = SSL_new(context);
        if (!ssl || SSL_set_fd(ssl, fd) != 1 || SSL_set1_host(ssl, host) != 1 ||
            SSL_set_tlsext_host_name(ssl, host) != 1 || SSL_connect(ssl) != 1)
                fail("no TLS");
        return ssl;
}

static void put(SSL *ssl, const char *data, size_t len)
{
        /* A few KiB of commands: they always fit into the socket, so that waiting here cannot lock up. */
        if (len > 0 && SSL_write(ssl, data, (int) len) != (int) len)
                fail("cannot write");
}

/* One line, read octet by octet: only before the messages. */
static void get_line(SSL *ssl, char *to, size_t size)
{
        size_t n = 0;

        do
                if (n + 1 == size || SSL_read(ssl, to + n, 1) != 1)
                        fail("cannot read");
        while (to[n++] != '\n');
        to[n] = 0;
        if (to[0] != '+')
                fail(to);
}

static void sign_in(SSL *ssl, const char *user, const char *password)
{
        unsigned char plain[512], encoded[1024];
        char line[2048];
        int n = snprintf((char *) plain, sizeof plain, "%c%s%c%s", 0, user, 0, password);

        if (n < 0 || n >= (int) sizeof plain)
                fail("the password is too long");
        EVP_EncodeBlock(encoded, plain, n);
        n = snprintf(line, sizeof line, "AUTH PLAIN %s\r\n", encoded);
        put(ssl, line, (size_t) n);
        get_line(ssl, line, sizeof line);
}

static unsigned long count_messages(SSL *ssl)
{
        char line[512];

        put(ssl, "STAT\r\n", 6);
        get_line(ssl, line, sizeof line);
        return strtoul(line + 4, NULL, 10);
}

/* How much of "\r\n.\r\n" the octets so far end with. */
static unsigned match_next(unsigned matched, char c)
{
        static const char end[] = "\r\n.\r\n";

        if (c == end[matched])
                return matched + 1;
        return c == '\r' ? 1 : 0;
}

/* Counts the ends of messages in a piece. */
static unsigned long count_ends(const char *data, size_t len, unsigned *matched)
{
        unsigned long n = 0;

        for (size_t i = 0; i < len; i++) {
                if (*matched == 0) {
                        const char *cr = memchr(data + i, '\r', len - i);

                        if (!cr)
                                return n;
                        i = (size_t) (cr - data);
                }
                *matched = match_next(*matched, data[i]);
                if (*matched == 5) {
                        n++;
                        *matched = 0;
                }
        }
        return n;
}

static unsigned long send_more(SSL *ssl, unsigned long sent, unsigned long answered,
                               unsigned long n)
{
        char commands[WINDOW * 20];
        size_t len = 0;

        if (sent == n || sent - answered > WINDOW / 2)
                return sent;
        while (sent < n && sent - answered < WINDOW)
                len += (size_t) snprintf(commands + len, sizeof commands - len, "RETR %lu\r\n",
                                         ++sent);
        put(ssl, commands, len);
        return sent;
}

int main(int argc, char **argv)
{
        static char buffer[BUFFER_SIZE];
        unsigned long n, sent = 0, answered = 0;
        uint64_t octets = 0;
        unsigned matched = 0;
        double begun = now();
        SSL *ssl;

        if (argc != 6) {
                fprintf(stderr, "usage: popreader HOST PORT CA-FILE USER PASSWORD\n");
                return 2;
        }
        ssl = tls_start(tcp_connect(argv[1], argv[2]), argv[1], argv[3]);
        get_line(ssl, buffer, sizeof buffer);
        sign_in(ssl, argv[4], argv[5]);
        n = count_messages(ssl);
        while (answered < n) {
                int len;

                sent = send_more(ssl, sent, answered, n);
                len = SSL_read(ssl, buffer, sizeof buffer);
                if (len <= 0)
                        fail("the server closed");
                octets += (uint64_t) len;
                answered += count_ends(buffer, (size_t) len, &matched);
        }
        put(ssl, "QUIT\r\n", 6);
        get_line(ssl, buffer, sizeof buffer);
        printf("%lu %lu %.6f\n", answered, (unsigned long) octets, now() - begun);
        return 0;
}
