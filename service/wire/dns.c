/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See dns.h. c-ares does the protocol; its sockets and timeouts are sources of the loop. A question lives on the
 * heap, counted by the fiber that waits and by each answer that is due: the fiber may be gone when the answer comes.
 * Callbacks of c-ares only store and wake; no c-ares function is called from inside one.
 *
 * Two surprises: ARES_FLAG_NOCHECKRESP is needed, or c-ares 1.18 takes SERVFAIL and REFUSED for "ask the next
 * server" and ends in ECONNREFUSED. And resolv.conf is read here: it may change while we run, and a line may say
 * "nameserver 127.0.0.1:5353", a port being an extension of ours that tests need. */
#include <ares.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "wire/address.h"
#include "wire/dns.h"
#include "wire/network.h"

/* RFC 1035 section 3.2, RFC 3596, RFC 2782; <arpa/nameser.h> has them too, but also a MIN() of its own. */
enum {
        CLASS_IN = 1,
        TYPE_A = 1,
        TYPE_NS = 2,
        TYPE_CNAME = 5,
        TYPE_MX = 15,
        TYPE_TXT = 16,
        TYPE_AAAA = 28,
        TYPE_SRV = 33
};

enum {
        TIMEOUT_MSEC = 1500, /* first try; doubles, so that both end within LIMIT_DNS_USEC */
        TRIES = 2,
        SERVERS_MAX = 3, /* as glibc: MAXNS */
        CONF_MAX = 64 * 1024,
        TXT_MAX = 16 * 1024,
        ALIASES_MAX = 16, /* followed one by one */
};

/* RFC 8305 section 3: Resolution Delay. */
#define RESOLUTION_DELAY_USEC (50 * USEC_PER_MSEC)

typedef struct Source {
        struct Source *next;
        sd_event_source *source;
        int fd;
} Source;

/* One configuration of c-ares. A retired one stays until its last answer. */
typedef struct Channel {
        struct Channel *next;
        struct Dns *dns;
        ares_channel ares;
        bool initialised, retired;
        Source *sources;
        sd_event_source *timer;
        unsigned n_due; /* answers */
} Channel;

struct Dns {
        sd_event *event;
        char *path;
        bool library;
        Channel *current, *retired;
        size_t n_servers, first; /* of resolv.conf; the one that is asked first */
        bool moved;              /* to another first one */
        struct stat seen;
        Buffer conf;
};

/* --- channels ---------------------------------------------------------------------------------------------- */

static void channel_arm(Channel *channel);
static void dns_sweep(Dns *dns);

static Channel *channel_free(Channel *channel)
{
        if (!channel)
                return NULL;
        if (channel->initialised)
                ares_destroy(channel->ares); /* calls back for every answer that is due */
        while (channel->sources) {
                Source *source = channel->sources;

                channel->sources = source->next;
                sd_event_source_disable_unref(source->source);
                free(source);
        }
        sd_event_source_disable_unref(channel->timer);
        free(channel);
        return NULL;
}
DEFINE_CLEANUP(Channel, channel_free);

static int channel_on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        Channel *channel = userdata;
        Dns *dns = channel->dns;
        bool in = revents & (EPOLLIN | EPOLLERR | EPOLLHUP), out = revents & EPOLLOUT;

        ares_process_fd(channel->ares, in ? fd : ARES_SOCKET_BAD, out ? fd : ARES_SOCKET_BAD);
        channel_arm(channel);
        dns_sweep(dns);
        return 0;
}

static int channel_on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
        Channel *channel = userdata;
        Dns *dns = channel->dns;

        ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        channel_arm(channel);
        dns_sweep(dns);
        return 0;
}

/* c-ares measures real time by itself, so its timer is no fiber's deadline and not virtual. */
static void channel_arm(Channel *channel)
{
        struct timeval tv, *due = ares_timeout(channel->ares, NULL, &tv);

        if (!due || channel->n_due == 0) {
                (void) sd_event_source_set_enabled(channel->timer, SD_EVENT_OFF);
                return;
        }
        (void) sd_event_source_set_time_relative(
                channel->timer, (uint64_t) due->tv_sec * USEC_PER_SEC + (uint64_t) due->tv_usec);
        (void) sd_event_source_set_enabled(channel->timer, SD_EVENT_ONESHOT);
}

static void channel_drop_source(Channel *channel, int fd)
{
        for (Source **p = &channel->sources; *p; p = &(*p)->next)
                if ((*p)->fd == fd) {
                        Source *source = *p;

                        *p = source->next;
                        sd_event_source_disable_unref(source->source);
                        free(source);
                        return;
                }
}

/* Called by c-ares in the middle of its work. Without memory the question ends by its timeout. */
static void channel_on_socket(void *data, ares_socket_t fd, int readable, int writable)
{
        Channel *channel = data;
        uint32_t events = (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0);
        Source *source = channel->sources;

        if (!events) {
                channel_drop_source(channel, fd);
                return;
        }
        while (source && source->fd != fd)
                source = source->next;
        if (source) {
                (void) sd_event_source_set_io_events(source->source, events);
                return;
        }
        source = calloc(1, sizeof(*source));
        if (!source)
                return;
        if (sd_event_add_io(channel->dns->event, &source->source, fd, events, channel_on_io,
                            channel) < 0) {
                free(source);
                return;
        }
        source->fd = fd;
        source->next = channel->sources;
        channel->sources = source;
}

static int channel_new(Channel **ret, Dns *dns, const char *servers)
{
        _cleanup_(channel_freep) Channel *channel = calloc(1, sizeof(*channel));
        struct ares_options options = {
                .flags = ARES_FLAG_NOCHECKRESP | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
                .timeout = TIMEOUT_MSEC,
                .tries = TRIES,
                .sock_state_cb = channel_on_socket,
                .sock_state_cb_data = channel,
        };
        int r;

        if (!channel)
                return -ENOMEM;
        channel->dns = dns;
        r = sd_event_add_time_relative(dns->event, &channel->timer, CLOCK_MONOTONIC, 0,
                                       USEC_PER_MSEC, channel_on_timer, channel);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(channel->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;
        if (ares_init_options(&channel->ares, &options,
                              ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                                      ARES_OPT_SOCK_STATE_CB | ARES_OPT_NOROTATE) != ARES_SUCCESS)
                return -ENOMEM;
        channel->initialised = true;
        if (ares_set_servers_ports_csv(channel->ares, servers) != ARES_SUCCESS)
                return -ENOMEM;
        *ret = TAKE(channel);
        return 0;
}

/* Ends retired channels that owe no answer. Never from inside a callback of c-ares. */
static void dns_sweep(Dns *dns)
{
        for (Channel **p = &dns->retired; *p;) {
                Channel *channel = *p;

                if (channel->n_due > 0) {
                        p = &channel->next;
                        continue;
                }
                *p = channel->next;
                channel_free(channel);
        }
}

/* --- resolv.conf ------------------------------------------------------------------------------------------- */

/* "127.0.0.1", "2001:db8::53", and ours: "127.0.0.1:5353", "[::1]:5353". */
static bool server_is_valid(const char *text)
{
        char address[64] = "";
        const char *end, *port = NULL;
        struct in6_addr in6;
        struct in_addr in;
        uint64_t number;

        if (inet_pton(AF_INET, text, &in) == 1 || inet_pton(AF_INET6, text, &in6) == 1)
                return true;
        end = strchr(text, *text == '[' ? ']' : ':');
        if (!end || (size_t) (end - text) >= sizeof(address))
                return false;
        port = *text == '[' ? end + 1 : end;
        text += *text == '[';
        memcpy(address, text, (size_t) (end - text));
        if (inet_pton(AF_INET, address, &in) != 1 && inet_pton(AF_INET6, address, &in6) != 1)
                return false;
        return *port == ':' && text_to_u64(port + 1, 65535, &number) == 0 && number > 0;
}

static int add_server(char ***servers, const char *line)
{
        char text[96], written[100];
        size_t n;
        int r;

        line += strlen("nameserver");
        n = strspn(line, " \t");
        if (n == 0)
                return 0;
        line += n;
        n = strcspn(line, " \t\r\n#;");
        if (n >= sizeof(text))
                return 0;
        memcpy(text, line, n);
        text[n] = 0;
        if (!server_is_valid(text))
                return 0;
        /* A bare IPv6 address would lose its last group to a port. */
        n = strchr(text, ':') && strchr(text, '.') == NULL && text[0] != '[';
        snprintf(written, sizeof(written), "%s%s%s", n ? "[" : "", text, n ? "]" : "");
        r = list_append(servers, written, SERVERS_MAX);
        return r == -ENOBUFS ? 0 : r;
}

/* Without a usable line it is the host itself (resolv.conf(5)). */
static int conf_servers(const char *conf, char ***ret)
{
        _cleanup_list_ char **servers = NULL;
        int r = 0;

        for (const char *line = conf; line && *line && r == 0;) {
                if (strncmp(line, "nameserver", strlen("nameserver")) == 0)
                        r = add_server(&servers, line);
                line = strchr(line, '\n');
                line = line ? line + 1 : NULL;
        }
        if (r == 0 && !servers)
                r = list_append(&servers, "127.0.0.1", 1);
        if (r < 0)
                return r;
        *ret = TAKE(servers);
        return 0;
}

/* In their order, but begun with the @first-th. */
static int servers_text(char **ret, char *const *servers, size_t first)
{
        _cleanup_buffer_ Buffer text = BUFFER(1024);
        size_t n = list_len(servers);
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i++)
                r = buffer_printf(&text, "%s%s", i > 0 ? "," : "", servers[(first + i) % n]);
        return r < 0 ? r : buffer_take(&text, ret);
}

/* A missing or unreadable file counts as an empty one. */
static int conf_read(const char *path, Buffer *conf, struct stat *ret_seen)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        ssize_t n = 1;
        char *to;
        int r;

        *ret_seen = (struct stat){};
        r = buffer_append_text(conf, "");
        if (r < 0 || fd < 0 || fstat(fd, ret_seen) < 0)
                return r;
        while (n > 0) {
                r = buffer_reserve(conf, 1024, &to);
                if (r == -ENOBUFS)
                        return 0;
                if (r < 0)
                        return r;
                n = read(fd, to, 1024);
                if (n > 0)
                        buffer_commit(conf, (size_t) n);
        }
        return 0;
}

static bool stat_same(const struct stat *a, const struct stat *b)
{
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
               a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Takes up changes of resolv.conf. The time stamp alone does not tell: it moves in steps of the kernel's tick, and a
 * bind mount may put another file there; so what is small is simply read again. */
static int dns_refresh(Dns *dns)
{
        _cleanup_buffer_ Buffer conf = BUFFER(CONF_MAX);
        _cleanup_(channel_freep) Channel *channel = NULL;
        _cleanup_list_ char **servers = NULL;
        _cleanup_free_ char *text = NULL;
        struct stat seen;
        bool same;
        int r;

        r = conf_read(dns->path, &conf, &seen);
        if (r < 0)
                return r;
        same = dns->current && stat_same(&seen, &dns->seen) && conf.len == dns->conf.len &&
               memcmp(conf.data, dns->conf.data, conf.len) == 0;
        if (same && !dns->moved)
                return 0;
        dns->first = same ? dns->first : 0;
        dns->moved = false;
        r = conf_servers(conf.data, &servers);
        if (r == 0)
                r = servers_text(&text, servers, dns->first);
        if (r == 0)
                r = channel_new(&channel, dns, text);
        if (r < 0)
                return r;
        dns->n_servers = list_len(servers);
        log_debug("name servers: %s", text);
        if (dns->current) {
                dns->current->retired = true;
                dns->current->next = dns->retired;
                dns->retired = dns->current;
        }
        dns->current = TAKE(channel);
        dns_sweep(dns);
        dns->seen = seen;
        buffer_deinit(&dns->conf);
        dns->conf = conf;
        conf = BUFFER(0);
        return 0;
}

/* --- the resolver ------------------------------------------------------------------------------------------ */

Dns *dns_free(Dns *dns)
{
        if (!dns)
                return NULL;
        channel_free(dns->current);
        while (dns->retired) {
                Channel *channel = dns->retired;

                dns->retired = channel->next;
                channel_free(channel);
        }
        if (dns->library)
                ares_library_cleanup();
        buffer_deinit(&dns->conf);
        sd_event_unref(dns->event);
        free(dns->path);
        free(dns);
        return NULL;
}

int dns_new(Dns **ret, const char *resolv_conf)
{
        _cleanup_(dns_freep) Dns *dns = calloc(1, sizeof(*dns));
        int r;

        if (!dns)
                return -ENOMEM;
        dns->event = sd_event_ref(loop_event(loop_current()));
        dns->library = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS;
        if (!dns->library)
                return -ENOMEM;
        r = text_set(&dns->path, resolv_conf ? resolv_conf : "/etc/resolv.conf");
        if (r < 0)
                return r;
        *ret = TAKE(dns);
        return 0;
}

/* --- questions --------------------------------------------------------------------------------------------- */

/* One answer that is due; freed by its callback. */
typedef struct Question {
        struct Lookup *lookup;
        Channel *channel;
        int type;
        unsigned slot;
} Question;

/* What one call wants to know: one question, or A and AAAA. */
typedef struct Lookup {
        unsigned n_ref;
        Fiber *waiting; /* NULL when nobody does any more */
        bool done[2];
        DnsStatus status[2];
        int error; /* ours, negative */
        struct sockaddr_storage addresses[2][LIMIT_ADDRESSES];
        unsigned n_addresses[2];
        char *canonical; /* of a CNAME question: where it leads */
        bool answered;   /* whatever the answer is */
        unsigned code;   /* its RCODE */
        DnsRecords *records;
} Lookup;

static Lookup *lookup_unref(Lookup *lookup)
{
        if (!lookup || --lookup->n_ref > 0)
                return NULL;
        free(lookup->canonical);
        dns_records_free(lookup->records);
        free(lookup);
        return NULL;
}

static void lookup_leave(Lookup **lookup)
{
        if (*lookup)
                (*lookup)->waiting = NULL;
        *lookup = lookup_unref(*lookup);
}

static int lookup_new(Lookup **ret)
{
        Lookup *lookup = calloc(1, sizeof(*lookup));

        if (!lookup)
                return -ENOMEM;
        lookup->n_ref = 1;
        lookup->waiting = fiber_current();
        lookup->done[0] = lookup->done[1] = true;
        lookup->status[0] = lookup->status[1] = DNS_NO_DATA;
        *ret = lookup;
        return 0;
}

static DnsStatus status_of(int ares)
{
        switch (ares) {
        case ARES_SUCCESS:
                return DNS_OK;
        case ARES_ENOTFOUND:
        case ARES_EBADNAME:
                return DNS_NXDOMAIN;
        case ARES_ENODATA:
                return DNS_NO_DATA;
        case ARES_ETIMEOUT:
                return DNS_TIMEOUT;
        case ARES_ECONNREFUSED: /* as well: network unreachable */
                return DNS_NO_RESOLVER;
        default: /* SERVFAIL, REFUSED, FORMERR, NOTIMP, and what cannot be parsed */
                return DNS_SERVFAIL;
        }
}

static int error_of(int ares)
{
        return ares == ARES_ENOMEM                                    ? -ENOMEM
               : ares == ARES_ECANCELLED || ares == ARES_EDESTRUCTION ? -ECANCELED
                                                                      : 0;
}

/* --- parsing: into our own memory, within our limits --------------------------------------------------------- */

/* Letters, digits, hyphen, underscore in labels of 1 to 63; one dot at the end is allowed (RFC 1035 section 2.3.4). */
static bool name_is_valid(const char *name)
{
        size_t len = strlen(name), label = 0;

        if (len > 0 && name[len - 1] == '.')
                len--;
        if (len == 0 || len > LIMIT_HOST)
                return false;
        for (size_t i = 0; i < len; i++) {
                unsigned char c = (unsigned char) name[i];

                if (c == '.' && label == 0)
                        return false;
                label = c == '.' ? 0 : label + 1;
                if (label > 63)
                        return false;
                if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '_' || c == '.'))
                        return false;
        }
        return label > 0;
}

/* As names of DNS: the dot at the end of @asked says nothing new. */
static bool name_is_same(const char *name, const char *asked)
{
        size_t len = strlen(name);

        return text_starts_nocase(asked, name) &&
               (asked[len] == 0 || (asked[len] == '.' && asked[len + 1] == 0));
}

/* A host as an answer names it: lower case, "" allowed, everything else that is no host name refused. */
static int take_host(char **ret, const char *host)
{
        char *copy;

        if (*host && strcmp(host, ".") != 0 && !name_is_valid(host))
                return -EINVAL;
        copy = strdup(strcmp(host, ".") == 0 ? "" : host);
        if (!copy)
                return -ENOMEM;
        text_lower(copy);
        *ret = copy;
        return 0;
}

static void address_set(struct sockaddr_storage *to, int family, const void *bytes)
{
        to->ss_family = (sa_family_t) family;
        if (family == AF_INET6)
                memcpy(&((struct sockaddr_in6 *) to)->sin6_addr, bytes, 16);
        else
                memcpy(&((struct sockaddr_in *) to)->sin_addr, bytes, 4);
}

static int lookup_take_addresses(Lookup *lookup, const Question *question,
                                 const unsigned char *data, int len)
{
        unsigned *n = &lookup->n_addresses[question->slot];
        struct hostent *host = NULL;
        int r;

        r = question->type == TYPE_A ? ares_parse_a_reply(data, len, &host, NULL, NULL)
                                     : ares_parse_aaaa_reply(data, len, &host, NULL, NULL);
        if (r != ARES_SUCCESS)
                return r;
        for (char **p = host->h_addr_list; *p && *n < LIMIT_ADDRESSES; p++)
                address_set(&lookup->addresses[question->slot][(*n)++], host->h_addrtype, *p);
        if (!lookup->canonical && host->h_name && name_is_valid(host->h_name) &&
            take_host(&lookup->canonical, host->h_name) == -ENOMEM)
                r = ARES_ENOMEM;
        if (*n == 0)
                r = ARES_ENODATA;
        ares_free_hostent(host);
        return r;
}

static int parse_mx(DnsRecords *records, const unsigned char *data, int len)
{
        struct ares_mx_reply *first = NULL;
        int r, e = 0;

        r = ares_parse_mx_reply(data, len, &first);
        if (r != ARES_SUCCESS)
                return r;
        records->mx = calloc(LIMIT_DNS_RECORDS, sizeof(DnsMx));
        for (struct ares_mx_reply *p = first;
             p && records->mx && e != -ENOMEM && records->n_mx < LIMIT_DNS_RECORDS; p = p->next) {
                e = take_host(&records->mx[records->n_mx].host, p->host);
                if (e == 0)
                        records->mx[records->n_mx++].preference = p->priority;
        }
        ares_free_data(first);
        if (!records->mx || e == -ENOMEM)
                return ARES_ENOMEM;
        return records->n_mx > 0 ? ARES_SUCCESS : ARES_EBADRESP;
}

static int parse_srv(DnsRecords *records, const unsigned char *data, int len)
{
        struct ares_srv_reply *first = NULL;
        int r, e = 0;

        r = ares_parse_srv_reply(data, len, &first);
        if (r != ARES_SUCCESS)
                return r;
        records->srv = calloc(LIMIT_DNS_RECORDS, sizeof(DnsSrv));
        for (struct ares_srv_reply *p = first;
             p && records->srv && e != -ENOMEM && records->n_srv < LIMIT_DNS_RECORDS; p = p->next) {
                DnsSrv *to = &records->srv[records->n_srv];

                e = take_host(&to->target, p->host);
                if (e < 0)
                        continue;
                to->priority = p->priority;
                to->weight = p->weight;
                to->port = p->port;
                records->n_srv++;
        }
        ares_free_data(first);
        if (!records->srv || e == -ENOMEM)
                return ARES_ENOMEM;
        return records->n_srv > 0 ? ARES_SUCCESS : ARES_EBADRESP;
}

static int take_txt(DnsRecords *records, Buffer *text)
{
        _cleanup_free_ char *printable = NULL;
        int r;

        printable = text_printable_new(text->data ? text->data : "", text->len, TXT_MAX);
        if (!printable)
                return -ENOMEM;
        r = list_append(&records->txt, printable, LIMIT_DNS_RECORDS);
        buffer_clear(text);
        return r;
}

/* RFC 7208 section 3.3: the strings of one record are joined without a space. */
static int parse_txt(DnsRecords *records, const unsigned char *data, int len)
{
        _cleanup_buffer_ Buffer text = BUFFER(TXT_MAX);
        struct ares_txt_ext *first = NULL;
        int r, e = 0;

        r = ares_parse_txt_reply_ext(data, len, &first);
        if (r != ARES_SUCCESS)
                return r;
        for (struct ares_txt_ext *p = first; p && e == 0; p = p->next) {
                e = buffer_append(&text, p->txt, p->length);
                if (e == -ENOBUFS)
                        e = 0; /* too long to be anything we look for: its front is kept */
                if (e == 0 && (!p->next || p->next->record_start))
                        e = take_txt(records, &text);
        }
        ares_free_data(first);
        if (e == -ENOMEM)
                return ARES_ENOMEM;
        return records->txt ? ARES_SUCCESS : ARES_ENODATA;
}

/* Where the one alias that was asked for leads: the first CNAME of the answer. */
static int lookup_take_alias(Lookup *lookup, const unsigned char *data, int len)
{
        const unsigned char *at = data + 12;
        char *name = NULL;
        long n;
        int r = ARES_ENODATA;

        if (len < 12 || ares_expand_name(at, data, len, &name, &n) != ARES_SUCCESS)
                return ARES_EBADRESP;
        ares_free_string(name);
        at += n + 4;
        if (at >= data + len || ares_expand_name(at, data, len, &name, &n) != ARES_SUCCESS)
                return ARES_ENODATA;
        ares_free_string(name);
        at += n;
        if (at + 10 > data + len || (at[0] << 8 | at[1]) != TYPE_CNAME)
                return ARES_ENODATA;
        if (ares_expand_name(at + 10, data, len, &name, &n) != ARES_SUCCESS)
                return ARES_EBADRESP;
        if (name_is_valid(name))
                r = take_host(&lookup->canonical, name) == -ENOMEM ? ARES_ENOMEM : ARES_SUCCESS;
        ares_free_string(name);
        return r;
}

static int lookup_take_records(Lookup *lookup, int type, const unsigned char *data, int len)
{
        if (type == TYPE_CNAME)
                return lookup_take_alias(lookup, data, len);
        if (type == TYPE_NS)
                return ARES_SUCCESS; /* that something is answered is all that is asked */
        lookup->records = calloc(1, sizeof(*lookup->records));
        if (!lookup->records)
                return ARES_ENOMEM;
        return type == TYPE_MX    ? parse_mx(lookup->records, data, len)
               : type == TYPE_SRV ? parse_srv(lookup->records, data, len)
                                  : parse_txt(lookup->records, data, len);
}

/* A server that keeps silent costs every question its timeout: the one that answered instead is asked first from now on. */
static void server_silent(const Channel *channel, int timeouts)
{
        Dns *dns = channel->dns;

        if (channel != dns->current || dns->moved || dns->n_servers < 2)
                return;
        dns->first = (dns->first + (size_t) timeouts) % dns->n_servers;
        dns->moved = true;
}

/* The callback of c-ares: stores and wakes, calls nothing of c-ares but its parsers. */
static void question_on_answer(void *arg, int status, int timeouts, unsigned char *data, int len)
{
        Question *question = arg;
        Lookup *lookup = question->lookup;

        if (timeouts > 0 && data)
                server_silent(question->channel, timeouts);
        lookup->answered |= data != NULL;
        lookup->code = data && len >= 4 ? data[3] & 0x0f : 0;
        if (status == ARES_SUCCESS && lookup->waiting)
                status = question->type == TYPE_A || question->type == TYPE_AAAA
                                 ? lookup_take_addresses(lookup, question, data, len)
                                 : lookup_take_records(lookup, question->type, data, len);
        lookup->done[question->slot] = true;
        lookup->status[question->slot] = status_of(status);
        if (error_of(status) < 0)
                lookup->error = error_of(status);
        question->channel->n_due--;
        if (lookup->waiting)
                fiber_wake(lookup->waiting);
        lookup_unref(lookup);
        free(question);
}

static int lookup_ask(Lookup *lookup, Dns *dns, const char *name, int type, unsigned slot)
{
        Question *question = malloc(sizeof(*question));

        if (!question)
                return -ENOMEM;
        *question = (Question){ lookup, dns->current, type, slot };
        lookup->n_ref++;
        lookup->done[slot] = false;
        dns->current->n_due++;
        ares_query(dns->current->ares, name, CLASS_IN, type, question_on_answer, question);
        channel_arm(dns->current);
        return 0;
}

/* Until all answers are there, or for @usec. Returns 0, -ETIME, negative errno. */
static int lookup_wait(Lookup *lookup, uint64_t usec, bool either)
{
        int r = 0;

        FIBER_DEADLINE(usec);
        while (r == 0 && !(lookup->done[0] && lookup->done[1])) {
                if (either && ((lookup->done[0] && lookup->status[0] == DNS_OK) ||
                               (lookup->done[1] && lookup->status[1] == DNS_OK)))
                        return 0;
                r = fiber_suspend();
        }
        return r;
}

/* The loop sees to it that other fibers' changes come through this, too: each question reads resolv.conf first. */
static int dns_start(Dns *dns, Lookup **ret)
{
        int r = fiber_cancelled() ? -ECANCELED : dns_refresh(dns);

        return r < 0 ? r : lookup_new(ret);
}

static int dns_no(Outcome *no, DnsStatus status)
{
        no->dns = status;
        return outcome_set(no, OUTCOME_DNS, PHASE_RESOLVE);
}

/* --- addresses --------------------------------------------------------------------------------------------- */

/* RFC 6761 section 6.3: all of .localhost is this machine. */
static bool name_is_localhost(const char *host)
{
        return name_is_same("localhost", host) || text_ends_nocase(host, ".localhost") ||
               text_ends_nocase(host, ".localhost.");
}

/* Literals, and what is never asked for. Returns whether @host is one of these. */
static bool addresses_without_asking(DnsAddresses *addresses, const char *host)
{
        static const struct in6_addr loopback6 = IN6ADDR_LOOPBACK_INIT;
        const struct in_addr loopback4 = { htonl(INADDR_LOOPBACK) };
        struct in6_addr in6;
        struct in_addr in;

        addresses->a = addresses->aaaa = DNS_NO_DATA;
        if (inet_pton(AF_INET, host, &in) == 1) {
                address_set(&addresses->addresses[addresses->n_addresses++], AF_INET, &in);
                addresses->a = DNS_OK;
                return true;
        }
        if (inet_pton(AF_INET6, host, &in6) == 1) {
                address_set(&addresses->addresses[addresses->n_addresses++], AF_INET6, &in6);
                addresses->aaaa = DNS_OK;
                return true;
        }
        if (!name_is_localhost(host))
                return false;
        address_set(&addresses->addresses[addresses->n_addresses++], AF_INET6, &loopback6);
        address_set(&addresses->addresses[addresses->n_addresses++], AF_INET, &loopback4);
        addresses->a = addresses->aaaa = DNS_OK;
        return true;
}

static int take_file_family(DnsAddresses *to, Dns *dns, const char *host, int family)
{
        struct hostent *found = NULL;
        DnsStatus *status = family == AF_INET6 ? &to->aaaa : &to->a;
        int r = ares_gethostbyname_file(dns->current->ares, host, family, &found);

        if (r != ARES_SUCCESS)
                return r == ARES_ENOMEM ? -ENOMEM : 0;
        for (char **p = found->h_addr_list; *p && to->n_addresses < LIMIT_ADDRESSES; p++) {
                address_set(&to->addresses[to->n_addresses++], family, *p);
                *status = DNS_OK;
        }
        r = 0;
        if (!to->canonical && found->h_name && name_is_valid(found->h_name) &&
            !name_is_same(found->h_name, host))
                r = take_host(&to->canonical, found->h_name);
        ares_free_hostent(found);
        return r == -EINVAL ? 0 : r;
}

/* The machine's own file of names comes first, as for every other program here; a family that it lacks is not asked for elsewhere.
 * Returns 1 when it knows the name, 0, -ENOMEM. */
static int addresses_from_file(DnsAddresses *to, Dns *dns, const char *host)
{
        int r = dns_refresh(dns);

        if (r == 0)
                r = take_file_family(to, dns, host, AF_INET6);
        if (r == 0)
                r = take_file_family(to, dns, host, AF_INET);
        return r < 0 ? r : to->n_addresses > 0;
}

/* Both families get their share of the places; IPv6 is slot 0. */
static void addresses_take(DnsAddresses *addresses, const Lookup *lookup)
{
        unsigned at[2] = { 0, 0 };

        while (addresses->n_addresses < LIMIT_ADDRESSES &&
               (at[0] < lookup->n_addresses[0] || at[1] < lookup->n_addresses[1]))
                for (unsigned slot = 0; slot < 2; slot++)
                        if (at[slot] < lookup->n_addresses[slot] &&
                            addresses->n_addresses < LIMIT_ADDRESSES)
                                addresses->addresses[addresses->n_addresses++] =
                                        lookup->addresses[slot][at[slot]++];
}

/* Which of two refusals helps more. That a name does not exist is true for both families; a resolver that fails may
 * hide an address, so it beats "no address of this family". */
static DnsStatus worse_status(DnsStatus a, DnsStatus b)
{
        static const DnsStatus order[] = { DNS_NXDOMAIN, DNS_NO_RESOLVER, DNS_SERVFAIL, DNS_TIMEOUT,
                                           DNS_NO_DATA };

        for (size_t i = 0; i < ELEMENTS(order); i++)
                if (a == order[i] || b == order[i])
                        return order[i];
        return DNS_SERVFAIL;
}

/* Returns 0 when there is an answer for each family (our limit being DNS_TIMEOUT), or negative errno. */
static int addresses_ask(Lookup *lookup, Dns *dns, const char *host)
{
        int r;

        r = lookup_ask(lookup, dns, host, TYPE_AAAA, 0);
        if (r < 0)
                return r;
        r = lookup_ask(lookup, dns, host, TYPE_A, 1);
        if (r < 0)
                return r;
        r = lookup_wait(lookup, LIMIT_DNS_USEC, true);
        if (r == 0)
                r = lookup_wait(lookup, RESOLUTION_DELAY_USEC, false);
        if (r < 0 && r != -ETIME)
                return r;
        for (unsigned slot = 0; slot < 2; slot++)
                if (!lookup->done[slot])
                        lookup->status[slot] = DNS_TIMEOUT;
        return lookup->error;
}

int dns_addresses(DnsAddresses **ret, Dns *dns, const char *host, Outcome *no)
{
        _cleanup_(dns_addresses_freep) DnsAddresses *addresses = calloc(1, sizeof(*addresses));
        _cleanup_(lookup_leave) Lookup *lookup = NULL;
        int r;

        if (!addresses)
                return -ENOMEM;
        if (addresses_without_asking(addresses, host)) {
                *ret = TAKE(addresses);
                return 0;
        }
        if (!name_is_valid(host))
                return dns_no(no, DNS_NXDOMAIN);
        r = fiber_cancelled() ? -ECANCELED : addresses_from_file(addresses, dns, host);
        if (r < 0)
                return r;
        if (r > 0) {
                *ret = TAKE(addresses);
                return 0;
        }
        r = dns_start(dns, &lookup);
        if (r < 0)
                return r;
        r = addresses_ask(lookup, dns, host);
        if (r < 0)
                return r;
        addresses->aaaa = lookup->status[0];
        addresses->a = lookup->status[1];
        addresses_take(addresses, lookup);
        if (addresses->n_addresses == 0)
                return dns_no(no, worse_status(addresses->a, addresses->aaaa));
        if (lookup->canonical && !name_is_same(lookup->canonical, host))
                addresses->canonical = TAKE(lookup->canonical);
        *ret = TAKE(addresses);
        return 0;
}

DnsAddresses *dns_addresses_free(DnsAddresses *addresses)
{
        if (!addresses)
                return NULL;
        free(addresses->canonical);
        free(addresses);
        return NULL;
}

/* --- records ----------------------------------------------------------------------------------------------- */

static int mx_compare(const void *a, const void *b)
{
        const DnsMx *x = a, *y = b;

        return x->preference != y->preference ? (int) x->preference - (int) y->preference
                                              : strcmp(x->host, y->host);
}

static int srv_compare(const void *a, const void *b)
{
        const DnsSrv *x = a, *y = b;

        return x->priority != y->priority ? (int) x->priority - (int) y->priority
               : x->weight != y->weight   ? (int) y->weight - (int) x->weight
                                          : strcmp(x->target, y->target);
}

int dns_query(DnsRecords **ret, Dns *dns, const char *name, DnsType type, Outcome *no)
{
        static const int types[] = {
                [DNS_MX] = TYPE_MX, [DNS_SRV] = TYPE_SRV, [DNS_TXT] = TYPE_TXT
        };
        _cleanup_(lookup_leave) Lookup *lookup = NULL;
        int r;

        if (!name_is_valid(name))
                return dns_no(no, DNS_NXDOMAIN);
        r = dns_start(dns, &lookup);
        if (r < 0)
                return r;
        r = lookup_ask(lookup, dns, name, types[type], 0);
        if (r < 0)
                return r;
        r = lookup_wait(lookup, LIMIT_DNS_USEC, false);
        if (r == -ETIME && !lookup->done[0])
                return dns_no(no, DNS_TIMEOUT);
        if (r < 0 && r != -ETIME)
                return r;
        if (lookup->error < 0)
                return lookup->error;
        if (lookup->status[0] != DNS_OK)
                return dns_no(no, lookup->status[0]);
        if (lookup->records->n_mx > 1)
                qsort(lookup->records->mx, lookup->records->n_mx, sizeof(DnsMx), mx_compare);
        if (lookup->records->n_srv > 1)
                qsort(lookup->records->srv, lookup->records->n_srv, sizeof(DnsSrv), srv_compare);
        *ret = TAKE(lookup->records);
        return 0;
}

/* --- a closer look ------------------------------------------------------------------------------------------- */

/* Waits for the one answer. Returns 0 (@lookup tells), negative errno. */
static int look_wait(Lookup *lookup)
{
        int r = lookup_wait(lookup, LIMIT_DNS_USEC, false);

        if (r < 0 && r != -ETIME)
                return r;
        if (!lookup->done[0])
                lookup->status[0] = DNS_TIMEOUT;
        return lookup->error;
}

static int look_ask(Lookup *lookup, Dns *dns, const char *name, int type)
{
        int r = lookup_ask(lookup, dns, name, type, 0);

        return r < 0 ? r : look_wait(lookup);
}

int dns_unchecked(Dns *dns, const char *name, bool *ret)
{
        _cleanup_(lookup_leave) Lookup *lookup = NULL;
        unsigned char *query = NULL;
        Question *question;
        int r, n = 0;

        if (!name_is_valid(name))
                return -EINVAL;
        r = dns_start(dns, &lookup);
        if (r < 0)
                return r;
        if (ares_create_query(name, CLASS_IN, TYPE_A, 0, 1, &query, &n, 0) != ARES_SUCCESS)
                return -ENOMEM;
        query[3] |= 0x10; /* CD: RFC 2535 section 6.1 */
        question = malloc(sizeof(*question));
        if (question) {
                *question = (Question){ lookup, dns->current, TYPE_NS, 0 };
                lookup->n_ref++;
                lookup->done[0] = false;
                dns->current->n_due++;
                ares_send(dns->current->ares, query, n, question_on_answer, question);
                channel_arm(dns->current);
        }
        ares_free_string(query);
        if (!question)
                return -ENOMEM;
        r = look_wait(lookup);
        if (r == 0)
                *ret = lookup->status[0] == DNS_OK && lookup->code == 0;
        return r;
}

int dns_alias_loops(Dns *dns, const char *name, bool *ret)
{
        _cleanup_list_ char **seen = NULL;
        int r;

        if (!name_is_valid(name))
                return -EINVAL;
        r = list_append(&seen, name, ALIASES_MAX + 1);
        for (unsigned i = 0; i < ALIASES_MAX && r == 0; i++) {
                _cleanup_(lookup_leave) Lookup *lookup = NULL;

                r = dns_start(dns, &lookup);
                if (r == 0)
                        r = look_ask(lookup, dns, seen[i], TYPE_CNAME);
                if (r < 0)
                        return r;
                if (lookup->status[0] != DNS_OK || !lookup->canonical) {
                        *ret = false;
                        return 0;
                }
                if (list_contains_nocase(seen, lookup->canonical))
                        break;
                r = list_append(&seen, lookup->canonical, ALIASES_MAX + 1);
        }
        *ret = true;
        return r;
}

int dns_lives(Dns *dns, bool *ret)
{
        _cleanup_(lookup_leave) Lookup *lookup = NULL;
        int r;

        r = dns_start(dns, &lookup);
        if (r == 0)
                r = look_ask(lookup, dns, ".", TYPE_NS);
        if (r == 0)
                *ret = lookup->answered;
        return r;
}

int dns_route(Dns *dns)
{
        struct ares_addr_port_node *list = NULL;
        int result = ENETUNREACH;

        if (dns_refresh(dns) < 0 ||
            ares_get_servers_ports(dns->current->ares, &list) != ARES_SUCCESS)
                return 0;
        for (struct ares_addr_port_node *at = list; at && result != 0; at = at->next) {
                struct sockaddr_storage to = {};

                address_set(&to, at->family, &at->addr);
                result = network_route((struct sockaddr *) &to);
        }
        ares_free_data(list);
        return result;
}

static bool address_is_loopback(const struct sockaddr *address)
{
        return !address_allowed(address, ADDRESS_PRIVATE) &&
               address_allowed(address, ADDRESS_LOCAL);
}

bool dns_is_local(Dns *dns)
{
        struct ares_addr_port_node *list = NULL;
        bool local = true;

        if (dns_refresh(dns) < 0 ||
            ares_get_servers_ports(dns->current->ares, &list) != ARES_SUCCESS)
                return false;
        for (struct ares_addr_port_node *at = list; at; at = at->next) {
                struct sockaddr_storage to = {};

                address_set(&to, at->family, &at->addr);
                local &= address_is_loopback((struct sockaddr *) &to);
        }
        ares_free_data(list);
        return local;
}

DnsRecords *dns_records_free(DnsRecords *records)
{
        if (!records)
                return NULL;
        for (unsigned i = 0; i < records->n_mx; i++)
                free(records->mx[i].host);
        for (unsigned i = 0; i < records->n_srv; i++)
                free(records->srv[i].target);
        free(records->mx);
        free(records->srv);
        list_free(records->txt);
        free(records);
        return NULL;
}

const char *dns_status_name(DnsStatus status)
{
        switch (status) {
        case DNS_OK:
                return "ok";
        case DNS_NXDOMAIN:
                return "nxdomain";
        case DNS_NO_DATA:
                return "no-data";
        case DNS_SERVFAIL:
                return "servfail";
        case DNS_TIMEOUT:
                return "timeout";
        case DNS_NO_RESOLVER:
                return "no-resolver";
        }
        return "servfail";
}
