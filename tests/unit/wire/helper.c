/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See helper.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/digest.h"
#include "tests/unit/wire/helper.h"

void network_own(void)
{
        struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
        _cleanup_close_ int fd = -1;

        /* A failed assertion must not jump off a fiber's stack. */
        setenv("CMOCKA_TEST_ABORT", "1", 1);
        if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
                perror("no network namespace");
                exit(77);
        }
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0) {
                perror("loopback");
                exit(1);
        }
}

void fiber_run(FiberFunc func, void *arg)
{
        Loop *loop = NULL;
        Fiber *fiber = NULL;

        assert_int_equal(loop_new(&loop), 0);
        assert_int_equal(fiber_start(&fiber, "test", func, arg), 0);
        while (!fiber_ended(fiber))
                assert_true(loop_step(loop, USEC_INFINITY) >= 0);
        fiber_cancel(fiber);
        assert_int_equal(loop_n_fibers(loop), 0);
        loop_free(loop);
}

/* --- servers ----------------------------------------------------------------------------------------------- */

struct Server {
        int fd;
        uint16_t port;
        unsigned n_connections;
        Serve serve;
        void *arg;
        pthread_t thread;
};

static void *server_main(void *arg)
{
        Server *server = arg;
        sigset_t broken_pipe;

        /* Only here: the code under test has to do without. */
        sigemptyset(&broken_pipe);
        sigaddset(&broken_pipe, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &broken_pipe, NULL);
        for (;;) {
                int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);

                if (fd < 0)
                        return NULL;
                __atomic_add_fetch(&server->n_connections, 1, __ATOMIC_SEQ_CST);
                server->serve(fd, server->arg);
                close(fd);
        }
}

static socklen_t address_make(struct sockaddr_storage *to, const char *address, uint16_t port)
{
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *) to;
        struct sockaddr_in *in = (struct sockaddr_in *) to;

        *to = (struct sockaddr_storage){};
        if (inet_pton(AF_INET6, address, &in6->sin6_addr) == 1) {
                in6->sin6_family = AF_INET6;
                in6->sin6_port = htons(port);
                return sizeof(*in6);
        }
        assert_int_equal(inet_pton(AF_INET, address, &in->sin_addr), 1);
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        return sizeof(*in);
}

Server *server_start(const char *address, uint16_t port, Serve serve, void *arg)
{
        Server *server = calloc(1, sizeof(*server));
        struct sockaddr_storage at;
        socklen_t len = address_make(&at, address, port);
        int one = 1;

        server->serve = serve;
        server->arg = arg;
        server->fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(server->fd >= 0);
        setsockopt(server->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        assert_int_equal(bind(server->fd, (struct sockaddr *) &at, len), 0);
        assert_int_equal(listen(server->fd, 16), 0);
        assert_int_equal(getsockname(server->fd, (struct sockaddr *) &at, &len), 0);
        server->port = ntohs(((struct sockaddr_in *) &at)->sin_port); /* the same place in both */
        assert_int_equal(pthread_create(&server->thread, NULL, server_main, server), 0);
        return server;
}

uint16_t server_port(const Server *server)
{
        return server->port;
}

unsigned server_n_connections(const Server *server)
{
        return __atomic_load_n(&server->n_connections, __ATOMIC_SEQ_CST);
}

Server *server_stop(Server *server)
{
        if (!server)
                return NULL;
        shutdown(server->fd, SHUT_RDWR);
        pthread_join(server->thread, NULL);
        close(server->fd);
        free(server);
        return NULL;
}

void serve_text(int fd, const char *text)
{
        (void) !send(fd, text, strlen(text), MSG_NOSIGNAL);
}

void serve_until_closed(int fd)
{
        char unused[1024];

        while (recv(fd, unused, sizeof(unused), 0) > 0)
                ;
}

void serve_reset(int fd)
{
        struct linger now = { .l_onoff = 1 };

        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

Stream *stream_to(uint16_t port)
{
        struct sockaddr_storage at;
        socklen_t len = address_make(&at, "127.0.0.1", port);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        Stream *stream = NULL;

        assert_int_equal(connect(fd, (struct sockaddr *) &at, len), 0);
        assert_int_equal(stream_new(&stream, fd), 0);
        return stream;
}

Stream *stream_pair(int *ret_fd)
{
        Stream *stream = NULL;
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        assert_int_equal(stream_new(&stream, fds[0]), 0);
        *ret_fd = fds[1];
        return stream;
}

/* --- certificates ------------------------------------------------------------------------------------------ */

static void add_extension(X509 *x509, X509 *issuer, int nid, const char *value)
{
        X509V3_CTX context;
        X509_EXTENSION *extension;

        X509V3_set_ctx(&context, issuer, x509, NULL, NULL, 0);
        extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
        assert_non_null(extension);
        assert_int_equal(X509_add_ext(x509, extension, -1), 1);
        X509_EXTENSION_free(extension);
}

static void add_names(X509 *x509, const CertSpec *spec)
{
        char names[256];

        if (!spec->dns && !spec->ip)
                return;
        snprintf(names, sizeof(names), "%s%s%s%s%s%s", spec->dns ? "DNS:" : "",
                 spec->dns ? spec->dns : "", spec->dns2 ? ",DNS:" : "",
                 spec->dns2 ? spec->dns2 : "", spec->ip ? (spec->dns ? ",IP:" : "IP:") : "",
                 spec->ip ? spec->ip : "");
        add_extension(x509, x509, NID_subject_alt_name, names);
}

static void add_named_issuer(X509 *x509, const Cert *issuer)
{
        AUTHORITY_KEYID *id = AUTHORITY_KEYID_new();
        GENERAL_NAME *name = GENERAL_NAME_new();

        name->type = GEN_DIRNAME;
        name->d.directoryName = X509_NAME_dup(X509_get_subject_name(issuer->x509));
        id->issuer = sk_GENERAL_NAME_new_null();
        sk_GENERAL_NAME_push(id->issuer, name);
        id->serial = ASN1_INTEGER_dup(X509_get0_serialNumber(issuer->x509));
        assert_int_equal(X509_add1_ext_i2d(x509, NID_authority_key_identifier, id, 0, 0), 1);
        AUTHORITY_KEYID_free(id);
}

Cert cert_make(CertSpec spec)
{
        static long serial = 1000;
        Cert cert = { .x509 = X509_new() };
        const Cert *issuer = spec.issuer ? spec.issuer : &cert;
        X509_NAME *name = X509_get_subject_name(cert.x509);
        char url[128];

        cert.key = spec.rsa_bits ? EVP_RSA_gen((unsigned) spec.rsa_bits) : EVP_EC_gen("P-256");
        assert_non_null(cert.key);
        if (!spec.start_days && !spec.end_days) {
                spec.start_days = -1;
                spec.end_days = 365;
        }
        X509_set_version(cert.x509, X509_VERSION_3);
        ASN1_INTEGER_set(X509_get_serialNumber(cert.x509), serial++);
        X509_time_adj_ex(X509_getm_notBefore(cert.x509), spec.start_days, 0, NULL);
        X509_time_adj_ex(X509_getm_notAfter(cert.x509), spec.end_days, 0, NULL);
        X509_set_pubkey(cert.x509, cert.key);
        X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_ASC,
                                   (const unsigned char *) spec.name,
                                   spec.name_len ? (int) spec.name_len : -1, -1, 0);
        X509_set_issuer_name(cert.x509, X509_get_subject_name(issuer->x509));
        add_extension(cert.x509, cert.x509, NID_basic_constraints,
                      spec.ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
        add_names(cert.x509, &spec);
        if (spec.issuer_url) {
                snprintf(url, sizeof(url), "caIssuers;URI:%s", spec.issuer_url);
                add_extension(cert.x509, cert.x509, NID_info_access, url);
        }
        if (spec.named_issuer)
                add_named_issuer(cert.x509, spec.named_issuer);
        assert_true(X509_sign(cert.x509, issuer->key, spec.sha1 ? EVP_sha1() : EVP_sha256()) > 0);
        return cert;
}

void cert_deinit(Cert *cert)
{
        X509_free(cert->x509);
        EVP_PKEY_free(cert->key);
}

char *cert_file(const Cert *cert)
{
        char *path = strdup("/tmp/wire-test-XXXXXX");
        int fd = mkstemp(path);
        FILE *file = fdopen(fd, "w");

        assert_int_equal(PEM_write_X509(file, cert->x509), 1);
        fclose(file);
        return path;
}

void unlink_freep(char **path)
{
        if (*path)
                unlink(*path);
        free(*path);
}

void cert_spki(const Cert *cert, char ret[65])
{
        unsigned char *data = NULL;
        int n = i2d_PUBKEY(cert->key, &data);

        assert_int_equal(sha256_text(data, (size_t) n, ret), 0);
        OPENSSL_free(data);
}

void serve_tls(int fd, void *arg)
{
        TlsServe *serve = arg;
        SSL_CTX *context = SSL_CTX_new(TLS_server_method());
        SSL *ssl;
        char unused[512];
        int n;

        SSL_CTX_set_security_level(context, 0);
        if (serve->ciphers) {
                SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
                SSL_CTX_set_cipher_list(context, serve->ciphers);
        }
        SSL_CTX_use_certificate(context, serve->cert->x509);
        SSL_CTX_use_PrivateKey(context, serve->cert->key);
        for (size_t i = 0; i < ELEMENTS(serve->sent) && serve->sent[i]; i++)
                SSL_CTX_add1_chain_cert(context, serve->sent[i]->x509);
        ssl = SSL_new(context);
        SSL_set_fd(ssl, fd);
        if (SSL_accept(ssl) == 1) {
                serve->shaken = true;
                if (serve->talk)
                        serve->talk(ssl, serve->arg);
                else
                        while ((n = SSL_read(ssl, unused, sizeof(unused))) > 0)
                                serve->n_read += (unsigned) n;
        }
        SSL_free(ssl);
        SSL_CTX_free(context);
}

/* --- a resolver -------------------------------------------------------------------------------------------- */

struct Resolver {
        int udp, tcp, stop[2];
        unsigned n_questions;
        pthread_t thread;
};

enum { A = 1, CNAME = 5, MX = 15, TXT = 16, AAAA = 28, SRV = 33 };
enum { NOERROR, SERVFAIL = 2, NXDOMAIN, REFUSED = 5, SILENCE = 100, NONSENSE };

/* What is answered to (name, type); a name that is not here does not exist, a type that is not here has no data. */
static const struct Record {
        const char *name;
        int type;
        const char *value;
        int rcode;
} records[] = {
        { "mail.example.test", A, "198.51.100.10" },
        { "mail.example.test", AAAA, "2001:db8:100::10" },
        { "pop.example.test", CNAME, "MAIL.example.test" },
        { "v4.example.test", A, "198.51.100.4" },
        { "v4.example.test", A, "198.51.100.5" },
        { "v6.example.test", AAAA, "2001:db8:100::6" },
        { "slow6.example.test", A, "198.51.100.10" },
        { "slow6.example.test", AAAA, "", SILENCE },
        { "home.example.test", A, "127.0.0.1" },
        { "away.example.test", A, "127.0.0.1" },
        { "private.example.test", A, "10.1.2.3" },
        { "servfail.example.test", A, "", SERVFAIL },
        { "servfail.example.test", AAAA, "", SERVFAIL },
        { "refused.example.test", A, "", REFUSED },
        { "refused.example.test", AAAA, "", REFUSED },
        { "silent.example.test", A, "", SILENCE },
        { "silent.example.test", AAAA, "", SILENCE },
        { "silent.example.test", MX, "", SILENCE },
        { "nonsense.example.test", A, "", NONSENSE },
        { "nonsense.example.test", AAAA, "", NONSENSE },
        { "dangling.example.test", CNAME, "nowhere.example.test" },
        { "example.test", MX, "20 b.example.test" },
        { "example.test", MX, "10 z.example.test" },
        { "example.test", MX, "10 A.Example.Test" },
        { "nullmx.example.test", MX, "0 " },
        { "badmx.example.test", MX, "5 sp ace.example.test" },
        { "_pop3s._tcp.example.test", SRV, "10 1 995 second.example.test" },
        { "_pop3s._tcp.example.test", SRV, "0 1 995 light.example.test" },
        { "_pop3s._tcp.example.test", SRV, "0 9 1995 Heavy.example.test" },
        { "_pop3._tcp.example.test", SRV, "0 0 0 " },
        { "example.test", TXT, "v=spf1 |mx -all" },
        { "example.test", TXT, "bell\a" },
        { "big.example.test", TXT, "*" },
};

typedef struct Writer {
        unsigned char data[4096];
        size_t len;
} Writer;

static void put(Writer *to, const void *data, size_t len)
{
        if (len <= sizeof(to->data) - to->len) {
                memcpy(to->data + to->len, data, len);
                to->len += len;
        }
}

static void put16(Writer *to, unsigned value)
{
        put(to, (unsigned char[]){ (unsigned char) (value >> 8), (unsigned char) value }, 2);
}

static void put_name(Writer *to, const char *name)
{
        while (*name) {
                size_t n = strcspn(name, ".");

                put(to, &(unsigned char){ (unsigned char) n }, 1);
                put(to, name, n);
                name += n + (name[n] == '.');
        }
        put(to, "", 1);
}

static void put_string(Writer *to, const char *text, size_t len)
{
        put(to, &(unsigned char){ (unsigned char) len }, 1);
        put(to, text, len);
}

static void put_numbers_and_name(Writer *to, const char *value, int n_numbers)
{
        for (int i = 0; i < n_numbers; i++) {
                char *end;

                put16(to, (unsigned) strtoul(value, &end, 10));
                value = end + (*end == ' ');
        }
        put_name(to, value);
}

static void put_value(Writer *to, const struct Record *record)
{
        unsigned char address[16];
        char filler[250];
        size_t bar;

        switch (record->type) {
        case A:
        case AAAA:
                inet_pton(record->type == A ? AF_INET : AF_INET6, record->value, address);
                put(to, address, record->type == A ? 4 : 16);
                break;
        case CNAME:
                put_name(to, record->value);
                break;
        case MX:
                put_numbers_and_name(to, record->value, 1);
                break;
        case SRV:
                put_numbers_and_name(to, record->value, 3);
                break;
        case TXT:
                memset(filler, 'x', sizeof(filler));
                for (int i = 0; record->value[0] == '*' && i < 8; i++)
                        put_string(to, filler, sizeof(filler));
                if (record->value[0] == '*')
                        break;
                bar = strcspn(record->value, "|");
                put_string(to, record->value, bar);
                if (record->value[bar])
                        put_string(to, record->value + bar + 1, strlen(record->value + bar + 1));
                break;
        }
}

static void put_record(Writer *to, const char *name, const struct Record *record)
{
        Writer value = {};

        put_value(&value, record);
        put_name(to, name);
        put16(to, (unsigned) record->type);
        put16(to, 1);
        put16(to, 0);
        put16(to, 60);
        put16(to, (unsigned) value.len);
        put(to, value.data, value.len);
}

/* Puts all that answers, following a CNAME. Returns the rcode. */
static int put_answers(Writer *to, const char *name, int type, unsigned *n_answers)
{
        bool exists = false;

        for (size_t i = 0; i < ELEMENTS(records); i++) {
                const struct Record *record = &records[i];

                if (strcasecmp(record->name, name) != 0)
                        continue;
                exists = true;
                if (record->type == CNAME) {
                        put_record(to, name, record);
                        (*n_answers)++;
                        return put_answers(to, record->value, type, n_answers);
                }
                if (record->type != type)
                        continue;
                if (record->rcode)
                        return record->rcode;
                put_record(to, name, record);
                (*n_answers)++;
        }
        return exists ? NOERROR : NXDOMAIN;
}

static void question_name(const unsigned char *question, size_t len, char name[256],
                          size_t *ret_end)
{
        size_t at = 12, out = 0;

        while (at < len && question[at] && out + question[at] + 2 < 256 &&
               at + question[at] < len) {
                if (out > 0)
                        name[out++] = '.';
                memcpy(name + out, question + at + 1, question[at]);
                out += question[at];
                at += 1u + question[at];
        }
        name[out] = 0;
        *ret_end = at + 5;
}

static void resolver_answer(const unsigned char *question, size_t len, bool tcp, Writer *to)
{
        Writer answers = {};
        unsigned n_answers = 0, flags = 0x8180;
        char name[256];
        size_t end;
        int rcode;

        question_name(question, len, name, &end);
        rcode = put_answers(&answers, name, question[end - 4] << 8 | question[end - 3], &n_answers);
        if (rcode == SILENCE)
                return;
        if (rcode == NONSENSE) { /* an answer is promised and does not come */
                rcode = NOERROR;
                n_answers = 3;
        }
        if (!tcp && answers.len > 400) {
                flags |= 0x0200; /* truncated */
                answers.len = n_answers = 0;
        }
        put(to, question, 2);
        put16(to, flags | (unsigned) rcode);
        put16(to, 1);
        put16(to, n_answers);
        put16(to, 0);
        put16(to, 0);
        put(to, question + 12, end - 12);
        put(to, answers.data, answers.len);
}

static void resolver_on_udp(Resolver *resolver)
{
        unsigned char question[512];
        struct sockaddr_storage from;
        socklen_t from_len = sizeof(from);
        Writer answer = {};
        ssize_t n = recvfrom(resolver->udp, question, sizeof(question), 0,
                             (struct sockaddr *) &from, &from_len);

        if (n < 17)
                return;
        __atomic_add_fetch(&resolver->n_questions, 1, __ATOMIC_SEQ_CST);
        resolver_answer(question, (size_t) n, false, &answer);
        if (answer.len > 0)
                sendto(resolver->udp, answer.data, answer.len, 0, (struct sockaddr *) &from,
                       from_len);
}

static void resolver_on_tcp(Resolver *resolver)
{
        _cleanup_close_ int fd = accept4(resolver->tcp, NULL, NULL, SOCK_CLOEXEC);
        unsigned char question[514];
        Writer answer = { .len = 2 };
        ssize_t n = recv(fd, question, sizeof(question), 0);

        if (n < 19)
                return;
        resolver_answer(question + 2, (size_t) n - 2, true, &answer);
        answer.data[0] = (unsigned char) ((answer.len - 2) >> 8);
        answer.data[1] = (unsigned char) (answer.len - 2);
        (void) !send(fd, answer.data, answer.len, MSG_NOSIGNAL);
        serve_until_closed(fd);
}

static void *resolver_main(void *arg)
{
        Resolver *resolver = arg;
        struct pollfd fds[] = { { resolver->udp, POLLIN, 0 },
                                { resolver->tcp, POLLIN, 0 },
                                { resolver->stop[0], POLLIN, 0 } };

        for (;;) {
                if (poll(fds, ELEMENTS(fds), -1) < 0 || fds[2].revents)
                        return NULL;
                if (fds[0].revents)
                        resolver_on_udp(resolver);
                if (fds[1].revents)
                        resolver_on_tcp(resolver);
        }
}

Resolver *resolver_start(uint16_t port)
{
        Resolver *resolver = calloc(1, sizeof(*resolver));
        struct sockaddr_storage at;
        socklen_t len = address_make(&at, "127.0.0.1", port);
        int one = 1;

        resolver->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        resolver->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(resolver->tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        assert_int_equal(bind(resolver->udp, (struct sockaddr *) &at, len), 0);
        assert_int_equal(bind(resolver->tcp, (struct sockaddr *) &at, len), 0);
        assert_int_equal(listen(resolver->tcp, 4), 0);
        assert_int_equal(pipe2(resolver->stop, O_CLOEXEC), 0);
        assert_int_equal(pthread_create(&resolver->thread, NULL, resolver_main, resolver), 0);
        return resolver;
}

unsigned resolver_n_questions(const Resolver *resolver)
{
        return __atomic_load_n(&resolver->n_questions, __ATOMIC_SEQ_CST);
}

Resolver *resolver_stop(Resolver *resolver)
{
        if (!resolver)
                return NULL;
        close(resolver->stop[1]);
        pthread_join(resolver->thread, NULL);
        close(resolver->stop[0]);
        close(resolver->udp);
        close(resolver->tcp);
        free(resolver);
        return NULL;
}

char *resolver_file(uint16_t port)
{
        char *path = strdup("/tmp/wire-test-XXXXXX");
        int fd = mkstemp(path);

        assert_true(dprintf(fd, "nameserver 127.0.0.1:%u\n", port) > 0);
        close(fd);
        return path;
}
