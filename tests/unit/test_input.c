/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of keys, and scripts of them. */
#include "config.h"

#include <string.h>

#include "common/xalloc.h"
#include "tests/unit/tap.h"
#include "ui/input.h"

/* The names of all inputs, with their places; where it is wrong "!" and the rest. */
static const char *run(const char *text)
{
	static char out[1024];
	struct input_script s;
	struct input in;
	size_t len = 0;
	char name[16];

	out[0] = '\0';
	input_script_begin(&s, text);
	for (int i = 0; i < 64; i++) {
		if (!input_script_next(&s, &in)) {
			snprintf(out + len, sizeof(out) - len, "!%s", s.at);
			return out;
		}
		if (in.key == INPUT_EOF)
			return out;
		len += (size_t)snprintf(out + len, sizeof(out) - len, "%s%s", len ? " " : "",
					input_name(name, in.key));
		if (in.row || in.col || in.is_double)
			len += (size_t)snprintf(out + len, sizeof(out) - len, "(%d,%d%s)", in.row,
						in.col, in.is_double ? ",double" : "");
	}
	return "it does not end";
}

static void test_scripts(void)
{
	static const struct {
		const char *script, *inputs;
	} cases[] = {
		{"", ""},
		{"  \t\n", ""},
		{"Down", "Down"},
		{" Down\tUp\nq ", "Down Up q"},
		{"^C ^Z ^A", "^C ^Z ^A"},
		{"^", "^"},
		{"Space", "Space"},
		{"'main'", "m a i n"},
		{"'a b'", "a Space b"},
		{"'漢é'x", "!'漢é'x"},
		{"'漢é' x", "漢 é x"},
		{"é 漢", "é 漢"},
		{"''", "'"},
		{"'' a", "' a"},
		{"''''", "'"},
		{"'it''s'", "i t ' s"},
		{"'a'''", "a '"},
		{"2*''", "' '"},
		{"2*'ab' c", "a b a b c"},
		{"3*Down Up", "Down Down Down Up"},
		{"3**", "* * *"},
		{"* 3", "* 3"},
		{"2*3", "3 3"},
		{"1*F10", "F10"},
		{"click:3,40", "click(3,40)"},
		{"2*double:0,7", "click(0,7,double) click(0,7,double)"},
		{"click:0,0", "click"},
		{"wheel-up wheel-down", "wheel-up wheel-down"},
		{"resize:24x80", "resize(24,80)"},
		/* errors: what comes before is there */
		{"Down Dwon Up", "Down!Dwon Up"},
		{"down", "!down"},
		{"12", "!12"},
		{"3*", "!3*"},
		{"0*Down", "!0*Down"},
		{"2*2*a", "!2*2*a"},
		{"9999999*a", "!9999999*a"},
		{"99999999999999999999*a", "!99999999999999999999*a"},
		{"-1*a", "!-1*a"},
		{"'", "!'"},
		{"a 'b c", "a!'b c"},
		{"'a'b", "!'a'b"},
		{"'''", "!'''"},
		{"'a\nb'", "!'a\nb'"},
		{"'a\xff'", "!'a\xff'"},
		{"\xff", "!\xff"},
		{"\x01", "!\x01"},
		{"^c", "!^c"},
		{"^CC", "!^CC"},
		{"F11", "!F11"},
		{"F", "F"},
		{"click", "!click"},
		{"click:", "!click:"},
		{"click:3", "!click:3"},
		{"click:3,", "!click:3,"},
		{"click:3x4", "!click:3x4"},
		{"click:3,4,5", "!click:3,4,5"},
		{"click:-3,4", "!click:-3,4"},
		{"click:3 ,4", "!click:3 ,4"},
		{"click:3,99999999999", "!click:3,99999999999"},
		{"resize:0x80", "!resize:0x80"},
		{"resize:24,80", "!resize:24,80"},
		{"none", "!none"},
		{"EOF", "!EOF"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const char *got = run(cases[i].script);

		if (!ok(!strcmp(got, cases[i].inputs), "script %s", cases[i].script))
			diag("%s, not %s", got, cases[i].inputs);
	}
}

static void test_names(void)
{
	char name[16];
	int bad = 0;

	for (int key = 1; key <= INPUT_EOF; key++) {
		struct input_script s;
		struct input in;
		bool has_word = key != '\'' && key != INPUT_NONE && key != INPUT_EOF &&
				key != INPUT_MOUSE && key != INPUT_RESIZE;

		input_name(name, key);
		if (strlen(name) >= sizeof(name) || !strcmp(name, "?") || !has_word)
			continue;
		input_script_begin(&s, name);
		if (!input_script_next(&s, &in) || in.key != key || in.row || in.col ||
		    !input_script_next(&s, &in) || in.key != INPUT_EOF)
			bad++;
	}
	ok(!bad, "a script knows every name of a key");
	ok(!strcmp(input_name(name, INPUT_PAGE_UP), "PageUp"), "PageUp");
	ok(!strcmp(input_name(name, 3), "^C") && !strcmp(input_name(name, 26), "^Z"), "Ctrl");
	ok(!strcmp(input_name(name, ' '), "Space"), "Space");
	ok(!strcmp(input_name(name, 0x1f600), "😀"), "a character");
	ok(!strcmp(input_name(name, 0), "?") && !strcmp(input_name(name, 27), "?") &&
		   !strcmp(input_name(name, 0x7f), "?") && !strcmp(input_name(name, 0x85), "?") &&
		   !strcmp(input_name(name, 0xd800), "?") && !strcmp(input_name(name, -1), "?") &&
		   !strcmp(input_name(name, INPUT_EOF + 1), "?"),
	   "what is no key");
}

static void test_end(void)
{
	struct input_script s;
	struct input in;

	input_script_begin(&s, "a Bad");
	ok(input_script_next(&s, &in) && in.key == 'a' && !input_script_next(&s, &in) &&
		   !input_script_next(&s, &in) && !strcmp(s.at, "Bad"),
	   "an error stays");
	input_script_begin(&s, "a");
	ok(input_script_next(&s, &in) && input_script_next(&s, &in) && in.key == INPUT_EOF &&
		   input_script_next(&s, &in) && in.key == INPUT_EOF,
	   "the end stays");
}

/* Whatever it is: it ends, and reads nothing behind (which a sanitizer sees). */
static void test_random(void)
{
	static const char alphabet[] = "'' **19:x,^aFDownclick\xc3\xa9\xff\n";
	bool ends = true;

	seed_random();
	for (int i = 0; i < 20000; i++) {
		size_t len = random_below(24);
		char *text = xmalloc(len + 1);
		struct input_script s;
		struct input in;
		int left = 24 * 100000;

		for (size_t k = 0; k < len; k++)
			text[k] = alphabet[random_below(sizeof(alphabet) - 1)];
		text[len] = '\0';
		input_script_begin(&s, text);
		while (left && input_script_next(&s, &in) && in.key != INPUT_EOF)
			left -= s.left > 1000 ? (s.left = 1000) != 0 : 1;
		ends &= left > 0 && s.at >= text && s.at <= text + len;
		free(text);
	}
	ok(ends, "random scripts end");
}

int main(void)
{
	test_scripts();
	test_names();
	test_end();
	test_random();
	return done();
}
