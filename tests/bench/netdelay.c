/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * netdelay: joins two network namespaces by a link on which each packet takes a fixed time.
 *
 *     netdelay NAMESPACE-A DEVICE-A NAMESPACE-B DEVICE-B MILLISECONDS
 *
 * A NAMESPACE is the path of one (/proc/PID/ns/net). A TUN device is made in each, and every IP packet that is
 * sent into one leaves the other MILLISECONDS later, in order; a round trip takes twice that. Addresses are given
 * to the devices by whoever starts us, after the line "ready". It ends at SIGTERM, and the devices with it.
 *
 * No loss, no jitter, no rate: benchmarks here count round trips, and those must be the same each time.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
        PACKET_MAX = 65536,
        QUEUE_MAX = 32768,
};

typedef struct Packet {
        uint64_t due_nsec;
        size_t len;
        unsigned char *bytes;
} Packet;

/* One direction: a ring of packets on their way from one device to the other. */
typedef struct Way {
        int from;
        int to;
        size_t first;
        size_t n_packets;
        Packet packets[QUEUE_MAX];
} Way;

static uint64_t now_nsec(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

static int fail(const char *what)
{
        fprintf(stderr, "netdelay: %s: %s\n", what, strerror(errno));
        return -1;
}

/* A TUN device belongs to the namespace in which its file was opened. */
static int device_open(const char *namespace, const char *name)
{
        struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
        int fd;

        fd = open(namespace, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return fail(namespace);
        if (setns(fd, CLONE_NEWNET) < 0)
                return fail("setns");
        close(fd);

        if (strlen(name) >= sizeof request.ifr_name) {
                errno = ENAMETOOLONG;
                return fail(name);
        }
        memcpy(request.ifr_name, name, strlen(name) + 1);
        fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
                return fail("/dev/net/tun");
        if (ioctl(fd, TUNSETIFF, &request) < 0)
                return fail(name);
        return fd;
}

/* Takes what waits at the entrance. A full queue drops, as a router would. */
static int way_fill(Way *way, uint64_t delay_nsec)
{
        static unsigned char buffer[PACKET_MAX];

        for (;;) {
                ssize_t len = read(way->from, buffer, sizeof buffer);
                Packet *packet;

                if (len < 0)
                        return errno == EAGAIN || errno == EINTR ? 0 : fail("read");
                if (len == 0 || way->n_packets == QUEUE_MAX)
                        continue;
                packet = &way->packets[(way->first + way->n_packets) % QUEUE_MAX];
                packet->bytes = malloc((size_t) len);
                if (!packet->bytes)
                        return fail("malloc");
                memcpy(packet->bytes, buffer, (size_t) len);
                packet->len = (size_t) len;
                packet->due_nsec = now_nsec() + delay_nsec;
                way->n_packets++;
        }
}

static void way_drain(Way *way)
{
        while (way->n_packets > 0) {
                Packet *packet = &way->packets[way->first];

                if (packet->due_nsec > now_nsec())
                        return;
                /* A device that is not up yet refuses; that packet is lost, as on any link. */
                if (write(way->to, packet->bytes, packet->len) < 0 && errno == EAGAIN)
                        return;
                free(packet->bytes);
                way->first = (way->first + 1) % QUEUE_MAX;
                way->n_packets--;
        }
}

/* Time until the next packet is due, in nanoseconds; -1 if none is on its way. */
static int64_t ways_next(const Way *a, const Way *b)
{
        uint64_t due = UINT64_MAX, now = now_nsec();

        if (a->n_packets > 0)
                due = a->packets[a->first].due_nsec;
        if (b->n_packets > 0 && b->packets[b->first].due_nsec < due)
                due = b->packets[b->first].due_nsec;
        if (due == UINT64_MAX)
                return -1;
        return due > now ? (int64_t) (due - now) : 0;
}

static int carry(Way *there, Way *back, uint64_t delay_nsec)
{
        struct pollfd fds[] = { { .fd = there->from, .events = POLLIN },
                                { .fd = back->from, .events = POLLIN } };

        for (;;) {
                int64_t wait = ways_next(there, back);
                struct timespec timeout = { .tv_sec = wait / 1000000000,
                                            .tv_nsec = wait % 1000000000 };

                if (ppoll(fds, 2, wait < 0 ? NULL : &timeout, NULL) < 0 && errno != EINTR)
                        return fail("ppoll");
                if (way_fill(there, delay_nsec) < 0 || way_fill(back, delay_nsec) < 0)
                        return -1;
                way_drain(there);
                way_drain(back);
        }
}

int main(int argc, char **argv)
{
        static Way there, back;
        char *end = NULL;
        double milliseconds;

        if (argc != 6) {
                fprintf(stderr, "usage: netdelay NAMESPACE DEVICE NAMESPACE DEVICE MILLISECONDS\n");
                return 2;
        }
        milliseconds = strtod(argv[5], &end);
        if (end == argv[5] || *end || !(milliseconds >= 0 && milliseconds <= 10000)) {
                fprintf(stderr, "netdelay: %s is not a number of milliseconds\n", argv[5]);
                return 2;
        }

        there.from = back.to = device_open(argv[1], argv[2]);
        if (there.from < 0)
                return 1;
        back.from = there.to = device_open(argv[3], argv[4]);
        if (back.from < 0)
                return 1;
        puts("ready");
        fflush(stdout);
        return carry(&there, &back, (uint64_t) (milliseconds * 1000000)) < 0 ? 1 : 0;
}
