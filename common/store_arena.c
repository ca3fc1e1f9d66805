/* Replies of hiredis in a few blocks instead of two for each string: a session's meta has over
 * fifty of them, and to allocate and free each one cost more than to read them. The functions that
 * hiredis 0.14 calls for each object, with its own rules: NULL is "out of memory", which it
 * reports. */
#include <stdlib.h>
#include <string.h>

#include "common/store_private.h"

#if !defined(__clang__)
/* gcc's analyzer loses sight of blocks that are reached by what stands in one of them. */
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

#define BLOCK_BYTES 1024 /* what malloc still keeps in its fast list */

struct block {
    struct block *next;
    size_t used, cap; /* of bytes */
    max_align_t bytes[];
};

/* What a reply's address is the address of. */
struct root {
    redisReply reply;
    struct block *blocks; /* owned; the newest first */
};

static struct block *new_block(struct block *next, size_t size) {
    size_t cap = BLOCK_BYTES - sizeof(struct block);
    if (cap < size)
        cap = size;
    struct block *block = malloc(sizeof(*block) + cap);
    if (block)
        *block = (struct block){.next = next, .cap = cap};
    return block;
}

static size_t rounded(size_t size) {
    return (size + _Alignof(redisReply) - 1) / _Alignof(redisReply) * _Alignof(redisReply);
}

static void *take(struct block *block, size_t size) {
    void *at = (char *)block->bytes + block->used;
    block->used += size;
    return at;
}

/* Room beside the root; a block that is nearly full stays behind. */
static void *allocate(struct root *root, size_t size) {
    size = rounded(size);
    if (root->blocks->cap - root->blocks->used < size) {
        struct block *block = new_block(root->blocks, size);
        if (!block)
            return NULL;
        root->blocks = block;
    }
    return take(root->blocks, size);
}

static struct root *new_root(void) {
    struct block *block = new_block(NULL, sizeof(struct root));
    if (!block)
        return NULL;
    struct root *root = take(block, rounded(sizeof(*root)));
    *root = (struct root){.blocks = block};
    return root;
}

static struct root *root_of(const redisReadTask *task) {
    if (!task->parent)
        return new_root();
    while (task->parent)
        task = task->parent;
    return task->obj;
}

static void free_root(void *reply) {
    struct root *root = reply;
    for (struct block *block = root ? root->blocks : NULL, *next; block; block = next) {
        next = block->next;
        free(block);
    }
}

/* A reply in its parent's place, or the root; n_more bytes come with it, at *ret_more. */
static redisReply *make(const redisReadTask *task, size_t n_more, void **ret_more) {
    struct root *root = root_of(task);
    if (!root)
        return NULL;
    redisReply *reply = task->parent ? allocate(root, sizeof(*reply)) : &root->reply;
    void *more = reply && n_more ? allocate(root, n_more) : NULL;
    if (!reply || (n_more && !more)) {
        if (!task->parent)
            free_root(root); /* hiredis does not have it yet */
        return NULL;
    }
    *reply = (redisReply){.type = task->type};
    if (task->parent)
        ((redisReply *)task->parent->obj)->element[task->idx] = reply;
    if (ret_more)
        *ret_more = more;
    return reply;
}

static void *make_string(const redisReadTask *task, char *text, size_t len) {
    void *copy = NULL;
    redisReply *reply = make(task, len + 1, &copy);
    if (!reply || !copy)
        return NULL;
    reply->str = copy;
    reply->len = len;
    memcpy(reply->str, text, len);
    reply->str[len] = '\0';
    return reply;
}

static void *make_array(const redisReadTask *task, int n) {
    void *elements;
    size_t size = (n > 0 ? (size_t)n : 0) * sizeof(redisReply *);
    redisReply *reply = make(task, size, &elements);
    if (!reply)
        return NULL;
    if (size)
        memset(elements, 0, size);
    reply->elements = size / sizeof(redisReply *);
    reply->element = elements;
    return reply;
}

static void *make_integer(const redisReadTask *task, long long value) {
    redisReply *reply = make(task, 0, NULL);
    if (reply)
        reply->integer = value;
    return reply;
}

/* The task has the type that was announced: a string's, or an array's. */
static void *make_nil(const redisReadTask *task) {
    redisReply *reply = make(task, 0, NULL);
    if (reply)
        reply->type = REDIS_REPLY_NIL;
    return reply;
}

redisReplyObjectFunctions store_arena_functions = {make_string, make_array, make_integer, make_nil,
                                                   free_root};

void store_reply_free(redisReply *reply) {
    free_root(reply);
}
