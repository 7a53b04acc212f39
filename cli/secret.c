/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A password on its way to the service. */
#include "cli/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "cli/output.h"
#include "dbus/names.h"

struct Secret {
        size_t len;
        char bytes[SECRET_MAX];
};

Secret *secret_new(const char *bytes, size_t len)
{
        Secret *secret;

        if (len > SECRET_MAX)
                return NULL;
        secret = calloc(1, sizeof(*secret));
        if (!secret)
                return NULL;
        /* Best effort: an unprivileged limit may forbid it, and the password goes on either way. */
        (void) !mlock(secret, sizeof(*secret));
        memcpy(secret->bytes, bytes, len);
        secret->len = len;
        return secret;
}

Secret *secret_free(Secret *secret)
{
        if (secret) {
                explicit_bzero(secret, sizeof(*secret));
                munlock(secret, sizeof(*secret));
        }
        free(secret);
        return NULL;
}

bool secret_is_empty(const Secret *secret)
{
        return secret->len == 0;
}

Secret *secret_without_blanks(const Secret *secret)
{
        Secret *copy = secret_new("", 0);

        for (size_t i = 0; copy && i < secret->len; i++)
                if (secret->bytes[i] != ' ' && secret->bytes[i] != '\t')
                        copy->bytes[copy->len++] = secret->bytes[i];
        return copy;
}

static int refuse(Cli *cli, const char *path, const char *why)
{
        _cleanup_free_ char *text = NULL;

        if (asprintf(&text, "The password file %s %s.", path, why) < 0)
                text = NULL;
        output_error(cli, BUS_NAME ".Client", text ?: "No memory.");
        return EXIT_USAGE;
}

/* Up to @max bytes until the end; the number, or negative errno. */
static ssize_t read_all(int fd, char *to, size_t max)
{
        size_t len = 0;

        while (len < max) {
                ssize_t n = read(fd, to + len, max - len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                len += (size_t) n;
        }
        return (ssize_t) len;
}

int secret_read_file(Cli *cli, Secret **ret, const char *path)
{
        bool standard = strcmp(path, "-") == 0;
        _cleanup_close_ int fd = -1;
        char buffer[SECRET_MAX + 2];
        Secret *secret;
        ssize_t n;

        fd = standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                      : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return refuse(cli, path, strerror(errno));
        n = read_all(fd, buffer, sizeof(buffer));
        if (n < 0)
                return refuse(cli, path, strerror((int) -n));
        if (n > 0 && buffer[n - 1] == '\n')
                n--;
        secret = n > SECRET_MAX ? NULL : secret_new(buffer, (size_t) n);
        explicit_bzero(buffer, sizeof(buffer));
        if (!secret)
                return refuse(cli, path, "is longer than any password");
        if (secret_is_empty(secret)) {
                secret_free(secret);
                return refuse(cli, path, "is empty");
        }
        *ret = secret;
        return 0;
}

int secret_to_pipe(const Secret *secret)
{
        _cleanup_close_ int in = -1;
        int fds[2];
        ssize_t n;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        in = fds[1];
        /* Never blocks: a pipe holds more than SECRET_MAX. */
        n = write(in, secret->bytes, secret->len);
        if (n != (ssize_t) secret->len) {
                close(fds[0]);
                return n < 0 ? -errno : -EIO;
        }
        return fds[0];
}

int secret_append(const Secret *secret, sd_bus_message *m)
{
        char text[SECRET_MAX + 1] = "";
        int r;

        memcpy(text, secret->bytes, secret->len);
        r = strlen(text) == secret->len ? sd_bus_message_append_basic(m, 's', text) : -EINVAL;
        explicit_bzero(text, sizeof(text));
        return r;
}
