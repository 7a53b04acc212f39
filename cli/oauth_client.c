/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost oauth-client: the administrator's registrations at providers, one file for each issuer. add and list work on the files; test lets the
 * service look at the issuer, as it would for a sign-in. */
#include <config.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/secret.h"
#include "cli/verbs.h"
#include "dbus/names.h"

enum { LINE_MAX_ = 8192, SOON_DAYS = 30 };

#define DIRECTORY SYSCONF_DIR "/oauth.d"

static const char *directory(const Arguments *arguments)
{
        return argument_text(arguments, "directory") ?: DIRECTORY;
}

/* --- add --------------------------------------------------------------------------------------------------------- */

/* The issuer's host, with what else could not be in a file name replaced. NULL for what is no issuer. */
static char *file_name(const char *issuer, const char *folder)
{
        const char *host = issuer + strlen("https://");
        char *path;

        if (strncmp(issuer, "https://", 8) != 0 || !*host || *host == '/' ||
            strpbrk(issuer, " ?#@\n"))
                return NULL;
        if (asprintf(&path, "%s/%s", folder, host) < 0)
                return NULL;
        for (char *p = path + strlen(folder) + 1; *p; p++)
                if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789.-", *p))
                        *p = '-';
        host = path;
        if (asprintf(&path, "%s.conf", host) < 0)
                path = NULL;
        free((char *) (uintptr_t) host);
        return path;
}

static const char *const texts[] = { "client-id",      "client-secret-file",
                                     "secret-expires", "authentication",
                                     "scopes",         "hosts",
                                     "redirect",       "parameters" };

static int write_client(Cli *cli, const Arguments *arguments, const char *issuer, FILE *to)
{
        fprintf(to, "[client]\nissuer = %s\n", issuer);
        for (size_t i = 0; i < ELEMENTS(texts); i++) {
                const char *value = argument_text(arguments, texts[i]);

                if (value && strpbrk(value, "\r\n"))
                        return usage_error(cli, arguments->verb, "--%s is one line.", texts[i]);
                if (value)
                        fprintf(to, "%s = %s\n", texts[i], value);
        }
        return 0;
}

/* Readable by the service, by nobody else: some have a secret in them. */
static int publish(Cli *cli, int fd, const char *temporary, const char *path)
{
        const struct group *group = getgrnam("waypost");

        if (fchmod(fd, 0640) < 0 ||
            (group && fchown(fd, (uid_t) -1, group->gr_gid) < 0 && errno != EPERM) ||
            fsync(fd) < 0 || rename(temporary, path) < 0)
                return cli_failed(cli, -errno, path);
        output_result(cli, "%s\n", path);
        return 0;
}

static int add(Cli *cli, const Arguments *arguments)
{
        const char *issuer = arguments->n_operands > 1 ? arguments->operands[1] : "",
                   *folder = directory(arguments);
        _cleanup_free_ char *path = file_name(issuer, folder), *temporary = NULL;
        FILE *to;
        int fd, r;

        if (!path)
                return usage_error(cli, arguments->verb,
                                   "Name the issuer: https://accounts.example.org");
        if (!argument_text(arguments, "client-id"))
                return usage_error(cli, arguments->verb,
                                   "Give the --client-id that the provider has registered.");
        if (asprintf(&temporary, "%s.new", path) < 0)
                return cli_failed(cli, -ENOMEM, "Writing");
        if (mkdir(folder, 0755) < 0 && errno != EEXIST)
                return cli_failed(cli, -errno, folder);
        fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        to = fd < 0 ? NULL : fdopen(fd, "w");
        if (!to)
                return cli_failed(cli, -errno, temporary);
        r = write_client(cli, arguments, issuer, to);
        if (r == 0 && fflush(to) != 0)
                r = cli_failed(cli, -errno, temporary);
        if (r == 0)
                r = publish(cli, fd, temporary, path);
        if (r)
                (void) unlink(temporary);
        fclose(to);
        return r;
}

/* --- list -------------------------------------------------------------------------------------------------------- */

static json_object *client_read(const char *path)
{
        json_object *client = json_object_new_object();
        char line[LINE_MAX_];
        FILE *from = fopen(path, "re");

        value_set_text(client, "file", path);
        while (from && fgets(line, sizeof(line), from)) {
                char *equals = strchr(line, '='), *end = line + strcspn(line, "= \t\n"), *value;

                if (!equals || line[0] == '#' || line[0] == ';' || line[0] == '[')
                        continue;
                value = equals + 1 + strspn(equals + 1, " \t");
                value[strcspn(value, "\r\n")] = 0;
                *end = 0;
                /* The secret itself is nobody's to see. */
                if (strcmp(line, "client-secret") == 0 || strcmp(line, "client-secret-file") == 0)
                        json_object_object_add(client, "secret", json_object_new_boolean(true));
                else
                        value_set_text(client, line, value);
        }
        if (from)
                fclose(from);
        else
                value_set_text(client, "error", strerror(errno));
        explicit_bzero(line, sizeof(line));
        return client;
}

/* How many days the secret is good for; INT64_MAX when nobody says. */
static int64_t days_left(json_object *client)
{
        const char *date = value_text(client, KEY_SECRET_EXPIRES);
        struct tm tm = {};

        if (!date || !strptime(date, "%Y-%m-%d", &tm))
                return INT64_MAX;
        return (timegm(&tm) - time(NULL)) / 86400;
}

static void print_client(Cli *cli, json_object *client)
{
        int64_t days = days_left(client);

        output_result(cli, "%s\n  client  %s%s\n  file    %s\n",
                      value_text_or(client, "issuer", "(no issuer)"),
                      value_text_or(client, "client-id", "(none)"),
                      value_has(client, "secret") ? ", with a secret" : "",
                      value_text_or(client, "file", ""));
        if (value_text(client, "error"))
                output_result(cli, "  cannot be read: %s\n", value_text(client, "error"));
        if (days != INT64_MAX)
                output_result(cli, "  the secret %s %s%s\n",
                              days < 0 ? "ended on" : "is good until",
                              value_text_or(client, KEY_SECRET_EXPIRES, ""),
                              days >= 0 && days < SOON_DAYS ? ": get a new one soon" : "");
}

static int is_conf(const struct dirent *entry)
{
        const char *dot = strrchr(entry->d_name, '.');

        return entry->d_name[0] != '.' && dot && strcmp(dot, ".conf") == 0;
}

static int list(Cli *cli, const Arguments *arguments)
{
        _cleanup_json_ json_object *result = json_object_new_object();
        json_object *clients = json_object_new_array();
        struct dirent **entries = NULL;
        int n = scandir(directory(arguments), &entries, is_conf, alphasort);

        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *path = NULL;

                if (asprintf(&path, "%s/%s", directory(arguments), entries[i]->d_name) >= 0) {
                        json_object *client = client_read(path);

                        print_client(cli, client);
                        json_object_array_add(clients, client);
                }
                free(entries[i]);
        }
        free(entries);
        if (n <= 0)
                output_result(cli, "There is none in %s.\n", directory(arguments));
        json_object_object_add(result, "clients", clients);
        output_json_if_asked(cli, result);
        return 0;
}

/* --- test -------------------------------------------------------------------------------------------------------- */

static int test(Cli *cli, const Arguments *arguments)
{
        _cleanup_message_ sd_bus_message *reply = NULL;
        _cleanup_json_ json_object *seen = NULL;
        json_object *methods;
        int r;

        if (arguments->n_operands < 2)
                return usage_error(cli, arguments->verb, "Name the issuer.");
        r = cli_open(cli);
        if (r == 0)
                r = cli_call_texts(cli, PATH_ROOT, INTERFACE_MANAGER, "TestClient", &reply, NULL,
                                   arguments->operands[1], NULL);
        if (r)
                return r;
        r = value_read(reply, &seen);
        if (r < 0)
                return cli_failed(cli, r, "Reading the service's answer");
        output_json_if_asked(cli, seen);
        if (value_text(seen, KEY_CAUSE)) {
                output_result(cli, "%s: %s\n", value_text(seen, KEY_CAUSE),
                              value_text_or(seen, KEY_ERROR, "no more is known"));
                return EXIT_PERMANENT;
        }
        output_result(cli, "The issuer answers. Ways to sign in:");
        methods = value_list(seen, KEY_METHODS);
        for (size_t i = 0; i < value_length(methods); i++)
                output_result(cli, " %s", value_item(methods, i));
        output_result(cli, "\nWhat is asked for: %s\n", value_text_or(seen, KEY_SCOPES, ""));
        return 0;
}

static int run(Cli *cli, const Arguments *arguments)
{
        const char *what = arguments->operands[0];

        if (strcmp(what, "add") == 0)
                return add(cli, arguments);
        if (strcmp(what, "list") == 0)
                return list(cli, arguments);
        if (strcmp(what, "test") == 0)
                return test(cli, arguments);
        return usage_error(cli, arguments->verb, "It is add, list or test.");
}

static const Option options[] = {
        { "client-id", 0, "ID", "What the provider calls this program" },
        { "client-secret-file", 0, "FILE", "Where its secret is, readable by the service" },
        { "secret-expires", 0, "DATE", "Until when it is good: 2027-03-31" },
        { "authentication", 0, "HOW", "How the secret is told: basic or post" },
        { "scopes", 0, "TEXT", "What is asked for, instead of what the table or the issuer says" },
        { "hosts", 0, "NAMES", "Mail servers that its tokens are for" },
        { "redirect", 0, "ADDRESS", "The redirect as it is registered, without a port" },
        { "parameters", 0, "TEXT", "More for the page to sign in at: a=b&c=d" },
        { "directory", 0, "DIR", "Not " DIRECTORY },
        {},
};

const Verb verb_oauth_client = {
        .name = "oauth-client",
        .operands = "add|list|test [ISSUER]",
        .min_operands = 1,
        .max_operands = 2,
        .summary = "Registrations at providers, for sign-ins in the browser",
        .options = options,
        .run = run,
};
