/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that frees wrongly, and knows how often: wrong_frees mixed|double|layers SEED.
 * Prints what it did as JSON: of mixed "made,freed": times, right ones too.
 */
#include <map>
#include <new>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <unistd.h>

static uint64_t seed;
static std::map<std::string, int> done;

static unsigned int random_below(unsigned int n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned int)(seed >> 11) % n;
}

static void *made(unsigned int how, size_t size)
{
	switch (how) {
	case 0:
		return random_below(2) ? malloc(size) : calloc(1, size);
	case 1:
		return random_below(2) ? operator new(size) : operator new(size, std::nothrow);
	default:
		return random_below(2) ? operator new[](size) : operator new[](size, std::nothrow);
	}
}

static void freed(unsigned int how, void *block, size_t size)
{
	switch (how) {
	case 0:
		free(block);
		break;
	case 1:
		if (random_below(2))
			operator delete(block);
		else
			operator delete(block, size);
		break;
	case 2:
		operator delete[](block);
		break;
	default:
		free(realloc(block, size + 100));
	}
}

static void mixed()
{
	static const char *const makers[] = {"malloc", "new", "new[]"};
	static const char *const ends[] = {"free", "delete", "delete[]", "realloc"};

	for (int i = 0; i < 600; i++) {
		unsigned int m = random_below(3), f = random_below(3) ? m : random_below(4);
		size_t size = 1 + random_below(500);

		freed(f, made(m, size), size);
		done[std::string(makers[m]) + "," + ends[f]]++;
	}
}

/* As a C library may bypass its allocator's look for this: another block is freed between. */
static void twice()
{
	static const char said[] = "{\"double\": 3}\n";

	for (int i = 0; i < 3; i++) {
		void *a = malloc(40 + 16 * i), *b = malloc(40 + 16 * i);

		free(a);
		free(b);
		free(a);
	}
	/* nothing more of this heap */
	_exit(write(STDOUT_FILENO, said, sizeof(said) - 1) < 0);
}

struct document {
	char text[100];
};

extern "C" {
__attribute__((noinline)) document *parse_document(const char *text)
{
	document *d = (document *)malloc(sizeof(*d));

	snprintf(d->text, sizeof(d->text), "%s", text);
	return d;
}

__attribute__((noinline)) document *resize_document(document *d, size_t size)
{
	return (document *)realloc((void *)d, size);
}

__attribute__((noinline)) void free_document(document *d)
{
	if (!d)
		return;
	d->text[0] = '\0';
	free(d);
}
}

static void layers()
{
	for (int i = 0; i < 200; i++) {
		switch (random_below(6)) {
		case 4:
			free(realloc((void *)parse_document("by hand"), sizeof(document) + i % 2 * 5000));
			done["resized"]++;
			break;
		case 5:
			free_document(resize_document(parse_document("right"), sizeof(document) + i % 2 * 5000));
			done["right"]++;
			done["resized right"]++;
			break;
		case 0:
			free(parse_document("past it"));
			done["past"]++;
			break;
		case 1:
			free_document((document *)malloc(sizeof(document)));
			done["other"]++;
			break;
		default:
			free_document(parse_document("right"));
			done["right"]++;
		}
	}
}

int main(int argc, char **argv)
{
	const char *before = "{";

	if (argc < 3)
		return 2;
	seed = strtoull(argv[2], NULL, 0) * 2654435761u + 1;
	if (!strcmp(argv[1], "double"))
		twice();
	else if (!strcmp(argv[1], "mixed"))
		mixed();
	else
		layers();
	for (std::map<std::string, int>::const_iterator i = done.begin(); i != done.end(); ++i) {
		printf("%s\"%s\": %d", before, i->first.c_str(), i->second);
		before = ", ";
	}
	puts("}");
	return 0;
}
