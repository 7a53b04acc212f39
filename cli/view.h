/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The steps of one setup as they go: a list that is redrawn in place on a live terminal, elsewhere a line for each step that has ended. */
#pragma once

#include "cli/cli.h"

typedef struct View {
        Cli *cli;
        json_object *properties; /* of the setup, as last read */
        json_object *printed;    /* without a screen: step id -> what was printed of it */
        json_object *told;       /* likewise: step id -> since when the silence is that was told */
        bool begun;
        bool silent; /* nothing is left of it at the end */
} View;

void view_init(View *view, Cli *cli);
void view_deinit(View *view);
/* Shows these properties (borrowed). */
int view_update(View *view, json_object *properties);
/* How long to wait at most before view_update() has something to say although nothing happened; UINT64_MAX: for ever. */
uint64_t view_pause(const View *view);

enum { VIEW_PROOF_AT = 31 }; /* the column */

/* A row of such a list, for what is no step of a setup; @status NULL for a mark that turns. */
struct Canvas;
void view_row(struct Canvas *to, const char *status, const char *label, uint64_t usec,
              const char *proof);
/* And one for an account: @name in @width columns, its state, what it does. */
void view_state(struct Canvas *to, const char *status, const char *name, int width,
                const char *state, const char *doing);
