/** JSON values, and their canonical form (RFC 8785), over which a session's checksum is made. */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/**
 * RFC 8785: ECMAScript prints numbers and strings as it asks for; members are sorted by their UTF-16 code units, which is how
 * JavaScript compares strings.
 */
export function canonical(value: Json): string {
  if (value === null || typeof value !== "object") {
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) {
    return "[" + value.map(canonical).join(",") + "]";
  }
  const members = Object.keys(value).sort().map((name) => JSON.stringify(name) + ":" + canonical(value[name] as Json));
  return "{" + members.join(",") + "}";
}

/** As JSON Patch's `test` compares: the order of members does not count. */
export function equal(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) {
    return true;
  }
  if (a === null || b === null || typeof a !== "object" || typeof b !== "object") {
    return false;
  }
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, i) => equal(item, b[i]));
  }
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => has(b, name) && equal(a[name], b[name]));
}

/** Own members only: a document may have one that is called `toString`. */
export function has(object: object, name: string): boolean {
  return Object.prototype.hasOwnProperty.call(object, name);
}
