/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads a folder of real autoconfig documents: each must give servers that can be used. Exits 77 (skipped) when the folder
 * does not exist. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "proto/address.h"
#include "proto/autoconfig.h"

static int read_file(const char *folder, const char *name, Buffer *to)
{
        _cleanup_free_ char *path = NULL;
        char piece[4096];
        size_t n;
        FILE *file;

        if (text_format(&path, "%s/%s", folder, name) < 0)
                return -ENOMEM;
        file = fopen(path, "re");
        if (!file)
                return -errno;
        while ((n = fread(piece, 1, sizeof(piece), file)) > 0)
                if (buffer_append(to, piece, n) < 0)
                        break;
        fclose(file);
        return 0;
}

static const char *complaint(const AutoconfigServer *server)
{
        _cleanup_free_ char *host = NULL;

        if (host_normalize(&host, server->host) < 0 || !text_equal(host, server->host))
                return "host";
        if (server->port == 0)
                return "port";
        if (!text_equal(server->security, "tls") && !text_equal(server->security, "starttls") &&
            !text_equal(server->security, "none"))
                return "security";
        if (server->user && strstr(server->user, "%EMAIL"))
                return "a placeholder is left";
        return NULL;
}

static int check(const char *folder, const char *name)
{
        _cleanup_(autoconfig_freep) Autoconfig *a = NULL;
        _cleanup_buffer_ Buffer text = BUFFER(LIMIT_DOCUMENT);
        bool incoming = false;
        int r;

        r = read_file(folder, name, &text);
        if (r == 0)
                r = autoconfig_parse(&a, text.data, text.len, "tim@example.org");
        if (r < 0) {
                printf("%s: %s\n", name, strerror(-r));
                return 1;
        }
        for (size_t i = 0; i < a->n_servers; i++) {
                const char *wrong = complaint(&a->servers[i]);

                incoming = incoming || !text_equal(a->servers[i].type, "smtp");
                if (wrong) {
                        printf("%s: server %zu: %s\n", name, i, wrong);
                        return 1;
                }
        }
        if (!incoming)
                printf("%s: no incoming server\n", name);
        return !incoming;
}

/* One line for each server, for another reader to compare. */
static void print_servers(const char *folder, const char *name)
{
        _cleanup_(autoconfig_freep) Autoconfig *a = NULL;
        _cleanup_buffer_ Buffer text = BUFFER(LIMIT_DOCUMENT);

        if (read_file(folder, name, &text) < 0 ||
            autoconfig_parse(&a, text.data, text.len, "tim@example.org") < 0)
                return;
        for (size_t i = 0; i < a->n_servers; i++) {
                const AutoconfigServer *s = &a->servers[i];
                _cleanup_free_ char *methods = NULL;

                if (s->methods && list_join(&methods, s->methods, ",") < 0)
                        return;
                printf("%s\t%s\t%s\t%u\t%s\t%s\t%s\n", name, s->type, s->host, s->port, s->security,
                       s->user ? s->user : "-", methods ? methods : "-");
        }
}

int main(int argc, char **argv)
{
        unsigned n_files = 0, n_bad = 0;
        struct dirent *entry;
        DIR *dir;

        dir = argc > 1 ? opendir(argv[1]) : NULL;
        if (!dir) {
                puts("../shared absent");
                return 77;
        }
        while ((entry = readdir(dir)))
                if (text_ends_nocase(entry->d_name, ".xml")) {
                        if (argc > 2) {
                                print_servers(argv[1], entry->d_name);
                                continue;
                        }
                        n_files++;
                        n_bad += (unsigned) check(argv[1], entry->d_name);
                }
        closedir(dir);
        if (argc > 2)
                return 0;
        printf("%u documents, %u bad\n", n_files, n_bad);
        return n_files < 100 || n_bad > 0;
}
