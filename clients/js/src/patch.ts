/** JSON Patch (RFC 6902) and pointers (RFC 6901) over values that are never changed: what a patch does not touch is shared. */

import { Json, equal, has } from "./json.js";
import type { Operation } from "./schemas.js";

export type { Operation };

/** An operation does not fit the document. */
export class PatchError extends Error {
  constructor(readonly index: number, readonly pointer: string, what: string) {
    super(`operation ${index} at "${pointer}": ${what}`);
  }
}

class Misfit extends Error {}

export function tokens(pointer: string): string[] {
  if (pointer === "") {
    return [];
  }
  if (pointer[0] !== "/") {
    throw new Misfit("a pointer begins with /");
  }
  return pointer.slice(1).split("/").map((token) => token.replace(/~1/g, "/").replace(/~0/g, "~"));
}

export function escape(token: string): string {
  return token.replace(/~/g, "~0").replace(/\//g, "~1");
}

function index(array: Json[], token: string, most: number): number {
  if (!/^(0|[1-9][0-9]*)$/.test(token) || Number(token) > most) {
    throw new Misfit(`no element ${token} in an array of ${array.length}`);
  }
  return Number(token);
}

function child(value: Json, token: string): Json {
  if (Array.isArray(value)) {
    return value[index(value, token, value.length - 1)] as Json;
  }
  if (value === null || typeof value !== "object" || !has(value, token)) {
    throw new Misfit(`no member ${token}`);
  }
  return value[token] as Json;
}

export function get(document: Json, pointer: string): Json {
  return tokens(pointer).reduce(child, document);
}

/* Copies with one member set; `__proto__` is a name as any other. */
function withMember(object: { [name: string]: Json }, name: string, value: Json): Json {
  const copy = { ...object };
  Object.defineProperty(copy, name, { value, enumerable: true, writable: true, configurable: true });
  return copy;
}

type Change = (parent: Json, token: string) => Json;

/* The document with the parent of what the pointer names replaced by what `change` makes of it. */
function edit(document: Json, path: string[], change: Change): Json {
  const token = path[0] as string;
  if (path.length === 1) {
    return change(document, token);
  }
  const below = edit(child(document, token), path.slice(1), change);
  if (Array.isArray(document)) {
    const copy = document.slice();
    copy[Number(token)] = below;
    return copy;
  }
  return withMember(document as { [name: string]: Json }, token, below);
}

function adding(value: Json): Change {
  return (parent, token) => {
    if (Array.isArray(parent)) {
      const copy = parent.slice();
      copy.splice(token === "-" ? parent.length : index(parent, token, parent.length), 0, value);
      return copy;
    }
    if (parent === null || typeof parent !== "object") {
      throw new Misfit("neither an object nor an array");
    }
    return withMember(parent, token, value);
  };
}

function replacing(value: Json): Change {
  return (parent, token) => {
    child(parent, token);
    if (Array.isArray(parent)) {
      const copy = parent.slice();
      copy[Number(token)] = value;
      return copy;
    }
    return withMember(parent as { [name: string]: Json }, token, value);
  };
}

const removing: Change = (parent, token) => {
  child(parent, token);
  if (Array.isArray(parent)) {
    const copy = parent.slice();
    copy.splice(Number(token), 1);
    return copy;
  }
  const copy = { ...(parent as { [name: string]: Json }) };
  delete copy[token];
  return copy;
};

function at(document: Json, pointer: string, change: Change, whole: () => Json): Json {
  const path = tokens(pointer);
  return path.length === 0 ? whole() : edit(document, path, change);
}

function add(document: Json, pointer: string, value: Json): Json {
  return at(document, pointer, adding(value), () => value);
}

function remove(document: Json, pointer: string): Json {
  return at(document, pointer, removing, () => {
    throw new Misfit("the whole document cannot be removed");
  });
}

function applyOne(document: Json, o: Operation): Json {
  switch (o.op) {
    case "add":
      return add(document, o.path, o.value);
    case "replace":
      return at(document, o.path, replacing(o.value), () => o.value);
    case "remove":
      return remove(document, o.path);
    case "copy":
      return add(document, o.path, get(document, o.from));
    case "move": {
      if (o.path.startsWith(o.from + "/")) {
        throw new Misfit("a value cannot be moved into itself");
      }
      const value = get(document, o.from);
      return add(remove(document, o.from), o.path, value);
    }
    case "test":
      if (!equal(get(document, o.path), o.value)) {
        throw new Misfit("the test failed");
      }
      return document;
    default:
      throw new Misfit("an operation that is not known");
  }
}

/** What the operations make of the document, which stays as it is. Throws PatchError: then none of them counts. */
export function apply(document: Json, operations: readonly Operation[]): Json {
  return operations.reduce<Json>((value, operation, i) => {
    try {
      return applyOne(value, operation);
    } catch (error) {
      throw error instanceof Misfit ? new PatchError(i, operation.path, error.message) : error;
    }
  }, document);
}

function diffArrays(a: Json[], b: Json[], path: string, ret: Operation[]): void {
  const common = Math.min(a.length, b.length);
  for (let i = 0; i < common; i++) {
    diffInto(a[i] as Json, b[i] as Json, `${path}/${i}`, ret);
  }
  for (let i = a.length - 1; i >= common; i--) {
    ret.push({ op: "remove", path: `${path}/${i}` });
  }
  for (let i = common; i < b.length; i++) {
    ret.push({ op: "add", path: `${path}/-`, value: b[i] as Json });
  }
}

/* What goes from the front or out of the middle is told as that: what others do to the elements behind it then stays theirs. */
function diffCut(a: Json[], b: Json[], path: string, ret: Operation[]): boolean {
  let head = 0, tail = 0;
  const common = Math.min(a.length, b.length);
  while (head < common && equal(a[head], b[head])) {
    head++;
  }
  while (tail < common - head && equal(a[a.length - 1 - tail], b[b.length - 1 - tail])) {
    tail++;
  }
  if (a.length === b.length || head + tail < common) {
    return false;
  }
  for (let i = a.length - tail - 1; i >= head; i--) {
    ret.push({ op: "remove", path: `${path}/${i}` });
  }
  for (let i = head; i < b.length - tail; i++) {
    ret.push({ op: "add", path: `${path}/${tail === 0 ? "-" : i}`, value: b[i] as Json });
  }
  return true;
}

function diffInto(a: Json, b: Json, path: string, ret: Operation[]): void {
  if (equal(a, b)) {
    return;
  }
  if (Array.isArray(a) && Array.isArray(b)) {
    if (!diffCut(a, b, path, ret)) {
      diffArrays(a, b, path, ret);
    }
  } else if (a && b && typeof a === "object" && typeof b === "object" && !Array.isArray(a) && !Array.isArray(b)) {
    for (const name of Object.keys(a)) {
      if (!has(b, name)) {
        ret.push({ op: "remove", path: `${path}/${escape(name)}` });
      }
    }
    for (const name of Object.keys(b)) {
      const below = `${path}/${escape(name)}`;
      if (has(a, name)) {
        diffInto(a[name] as Json, b[name] as Json, below, ret);
      } else {
        ret.push({ op: "add", path: below, value: b[name] as Json });
      }
    }
  } else {
    ret.push({ op: "replace", path, value: b });
  }
}

/** Operations, below `path`, that lead from `a` to `b`. */
export function diff(a: Json, b: Json, path = ""): Operation[] {
  const ret: Operation[] = [];
  diffInto(a, b, path, ret);
  return ret;
}
