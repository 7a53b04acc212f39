/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Learns from the kernel that the network goes, comes back, or is another one, and tells the scheduler. It asks nobody outside. A network
 * manager is not needed for that: whatever it does ends in links and addresses, and those are what counts. */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/core_internal.h"
#include "wire/network.h"

/* A change comes as a dozen messages, and new addresses need a moment before they carry anything. */
#define SETTLE_USEC USEC_PER_SEC

static int events_open(int *ret_fd)
{
        struct sockaddr_nl address = { .nl_family = AF_NETLINK,
                                       .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR |
                                                    RTMGRP_IPV6_IFADDR };
        _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                                        NETLINK_ROUTE);

        if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        *ret_fd = fd;
        fd = -1;
        return 0;
}

/* What was said does not matter, only that something was: what is so is looked at afterwards. ENOBUFS is such a word, too. */
static int events_drain(int fd)
{
        char ignored[8192];
        ssize_t n;

        do
                n = recv(fd, ignored, sizeof(ignored), 0);
        while (n > 0 || (n < 0 && (errno == EINTR || errno == ENOBUFS)));
        return n < 0 && errno == EAGAIN ? 0 : -EIO;
}

static void core_look(Core *core, bool first)
{
        Network now;
        bool online;

        if (network_look(&now) < 0)
                return;
        /* Where servers may be on this very machine, no network is needed. */
        online = now.link || core->config->allow_local;
        if (!first && (online != core->online || (online && now.addresses != core->addresses)))
                scheduler_network(core->scheduler, online);
        if (first && !online)
                scheduler_network(core->scheduler, false);
        core->online = online;
        core->addresses = now.addresses;
}

int network_watch_work(void *arg)
{
        Core *core = arg;
        _cleanup_close_ int fd = -1;
        _cleanup_(fd_watch_freep) FdWatch *watch = NULL;
        int r;

        r = events_open(&fd);
        if (r == 0)
                r = fd_watch_new(&watch, fd);
        if (r < 0)
                log_fault(r, "watching the network");
        core_look(core, true);
        while (r >= 0) {
                r = fd_watch_wait(watch, EPOLLIN);
                if (r >= 0)
                        r = fiber_sleep(SETTLE_USEC);
                if (r >= 0)
                        r = events_drain(fd);
                if (r >= 0)
                        core_look(core, false);
        }
        return r;
}
