/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/live.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/save.h"
#include "cli/view.h"
#include "common/format.h"
#include "common/xalloc.h"
#include "store/reader.h"

/* So often one looks whether the recording is there. */
#define LOOK_MS 20

struct live {
	struct live_options options;
	struct tui_options tui;
	struct ui *ui;
	struct recorder *recorder;
	char *path;
	pid_t pid; /* 0: of the command it is not known yet */
	enum {
		LIVE_RECORDING,
		LIVE_ENDING, /* the recorder was asked to */
		LIVE_ENDED,
		LIVE_DIED, /* the recorder did */
	} state;
	bool wants_attach;
	char state_text[80], said[600];
	struct save save;
};

/* ---- the recorder's end --------------------------------------------------------------- */

/* The line that begins so; false: there is none. */
static bool find_line(const char *text, const char *start, char *buf, size_t size)
{
	size_t n = strlen(start);

	for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
		if (strncmp(text, start, n))
			continue;
		snprintf(buf, size, "%.*s", (int)strcspn(text + n, "\n"), text + n);
		return true;
	}
	return false;
}

/* What the recorder says of its end, as an error of ours. */
static void explain_end(const struct recorder_end *e, struct err *err)
{
	char what[sizeof(e->text)], hint[sizeof(e->text)];
	int status = e->wait_status;

	if (status == -1) {
		err_set(err, ERR_FAILED, 0, "the recorder has died with its broker");
		return;
	}
	if (WIFSIGNALED(status)) {
		err_set(err, ERR_FAILED, 0, "the recorder was killed by signal %d (%s)",
			WTERMSIG(status), strsignal(WTERMSIG(status)));
		return;
	}
	if (!find_line(e->text, "heaptrail: ", what, sizeof(what))) {
		err_set(err, ERR_FAILED, 0, "the recorder has ended with status %d",
			WEXITSTATUS(status));
		return;
	}
	err_set(err, (enum err_class)WEXITSTATUS(status), 0, "%s", what);
	if (find_line(e->text, "hint: ", hint, sizeof(hint)))
		err_hint(err, "%s", hint);
}

/* A command's status is the recorder's too; but then it says nothing. */
static bool has_failed(const struct recorder_end *e)
{
	return e->wait_status == -1 || WIFSIGNALED(e->wait_status) ||
	       (WEXITSTATUS(e->wait_status) && e->text[0]);
}

static void after_end(struct live *l, const struct recorder_end *e)
{
	struct err err;

	l->state = has_failed(e) ? LIVE_DIED : LIVE_ENDED;
	if (l->state == LIVE_DIED) {
		explain_end(e, &err);
		snprintf(l->said, sizeof(l->said), "%s; what it had recorded is here", err.what);
		live_tell(l, true, l->said);
	} else {
		live_tell(l, false, "the recording has ended: w saves it, a attaches to another "
				    "process, q quits");
	}
}

/* ---- while it is shown ---------------------------------------------------------------- */

static void stop(struct live *l)
{
	recorder_stop(l->recorder);
	l->state = LIVE_ENDING;
}

static void poll_all(void *arg)
{
	struct live *l = arg;
	struct save_result saved;
	struct recorder_end e;

	if ((l->state == LIVE_RECORDING || l->state == LIVE_ENDING) &&
	    recorder_has_ended(l->recorder, 0, &e))
		after_end(l, &e);
	if (save_has_ended(&l->save, false, &saved))
		live_tell(l, saved.failed, saved.text);
}

/* How the process ended, after the words. */
static const char *with_status(struct live *l, const char *words, const struct catalog *c)
{
	const struct process_record *p = c->n_processes > 1 ? &c->processes[1] : NULL;

	if (p && p->ended && p->exit_signal)
		snprintf(l->state_text, sizeof(l->state_text), "%s: signal %d", words,
			 p->exit_signal);
	else if (p && p->ended)
		snprintf(l->state_text, sizeof(l->state_text), "%s: exit status %d", words,
			 p->exit_status);
	else
		return words;
	return l->state_text;
}

static const char *state(void *arg, const struct history *h, bool *ret_is_growing)
{
	const struct catalog *c = history_catalog(h);
	struct live *l = arg;

	*ret_is_growing = l->state == LIVE_RECORDING;
	if (l->state == LIVE_DIED)
		return "recorder died";
	if (catalog_number(c, "exited", 0)) /* it is known before the recorder has ended */
		return with_status(l, "ended", c);
	switch (l->state) {
	case LIVE_RECORDING:
		return "recording";
	case LIVE_ENDING:
		return "detaching";
	default:
		return "detached";
	}
}

static void forget_recorder(void *arg)
{
	recorder_forget(arg);
}

static const char *save(struct live *l, const char *to)
{
	if (save_is_running(&l->save))
		return "another copy is being saved: wait for it";
	if (!save_start(&l->save, l->path, to, forget_recorder, l->recorder))
		snprintf(l->said, sizeof(l->said), "cannot save: %s", strerror(errno));
	else
		snprintf(l->said, sizeof(l->said), "saving to '%s' ...", to);
	return l->said;
}

static const char *detach(struct live *l)
{
	if (l->state != LIVE_RECORDING)
		return "it is not being recorded any more";
	stop(l);
	return "letting go of the process; the recording stays";
}

static const char *command(void *arg, enum ui_command what, const char *text)
{
	struct live *l = arg;

	switch (what) {
	case UI_ATTACH:
		l->wants_attach = true;
		return NULL;
	case UI_DETACH:
		return detach(l);
	case UI_SAVE:
		return save(l, text);
	case UI_SNAPSHOT:
		if (!recorder_is_running(l->recorder))
			return "nothing is recorded any more";
		recorder_take_snapshot(l->recorder);
		return "a snapshot of the memory is taken: view 9 shows it";
	}
	return NULL;
}

/* ---- life ----------------------------------------------------------------------------- */

/* The recorder writes its first rows when it records. */
static bool is_there(struct live *l)
{
	struct store_reader *r;
	struct catalog c;
	bool found;

	if (access(l->path, R_OK) < 0 || store_reader_open(l->path, &r, NULL) < 0)
		return false;
	found = store_reader_load(r, &c, NULL) == 0;
	if (found) {
		found = catalog_text(&c, "recorder") != NULL;
		l->pid = (pid_t)catalog_number(&c, "pid", 0);
		catalog_release(&c);
	}
	store_reader_close(r);
	return found;
}

static int wait_for_recording(struct live *l, struct err *err)
{
	struct recorder_end e;

	while (!is_there(l)) {
		if (!recorder_has_ended(l->recorder, LOOK_MS, &e))
			continue;
		if (!is_there(l)) {
			explain_end(&e, err);
			return -ECHILD;
		}
		after_end(l, &e); /* it was a short one */
	}
	return 0;
}

int live_start(const struct live_options *o, pid_t pid, struct live **ret, struct err *err)
{
	struct live *l = xcalloc(1, sizeof(*l));
	int r;

	l->options = *o;
	l->recorder = o->recorder;
	l->pid = pid;
	l->tui = *o->tui;
	l->tui.state = state;
	l->tui.poll = poll_all;
	l->tui.command = command;
	l->tui.arg = l;
	r = recorder_start(l->recorder, pid, &l->path, err);
	if (!r)
		r = wait_for_recording(l, err);
	l->tui.path = l->path;
	if (!r)
		r = tui_open(&l->tui, &l->ui, err);
	if (!r) {
		*ret = l;
		return 0;
	}
	live_end(l); /* it cannot be shown: it need not go on */
	live_free(l);
	return r;
}

void live_free(struct live *l)
{
	struct save_result saved;

	if (!l)
		return;
	if (save_is_running(&l->save)) {
		say("saving the recording");
		if (save_has_ended(&l->save, true, &saved))
			say("%s", saved.text);
	}
	if (l->ui)
		tui_close(&l->tui);
	/* what is being written the broker removes, when its recorder has ended */
	if (l->path && l->state >= LIVE_ENDED)
		recorder_remove(l->recorder, l->path);
	free(l->path);
	free(l);
}

int live_run(struct live *l, bool *ret_attach, struct err *err)
{
	int r;

	ui_resume(l->ui);
	l->wants_attach = false;
	r = ui_run(l->ui, &l->tui.screen, err);
	*ret_attach = l->wants_attach;
	return r;
}

pid_t live_pid(const struct live *l)
{
	return l->pid;
}

void live_end(struct live *l)
{
	struct recorder_end e;

	if (!recorder_is_running(l->recorder))
		return;
	stop(l);
	while (!recorder_has_ended(l->recorder, -1, &e))
		;
	after_end(l, &e);
}

void live_tell(struct live *l, bool is_bad, const char *text)
{
	if (l->ui)
		ui_tell(l->ui, is_bad, text);
}
