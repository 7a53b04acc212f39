/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See config.h. inih splits the lines; the lines themselves are handed to it by us, because its handlers are not told where
 * they are. A file is read whole before anything of it is believed. */
#include <config.h>
#include <dirent.h>
#include <fcntl.h>
#include <ini.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "core/config.h"

#define ISPDB_URL "https://autoconfig.thunderbird.net/v1.1/"
/* What Debian's NetworkManager asks. */
#define CONNECTIVITY_URL "http://network-test.debian.org/nm"
#define CONNECTIVITY_RESPONSE "NetworkManager is online"

enum { CONFIG_FILE_MAX = 256 * 1024, CONFIG_DROP_INS = 1024 };

typedef struct Unit {
        const char *name;
        uint64_t factor;
} Unit;

static const Unit duration_units[] = {
        { "", USEC_PER_SEC },
        { "us", 1 },
        { "ms", USEC_PER_MSEC },
        { "s", USEC_PER_SEC },
        { "sec", USEC_PER_SEC },
        { "min", USEC_PER_MINUTE },
        { "m", USEC_PER_MINUTE },
        { "h", USEC_PER_HOUR },
        { "d", USEC_PER_DAY },
        { "w", 7 * USEC_PER_DAY },
        {},
};

static const Unit size_units[] = {
        { "", 1 },
        { "B", 1 },
        { "K", UINT64_C(1) << 10 },
        { "M", UINT64_C(1) << 20 },
        { "G", UINT64_C(1) << 30 },
        { "T", UINT64_C(1) << 40 },
        {},
};

static const Unit no_units[] = { { "", 1 }, {} };

typedef struct Key {
        const char *section, *name;
        int (*read)(const struct Key *key, const char *value, void *to);
        size_t offset;
        uint64_t min, max;
} Key;

static const Unit *unit_find(const Unit *units, const char *name, size_t len)
{
        for (; units->name; units++)
                if (strlen(units->name) == len && memcmp(units->name, name, len) == 0)
                        return units;
        return NULL;
}

/* "1h 30min" is the sum of its parts. Anything that is not understood to the last byte is refused. */
static int amount_read(const char *value, const Unit *units, uint64_t min, uint64_t max,
                       uint64_t *ret)
{
        uint64_t sum = 0, part;
        size_t n;

        if (!*value)
                return -EINVAL;
        while (*value) {
                const Unit *unit;

                if (text_scan_u64(value, strlen(value), UINT64_MAX, &part, &n) < 0)
                        return -EINVAL;
                value += n + strspn(value + n, " ");
                n = strcspn(value, " 0123456789");
                unit = unit_find(units, value, n);
                if (!unit)
                        return -EINVAL;
                if (__builtin_mul_overflow(part, unit->factor, &part) ||
                    __builtin_add_overflow(sum, part, &sum))
                        return -ERANGE;
                value += n + strspn(value + n, " ");
        }
        if (sum < min || sum > max)
                return -ERANGE;
        *ret = sum;
        return 0;
}

static int read_duration(const Key *key, const char *value, void *to)
{
        return amount_read(value, duration_units, key->min, key->max, to);
}

static int read_size(const Key *key, const char *value, void *to)
{
        return amount_read(value, size_units, key->min, key->max, to);
}

static int read_count(const Key *key, const char *value, void *to)
{
        return amount_read(value, no_units, key->min, key->max, to);
}

static int read_bool(const Key *key, const char *value, void *to)
{
        static const char *const words[][2] = {
                { "no", "yes" }, { "false", "true" }, { "off", "on" }, { "0", "1" }
        };

        for (size_t i = 0; i < ELEMENTS(words); i++)
                for (int flag = 0; flag < 2; flag++)
                        if (text_equal_nocase(value, words[i][flag])) {
                                *(bool *) to = flag;
                                return 0;
                        }
        return -EINVAL;
}

static int read_path(const Key *key, const char *value, void *to)
{
        if (value[0] != '/')
                return -EINVAL;
        return text_set(to, value);
}

/* Empty switches it off. */
static int read_base_url(const Key *key, const char *value, void *to)
{
        _cleanup_free_ char *url = NULL;
        size_t len = strlen(value);
        int r;

        if (len == 0)
                return text_set(to, NULL);
        if (!text_starts_nocase(value, "https://") || len <= strlen("https://") ||
            value[strlen("https://")] == '/' || strpbrk(value, " ?#@"))
                return -EINVAL;
        r = text_format(&url, "%s%s", value, value[len - 1] == '/' ? "" : "/");
        return r < 0 ? r : text_set(to, url);
}

/* The page by which a network that wants a sign-in gives itself away has to be asked for in clear. Empty switches it off. */
static int read_plain_url(const Key *key, const char *value, void *to)
{
        if (!*value)
                return text_set(to, NULL);
        if (!text_starts_nocase(value, "http://") || strpbrk(value, " @#"))
                return -EINVAL;
        return text_set(to, value);
}

static int read_words(const Key *key, const char *value, void *to)
{
        return *value ? text_set(to, value) : -EINVAL;
}

/* Empty: none. */
static int read_domain(const Key *key, const char *value, void *to)
{
        if (!text_is_clean(value, strlen(value)) || strpbrk(value, " @<>"))
                return -EINVAL;
        return text_set(to, *value ? value : NULL);
}

static int read_level(const Key *key, const char *value, void *to)
{
        return log_level_from_text(value, to);
}

#define AT(member) offsetof(Config, member)

static const Key keys[] = {
        { "service", "state-directory", read_path, AT(state_directory) },
        { "service", "log-level", read_level, AT(log_level) },
        { "service", "disk-threads", read_count, AT(disk_threads), 1, 64 },
        { "network", "ca-file", read_path, AT(ca_file) },
        { "network", "allow-private", read_bool, AT(allow_private) },
        { "network", "allow-local", read_bool, AT(allow_local) },
        { "limits", "accounts-per-uid", read_count, AT(accounts_per_uid), 0, 100000 },
        { "limits", "setups-per-uid", read_count, AT(setups_per_uid), 1, 1000 },
        { "limits", "bytes-per-uid", read_size, AT(bytes_per_uid), 0, UINT64_C(1) << 60 },
        { "fetch", "interval", read_duration, AT(interval_usec), USEC_PER_SEC, 30 * USEC_PER_DAY },
        { "fetch", "interval-minimum", read_duration, AT(interval_minimum_usec), USEC_PER_SEC,
          30 * USEC_PER_DAY },
        { "fetch", "backoff-maximum", read_duration, AT(backoff_maximum_usec), USEC_PER_SEC,
          30 * USEC_PER_DAY },
        { "fetch", "start-spread", read_duration, AT(start_spread_usec), 0, USEC_PER_DAY },
        { "fetch", "dialogues-per-host", read_count, AT(dialogues_per_host), 1, LIMIT_DIALOGUES },
        { "fetch", "dialogues", read_count, AT(dialogues), 1, LIMIT_DIALOGUES },
        { "fetch", "logins-per-minute", read_count, AT(logins_per_minute), 1, 1000000 },
        { "fetch", "run-messages", read_count, AT(run_messages), 1, LIMIT_LIST },
        { "fetch", "run-bytes", read_size, AT(run_bytes), 1, UINT64_C(1) << 60 },
        { "fetch", "run-time", read_duration, AT(run_usec), USEC_PER_SEC, USEC_PER_DAY },
        { "fetch", "idle-connections", read_count, AT(idle_connections), 0, LIMIT_IDLE },
        { "fetch", "idle-renew", read_duration, AT(idle_renew_usec), USEC_PER_SEC,
          29 * USEC_PER_MINUTE }, /* RFC 2177 */
        { "fetch", "message-maximum", read_size, AT(message_maximum), 1, UINT64_C(1) << 60 },
        { "delivery", "lmtp-socket", read_path, AT(lmtp_socket) },
        { "delivery", "lmtp-domain", read_domain, AT(lmtp_domain) },
        { "verification", "timeout", read_duration, AT(verification_timeout_usec), USEC_PER_SEC,
          USEC_PER_DAY },
        { "discovery", "guess", read_bool, AT(guess) },
        { "discovery", "autoconfig", read_bool, AT(autoconfig) },
        { "discovery", "srv", read_bool, AT(srv) },
        { "discovery", "table", read_bool, AT(table) },
        { "discovery", "pacc", read_bool, AT(pacc) },
        { "discovery", "mx", read_bool, AT(mx) },
        { "discovery", "certificate", read_bool, AT(certificate) },
        { "discovery", "http", read_bool, AT(http) },
        { "discovery", "ispdb", read_base_url, AT(ispdb) },
        { "discovery", "providers-directory", read_path, AT(providers_directory) },
        { "discovery", "autoconfig-directory", read_path, AT(autoconfig_directory) },
        { "diagnosis", "replies-directory", read_path, AT(replies_directory) },
        { "secrets", "hand-out", read_bool, AT(hand_out) },
        { "oauth", "clients-directory", read_path, AT(clients_directory) },
        { "oauth", "dynamic-registration", read_bool, AT(registration) },
        { "diagnosis", "controls", read_bool, AT(controls) },
        { "diagnosis", "connectivity-url", read_plain_url, AT(connectivity_url) },
        { "diagnosis", "connectivity-response", read_words, AT(connectivity_response) },
        { "discovery", "patience", read_duration, AT(patience_usec), 0, 20 * USEC_PER_SEC },
        { "discovery", "searches-per-minute", read_count, AT(searches_per_minute), 1, 100000 },
};

/* A file under way. */
typedef struct Reading {
        Config *config;
        const char *path;
        const char *rest; /* what inih has not seen yet */
        int line;         /* the one that it was given last */
        int failed_line;  /* the first one that we have complained about */
        int result;
        bool spread_set;
} Reading;

static int reading_refuse(Reading *reading, int error, const char *what)
{
        log_error("%s:%d: %s", reading->path, reading->line, what);
        if (reading->result == 0)
                reading->result = error;
        if (!reading->failed_line)
                reading->failed_line = reading->line;
        return 0;
}

/* inih's fgets(). A line that does not fit would come back as two: it is refused and dropped whole. */
static char *reading_line(char *to, int size, void *stream)
{
        Reading *reading = stream;
        const char *end = strchrnul(reading->rest, '\n');
        size_t len = (size_t) (end - reading->rest);

        if (!*reading->rest)
                return NULL;
        reading->line++;
        if (len + 1 >= (size_t) size) {
                reading_refuse(reading, -EINVAL, "the line is too long");
                len = 0;
        }
        memcpy(to, reading->rest, len);
        to[len] = 0;
        reading->rest = *end ? end + 1 : end;
        return to;
}

/* Returns 0 for "wrong", as inih wants it. */
static int reading_key(void *userdata, const char *section, const char *name, const char *value)
{
        Reading *reading = userdata;

        for (size_t i = 0; i < ELEMENTS(keys); i++) {
                char what[256];
                int r;

                if (!text_equal(keys[i].section, section) || !text_equal(keys[i].name, name))
                        continue;
                r = keys[i].read(&keys[i], value, (char *) reading->config + keys[i].offset);
                if (r == 0) {
                        reading->spread_set |= keys[i].offset == AT(start_spread_usec);
                        return 1;
                }
                snprintf(what, sizeof(what), "%s = %.64s: %s", name, value,
                         r == -ERANGE   ? "out of range"
                         : r == -ENOMEM ? "no memory"
                                        : "not understood");
                return reading_refuse(reading, r == -ENOMEM ? r : -EINVAL, what);
        }
        /* A newer file with an older program is no reason not to start. */
        log_warning("%s:%d: [%s] %s is not known here", reading->path, reading->line, section,
                    name);
        return 1;
}

/* Opens and reads at most CONFIG_FILE_MAX bytes. */
static int file_read(const char *path, char **ret)
{
        _cleanup_buffer_ Buffer buffer = BUFFER(CONFIG_FILE_MAX + 1);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        struct stat st;
        ssize_t n;
        char *to;
        int r;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        do {
                r = buffer_reserve(&buffer, MIN((size_t) 16384, buffer.max - buffer.len), &to);
                if (r < 0)
                        return r;
                n = read(fd, to, MIN((size_t) 16384, buffer.max - buffer.len));
                if (n < 0)
                        return -errno;
                buffer_commit(&buffer, (size_t) n);
                if (buffer.len > CONFIG_FILE_MAX)
                        return -EFBIG;
        } while (n > 0);
        if (buffer.len > 0 && memchr(buffer.data, 0, buffer.len))
                return -EINVAL;
        return buffer_take(&buffer, ret);
}

static int file_load(Config *config, const char *path, bool *spread_set)
{
        Reading reading = { .config = config, .path = path, .spread_set = *spread_set };
        _cleanup_free_ char *text = NULL;
        int r;

        r = file_read(path, &text);
        if (r == -ENOENT)
                return r;
        if (r == -EFBIG || r == -EINVAL) {
                log_error("%s: not a text file of at most %d bytes", path, CONFIG_FILE_MAX);
                return -EINVAL;
        }
        if (r < 0)
                return log_fault(r, "%s", path);
        reading.rest = text;
        r = ini_parse_stream(reading_line, &reading, reading_key, &reading);
        if (r > 0 && (!reading.failed_line || r < reading.failed_line)) {
                log_error("%s:%d: neither a section nor a key", path, r);
                return -EINVAL;
        }
        *spread_set = reading.spread_set;
        return r < 0 ? -ENOMEM : reading.result;
}

static int drop_in_filter(const struct dirent *entry)
{
        return entry->d_name[0] != '.' && text_ends_nocase(entry->d_name, ".conf");
}

/* By bytes, not by the locale's order: the machine's language does not decide which file wins. */
static int drop_in_compare(const struct dirent **a, const struct dirent **b)
{
        return strcmp((*a)->d_name, (*b)->d_name);
}

static int drop_ins_load(Config *config, const char *path, bool *spread_set)
{
        _cleanup_free_ char *directory = NULL;
        struct dirent **entries = NULL;
        int n, r;

        r = text_format(&directory, "%s.d", path);
        if (r < 0)
                return r;
        n = scandir(directory, &entries, drop_in_filter, drop_in_compare);
        if (n < 0)
                return errno == ENOENT ? 0 : log_fault(-errno, "%s", directory);
        r = n > CONFIG_DROP_INS ? -E2BIG : 0;
        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *file = NULL;

                if (r == 0)
                        r = text_format(&file, "%s/%s", directory, entries[i]->d_name);
                if (r == 0)
                        r = file_load(config, file, spread_set);
                free(entries[i]);
        }
        free(entries);
        return r;
}

/* $@variable/@rest or, without an absolute one, ~/@fallback/@rest. */
static int user_path(char **to, const char *variable, const char *fallback, const char *rest)
{
        const char *base = getenv(variable), *home = getenv("HOME");

        free(TAKE(*to));
        if (base && base[0] == '/')
                return text_format(to, "%s/%s", base, rest);
        if (!home || home[0] != '/') {
                const struct passwd *user = getpwuid(geteuid());

                home = user ? user->pw_dir : NULL;
        }
        if (!home || home[0] != '/')
                return log_fault(-ENOENT, "no home directory");
        return text_format(to, "%s/%s/%s", home, fallback, rest);
}

static int config_defaults(Config *config, bool user)
{
        int r;

        *config = (Config){
                .log_level = LOG_INFO,
                .disk_threads = 4,
                .allow_private = user,
                .allow_local = user,
                .accounts_per_uid = LIMIT_ACCOUNTS_PER_UID,
                .setups_per_uid = LIMIT_SETUPS_PER_UID,
                .bytes_per_uid = LIMIT_BYTES_PER_UID,
                .interval_usec = 10 * USEC_PER_MINUTE,
                .interval_minimum_usec = USEC_PER_MINUTE,
                .backoff_maximum_usec = USEC_PER_HOUR,
                .dialogues_per_host = LIMIT_DIALOGUES_PER_HOST,
                .dialogues = LIMIT_DIALOGUES,
                .logins_per_minute = 600,
                .run_messages = 20000,
                .run_bytes = UINT64_C(1) << 30,
                .run_usec = 15 * USEC_PER_MINUTE,
                .idle_connections = LIMIT_IDLE,
                .idle_renew_usec = 12 * USEC_PER_MINUTE,
                .message_maximum = UINT64_C(1) << 30,
                .verification_timeout_usec = 3 * USEC_PER_MINUTE,
                .guess = true,
                .registration = true,
                .patience_usec = USEC_PER_SEC,
                .autoconfig = true,
                .srv = true,
                .table = true,
                .pacc = true,
                .mx = true,
                .certificate = true,
                .controls = true,
                .user = user,
        };
        r = text_set(&config->ispdb, ISPDB_URL);
        if (r == 0)
                r = text_set(&config->connectivity_url, CONNECTIVITY_URL);
        if (r == 0)
                r = text_set(&config->connectivity_response, CONNECTIVITY_RESPONSE);
        if (r == 0)
                r = user ? user_path(&config->providers_directory, "XDG_CONFIG_HOME", ".config",
                                     "waypost/providers.d")
                         : text_set(&config->providers_directory, SYSCONF_DIR "/providers.d");
        if (r == 0)
                r = user ? user_path(&config->autoconfig_directory, "XDG_CONFIG_HOME", ".config",
                                     "waypost/autoconfig")
                         : text_set(&config->autoconfig_directory, SYSCONF_DIR "/autoconfig");
        if (r == 0)
                r = user ? user_path(&config->replies_directory, "XDG_CONFIG_HOME", ".config",
                                     "waypost/replies.d")
                         : text_set(&config->replies_directory, SYSCONF_DIR "/replies.d");
        if (r == 0)
                r = user ? user_path(&config->clients_directory, "XDG_CONFIG_HOME", ".config",
                                     "waypost/oauth.d")
                         : text_set(&config->clients_directory, SYSCONF_DIR "/oauth.d");
        if (r < 0)
                return r;
        return user ? user_path(&config->state_directory, "XDG_DATA_HOME", ".local/share",
                                "waypost")
                    : text_set(&config->state_directory, STATE_DIR);
}

/* The administrator's minimum holds for the default interval too. */
static void config_settle(Config *config, bool spread_set)
{
        config->interval_usec = MAX(config->interval_usec, config->interval_minimum_usec);
        if (config->searches_per_minute == 0)
                config->searches_per_minute = MAX(config->setups_per_uid,
                                                  (uint64_t) LIMIT_SEARCHES_PER_MINUTE);
        if (!spread_set)
                config->start_spread_usec = config->interval_usec;
}

int config_load(Config **ret, const char *path, bool user)
{
        _cleanup_(config_freep) Config *config = calloc(1, sizeof(*config));
        _cleanup_free_ char *standard = NULL;
        bool spread_set = false;
        int r;

        if (!config)
                return -ENOMEM;
        r = config_defaults(config, user);
        if (r < 0)
                return r;
        r = user ? user_path(&standard, "XDG_CONFIG_HOME", ".config", "waypost/waypost.conf")
                 : text_set(&standard, SYSCONF_DIR "/waypost.conf");
        if (r < 0)
                return r;
        r = file_load(config, path ? path : standard, &spread_set);
        if (r == -ENOENT && path)
                return log_fault(r, "%s", path);
        if (r < 0 && r != -ENOENT)
                return r;
        r = drop_ins_load(config, path ? path : standard, &spread_set);
        if (r < 0)
                return r;
        config_settle(config, spread_set);
        *ret = TAKE(config);
        return 0;
}

Config *config_free(Config *config)
{
        if (!config)
                return NULL;
        free(config->state_directory);
        free(config->connectivity_url);
        free(config->connectivity_response);
        free(config->ca_file);
        free(config->ispdb);
        free(config->providers_directory);
        free(config->autoconfig_directory);
        free(config->replies_directory);
        free(config->clients_directory);
        free(config->lmtp_socket);
        free(config->lmtp_domain);
        free(config);
        return NULL;
}
