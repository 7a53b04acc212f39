/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads a folder of JSON texts: n_* must be refused, y_* accepted, i_* must do no harm; and each is fed as a PACC document and as a
 * token reply, alone and inside one. Exits 77 (skipped) when the folder does not exist. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "proto/json.h"
#include "proto/oauth.h"
#include "proto/pacc.h"

/* Right JSON that we refuse on purpose: NUL would end the text early for everything that handles it as a C string. */
static const char *const refused[] = { "y_string_null_escape.json",
                                       "y_object_escaped_null_in_key.json" };

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

/* As PACC: whatever the text is, it names no server. As a member of one it must not change what stands beside it. */
static const char *as_pacc(const Buffer *text, bool valid)
{
        _cleanup_(pacc_freep) Pacc *pacc = NULL;
        _cleanup_buffer_ Buffer around = BUFFER(2 * LIMIT_DOCUMENT);

        if (pacc_parse(&pacc, text->data ? text->data : "", text->len) == 0)
                return "taken for a PACC document";
        if (buffer_append_text(&around,
                               "{\"protocols\":{\"pop3\":{\"host\":\"pop.example.org\"}},\"x\":") <
                    0 ||
            buffer_append(&around, text->data ? text->data : "", text->len) < 0 ||
            buffer_append_text(&around, "}") < 0)
                return "too long";
        if (around.len > LIMIT_DOCUMENT)
                return pacc_parse(&pacc, around.data, around.len) == 0 ? "accepted over the limit"
                                                                       : NULL;
        if (valid && pacc_parse(&pacc, around.data, around.len) < 0)
                return "spoils the document around it";
        return pacc && !text_equal(pacc->pop3, "pop.example.org") ? "changes the host beside it"
                                                                  : NULL;
}

/* As the reply of a token endpoint: whatever the text is, it has no token; beside one it must not change it. */
static const char *as_tokens(const Buffer *text, bool valid)
{
        _cleanup_buffer_ Buffer around = BUFFER(2 * LIMIT_DOCUMENT);
        OauthTokens tokens = {};
        const char *wrong = NULL;
        int r;

        if (oauth_tokens_read(&tokens, text->data ? text->data : "", text->len) == 0) {
                oauth_tokens_deinit(&tokens);
                return "taken for tokens";
        }
        if (buffer_append_text(&around,
                               "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"x\":") < 0 ||
            buffer_append(&around, text->data ? text->data : "", text->len) < 0 ||
            buffer_append_text(&around, "}") < 0)
                return "too long";
        r = oauth_tokens_read(&tokens, around.data, around.len);
        if (r == 0 && strcmp(secret_data(tokens.access), "a") != 0)
                wrong = "changes the token beside it";
        if (r == 0 && around.len > LIMIT_DOCUMENT)
                wrong = "accepted over the limit";
        if (r < 0 && valid && around.len <= LIMIT_DOCUMENT)
                wrong = "spoils the reply around it";
        oauth_tokens_deinit(&tokens);
        return wrong;
}

static const char *complaint(const char *name, const Buffer *text)
{
        json_object *root = NULL;
        bool accepted = json_read(&root, text->data ? text->data : "", text->len) == 0;

        json_object_put(root);
        if (name[0] == 'n' && accepted)
                return "accepted";
        for (size_t i = 0; i < ELEMENTS(refused); i++)
                if (strcmp(name, refused[i]) == 0)
                        return NULL;
        if (name[0] == 'y' && !accepted)
                return "refused";
        return as_pacc(text, accepted) ?: as_tokens(text, accepted);
}

int main(int argc, char **argv)
{
        unsigned n_files = 0, n_bad = 0;
        struct dirent *entry;
        DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;

        if (!dir) {
                puts("../shared absent");
                return 77;
        }
        while ((entry = readdir(dir)))
                if (text_ends_nocase(entry->d_name, ".json")) {
                        _cleanup_buffer_ Buffer text = BUFFER(4 * LIMIT_DOCUMENT);
                        const char *wrong;

                        n_files++;
                        wrong = read_file(argv[1], entry->d_name, &text) < 0
                                        ? "unreadable"
                                        : complaint(entry->d_name, &text);
                        if (wrong) {
                                printf("%s: %s\n", entry->d_name, wrong);
                                n_bad++;
                        }
                }
        closedir(dir);
        printf("%u texts, %u bad\n", n_files, n_bad);
        return n_files < 318 || n_bad > 0;
}
