/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost completions: not for people. Writes what bash, zsh and fish need to complete a command line, all of it from the table of
 * verbs; and for the scripts that this makes, the accounts and causes there are. */
#include <stdio.h>
#include <string.h>

#include "cli/account.h"
#include "cli/causes.h"
#include "cli/output.h"
#include "cli/verbs.h"

/* What completes an argument: its own words for "a|b", files for FILE; what else there is only the user knows. */
static bool is_file(const char *argument)
{
        return strcmp(argument, "FILE") == 0;
}

static void print_words(const char *argument)
{
        for (const char *p = argument; *p; p++)
                putchar(*p == '|' ? ' ' : *p);
}

static bool has_words(const char *argument)
{
        return strchr(argument, '|') && !strchr(argument, ':');
}

/* What "waypost completions" lists for the operands of a verb; NULL: nothing. */
static const char *operands_of(const Verb *verb)
{
        return strstr(verb->operands, "ACCOUNT") ? "accounts"
               : strstr(verb->operands, "CAUSE") ? "causes"
                                                 : NULL;
}

/* --- bash -------------------------------------------------------------------------------------------------------- */

static void bash_options(const Option *options)
{
        for (const Option *o = options; o && o->name; o++)
                printf(" --%s", o->name);
}

static void bash_arguments(const Verb *verb)
{
        for (const Option *o = verb->options; o && o->name; o++) {
                if (!o->argument)
                        continue;
                printf("        %s:--%s", verb->name, o->name);
                if (o->letter)
                        printf(" | %s:-%c", verb->name, o->letter);
                fputs(") kind='", stdout);
                if (is_file(o->argument))
                        fputs("FILE", stdout);
                else if (has_words(o->argument))
                        print_words(o->argument);
                else
                        fputs("ANY", stdout);
                fputs("' ;;\n", stdout);
        }
}

static void bash_verbs(void)
{
        fputs("    case $verb in\n        '') words='", stdout);
        for (size_t i = 0; verbs[i]; i++)
                if (!verbs[i]->hidden)
                        printf("%s%s", i ? " " : "", verbs[i]->name);
        fputs("' options='", stdout);
        bash_options(common_options);
        fputs("' ;;\n", stdout);
        for (size_t i = 0; verbs[i]; i++) {
                if (verbs[i]->hidden)
                        continue;
                printf("        %s) options='", verbs[i]->name);
                bash_options(verbs[i]->options);
                bash_options(common_options);
                putchar('\'');
                if (operands_of(verbs[i]))
                        printf(" list=%s", operands_of(verbs[i]));
                fputs(" ;;\n", stdout);
        }
        fputs("    esac\n", stdout);
}

/* bash itself breaks words at = and @ and replaces only what stands behind the last of them. */
static int print_bash(void)
{
        fputs("# bash completion for waypost, made of its table of commands\n"
              "_waypost()\n"
              "{\n"
              "    local line=${COMP_LINE:0:COMP_POINT} verb='' words='' options='' list='' kind='' all=() i\n"
              "    read -ra all <<< \"$line\"\n"
              "    [[ $line == *[[:space:]] ]] && all+=('')\n"
              "    local cur=${all[-1]} prev=${all[-2]}\n"
              "    for ((i = 1; i < ${#all[@]} - 1; i++)); do\n"
              "        [[ ${all[i]} == -* ]] || { verb=${all[i]}; break; }\n"
              "    done\n"
              "    [[ $cur == --*=* ]] && { prev=${cur%%=*}; cur=${cur#*=}; }\n",
              stdout);
        bash_verbs();
        fputs("    case $verb:$prev in\n", stdout);
        for (size_t i = 0; verbs[i]; i++)
                if (!verbs[i]->hidden)
                        bash_arguments(verbs[i]);
        fputs("    esac\n"
              "    COMPREPLY=()\n"
              "    if [[ $kind == FILE ]]; then\n"
              "        compopt -o filenames\n"
              "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
              "        return\n"
              "    elif [[ $kind ]]; then\n"
              "        words=${kind/ANY/}\n"
              "    elif [[ $cur == -* ]]; then\n"
              "        words=$options\n"
              "    elif [[ $list ]]; then\n"
              "        words=$(waypost completions \"$list\" 2> /dev/null < /dev/null)\n"
              "    fi\n"
              "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
              "    local head=${cur%\"${cur##*[=@:]}\"}\n"
              "    COMPREPLY=(\"${COMPREPLY[@]#\"$head\"}\")\n"
              "}\n"
              "complete -F _waypost waypost\n",
              stdout);
        return 0;
}

/* --- zsh --------------------------------------------------------------------------------------------------------- */

/* Within single quotes and brackets. */
static void zsh_text(const char *text)
{
        for (; *text; text++) {
                if (strchr("[]:\\", *text))
                        putchar('\\');
                if (*text == '\'')
                        fputs("'\\'", stdout);
                putchar(*text);
        }
}

static void zsh_options(const Option *options)
{
        for (const Option *o = options; o && o->name; o++) {
                for (int letter = 0; letter <= (o->letter ? 1 : 0); letter++) {
                        fputs(" \\\n            '", stdout);
                        if (letter)
                                printf("-%c[", o->letter);
                        else
                                printf("--%s%s[", o->name, o->argument ? "=" : "");
                        zsh_text(o->help);
                        putchar(']');
                        if (o->argument) {
                                fputs(":", stdout);
                                zsh_text(o->argument);
                                fputs(":", stdout);
                                if (is_file(o->argument))
                                        fputs("_files", stdout);
                                else if (has_words(o->argument)) {
                                        putchar('(');
                                        print_words(o->argument);
                                        putchar(')');
                                }
                        }
                        putchar('\'');
                }
        }
}

static int print_zsh(void)
{
        fputs("#compdef waypost\n"
              "# zsh completion for waypost, made of its table of commands\n"
              "_waypost_list()\n"
              "{\n"
              "    local -a found\n"
              "    found=(${(f)\"$(waypost completions $1 2> /dev/null < /dev/null)\"})\n"
              "    compadd -a found\n"
              "}\n\n"
              "_waypost()\n"
              "{\n"
              "    local curcontext=$curcontext state line\n"
              "    local -a commands\n"
              "    commands=(\n",
              stdout);
        for (size_t i = 0; verbs[i]; i++)
                if (!verbs[i]->hidden) {
                        printf("        '%s:", verbs[i]->name);
                        zsh_text(verbs[i]->summary);
                        fputs("'\n", stdout);
                }
        fputs("    )\n    _arguments -C", stdout);
        zsh_options(common_options);
        fputs(" \\\n            '1:command:->command' '*::argument:->argument'\n"
              "    case $state in\n"
              "    command) _describe command commands ;;\n"
              "    argument)\n"
              "        case $words[1] in\n",
              stdout);
        for (size_t i = 0; verbs[i]; i++) {
                if (verbs[i]->hidden)
                        continue;
                printf("        %s) _arguments", verbs[i]->name);
                zsh_options(verbs[i]->options);
                zsh_options(common_options);
                if (operands_of(verbs[i]))
                        printf(" \\\n            '*: :{_waypost_list %s}'", operands_of(verbs[i]));
                fputs(" ;;\n", stdout);
        }
        fputs("        esac ;;\n"
              "    esac\n"
              "}\n\n"
              "_waypost \"$@\"\n",
              stdout);
        return 0;
}

/* --- fish -------------------------------------------------------------------------------------------------------- */

static void fish_text(const char *text)
{
        putchar('\'');
        for (; *text; text++) {
                if (*text == '\'' || *text == '\\')
                        putchar('\\');
                putchar(*text);
        }
        putchar('\'');
}

static void fish_options(const char *condition, const char *name, const Option *options)
{
        for (const Option *o = options; o && o->name; o++) {
                fputs("complete -c waypost", stdout);
                if (condition)
                        printf(" -n '%s %s'", condition, name);
                printf(" -l %s", o->name);
                if (o->letter)
                        printf(" -s %c", o->letter);
                if (o->argument && is_file(o->argument))
                        fputs(" -rF", stdout);
                else if (o->argument)
                        fputs(" -x", stdout);
                if (o->argument && has_words(o->argument)) {
                        fputs(" -a '", stdout);
                        print_words(o->argument);
                        putchar('\'');
                }
                fputs(" -d ", stdout);
                fish_text(o->help);
                putchar('\n');
        }
}

static int print_fish(void)
{
        fputs("# fish completion for waypost, made of its table of commands\n"
              "complete -c waypost -f\n",
              stdout);
        fish_options(NULL, NULL, common_options);
        for (size_t i = 0; verbs[i]; i++) {
                if (verbs[i]->hidden)
                        continue;
                printf("complete -c waypost -n __fish_use_subcommand -a %s -d ", verbs[i]->name);
                fish_text(verbs[i]->summary);
                putchar('\n');
                if (operands_of(verbs[i]))
                        printf("complete -c waypost -n '__fish_seen_subcommand_from %s' -a "
                               "'(waypost completions %s 2> /dev/null < /dev/null)'\n",
                               verbs[i]->name, operands_of(verbs[i]));
                fish_options("__fish_seen_subcommand_from", verbs[i]->name, verbs[i]->options);
        }
        return 0;
}

/* --- lists for them ---------------------------------------------------------------------------------------------- */

static int print_accounts(Cli *cli)
{
        _cleanup_json_ json_object *accounts = NULL;
        int r;

        r = cli_open(cli);
        if (r == 0)
                r = accounts_read(cli, &accounts);
        for (size_t i = 0; i < value_length(accounts); i++)
                puts(value_text_or(json_object_array_get_idx(accounts, i), "address", ""));
        return r;
}

static int print_causes(Cli *cli)
{
        _cleanup_json_ json_object *codes = NULL;
        int r;

        r = cli_open(cli);
        if (r == 0)
                r = causes_read(cli, "", &codes);
        for (size_t i = 0; i < value_length(codes); i++)
                puts(value_item(codes, i));
        return r;
}

static int run(Cli *cli, const Arguments *arguments)
{
        const char *what = arguments->operands[0];

        if (strcmp(what, "bash") == 0)
                return print_bash();
        if (strcmp(what, "zsh") == 0)
                return print_zsh();
        if (strcmp(what, "fish") == 0)
                return print_fish();
        if (strcmp(what, "accounts") == 0)
                return print_accounts(cli);
        if (strcmp(what, "causes") == 0)
                return print_causes(cli);
        return usage_error(cli, arguments->verb, "There is nothing for %s.", what);
}

const Verb verb_completions = {
        .name = "completions",
        .operands = "bash|zsh|fish",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Write the completion script of a shell",
        .hidden = true,
        .run = run,
};
