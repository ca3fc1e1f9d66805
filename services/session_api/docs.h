/* The API reference: pages that the build made of proto/openapi.yaml, proto/asyncapi.yaml and
 * docs/errors (tools/api-reference), and these documents themselves. Nothing of a session is in
 * them. */
#pragma once

#include "base/cleanup.h"
#include "common/config.h"

struct call;
struct docs;

/* NULL where the reference is off. */
struct docs *docs_new(const struct config *config);
struct docs *docs_free(struct docs *docs);
/* Answers GET and HEAD of one of its files, pages without their ".html"; else 404. */
void docs_answer(struct docs *docs, struct call *call);
