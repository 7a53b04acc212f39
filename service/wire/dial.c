/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See dial.h. A fiber for each attempt and one that starts them and waits; the attempts only set their result and
 * wake it. Everything lives in the race, on the dialling fiber, which ends all attempts before it returns. */
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <linux/errqueue.h> /* needs <time.h> */

#include "base/clock.h"
#include "wire/dial.h"
#include "wire/network.h"

/* RFC 8305 section 5: Connection Attempt Delay. */
#define ATTEMPT_DELAY_USEC (250 * USEC_PER_MSEC)

typedef struct Attempt {
        struct Race *race;
        struct sockaddr_storage address;
        socklen_t address_len;
        Fiber *fiber;
        int fd;
        uint64_t started, usec;
        int result;  /* 0 connected, positive errno of the world, negative of ours */
        char by[48]; /* see DialAttempt */
        bool prohibited, ours;
        bool done;
} Attempt;

typedef struct Race {
        Attempt attempts[LIMIT_ADDRESSES];
        unsigned n_attempts, n_started;
        int winner;
        FiberQueue news;
} Race;

static void race_deinit(Race *race)
{
        for (unsigned i = 0; i < race->n_attempts; i++) {
                race->attempts[i].fiber = fiber_cancel(race->attempts[i].fiber);
                race->attempts[i].fd = fd_close(race->attempts[i].fd);
        }
}

/* --- one attempt ------------------------------------------------------------------------------------------- */

static bool error_is_ours(int error)
{
        return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

/* EADDRNOTAVAIL is taken: "forbidden by policy". The kernel says it when we have no address of that family. */
static int error_of_world(int error)
{
        return error == EADDRNOTAVAIL ? ENETUNREACH : error;
}

/* Who it is that says no, by ICMP, is kept for us only when we ask for it; an established connection is better off without (RFC 5927). */
static void attempt_ask_who(const Attempt *attempt, int on)
{
        bool six = attempt->address.ss_family == AF_INET6;

        (void) setsockopt(attempt->fd, six ? IPPROTO_IPV6 : IPPROTO_IP,
                          six ? IPV6_RECVERR : IP_RECVERR, &on, sizeof(on));
}

/* RFC 1812 section 5.2.7.1, RFC 4443 section 3.1. "No such port" is said about TCP by firewalls only; that a neighbour does not answer, by the
 * kernel to itself, is no prohibition. */
static bool error_prohibits(const struct sock_extended_err *e)
{
        static const uint8_t codes4[] = { 3, 9, 10, 13 }, codes6[] = { 1, 4, 5, 6 };
        bool six = e->ee_origin == SO_EE_ORIGIN_ICMP6;
        const uint8_t *codes = six ? codes6 : codes4;

        if (e->ee_type != (six ? 1 : 3))
                return false;
        for (size_t i = 0; i < ELEMENTS(codes4); i++)
                if (e->ee_code == codes[i])
                        return true;
        return false;
}

static void attempt_take_offender(Attempt *attempt, const struct sock_extended_err *e)
{
        const struct sockaddr *by = SO_EE_OFFENDER(e);

        if ((e->ee_origin != SO_EE_ORIGIN_ICMP && e->ee_origin != SO_EE_ORIGIN_ICMP6) ||
            (by->sa_family != AF_INET && by->sa_family != AF_INET6))
                return;
        address_text(by, attempt->by);
        attempt->prohibited = error_prohibits(e);
        attempt->ours = attempt->prohibited && network_is_own(by);
}

static void attempt_read_who(Attempt *attempt)
{
        _Alignas(struct cmsghdr) char control[256];
        struct msghdr message = { .msg_control = control, .msg_controllen = sizeof(control) };

        if (recvmsg(attempt->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
                return;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
                if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
                    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
                        attempt_take_offender(attempt,
                                              (const struct sock_extended_err *) CMSG_DATA(c));
}

/* Returns 0, a positive errno, -ECANCELED, -ETIME, negative errno. */
static int attempt_connect(Attempt *attempt)
{
        _cleanup_(fd_watch_freep) FdWatch *watch = NULL;
        socklen_t len = sizeof(int);
        int error = 0, r;

        attempt->fd = socket(attempt->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                             0);
        if (attempt->fd < 0)
                return error_is_ours(errno) ? -errno : errno;
        attempt_ask_who(attempt, 1);
        if (connect(attempt->fd, (struct sockaddr *) &attempt->address, attempt->address_len) == 0)
                return 0;
        if (errno != EINPROGRESS)
                return error_is_ours(errno) ? -errno : error_of_world(errno);
        r = fd_watch_new(&watch, attempt->fd);
        if (r < 0)
                return r;
        r = fd_watch_wait(watch, EPOLLOUT);
        if (r < 0)
                return r;
        if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
                return -errno;
        if (error)
                attempt_read_who(attempt);
        else
                attempt_ask_who(attempt, 0);
        return error_of_world(error);
}

static int attempt_run(void *arg)
{
        Attempt *attempt = arg;
        int r = attempt_connect(attempt);

        attempt->usec = clock_now() - attempt->started;
        if (r == -ECANCELED)
                return r; /* the race is over and has taken its notes */
        attempt->result = r == -ETIME ? ETIMEDOUT : r;
        attempt->done = true;
        fiber_queue_wake_all(&attempt->race->news);
        return 0;
}

static int race_start_next(Race *race)
{
        Attempt *attempt = &race->attempts[race->n_started++];

        attempt->started = clock_now();
        return fiber_start(&attempt->fiber, "connect", attempt_run, attempt);
}

/* --- the race ---------------------------------------------------------------------------------------------- */

static void race_add(Race *race, const struct sockaddr_storage *address, uint16_t port)
{
        Attempt *attempt = &race->attempts[race->n_attempts++];

        attempt->race = race;
        attempt->fd = -1;
        attempt->address = *address;
        if (address->ss_family == AF_INET6) {
                attempt->address_len = sizeof(struct sockaddr_in6);
                ((struct sockaddr_in6 *) &attempt->address)->sin6_port = htons(port);
        } else {
                attempt->address_len = sizeof(struct sockaddr_in);
                ((struct sockaddr_in *) &attempt->address)->sin_port = htons(port);
        }
}

static const struct sockaddr_storage *next_of(const DnsAddresses *addresses, sa_family_t family,
                                              unsigned *at)
{
        while (*at < addresses->n_addresses) {
                const struct sockaddr_storage *address = &addresses->addresses[(*at)++];

                if (address->ss_family == family)
                        return address;
        }
        return NULL;
}

/* RFC 8305 section 4: families by turns, IPv6 first. What policy forbids goes into the report at once. */
static void race_fill(Race *race, const DnsAddresses *addresses, uint16_t port, unsigned policy,
                      DialReport *report)
{
        unsigned at6 = 0, at4 = 0;

        for (;;) {
                const struct sockaddr_storage *pair[] = { next_of(addresses, AF_INET6, &at6),
                                                          next_of(addresses, AF_INET, &at4) };

                if (!pair[0] && !pair[1])
                        return;
                for (size_t i = 0; i < ELEMENTS(pair); i++) {
                        const struct sockaddr *address = (const struct sockaddr *) pair[i];

                        if (!address)
                                continue;
                        if (address_allowed(address, policy)) {
                                race_add(race, pair[i], port);
                                continue;
                        }
                        address_text(address, report->attempts[report->n_attempts].address);
                        report->attempts[report->n_attempts++].error = EADDRNOTAVAIL;
                }
        }
}

/* Looks at what has ended. Returns 1 when somebody won, negative errno when we failed, 0 to go on. */
static int race_look(Race *race, unsigned *ret_n_running)
{
        *ret_n_running = 0;
        for (unsigned i = 0; i < race->n_started; i++) {
                Attempt *attempt = &race->attempts[i];

                if (!attempt->done)
                        (*ret_n_running)++;
                else if (attempt->result < 0)
                        return attempt->result;
                else if (attempt->result == 0) {
                        race->winner = (int) i;
                        return 1;
                }
        }
        return 0;
}

/* Waits for news, or until it is time for the next attempt. */
static int race_wait(Race *race, uint64_t until)
{
        uint64_t now = clock_now();

        FIBER_DEADLINE(until == USEC_INFINITY ? USEC_INFINITY : until > now ? until - now : 0);
        return fiber_queue_wait(&race->news);
}

/* Returns 1 when somebody won, 0 when all have failed, -ETIME, negative errno. */
static int race_run(Race *race)
{
        unsigned n_running = 0, n_were_running;
        uint64_t due = fiber_deadline(), next = 0;
        int r;

        for (;;) {
                n_were_running = n_running;
                r = race_look(race, &n_running);
                if (r != 0)
                        return r;
                if (clock_now() >= due)
                        return -ETIME;
                if (n_running == 0 && race->n_started == race->n_attempts)
                        return 0;
                if (race->n_started < race->n_attempts &&
                    (n_running < n_were_running || n_running == 0 || clock_now() >= next)) {
                        r = race_start_next(race);
                        if (r < 0)
                                return r;
                        next = clock_now() + ATTEMPT_DELAY_USEC;
                        n_running++;
                        continue;
                }
                r = race_wait(race, race->n_started < race->n_attempts ? next : USEC_INFINITY);
                if (r < 0 && r != -ETIME)
                        return r;
        }
}

/* --- the report -------------------------------------------------------------------------------------------- */

static void race_report(const Race *race, bool timed_out, DialReport *report)
{
        report->winner = -1;
        for (unsigned i = 0; i < race->n_started; i++) {
                const Attempt *attempt = &race->attempts[i];
                DialAttempt *to = &report->attempts[report->n_attempts];
                bool lost = race->winner >= 0 && race->winner != (int) i &&
                            (!attempt->done || attempt->result == 0);

                address_text((const struct sockaddr *) &attempt->address, to->address);
                to->usec = attempt->done ? attempt->usec : clock_now() - attempt->started;
                memcpy(to->by, attempt->by, sizeof(to->by));
                to->prohibited = attempt->prohibited;
                to->ours = attempt->ours;
                to->error = lost            ? ECANCELED
                            : attempt->done ? attempt->result
                            : timed_out     ? ETIMEDOUT
                                            : ECANCELED;
                if (race->winner == (int) i)
                        report->winner = (int) report->n_attempts;
                report->n_attempts++;
        }
}

/* What one person should read when the addresses disagree: a host that answers "no" is nearer to the cause than
 * silence, silence nearer than a family that is not routed here at all. */
static unsigned error_weight(int error)
{
        static const int order[] = { EAFNOSUPPORT, ENETUNREACH, EHOSTUNREACH, ETIMEDOUT,
                                     EACCES,       EPERM,       ECONNRESET,   ECONNREFUSED };

        for (unsigned i = 0; i < ELEMENTS(order); i++)
                if (order[i] == error)
                        return i + 2;
        return error == EADDRNOTAVAIL || error == ECANCELED ? 0 : 1;
}

static int most_telling(const DialReport *report)
{
        int error = EADDRNOTAVAIL;

        for (unsigned i = 0; i < report->n_attempts; i++)
                if (error_weight(report->attempts[i].error) > error_weight(error))
                        error = report->attempts[i].error;
        return error;
}

int dial(Stream **ret, const DnsAddresses *addresses, uint16_t port, unsigned policy,
         DialReport *ret_report, Outcome *no)
{
        _cleanup_(race_deinit) Race race = { .winner = -1 };
        DialReport report = { .winner = -1 };
        int r, fd;

        if (fiber_cancelled())
                return -ECANCELED;
        FIBER_DEADLINE(LIMIT_CONNECT_USEC);
        race_fill(&race, addresses, port, policy, &report);
        if (race.n_attempts == 0) {
                no->dial = report;
                no->error = EADDRNOTAVAIL;
                return outcome_set(no, OUTCOME_POLICY, PHASE_CONNECT);
        }
        r = race_run(&race);
        if (r < 0 && r != -ETIME)
                return r;
        race_report(&race, r == -ETIME, &report);
        if (race.winner < 0) {
                no->dial = report;
                no->error = most_telling(&report);
                return outcome_set(no, OUTCOME_CONNECT, PHASE_CONNECT);
        }
        fd = race.attempts[race.winner].fd;
        race.attempts[race.winner].fd = -1;
        r = stream_new(ret, fd);
        if (r < 0)
                return r;
        if (ret_report)
                *ret_report = report;
        return 0;
}

int dial_unix(Stream **ret, const char *path, Outcome *no)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -1;
        int r;

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, path, strlen(path) + 1);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* It connects at once, or its line is full (EAGAIN), or nobody is there. */
        if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0) {
                no->error = errno;
                return outcome_set(no, OUTCOME_CONNECT, PHASE_CONNECT);
        }
        r = stream_new(ret, fd);
        fd = -1; /* taken in any case */
        return r;
}
