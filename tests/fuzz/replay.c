/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs one fuzzer over the files of the folders (or the files) named on the command line, over every prefix of the small ones, and
 * over --mutate=N inputs made of them by chance, so that the corpus is an ordinary test where there is no libFuzzer. Chance begins at
 * --seed=N (1): the same each time. What is under way is in crash-PID in the
 * working directory, which a crash leaves there. No input at all is a failure. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 20, PREFIXES_MAX = 2048, INPUTS_MAX = 4096, MUTATED_MAX = 1 << 16 };

typedef struct Input {
        uint8_t *data;
        size_t size;
} Input;

static Input inputs[INPUTS_MAX];
static size_t n_inputs;

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

static void keep(const uint8_t *data, size_t size)
{
        uint8_t *copy = malloc(size ? size : 1);

        if (!copy)
                abort();
        memcpy(copy, data, size);
        if (n_inputs < INPUTS_MAX)
                inputs[n_inputs++] = (Input){ copy, size };
        else
                free(copy);
}

static void replay_file(const char *path)
{
        static uint8_t data[INPUT_MAX];
        FILE *file = fopen(path, "re");
        size_t size;

        if (!file)
                return;
        size = fread(data, 1, sizeof(data), file);
        fclose(file);
        run(data, size);
        for (size_t n = 0; size <= PREFIXES_MAX && n < size; n++)
                run(data, n);
        keep(data, size);
}

static int name_compare(const void *a, const void *b)
{
        return strcmp(*(char *const *) a, *(char *const *) b);
}

/* In order of name, so that chance finds the same every time. */
static void replay(const char *path)
{
        static char *names[INPUTS_MAX];
        DIR *dir = opendir(path);
        struct dirent *entry;
        size_t n = 0;

        if (!dir) {
                replay_file(path);
                return;
        }
        while ((entry = readdir(dir)) && n < INPUTS_MAX)
                if (entry->d_name[0] != '.' &&
                    asprintf(&names[n], "%s/%s", path, entry->d_name) >= 0)
                        n++;
        closedir(dir);
        qsort(names, n, sizeof(names[0]), name_compare);
        for (size_t i = 0; i < n; i++) {
                replay_file(names[i]);
                free(names[i]);
        }
}

/* --- chance --------------------------------------------------------------------------------------------------- */

/* xorshift64 (Marsaglia, 2003) */
static uint64_t state = 1;

static size_t below(size_t n)
{
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return n ? (size_t) (state >> 11) % n : 0;
}

/* What parsers stumble over: ends of lines, brackets, numbers at their limits. */
static const char *const words[] = {
        "\r\n",
        "\n",
        "\r",
        ".\r\n",
        " ",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "\\",
        "(",
        ")",
        "<",
        ">",
        "+",
        "-",
        "%",
        "=",
        "0",
        "-1",
        "255",
        "256",
        "65535",
        "65536",
        "2147483647",
        "4294967295",
        "18446744073709551615",
        "99999999999999999999999",
        "\xff\xfe",
        "\xc3\x28",
        "\xe2\x80\xae",
        "\x1b[31m",
        "+OK ",
        "-ERR ",
        "* ",
        "250-",
        "5.7.8 ",
        "NIL",
        "true",
        "null",
        ":",
        ",",
};

static size_t put(uint8_t *to, size_t size, size_t at, const uint8_t *what, size_t len)
{
        if (size + len > MUTATED_MAX)
                return size;
        memmove(to + at + len, to + at, size - at);
        memcpy(to + at, what, len);
        return size + len;
}

static size_t mutate_once(uint8_t *data, size_t size)
{
        size_t at = below(size + 1),
               len = size > at ? 1 + below(size - at < 32 ? size - at : 32) : 0;
        const Input *other;
        const char *word;

        switch (below(7)) {
        case 0:
                if (at < size)
                        data[at] ^= (uint8_t) (1U << below(8));
                return size;
        case 1:
                if (at < size)
                        data[at] = (uint8_t) below(256);
                return size;
        case 2: /* away with a piece */
                memmove(data + at, data + at + len, size - at - len);
                return size - len;
        case 3: /* the same piece twice */
                return put(data, size, at, memcpy((uint8_t[32]){}, data + at, len), len);
        case 4: /* another's beginning */
                other = &inputs[below(n_inputs)];
                return put(data, size, at, other->data,
                           below(other->size < 256 ? other->size + 1 : 256));
        case 5: /* cut */
                return at;
        default:
                word = words[below(sizeof(words) / sizeof(words[0]))];
                return put(data, size, at, (const uint8_t *) word, strlen(word));
        }
}

/* A file that is memory: what is in it when we crash stays. Its last 16 octets say how long the input is. */
static uint8_t *file_map(const char *path)
{
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        void *map = MAP_FAILED;

        if (fd >= 0 && ftruncate(fd, MUTATED_MAX + 16) == 0)
                map = mmap(NULL, MUTATED_MAX + 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (fd >= 0)
                close(fd);
        return map == MAP_FAILED ? NULL : map;
}

static void mutate(unsigned long n)
{
        static uint8_t unmapped[MUTATED_MAX + 16];
        char left[64];
        uint8_t *data;

        snprintf(left, sizeof(left), "crash-%ld", (long) getpid());
        data = n ? file_map(left) : NULL;
        for (unsigned long i = 0; i < n; i++) {
                uint8_t *to = data ? data : unmapped;
                const Input *from = &inputs[below(n_inputs)];
                size_t size = from->size < MUTATED_MAX / 2 ? from->size : MUTATED_MAX / 2;

                memcpy(to, from->data, size);
                for (size_t k = 1 + below(6); k > 0; k--)
                        size = mutate_once(to, size);
                snprintf((char *) to + MUTATED_MAX, 16, "%zu", size);
                run(to, size);
        }
        if (data) {
                munmap(data, MUTATED_MAX + 16);
                unlink(left);
        }
}

int main(int argc, char **argv)
{
        unsigned long n_mutated = 0;

        for (int i = 1; i < argc; i++)
                if (strncmp(argv[i], "--mutate=", 9) == 0)
                        n_mutated = strtoul(argv[i] + 9, NULL, 10);
                else if (strncmp(argv[i], "--seed=", 7) == 0)
                        state = strtoul(argv[i] + 7, NULL, 10) | 1;
                else
                        replay(argv[i]);
        if (n_inputs)
                mutate(n_mutated);
        printf("%zu inputs replayed, %lu made of them\n", n_inputs, n_inputs ? n_mutated : 0);
        for (size_t i = 0; i < n_inputs; i++)
                free(inputs[i].data);
        return n_inputs == 0;
}
