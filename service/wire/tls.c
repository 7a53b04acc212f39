/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See tls.h and tls_session.h. The handshake always runs to its end, whatever the certificate: the verify callback
 * notes each error and goes on, so that all facts are known; the caller then decides before one octet is sent.
 * OpenSSL reaches the socket through a BIO of our own: send() without SIGPIPE, errno kept, first octets kept. */
#include <arpa/inet.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/text.h"
#include "wire/certificate_read.h"
#include "wire/tls_session.h"

enum {
        ERRORS_NOTED = 24,
        OCSP_SKEW_SEC = 300, /* that clocks may differ */
        READ_AHEAD = 64 *
                     1024, /* octets asked of the socket at once; released when they are used up */
};

struct Tls {
        unsigned n_ref; /* its maker's and one for each session: the BIO method must outlive them */
        SSL_CTX *context;
        BIO_METHOD *method;
};

typedef struct Noted {
        int error, depth;
} Noted;

struct TlsSession {
        Tls *tls;
        SSL *ssl;
        int fd;
        bool shaken, eof;
        int error;
        unsigned alert;
        char text[96];
        unsigned char first[64];
        size_t first_len;
        Noted noted[ERRORS_NOTED];
        unsigned n_noted;
        X509 *end; /* the last one of a chain whose issuer is not known */
        int end_depth;
};

static void openssl_settingsp(OPENSSL_INIT_SETTINGS **settings)
{
        OPENSSL_INIT_free(*settings);
}

/* --- the socket -------------------------------------------------------------------------------------------- */

static void session_keep_first(TlsSession *session, const void *data, size_t len)
{
        len = MIN(len, sizeof(session->first) - session->first_len);
        memcpy(session->first + session->first_len, data, len);
        session->first_len += len;
}

static int session_recv(BIO *bio, char *to, size_t size, size_t *ret_len)
{
        TlsSession *session = BIO_get_data(bio);
        ssize_t n;

        BIO_clear_retry_flags(bio);
        do
                n = recv(session->fd, to, size, 0);
        while (n < 0 && errno == EINTR);
        if (n > 0) {
                if (!session->shaken)
                        session_keep_first(session, to, (size_t) n);
                *ret_len = (size_t) n;
                return 1;
        }
        *ret_len = 0;
        if (n == 0)
                session->eof = true;
        else if (errno == EAGAIN)
                BIO_set_retry_read(bio);
        else
                session->error = errno;
        return 0;
}

static int session_send(BIO *bio, const char *data, size_t len, size_t *ret_len)
{
        TlsSession *session = BIO_get_data(bio);
        ssize_t n;

        BIO_clear_retry_flags(bio);
        do
                n = send(session->fd, data, len, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n >= 0) {
                *ret_len = (size_t) n;
                return 1;
        }
        *ret_len = 0;
        if (errno == EAGAIN)
                BIO_set_retry_write(bio);
        else
                session->error = errno;
        return 0;
}

static long session_control(BIO *bio, int command, long number, void *pointer)
{
        TlsSession *session = BIO_get_data(bio);

        switch (command) {
        case BIO_CTRL_FLUSH:
        case BIO_CTRL_DUP:
                return 1;
        case BIO_CTRL_EOF:
                return session->eof;
        default:
                return 0;
        }
}

static int tls_make_method(Tls *tls)
{
        tls->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "waypost socket");
        if (!tls->method || !BIO_meth_set_read_ex(tls->method, session_recv) ||
            !BIO_meth_set_write_ex(tls->method, session_send) ||
            !BIO_meth_set_ctrl(tls->method, session_control))
                return -ENOMEM;
        return 0;
}

/* --- callbacks of OpenSSL ---------------------------------------------------------------------------------- */

static void session_note(TlsSession *session, int error, int depth)
{
        for (unsigned i = 0; i < session->n_noted; i++)
                if (session->noted[i].error == error && session->noted[i].depth == depth)
                        return;
        if (session->n_noted < ERRORS_NOTED)
                session->noted[session->n_noted++] = (Noted){ error, depth };
}

static int session_on_verify(int ok, X509_STORE_CTX *store)
{
        SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
        TlsSession *session = SSL_get_app_data(ssl);
        int error = X509_STORE_CTX_get_error(store), depth = X509_STORE_CTX_get_error_depth(store);
        X509 *at = X509_STORE_CTX_get_current_cert(store);

        if (ok)
                return 1;
        session_note(session, error, depth);
        if (certificate_error_is_end(error) && !session->end && at && X509_up_ref(at)) {
                session->end = at;
                session->end_depth = depth;
        }
        return 1;
}

static void session_on_info(const SSL *ssl, int where, int value)
{
        TlsSession *session = SSL_get_app_data(ssl);

        if (session && (where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT &&
            (value & 0xff) != SSL_AD_CLOSE_NOTIFY)
                session->alert = (unsigned) value & 0xff;
}

/* --- what is shared ---------------------------------------------------------------------------------------- */

Tls *tls_free(Tls *tls)
{
        if (!tls || --tls->n_ref > 0)
                return NULL;
        SSL_CTX_free(tls->context);
        BIO_meth_free(tls->method);
        free(tls);
        return NULL;
}

void tls_lend_trust(const Tls *tls, void *ssl_context)
{
        SSL_CTX_set1_cert_store(ssl_context, SSL_CTX_get_cert_store(tls->context));
}

void tls_ignore_time(void *ssl_context)
{
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ssl_context), X509_V_FLAG_NO_CHECK_TIME);
}

/* OpenSSL's own defaults obey OPENSSL_CONF; the file that is named here is the one it would take without. Only the
 * first initialisation of the process counts. */
static void tls_init_library(void)
{
        _cleanup_(openssl_settingsp) OPENSSL_INIT_SETTINGS *settings = OPENSSL_INIT_new();
        char path[256];

        if (!settings)
                return;
        snprintf(path, sizeof(path), "%s/openssl.cnf", X509_get_default_cert_area());
        if (OPENSSL_INIT_set_config_filename(settings, path))
                OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, settings);
}

/* Not SSL_CTX_set_default_verify_paths(): that obeys SSL_CERT_FILE and SSL_CERT_DIR. */
static void tls_trust_system(Tls *tls)
{
        const char *file = X509_get_default_cert_file(), *dir = X509_get_default_cert_dir();

        if (access(file, R_OK) == 0 && !SSL_CTX_load_verify_file(tls->context, file))
                log_warning("cannot read the trust anchors in %s", file);
        if (!SSL_CTX_load_verify_dir(tls->context, dir))
                log_warning("cannot read the trust anchors in %s", dir);
}

static int tls_trust(Tls *tls, const char *ca_file)
{
        int r = 0;

        if (!ca_file)
                tls_trust_system(tls);
        else if (access(ca_file, R_OK) < 0)
                r = -ENOENT;
        else if (!SSL_CTX_load_verify_file(tls->context, ca_file))
                r = -EBADMSG;
        ERR_clear_error();
        return r;
}

int tls_new(Tls **ret, const char *ca_file)
{
        _cleanup_(tls_freep) Tls *tls = calloc(1, sizeof(*tls));
        int r;

        if (!tls)
                return -ENOMEM;
        tls->n_ref = 1;
        tls_init_library();
        r = tls_make_method(tls);
        if (r < 0)
                return r;
        tls->context = SSL_CTX_new(TLS_client_method());
        if (!tls->context || !SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION))
                return -ENOMEM;
        SSL_CTX_set_security_level(tls->context, 2);
        SSL_CTX_set_options(tls->context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
        SSL_CTX_set_mode(tls->context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                               SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                               SSL_MODE_RELEASE_BUFFERS);
        /* Servers make small records, and each would cost two calls: one for its header, one for the rest. */
        SSL_CTX_set_read_ahead(tls->context, 1);
        SSL_CTX_set_default_read_buffer_len(tls->context, READ_AHEAD);
        SSL_CTX_set_session_cache_mode(tls->context, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, session_on_verify);
        SSL_CTX_set_verify_depth(tls->context, LIMIT_CHAIN);
        SSL_CTX_set_info_callback(tls->context, session_on_info);
        r = tls_trust(tls, ca_file);
        if (r < 0)
                return r;
        *ret = TAKE(tls);
        return 0;
}

/* --- one connection ---------------------------------------------------------------------------------------- */

TlsSession *tls_session_free(TlsSession *session)
{
        if (!session)
                return NULL;
        SSL_free(session->ssl);
        X509_free(session->end);
        tls_free(session->tls);
        free(session);
        return NULL;
}

/* RFC 6125 section 6.4.3 and 6.4.4: no partial wildcards, no common name. RFC 6066 section 3: no SNI for literals. */
static int session_set_host(TlsSession *session, const char *host, bool name)
{
        X509_VERIFY_PARAM *param = SSL_get0_param(session->ssl);
        unsigned char address[16];

        if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
                return X509_VERIFY_PARAM_set1_ip_asc(param, host) ? 0 : -EINVAL;
        X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                                       X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
        if (strlen(host) > LIMIT_HOST || !*host || !X509_VERIFY_PARAM_set1_host(param, host, 0) ||
            (name && !SSL_set_tlsext_host_name(session->ssl, host)))
                return -EINVAL;
        return 0;
}

/* For a handshake that nothing will be sent in. */
static bool session_relax(SSL *ssl, unsigned relax)
{
        if (relax & TLS_RELAX_LEVEL) {
                SSL_set_security_level(ssl, 0);
                if (!SSL_set_cipher_list(ssl, "ALL:COMPLEMENTOFALL:@SECLEVEL=0"))
                        return false;
        }
        if (relax & TLS_RELAX_LEGACY)
                SSL_set_options(ssl, SSL_OP_LEGACY_SERVER_CONNECT);
        return !(relax & TLS_RELAX_VERSION) || SSL_set_min_proto_version(ssl, TLS1_VERSION);
}

int tls_session_new(TlsSession **ret, Tls *tls, const TlsRequest *request, int fd)
{
        _cleanup_(tls_session_freep) TlsSession *session = calloc(1, sizeof(*session));
        BIO *bio;
        int r;

        if (!session)
                return -ENOMEM;
        session->tls = tls;
        tls->n_ref++;
        session->fd = fd;
        ERR_clear_error();
        session->ssl = SSL_new(tls->context);
        if (!session->ssl || !SSL_set_app_data(session->ssl, session) ||
            !session_relax(session->ssl, request->relax))
                return -ENOMEM;
        bio = BIO_new(tls->method);
        if (!bio)
                return -ENOMEM;
        BIO_set_data(bio, session);
        BIO_set_init(bio, 1);
        SSL_set_bio(session->ssl, bio, bio);
        r = session_set_host(session, request->host, !(request->relax & TLS_RELAX_NO_NAME));
        ERR_clear_error();
        if (r < 0)
                return r;
        SSL_set_tlsext_status_type(session->ssl, TLSEXT_STATUSTYPE_ocsp);
        SSL_set_connect_state(session->ssl);
        *ret = TAKE(session);
        return 0;
}

static TlsResult session_broken(TlsSession *session)
{
        unsigned long e = ERR_peek_error();
        const char *reason = e ? ERR_reason_error_string(e) : NULL;

        if (session->eof && !session->alert && !session->error &&
            (!e || ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING)) {
                ERR_clear_error();
                return TLS_CLOSED;
        }
        if (reason && !session->text[0])
                text_printable(session->text, sizeof(session->text), reason, strlen(reason));
        if (!session->error)
                session->error = EPROTO;
        ERR_clear_error();
        return TLS_BROKEN;
}

static TlsResult session_result(TlsSession *session, int ok)
{
        if (ok == 1)
                return TLS_DONE;
        switch (SSL_get_error(session->ssl, ok)) {
        case SSL_ERROR_WANT_READ:
                return TLS_WANT_READ;
        case SSL_ERROR_WANT_WRITE:
                return TLS_WANT_WRITE;
        case SSL_ERROR_ZERO_RETURN:
                return TLS_CLOSED;
        default:
                return session_broken(session);
        }
}

/* A server that answers in clear may close at once: then its words wait behind what OpenSSL has taken. */
static void session_peek_first(TlsSession *session)
{
        char data[sizeof(session->first)];
        ssize_t n;

        n = recv(session->fd, data, sizeof(data), MSG_PEEK | MSG_DONTWAIT);
        if (n > 0)
                session_keep_first(session, data, (size_t) n);
}

TlsResult tls_session_handshake(TlsSession *session)
{
        TlsResult result;

        ERR_clear_error();
        result = session_result(session, SSL_do_handshake(session->ssl));
        if (result == TLS_DONE)
                session->shaken = true;
        else if (result == TLS_BROKEN)
                session_peek_first(session);
        return result;
}

TlsResult tls_session_read(TlsSession *session, void *to, size_t size, size_t *ret_len)
{
        ERR_clear_error();
        return session_result(session, SSL_read_ex(session->ssl, to, size, ret_len));
}

size_t tls_session_pending(TlsSession *session)
{
        char unused;
        size_t n;

        ERR_clear_error();
        (void) SSL_peek_ex(session->ssl, &unused, 1, &n);
        ERR_clear_error();
        return (size_t) SSL_pending(session->ssl);
}

TlsResult tls_session_write(TlsSession *session, const void *data, size_t len, size_t *ret_len)
{
        ERR_clear_error();
        return session_result(session, SSL_write_ex(session->ssl, data, len, ret_len));
}

/* --- whether it was withdrawn ------------------------------------------------------------------------------ */

static void ocsp_responsep(OCSP_RESPONSE **response)
{
        OCSP_RESPONSE_free(*response);
}

static void ocsp_certidp(OCSP_CERTID **id)
{
        OCSP_CERTID_free(*id);
}

static void ocsp_basicp(OCSP_BASICRESP **basic)
{
        OCSP_BASICRESP_free(*basic);
}

/* What the response says of @leaf: is it revoked, and is the word fresh? */
static bool response_revokes(OCSP_BASICRESP *basic, const X509 *leaf)
{
        for (int i = 0; i < OCSP_resp_count(basic); i++) {
                OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
                ASN1_GENERALIZEDTIME *this_update = NULL, *next_update = NULL;
                _cleanup_(ocsp_certidp)
                        OCSP_CERTID *id = OCSP_CERTID_dup(OCSP_SINGLERESP_get0_id(single));
                ASN1_INTEGER *serial = NULL;

                if (!id || !OCSP_id_get0_info(NULL, NULL, NULL, &serial, id) ||
                    ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(leaf)) != 0)
                        continue;
                if (OCSP_single_get0_status(single, NULL, NULL, &this_update, &next_update) ==
                            V_OCSP_CERTSTATUS_REVOKED &&
                    OCSP_check_validity(this_update, next_update, OCSP_SKEW_SEC, -1))
                        return true;
        }
        return false;
}

/* RFC 6066 section 8: the server may staple what its issuer says of its certificate. Only a word that verifies counts, and only "revoked"
 * changes anything: nobody is asked for one that is not there. */
static bool session_is_revoked(TlsSession *session)
{
        _cleanup_(ocsp_responsep) OCSP_RESPONSE *response = NULL;
        _cleanup_(ocsp_basicp) OCSP_BASICRESP *basic = NULL;
        X509 *leaf = SSL_get0_peer_certificate(session->ssl);
        const unsigned char *data = NULL;
        bool revoked = false;
        long len;

        len = SSL_get_tlsext_status_ocsp_resp(session->ssl, &data);
        if (data && len > 0 && len <= LIMIT_DOCUMENT)
                response = d2i_OCSP_RESPONSE(NULL, &data, len);
        if (response && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL)
                basic = OCSP_response_get1_basic(response);
        /* The chain as it was built: the issuer may be one that is not sent. */
        if (basic && leaf &&
            OCSP_basic_verify(basic, SSL_get0_verified_chain(session->ssl),
                              SSL_CTX_get_cert_store(session->tls->context), 0) == 1)
                revoked = response_revokes(basic, leaf);
        ERR_clear_error();
        return revoked;
}

/* --- what came of it --------------------------------------------------------------------------------------- */

static int session_add_errors(TlsSession *session, Certificate *certificate)
{
        for (int depth = 0; depth <= LIMIT_CHAIN + 1; depth++)
                for (unsigned i = 0; i < session->n_noted; i++) {
                        int r;

                        if (session->noted[i].depth != depth)
                                continue;
                        r = certificate_add_error(certificate, session->noted[i].error);
                        if (r < 0)
                                return r;
                }
        if (session_is_revoked(session)) {
                int r = certificate_add_error(certificate, X509_V_ERR_CERT_REVOKED);

                if (r < 0)
                        return r;
        }
        if (session->end && !(certificate->faults & CERTIFICATE_SELF_SIGNED))
                certificate->faults |= certificate_judge_end(session->end, session->end_depth);
        /* Nothing that OpenSSL minds may end as "verifies", also what is noted nowhere above. */
        if (certificate->faults == 0 &&
            (session->n_noted > 0 || SSL_get_verify_result(session->ssl) != X509_V_OK))
                certificate->faults = CERTIFICATE_INVALID;
        return 0;
}

static void evp_keyp(EVP_PKEY **key)
{
        EVP_PKEY_free(*key);
}

/* The group of the key exchange: "DH 1024", "X25519". Without one the server's key itself decrypts (static RSA). */
static int session_read_exchange(TlsSession *session, Certificate *certificate)
{
        _cleanup_(evp_keyp) EVP_PKEY *key = NULL;
        const char *type;

        if (!SSL_get_peer_tmp_key(session->ssl, &key) || !key)
                return text_set(&certificate->exchange, "RSA");
        type = EVP_PKEY_get0_type_name(key);
        certificate->exchange_bits = (unsigned) MAX(EVP_PKEY_get_bits(key), 0);
        return text_format(&certificate->exchange, "%s %u", type ? type : "?",
                           certificate->exchange_bits);
}

int tls_session_certificate(TlsSession *session, const TlsRequest *request, Certificate **ret)
{
        _cleanup_(certificate_freep) Certificate *certificate = NULL;
        X509 *leaf = SSL_get0_peer_certificate(session->ssl);
        STACK_OF(X509) *sent = SSL_get_peer_cert_chain(session->ssl);
        int r;

        if (!leaf)
                return -EIO; /* no cipher of ours goes without a certificate */
        r = certificate_read(&certificate, leaf);
        if (r < 0)
                return r;
        r = session_add_errors(session, certificate);
        if (r < 0)
                return r;
        certificate->chain_len = sent ? (unsigned) sk_X509_num(sent) : 0;
        r = text_set(&certificate->protocol, SSL_get_version(session->ssl));
        if (r < 0)
                return r;
        r = text_set(&certificate->cipher, SSL_get_cipher_name(session->ssl));
        if (r < 0)
                return r;
        certificate->cipher_bits = (unsigned) MAX(
                SSL_CIPHER_get_bits(SSL_get_current_cipher(session->ssl), NULL), 0);
        certificate->legacy = SSL_version(session->ssl) < TLS1_3_VERSION &&
                              !SSL_get_secure_renegotiation_support(session->ssl);
        r = session_read_exchange(session, certificate);
        if (r < 0)
                return r;
        certificate->approved = certificate->faults != 0 && request->approved_spki &&
                                text_equal_nocase(request->approved_spki, certificate->spki_sha256);
        ERR_clear_error();
        *ret = TAKE(certificate);
        return 0;
}

size_t tls_session_exporter(TlsSession *session, uint8_t to[TLS_BINDING_MAX])
{
        static const char label[] = "EXPORTER-Channel-Binding";
        int ok;

        if (SSL_version(session->ssl) < TLS1_3_VERSION)
                return 0;
        /* RFC 9266 section 2: 32 octets, an empty context. */
        ok = SSL_export_keying_material(session->ssl, to, 32, label, sizeof(label) - 1,
                                        (const unsigned char *) "", 0, 1);
        ERR_clear_error();
        return ok == 1 ? 32 : 0;
}

/* RFC 5929 section 3.1: the first Finished message of the handshake, which the server sends when a session is resumed. */
size_t tls_session_unique(const TlsSession *session, uint8_t to[TLS_BINDING_MAX])
{
        size_t n;

        if (SSL_version(session->ssl) != TLS1_2_VERSION || SSL_get_extms_support(session->ssl) != 1)
                return 0;
        n = SSL_session_reused(session->ssl)
                    ? SSL_get_peer_finished(session->ssl, to, TLS_BINDING_MAX)
                    : SSL_get_finished(session->ssl, to, TLS_BINDING_MAX);
        return MIN(n, (size_t) TLS_BINDING_MAX);
}

/* RFC 8446 section 5.1: a record starts with its type, 20 to 23 (a server's first is 21 or 22), and major version 3. */
bool tls_session_is_foreign(const TlsSession *session)
{
        if (session->first_len == 0)
                return false;
        return (session->first[0] != 21 && session->first[0] != 22) ||
               (session->first_len > 1 && session->first[1] != 3);
}

void tls_session_tell(const TlsSession *session, Outcome *no)
{
        no->error = session->error;
        no->alert = session->alert;
        outcome_set_text(no, session->text, strlen(session->text));
        if (!session->shaken) {
                memcpy(no->first, session->first, session->first_len);
                no->first_len = session->first_len;
        }
}
