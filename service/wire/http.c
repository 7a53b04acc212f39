/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See http.h. Each request has a multi handle of its own: a shared one would remember pinned addresses for ever and
 * keep connections. libcurl's callbacks only store and wake; the fiber that asked owns the request and ends it, also
 * when it is cancelled, and that is never inside a callback. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>

#include "base/buffer.h"
#include "base/text.h"
#include "config.h"
#include "wire/http.h"

enum { URL_MAX = 2048 };

/* What is asked for: where to, and whether it may go in clear. */
typedef struct Target {
        char *url, *host;
        uint16_t port;
        unsigned flags;
        bool plain;
} Target;

static void target_deinit(Target *target)
{
        free(target->url);
        free(target->host);
}

struct Http {
        Dns *dns;
        sd_event *event;
        char *ca_file;
        Tls *tls; /* NULL: libcurl reads the anchors itself */
        bool global;
};

typedef struct Source {
        struct Source *next;
        sd_event_source *source;
        int fd;
} Source;

typedef struct Request {
        sd_event *event;
        CURLM *multi;
        CURL *easy;
        bool added;
        struct curl_slist *pinned, *headers;
        sd_event_source *timer;
        Source *sources;
        Fiber *waiting;
        unsigned policy;
        Buffer body;
        bool done, too_long;
        CURLcode code;
        int error;   /* ours, negative */
        time_t date; /* of the answer; -1 none */
        char words[CURL_ERROR_SIZE];
} Request;

static void urlp(CURLU **url)
{
        curl_url_cleanup(*url);
}

static void curl_textp(char **text)
{
        curl_free(*text);
}

/* --- libcurl on the loop ----------------------------------------------------------------------------------- */

static void request_drop_source(Request *request, int fd)
{
        for (Source **p = &request->sources; *p; p = &(*p)->next)
                if ((*p)->fd == fd) {
                        Source *source = *p;

                        *p = source->next;
                        sd_event_source_disable_unref(source->source);
                        free(source);
                        return;
                }
}

static void request_fail(Request *request, int error)
{
        request->error = error;
        if (request->waiting)
                fiber_wake(request->waiting);
}

static void request_go_on(Request *request, int fd, int events)
{
        CURLMsg *message;
        int n;

        if (curl_multi_socket_action(request->multi, fd, events, &n) != CURLM_OK) {
                request_fail(request, -EIO);
                return;
        }
        while ((message = curl_multi_info_read(request->multi, &n))) {
                if (message->msg != CURLMSG_DONE)
                        continue;
                request->done = true;
                request->code = message->data.result;
                if (request->waiting)
                        fiber_wake(request->waiting);
        }
}

static int request_on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        request_go_on(userdata, fd,
                      (revents & EPOLLIN ? CURL_CSELECT_IN : 0) |
                              (revents & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                              (revents & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0));
        return 0;
}

static int request_on_time(sd_event_source *s, uint64_t usec, void *userdata)
{
        request_go_on(userdata, CURL_SOCKET_TIMEOUT, 0);
        return 0;
}

static int request_watch(Request *request, int fd, uint32_t events)
{
        Source *source = request->sources;
        int r;

        while (source && source->fd != fd)
                source = source->next;
        if (source)
                return sd_event_source_set_io_events(source->source, events);
        source = calloc(1, sizeof(*source));
        if (!source)
                return -ENOMEM;
        r = sd_event_add_io(request->event, &source->source, fd, events, request_on_io, request);
        if (r < 0) {
                free(source);
                return r;
        }
        source->fd = fd;
        source->next = request->sources;
        request->sources = source;
        return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *unused)
{
        Request *request = userdata;
        uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) |
                          (what & CURL_POLL_OUT ? EPOLLOUT : 0);
        int r;

        if (what == CURL_POLL_REMOVE) {
                request_drop_source(request, fd);
                return 0;
        }
        r = request_watch(request, fd, events);
        if (r < 0)
                request_fail(request, r);
        return 0;
}

static int on_timer(CURLM *multi, long msec, void *userdata)
{
        Request *request = userdata;

        if (msec < 0) {
                (void) sd_event_source_set_enabled(request->timer, SD_EVENT_OFF);
                return 0;
        }
        (void) sd_event_source_set_time_relative(request->timer, (uint64_t) msec * USEC_PER_MSEC);
        (void) sd_event_source_set_enabled(request->timer, SD_EVENT_ONESHOT);
        return 0;
}

/* The last place before connect(): whatever libcurl found to connect to, policy is asked about exactly that. */
static curl_socket_t on_open(void *userdata, curlsocktype purpose, struct curl_sockaddr *to)
{
        Request *request = userdata;

        if (!address_allowed(&to->addr, request->policy))
                return CURL_SOCKET_BAD;
        return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

static int on_close(void *userdata, curl_socket_t fd)
{
        request_drop_source(userdata, fd);
        close(fd);
        return 0;
}

static size_t on_body(char *data, size_t one, size_t len, void *userdata)
{
        Request *request = userdata;
        int r = buffer_append(&request->body, data, len);

        if (r == -ENOBUFS)
                request->too_long = true;
        else if (r < 0)
                request->error = r;
        return r < 0 ? 0 : len;
}

static size_t on_header(char *line, size_t one, size_t len, void *userdata)
{
        static const char name[] = "Date:";
        Request *request = userdata;
        char value[64];
        size_t n;

        if (len <= sizeof(name) || len - sizeof(name) >= sizeof(value) ||
            strncasecmp(line, name, sizeof(name) - 1) != 0)
                return len;
        n = len - (sizeof(name) - 1);
        memcpy(value, line + sizeof(name) - 1, n);
        value[n] = 0;
        request->date = curl_getdate(value, NULL);
        return len;
}

/* --- one request ------------------------------------------------------------------------------------------- */

static Request *request_free(Request *request)
{
        if (!request)
                return NULL;
        request->waiting = NULL;
        if (request->added)
                curl_multi_remove_handle(request->multi, request->easy);
        curl_easy_cleanup(request->easy);
        curl_multi_cleanup(request->multi);
        while (request->sources)
                request_drop_source(request, request->sources->fd);
        sd_event_source_disable_unref(request->timer);
        curl_slist_free_all(request->pinned);
        for (struct curl_slist *h = request->headers; h; h = h->next)
                explicit_bzero(h->data, strlen(h->data));
        curl_slist_free_all(request->headers);
        buffer_deinit(&request->body);
        free(request);
        return NULL;
}
DEFINE_CLEANUP(Request, request_free);

static CURLcode on_context(CURL *easy, void *ssl_context, void *userdata)
{
        tls_lend_trust(userdata, ssl_context);
        return CURLE_OK;
}

static CURLcode on_context_of_any_time(CURL *easy, void *ssl_context, void *userdata)
{
        if (userdata)
                tls_lend_trust(userdata, ssl_context);
        tls_ignore_time(ssl_context);
        return CURLE_OK;
}

static bool request_ask_time(Request *request, const Http *http)
{
        return curl_easy_setopt(request->easy, CURLOPT_NOBODY, 1L) == CURLE_OK &&
               curl_easy_setopt(request->easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
               curl_easy_setopt(request->easy, CURLOPT_HEADERDATA, request) == CURLE_OK &&
               curl_easy_setopt(request->easy, CURLOPT_SSL_CTX_FUNCTION, on_context_of_any_time) ==
                       CURLE_OK &&
               curl_easy_setopt(request->easy, CURLOPT_SSL_CTX_DATA, http->tls) == CURLE_OK;
}

static bool request_lend_trust(CURL *easy, Tls *tls)
{
        return curl_easy_setopt(easy, CURLOPT_CAINFO, NULL) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_context) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, tls) == CURLE_OK;
}

static bool request_read_trust(CURL *easy, const Http *http)
{
        return !http->ca_file ||
               (curl_easy_setopt(easy, CURLOPT_CAINFO, http->ca_file) == CURLE_OK &&
                curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK);
}

static bool request_set_manners(Request *request, const Http *http, bool plain)
{
        CURL *easy = request->easy;

        return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, plain ? "http" : "https") ==
                       CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2) ==
                       CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_HAPPY_EYEBALLS_TIMEOUT_MS, 250L) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_MAXFILESIZE, (long) LIMIT_DOCUMENT) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_USERAGENT, "waypost/" PACKAGE_VERSION) == CURLE_OK &&
               (http->tls ? request_lend_trust(easy, http->tls) : request_read_trust(easy, http));
}

static bool request_set_callbacks(Request *request)
{
        CURL *easy = request->easy;

        return curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->words) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, request) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, request) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_WRITEDATA, request) == CURLE_OK &&
               curl_multi_setopt(request->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
               curl_multi_setopt(request->multi, CURLMOPT_SOCKETDATA, request) == CURLM_OK &&
               curl_multi_setopt(request->multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
               curl_multi_setopt(request->multi, CURLMOPT_TIMERDATA, request) == CURLM_OK;
}

static int request_add_header(Request *request, const char *name, const char *value)
{
        _cleanup_free_ char *line = NULL;
        struct curl_slist *grown;

        if (!value)
                return 0;
        if (text_format(&line, "%s: %s", name, value) < 0)
                return -ENOMEM;
        grown = curl_slist_append(request->headers, line);
        explicit_bzero(line, strlen(line));
        if (!grown)
                return -ENOMEM;
        request->headers = grown;
        return 0;
}

/* "Expect:" alone: a small form is sent at once. */
static int request_add_form(Request *request, const HttpQuestion *question)
{
        int r;

        request->body.wipe = true;
        r = request_add_header(request, "Accept", "application/json");
        if (r == 0)
                r = request_add_header(request, "Expect", "");
        if (r == 0)
                r = request_add_header(request, "Content-Type", question->content_type);
        if (r == 0)
                r = request_add_header(request, "Authorization", question->authorization);
        if (r < 0)
                return r;
        if (curl_easy_setopt(request->easy, CURLOPT_HTTPHEADER, request->headers) != CURLE_OK)
                return -ENOMEM;
        if (question->body &&
            (curl_easy_setopt(request->easy, CURLOPT_POST, 1L) != CURLE_OK ||
             curl_easy_setopt(request->easy, CURLOPT_POSTFIELDSIZE,
                              (long) strlen(question->body)) != CURLE_OK ||
             curl_easy_setopt(request->easy, CURLOPT_POSTFIELDS, question->body) != CURLE_OK))
                return -ENOMEM;
        return 0;
}

/* @question NULL: a GET of http_get_with(). */
static int request_new(Request **ret, const Http *http, const Target *target, const char *pinned,
                       unsigned policy, const HttpQuestion *question)
{
        _cleanup_(request_freep) Request *request = calloc(1, sizeof(*request));
        int r;

        if (!request)
                return -ENOMEM;
        request->event = http->event;
        request->policy = policy;
        request->body = BUFFER(LIMIT_DOCUMENT);
        request->waiting = fiber_current();
        r = sd_event_add_time_relative(http->event, &request->timer, CLOCK_MONOTONIC, 0,
                                       USEC_PER_MSEC, request_on_time, request);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(request->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;
        request->multi = curl_multi_init();
        request->easy = curl_easy_init();
        request->pinned = curl_slist_append(NULL, pinned);
        if (!request->multi || !request->easy || !request->pinned)
                return -ENOMEM;
        if (!request_set_manners(request, http, target->plain) || !request_set_callbacks(request) ||
            curl_easy_setopt(request->easy, CURLOPT_URL, target->url) != CURLE_OK ||
            curl_easy_setopt(request->easy, CURLOPT_RESOLVE, request->pinned) != CURLE_OK)
                return -ENOMEM;
        r = question ? request_add_form(request, question) : 0;
        if (r < 0)
                return r;
        if (curl_multi_add_handle(request->multi, request->easy) != CURLM_OK)
                return -ENOMEM;
        request->added = true;
        *ret = TAKE(request);
        return 0;
}

static bool request_is_connected(const Request *request)
{
        struct sockaddr_storage peer;
        socklen_t len;

        for (const Source *source = request->sources; source; source = source->next) {
                len = sizeof(peer);
                if (getpeername(source->fd, (struct sockaddr *) &peer, &len) == 0)
                        return true;
        }
        return false;
}

/* How far it came, for the phase of what went wrong. libcurl tells the time of connecting only after the handshake. */
static Phase request_phase(const Request *request)
{
        curl_off_t shaken = 0;

        (void) curl_easy_getinfo(request->easy, CURLINFO_APPCONNECT_TIME_T, &shaken);
        return shaken > 0                      ? PHASE_HTTP
               : request_is_connected(request) ? PHASE_HANDSHAKE
                                               : PHASE_CONNECT;
}

static int request_no(const Request *request, Outcome *no)
{
        long error = 0;

        (void) curl_easy_getinfo(request->easy, CURLINFO_OS_ERRNO, &error);
        no->error = (int) error;
        outcome_set_text(no, request->words, strlen(request->words));
        if (request->too_long || request->code == CURLE_FILESIZE_EXCEEDED)
                return outcome_set(no, OUTCOME_TOO_LONG, PHASE_HTTP);
        switch (request->code) {
        case CURLE_OUT_OF_MEMORY:
                return -ENOMEM;
        case CURLE_SSL_CACERT_BADFILE:
                return -EBADMSG;
        case CURLE_COULDNT_CONNECT:
                return outcome_set(no, OUTCOME_CONNECT, PHASE_CONNECT);
        case CURLE_SSL_CONNECT_ERROR:
                return outcome_set(no, OUTCOME_HANDSHAKE, PHASE_HANDSHAKE);
        case CURLE_PEER_FAILED_VERIFICATION:
                return outcome_set(no, OUTCOME_CERTIFICATE, PHASE_HANDSHAKE);
        case CURLE_OPERATION_TIMEDOUT:
                return outcome_set(no, OUTCOME_TIMEOUT, request_phase(request));
        case CURLE_GOT_NOTHING:
        case CURLE_PARTIAL_FILE:
                return outcome_set(no, OUTCOME_CLOSED, PHASE_HTTP);
        case CURLE_SEND_ERROR:
        case CURLE_RECV_ERROR:
                return outcome_set(no, OUTCOME_RESET, PHASE_HTTP);
        default: /* of libcurl's hundred: what is left for a GET is a server that does not speak HTTP */
                return outcome_set(no, OUTCOME_GARBAGE, PHASE_HTTP);
        }
}

/* Returns 0 when a whole answer with any status has come. */
static int request_run(Request *request, Outcome *no)
{
        while (!request->done && request->error == 0) {
                int r = fiber_suspend();

                if (r == -ETIME)
                        return outcome_set(no, OUTCOME_TIMEOUT, request_phase(request));
                if (r < 0)
                        return r;
        }
        if (request->error < 0)
                return request->error;
        return request->code == CURLE_OK ? 0 : request_no(request, no);
}

/* --- where to ---------------------------------------------------------------------------------------------- */

static bool url_allowed(const char *scheme, const char *host, const char *port, unsigned flags)
{
        bool plain = (flags & HTTP_PLAIN) && text_equal(scheme, "http") && text_equal(port, "80");
        bool right_port = text_equal(port, "443") || (flags & HTTP_ANY_PORT);
        struct in_addr in;

        return (plain || (text_equal(scheme, "https") && right_port)) && *host != '[' &&
               inet_pton(AF_INET, host, &in) != 1 && !text_ends_nocase(host, ".");
}

/* Moves @target to @url if that is one that we ask: https, a name, port 443, nobody's password inside. Returns 0, -EINVAL, -ENOMEM. */
static int target_set(Target *target, const char *url)
{
        _cleanup_(urlp) CURLU *parsed = curl_url();
        _cleanup_(curl_textp) char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL,
                                   *whole = NULL;
        uint64_t number;

        if (!parsed)
                return -ENOMEM;
        if (strlen(url) > URL_MAX || curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK ||
            curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
            curl_url_get(parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
            curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
            curl_url_get(parsed, CURLUPART_USER, &user, 0) != CURLUE_NO_USER)
                return -EINVAL;
        if (!url_allowed(scheme, host, port, target->flags) ||
            ((target->flags & HTTP_SAME_HOST) && target->host &&
             !text_equal_nocase(target->host, host)))
                return -EINVAL;
        (void) curl_url_set(parsed, CURLUPART_FRAGMENT, NULL, 0);
        if (curl_url_get(parsed, CURLUPART_URL, &whole, 0) != CURLUE_OK)
                return -ENOMEM;
        target->plain = text_equal(scheme, "http");
        if (text_to_u64(port, UINT16_MAX, &number) < 0)
                return -EINVAL;
        target->port = (uint16_t) number;
        return text_set(&target->host, host) < 0 || text_set(&target->url, whole) < 0 ? -ENOMEM : 0;
}

/* "host:443:address,address" of the addresses that policy allows. Returns 0, 1 with @no, -ENOMEM. */
static int pin(char **ret, const Target *target, const DnsAddresses *addresses, unsigned policy,
               Outcome *no)
{
        _cleanup_buffer_ Buffer text = BUFFER(4096);
        unsigned n_allowed = 0;
        int r;

        no->dial = (DialReport){ .winner = -1 };
        r = buffer_printf(&text, "%s:%u:", target->host, target->port);
        for (unsigned i = 0; i < addresses->n_addresses && r == 0; i++) {
                const struct sockaddr *at = (const struct sockaddr *) &addresses->addresses[i];
                DialAttempt *attempt = &no->dial.attempts[no->dial.n_attempts++];
                bool six = at->sa_family == AF_INET6;

                address_text(at, attempt->address);
                attempt->error = EADDRNOTAVAIL;
                if (address_allowed(at, policy))
                        r = buffer_printf(&text, "%s%s%s%s", n_allowed++ > 0 ? "," : "",
                                          six ? "[" : "", attempt->address, six ? "]" : "");
        }
        if (r < 0)
                return r;
        if (n_allowed == 0)
                return outcome_set(no, OUTCOME_POLICY, PHASE_CONNECT);
        no->dial = (DialReport){};
        return buffer_take(&text, ret);
}

static int resolve_and_pin(char **ret, Http *http, const Target *target, unsigned policy,
                           Outcome *no)
{
        _cleanup_(dns_addresses_freep) DnsAddresses *addresses = NULL;
        int r;

        r = dns_addresses(&addresses, http->dns, target->host, no);
        return r ? r : pin(ret, target, addresses, policy, no);
}

/* --- answers ----------------------------------------------------------------------------------------------- */

static bool status_redirects(long status)
{
        return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Takes over the answer. Returns 0 with a 200, or with a redirect that is to be followed (@to changed,
 * @response untouched); 1 with @no; negative errno. */
static int request_conclude(Request *request, HttpResponse *response, Target *to, Outcome *no)
{
        const char *target = NULL, *type = NULL;
        long status = 0;
        int r;

        (void) curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
        (void) curl_easy_getinfo(request->easy, CURLINFO_REDIRECT_URL, &target);
        (void) curl_easy_getinfo(request->easy, CURLINFO_CONTENT_TYPE, &type);
        no->status = (unsigned) status;
        if (status_redirects(status) && target) {
                outcome_set_text(no, target, strlen(target));
                if (response->n_redirects >= LIMIT_REDIRECTS)
                        return outcome_set(no, OUTCOME_HTTP, PHASE_HTTP);
                r = target_set(to, target);
                return r == -EINVAL ? outcome_set(no, OUTCOME_HTTP, PHASE_HTTP) : r;
        }
        if (status != 200)
                return outcome_set(no, OUTCOME_HTTP, PHASE_HTTP);
        if (type) {
                response->content_type = text_printable_new(type, strlen(type), LIMIT_STRING);
                if (!response->content_type)
                        return -ENOMEM;
        }
        response->body_len = request->body.len;
        return buffer_take(&request->body, &response->body);
}

static int get_once(Http *http, HttpResponse *response, Target *target, unsigned policy,
                    Outcome *no)
{
        _cleanup_(request_freep) Request *request = NULL;
        _cleanup_free_ char *pinned = NULL;
        int r;

        r = resolve_and_pin(&pinned, http, target, policy, no);
        if (r)
                return r;
        r = request_new(&request, http, target, pinned, policy, NULL);
        if (r < 0)
                return r;
        r = request_run(request, no);
        return r ? r : request_conclude(request, response, target, no);
}

int http_get_with(HttpResponse **ret, Http *http, const char *url, unsigned flags, unsigned policy,
                  Outcome *no)
{
        _cleanup_(http_response_freep) HttpResponse *response = calloc(1, sizeof(*response));
        _cleanup_(target_deinit) Target target = { .flags = flags };
        int r;

        if (!response)
                return -ENOMEM;
        if (fiber_cancelled())
                return -ECANCELED;
        r = target_set(&target, url);
        if (r < 0)
                return r;
        FIBER_DEADLINE(LIMIT_HTTPS_USEC);
        for (;;) {
                r = get_once(http, response, &target, policy, no);
                if (r)
                        return r;
                if (response->body)
                        break;
                response->n_redirects++;
                outcome_reset(no);
        }
        outcome_reset(no);
        response->url = TAKE(target.url);
        *ret = TAKE(response);
        return 0;
}

int http_time(uint64_t *ret_usec, Http *http, const char *url, unsigned policy, Outcome *no)
{
        _cleanup_(target_deinit) Target target = {};
        _cleanup_(request_freep) Request *request = NULL;
        _cleanup_free_ char *pinned = NULL;
        int r;

        if (fiber_cancelled())
                return -ECANCELED;
        r = target_set(&target, url);
        if (r < 0)
                return r;
        FIBER_DEADLINE(LIMIT_HTTPS_USEC);
        r = resolve_and_pin(&pinned, http, &target, policy, no);
        if (r)
                return r;
        r = request_new(&request, http, &target, pinned, policy, NULL);
        if (r < 0)
                return r;
        request->date = -1;
        if (!request_ask_time(request, http))
                return -ENOMEM;
        r = request_run(request, no);
        if (r)
                return r;
        if (request->date <= 0)
                return outcome_set(no, OUTCOME_HTTP, PHASE_HTTP);
        *ret_usec = (uint64_t) request->date * USEC_PER_SEC;
        return 0;
}

int http_get(HttpResponse **ret, Http *http, const char *url, unsigned policy, Outcome *no)
{
        return http_get_with(ret, http, url, 0, policy, no);
}

int http_ask(HttpResponse **ret, Http *http, const HttpQuestion *question, Outcome *no)
{
        _cleanup_(http_response_freep) HttpResponse *response = calloc(1, sizeof(*response));
        _cleanup_(target_deinit) Target target = { .flags = HTTP_ANY_PORT };
        _cleanup_(request_freep) Request *request = NULL;
        _cleanup_free_ char *pinned = NULL;
        long status = 0;
        int r;

        if (!response)
                return -ENOMEM;
        if (fiber_cancelled())
                return -ECANCELED;
        r = target_set(&target, question->url);
        if (r < 0)
                return r;
        FIBER_DEADLINE(LIMIT_HTTPS_USEC);
        r = resolve_and_pin(&pinned, http, &target, question->policy, no);
        if (r == 0)
                r = request_new(&request, http, &target, pinned, question->policy, question);
        if (r == 0)
                r = request_run(request, no);
        if (r)
                return r;
        (void) curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
        response->status = (unsigned) status;
        response->secret = true;
        response->body_len = request->body.len;
        r = buffer_take(&request->body, &response->body);
        if (r < 0)
                return r;
        *ret = TAKE(response);
        return 0;
}

HttpResponse *http_response_free(HttpResponse *response)
{
        if (!response)
                return NULL;
        if (response->secret && response->body)
                explicit_bzero(response->body, response->body_len);
        free(response->body);
        free(response->content_type);
        free(response->url);
        free(response);
        return NULL;
}

/* --- what is shared ---------------------------------------------------------------------------------------- */

Http *http_free(Http *http)
{
        if (!http)
                return NULL;
        if (http->global)
                curl_global_cleanup();
        sd_event_unref(http->event);
        free(http->ca_file);
        free(http);
        return NULL;
}

void http_share_trust(Http *http, Tls *tls)
{
        http->tls = tls;
}

int http_new(Http **ret, Dns *dns, const char *ca_file)
{
        _cleanup_(http_freep) Http *http = calloc(1, sizeof(*http));
        int r;

        if (!http)
                return -ENOMEM;
        /* The one variable that libcurl obeys and no option turns off: it would write session keys to a file. */
        unsetenv("SSLKEYLOGFILE");
        http->dns = dns;
        http->event = sd_event_ref(loop_event(loop_current()));
        http->global = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
        if (!http->global)
                return -ENOMEM;
        r = text_set(&http->ca_file, ca_file);
        if (r < 0)
                return r;
        *ret = TAKE(http);
        return 0;
}
