/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs one fuzzer over the files of the folders (or the files) named on the command line, and over every prefix of the small
 * ones, so that the corpus is an ordinary test where there is no libFuzzer. No file at all is a failure. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 20, PREFIXES_MAX = 2048 };

/* On a heap block of exactly that size, so that one octet too far is seen. */
static void run(const uint8_t *data, size_t size)
{
        uint8_t *copy = malloc(size ? size : 1);

        if (!copy)
                abort();
        memcpy(copy, data, size);
        (void) LLVMFuzzerTestOneInput(copy, size);
        free(copy);
}

static unsigned replay_file(const char *path)
{
        static uint8_t data[INPUT_MAX];
        FILE *file = fopen(path, "re");
        size_t size;

        if (!file)
                return 0;
        size = fread(data, 1, sizeof(data), file);
        fclose(file);
        run(data, size);
        for (size_t n = 0; size <= PREFIXES_MAX && n < size; n++)
                run(data, n);
        return 1;
}

static unsigned replay(const char *path)
{
        DIR *dir = opendir(path);
        struct dirent *entry;
        unsigned n = 0;

        if (!dir)
                return replay_file(path);
        while ((entry = readdir(dir))) {
                char name[4096];

                if (entry->d_name[0] == '.')
                        continue;
                snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
                n += replay_file(name);
        }
        closedir(dir);
        return n;
}

int main(int argc, char **argv)
{
        unsigned n = 0;

        for (int i = 1; i < argc; i++)
                n += replay(argv[i]);
        printf("%u inputs replayed\n", n);
        return n == 0;
}
