/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of verbs: what each is called, takes and says about itself. Parsing, help and (later) completions all come from it. */
#pragma once

#include "cli/cli.h"

typedef struct Option {
        const char *name;     /* without dashes; NULL ends a list */
        char letter;          /* 0: none */
        const char *argument; /* what stands for it in the help; NULL: takes none */
        const char *help;
} Option;

typedef struct Arguments Arguments;

typedef struct Verb {
        const char *name;
        const char *operands; /* "ADDRESS" */
        unsigned min_operands, max_operands;
        const char *summary; /* one line */
        const char *text;    /* what --help says before the options; NULL */
        const Option *options;
        bool text_only; /* its result is a text that stands alone on standard output */
        bool hidden;    /* not for people */
        int (*run)(Cli *cli, const Arguments *arguments);
} Verb;

enum { MAX_OPERANDS = 16, MAX_GIVEN = 64 };

struct Arguments {
        const Verb *verb; /* NULL: none was named */
        const char *operands[MAX_OPERANDS];
        unsigned n_operands;
        struct {
                const Option *option;
                const char *value; /* NULL when it takes none */
        } given[MAX_GIVEN];
        unsigned n_given;
};

/* NULL behind the last. */
extern const Verb *const verbs[];
/* Every verb takes these, too. */
extern const Option common_options[];

/* Fills @ret; strings stay @argv's. Told when wrong. */
int arguments_parse(Cli *cli, int argc, char **argv, Arguments *ret);
bool argument_given(const Arguments *arguments, const char *name);
/* The last value given, NULL for none. */
const char *argument_text(const Arguments *arguments, const char *name);
/* Leaves *@ret as it is when the option was not given. */
int argument_number(Cli *cli, const Arguments *arguments, const char *name, uint64_t min,
                    uint64_t max, uint64_t *ret);
/* One of @choices ("tls", "starttls", NULL) or EXIT_USAGE; fine when not given. */
int argument_check(Cli *cli, const Arguments *arguments, const char *name,
                   const char *const *choices);
/* Tells what is wrong with the command line; returns EXIT_USAGE. */
int usage_error(Cli *cli, const Verb *verb, const char *format, ...) _printf_(3, 4);

void help_print(Cli *cli, const Verb *verb);
