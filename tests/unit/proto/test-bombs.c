/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Documents that are made to cost: each is read in a process of its own, which tells its time on the processor and how much its memory grew. At
 * most 50 ms and 2 MB (a sanitizer's own cost aside), and all are refused. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "base/buffer.h"
#include "proto/autoconfig.h"
#include "proto/pacc.h"

#ifdef __SANITIZE_ADDRESS__
enum { SLOWER = 6, MEMORY_KB = 0 };
#else
enum { SLOWER = 1, MEMORY_KB = 2048 };
#endif
enum { CPU_USEC = 50000, SIZE = LIMIT_DOCUMENT };

typedef struct Bomb {
        const char *name, *before, *again,
                *after; /* again: until the document is as big as it may be */
        bool json;
} Bomb;

static const Bomb bombs[] = {
        { "laughs",
          "<!DOCTYPE l [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;'>]>",
          "", "<clientConfig>&c;</clientConfig>", false },
        { "one entity, often",
          "<!DOCTYPE l [<!ENTITY a 'aaaaaaaaaaaaaaaaaaaaaaaa'>]><clientConfig>", "&a;",
          "</clientConfig>", false },
        { "file entity", "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///dev/zero'>]><clientConfig>&e;",
          "", "</clientConfig>", false },
        { "parameter entity", "<!DOCTYPE x [<!ENTITY % p '%q;'><!ENTITY % q '%p;'> %p;]>", "",
          "<clientConfig/>", false },
        { "deep", "", "<clientConfig>", "", false },
        { "attributes", "<clientConfig ", "a='' ", "/>", false },
        { "many elements", "<clientConfig><emailProvider>", "<a/>",
          "</emailProvider></clientConfig>", false },
        { "long text", "<clientConfig><emailProvider><displayName>", "aaaaaaaaaaaaaaaa",
          "</displayName></emailProvider></clientConfig>", false },
        { "long name", "<clientConfig><", "aaaaaaaaaaaaaaaa", "/></clientConfig>", false },
        { "comments", "", "<!-- -->", "<a/>", false },
        { "instructions", "", "<?a b?>", "<a/>", false },
        { "marked sections", "<clientConfig>", "<![CDATA[]]>", "", false },
        { "prefixes", "<clientConfig ", "xmlns:a='b' ", "/>", false },
        { "references", "<clientConfig>", "&#65;", "", false },
        { "servers without end", "<clientConfig><emailProvider>",
          "<incomingServer type='pop3'><hostname>a</hostname>", "", false },
        { "deep arrays", "", "[", "", true },
        { "deep objects", "", "{\"a\":", "", true },
        { "many keys", "{", "\"a\":1,", "\"b\":1}", true },
        { "long string", "{\"protocols\":\"", "aaaaaaaaaaaaaaaa", "\"}", true },
        { "escapes", "{\"a\":\"", "\\ud800", "\"}", true },
        { "digits", "{\"a\":", "1234567890", "}", true },
        { "zeros of an exponent", "{\"a\":1e", "0", "}", true },
};

static int write_bomb(Buffer *to, const Bomb *bomb)
{
        size_t room = SIZE - strlen(bomb->after), len = strlen(bomb->again);
        int r = buffer_append_text(to, bomb->before);

        while (r == 0 && len > 0 && to->len + len <= room)
                r = buffer_append(to, bomb->again, len);
        return r < 0 ? r : buffer_append_text(to, bomb->after);
}

static long memory_kb(void)
{
        struct rusage usage;

        getrusage(RUSAGE_SELF, &usage);
        return usage.ru_maxrss;
}

static int64_t cpu_usec(void)
{
        struct timespec now;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Returns what the reader says. */
static int read_bomb(const Bomb *bomb, const Buffer *text)
{
        _cleanup_(autoconfig_freep) Autoconfig *autoconfig = NULL;
        _cleanup_(pacc_freep) Pacc *pacc = NULL;

        return bomb->json ? pacc_parse(&pacc, text->data, text->len)
                          : autoconfig_parse(&autoconfig, text->data, text->len, "tim@example.org");
}

/* In the child: 0 when it was refused within its bounds. */
static int measure(const Bomb *bomb)
{
        _cleanup_buffer_ Buffer text = BUFFER(SIZE + 1);
        int64_t usec;
        long kb;
        int r;

        if (write_bomb(&text, bomb) < 0)
                return 2;
        kb = memory_kb();
        usec = cpu_usec();
        r = read_bomb(bomb, &text);
        usec = cpu_usec() - usec;
        kb = memory_kb() - kb;
        printf("# %-22s %s after %5lld us, %4ld kB more\n", bomb->name, r < 0 ? "refused" : "TAKEN",
               (long long) usec, kb);
        return r != -EBADMSG || usec > (int64_t) CPU_USEC * SLOWER || (MEMORY_KB && kb > MEMORY_KB);
}

int main(void)
{
        int bad = 0;

        for (size_t i = 0; i < ELEMENTS(bombs); i++) {
                pid_t child;
                int status = 1;

                fflush(stdout);
                child = fork();
                if (child == 0) {
                        status = measure(&bombs[i]);
                        fflush(stdout);
                        _exit(status);
                }
                if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
                        printf("%s: not refused, or not cheaply: %d\n", bombs[i].name, status);
                        bad = 1;
                }
        }
        return bad;
}
