/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypostd: reads its options, makes the loop, core and the bus, and takes them apart again in the opposite order. Exits with 0
 * when it was asked to leave, 1 when it failed, 2 when its options were wrong. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "base/fiber.h"
#include "base/log.h"
#include "base/secret.h"
#include "bus/bus.h"
#include "config.h"
#include "core/config.h"
#include "core/core.h"

typedef struct Options {
        const char *config;
        bool user;
} Options;

typedef struct Service {
        Core *core;
        Bus *bus;
} Service;

/* --- options ------------------------------------------------------------------------------------------------ */

static void usage(FILE *to)
{
        (void) fprintf(to,
                       "waypostd [OPTIONS]\n\n"
                       "Onboards mail accounts and fetches their mail, over D-Bus.\n\n"
                       "  --config FILE   read FILE and FILE.d/*.conf, not %s/waypost.conf\n"
                       "  --user          serve one user on the session bus, without root\n"
                       "  --version       show the version\n"
                       "  --help          show this\n",
                       SYSCONF_DIR);
}

/* Returns 1 to go on, 0 when all is said, -EINVAL. */
static int options_read(Options *options, int argc, char **argv)
{
        static const struct option known[] = {
                { "config", required_argument, NULL, 'c' },
                { "user", no_argument, NULL, 'u' },
                { "version", no_argument, NULL, 'v' },
                { "help", no_argument, NULL, 'h' },
                {},
        };
        int c;

        while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0)
                switch (c) {
                case 'c':
                        options->config = optarg;
                        break;
                case 'u':
                        options->user = true;
                        break;
                case 'v':
                        puts("waypostd " PACKAGE_VERSION);
                        return 0;
                case 'h':
                        usage(stdout);
                        return 0;
                default:
                        usage(stderr);
                        return -EINVAL;
                }
        if (optind < argc) {
                usage(stderr);
                return -EINVAL;
        }
        return 1;
}

/* --- the process -------------------------------------------------------------------------------------------- */

/* A service that the bus starts by itself, without systemd, has the soft limit of old: a few users' descriptors would use it up. */
static void process_raise_files(void)
{
        struct rlimit files;

        if (getrlimit(RLIMIT_NOFILE, &files) < 0)
                return;
        files.rlim_cur = MIN(files.rlim_max, (rlim_t) 131072);
        if (setrlimit(RLIMIT_NOFILE, &files) < 0)
                log_debug("the limit of open files stays as it is: %s", strerrordesc_np(errno));
}

/* Before there are threads: they inherit what is blocked. */
static int process_setup(void)
{
        sigset_t set;
        int r;

        umask(077);
        process_raise_files();
        if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
                return -errno;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        r = secret_setup();
        return r < 0 ? log_fault(r, "cannot prepare the memory for secrets") : 0;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
        (void) sd_notify(false, "STOPPING=1");
        return sd_event_exit(sd_event_source_get_event(source), EXIT_SUCCESS);
}

static int loop_setup(sd_event *event)
{
        int r;

        r = sd_event_add_signal(event, NULL, SIGTERM, on_signal, NULL);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGINT, on_signal, NULL);
        if (r >= 0)
                r = sd_event_set_watchdog(event, true);
        return r < 0 ? log_fault(r, "cannot prepare the loop") : 0;
}

/* --- the service -------------------------------------------------------------------------------------------- */

static int on_ready(void *userdata)
{
        Service *service = userdata;
        Observer observer;
        int r;

        bus_observer(service->bus, &observer);
        r = core_start(service->core, &observer);
        if (r < 0)
                return log_fault(r, "cannot start");
        (void) sd_notify(false, "READY=1");
        return 0;
}

/* Calls end before core does, and the bus after it: core tells of its end. */
static void service_deinit(Service *service)
{
        if (service->bus)
                bus_stop(service->bus);
        service->core = core_free(service->core);
        service->bus = bus_free(service->bus);
}

static int service_run(Loop *loop, const Config *config)
{
        _cleanup_(service_deinit) Service service = {};
        int r;

        r = core_new(&service.core, config);
        if (r < 0)
                return r;
        r = bus_new(&service.bus, service.core, config->user, on_ready, &service);
        if (r < 0)
                return r;
        return loop_run(loop);
}

static int service_main(const Options *options)
{
        _cleanup_(loop_freep) Loop *loop = NULL;
        _cleanup_(config_freep) Config *config = NULL;
        int r;

        r = config_load(&config, options->config, options->user);
        if (r < 0)
                return r;
        log_set_level(config->log_level);
        r = process_setup();
        if (r < 0)
                return r;
        r = loop_new(&loop);
        if (r < 0)
                return log_fault(r, "cannot make the loop");
        r = loop_setup(loop_event(loop));
        if (r < 0)
                return r;
        return service_run(loop, config);
}

int main(int argc, char **argv)
{
        Options options = {};
        int r;

        r = options_read(&options, argc, argv);
        if (r <= 0)
                return r < 0 ? 2 : EXIT_SUCCESS;
        r = service_main(&options);
        return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
