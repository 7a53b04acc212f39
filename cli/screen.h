/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The block at the lower end of the terminal that is written over and over: steps, progress, a question. Whatever is printed
 * meanwhile goes above it. Where there is no terminal that can do so (cli->live), nothing of this happens. */
#pragma once

#include "cli/cli.h"
#include "cli/lines.h"

typedef struct Canvas {
        Cli *cli;
        Lines lines;
        unsigned columns;
        unsigned phase; /* counts the tenths of a second */
        bool final;     /* this is how it stays on the terminal */
} Canvas;

typedef void (*Painter)(void *userdata, Canvas *to);

/* Shows from now on what @paint composes, ten times a second. */
int screen_begin(Cli *cli, Painter paint, void *userdata);
/* Shows this below it, the cursor at the end of its last line; NULL: nothing. */
int screen_set_foot(Cli *cli, Painter foot, void *userdata);
void screen_refresh(Cli *cli);
/* Takes the block away for a moment: the next line is printed in its place. */
void screen_clear(Cli *cli);
/* Leaves the block as it is at last and the terminal as it was. */
void screen_end(Cli *cli);
struct Screen *screen_free(struct Screen *screen);

/* The turning sign of work. */
const char *screen_spinner(const Canvas *canvas);
