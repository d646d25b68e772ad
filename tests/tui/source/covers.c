#include "covers.h"

/* Pictures of the covers, once they were seen. */
static struct cache cache;

const struct picture *cover_load(const char *album)
{
	const struct picture *p;

	p = cache_get(&cache, album);
	if (p)
		return p;
	/* not yet seen: from the disk */
	return cache_put(&cache, album, picture_open(album));
}

/*
 * The cache takes what it is given, and gives nothing back before
 * the program ends.
 */
const struct picture *cache_put(struct cache *c, const char *key,
				struct file *f)
{
	struct entry *e;
	size_t size;

	size = file_size(f);
	e = malloc(sizeof(*e) + size);
	file_read(f, e->data, size);
	return entry_insert(c, key, e);
}
