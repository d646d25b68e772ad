/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "common/err.h"

/* The subcommands: main.c has the table; each has its own file. */
struct command {
	const char *name;
	const char *summary; /* one line of `heaptrail --help` */
	const char *help;    /* all of `heaptrail NAME --help` */
	/* argv[0] is the command's name; returns the exit status */
	int (*run)(const struct command *c, int argc, char **argv);
};

extern const struct command command_record;
extern const struct command command_report;
extern const struct command command_leaks;
extern const struct command command_frag;
extern const struct command command_info;
extern const struct command command_annotate;
extern const struct command command_repair;
extern const struct command command_symbolize;
extern const struct command command_top;
extern const struct command command_view;
extern const struct command command_doctor;
extern const struct command command_probes;

/* Prints @e as "heaptrail: …" and its hint; returns its exit status. */
int print_error(const struct err *e);
/* "heaptrail: FMT", a pointer to the help of @c; returns 2. */
int usage_error(const struct command *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* What getopt_long() returned and no case took: --help, or a wrong option (it has said which). */
int other_option(const struct command *c, int option);
/* A line to stderr. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

enum { OPTION_HELP = 1000, OPTION_FIRST_LONG }; /* long options without a letter */

#endif
