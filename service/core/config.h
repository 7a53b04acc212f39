/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost.conf and its drop-ins (INI by inih). An unknown section or key is a warning, a wrong value an error with file and
 * line; later files win. */
#pragma once

#include "base/util.h"

typedef struct Config {
        /* [service] */
        char *state_directory; /* database, key, mail */
        int log_level;
        uint64_t disk_threads; /* that fsync and rename; default 4 */
        /* [network] */
        char *ca_file; /* NULL: the system's trust store */
        bool allow_private; /* servers named by the user may be private even without approval; default false */
        bool allow_local; /* loopback and link-local; default false, true with --user */
        /* [diagnosis] */
        bool controls; /* ask hosts that have nothing to do with the account, when it decides something; default on */
        char *connectivity_url; /* http, its answer begins with @connectivity_response; NULL (empty): off */
        char *connectivity_response;
        /* [limits] */
        uint64_t accounts_per_uid, setups_per_uid, bytes_per_uid;
        /* [fetch] */
        uint64_t interval_usec;         /* default 10 min */
        uint64_t interval_minimum_usec; /* default 1 min */
        uint64_t backoff_maximum_usec;  /* default 1 h */
        uint64_t
                start_spread_usec; /* due accounts are spread over this at start; default: interval_usec */
        uint64_t dialogues_per_host, dialogues; /* at the same time; defaults 2, 256 */
        uint64_t logins_per_minute;             /* at one host; default 600 */
        /* one run's share; what is left over comes with the next, which follows soon; defaults 20000, 1 GiB, 15 min */
        uint64_t run_messages, run_bytes, run_usec;
        uint64_t
                idle_connections; /* that wait for news at the same time; default and at most LIMIT_IDLE */
        uint64_t
                idle_renew_usec; /* how long one IDLE lasts; default 12 min, below what any provider allows */
        uint64_t message_maximum; /* a larger one is skipped; default 1 GiB */
        /* [delivery] */
        char *lmtp_socket; /* NULL: accounts cannot choose LMTP */
        char *lmtp_domain; /* appended to the owner's user name as the recipient; NULL: the bare name */
        /* [verification] */
        uint64_t verification_timeout_usec; /* until "not arrived"; default 3 min */
        /* [discovery] */
        bool table, pacc, autoconfig, srv, mx, certificate,
                guess;          /* sources that are on; default all */
        bool http;              /* autoconfig over plain HTTP; default off */
        uint64_t patience_usec; /* how long a trusted answer waits for better ones; default 1 s */
        char *ispdb;            /* base URL, https, ends in '/'; NULL (empty): off */
        char *providers_directory, *autoconfig_directory,
                *replies_directory; /* the administrator's */
        /* [secrets] */
        bool hand_out; /* passwords and tokens to the account's owner, where polkit says yes besides; default off */
        /* [oauth] */
        char *clients_directory; /* one file for each issuer; default /etc/waypost/oauth.d */
        bool registration;       /* register where an issuer lets everybody; default on */
        uint64_t
                searches_per_minute; /* of one uid; default 30, or as many as setups-per-uid allows at once */
        bool user;                   /* waypostd --user; not from a file */
} Config;

/* Reads @path (NULL: SYSCONF_DIR/waypost.conf, may be absent; a named file must exist), then PATH.d/ *.conf in order of name.
 * Durations are written "90s", "10min", "2h", sizes "10G". Returns 0, -EINVAL (logged with file and line), -errno. */
int config_load(Config **ret, const char *path, bool user);
Config *config_free(Config *config);
DEFINE_CLEANUP(Config, config_free);
