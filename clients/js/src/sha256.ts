/**
 * SHA-256 (FIPS 180-4). `crypto.subtle` would do, but is not there on a page that was loaded without TLS, which is how a phone reaches a
 * laptop in one's own network, and answers later, when the next event may have been applied already.
 */

const K = new Uint32Array(64);
const START = new Uint32Array(8);

/* The constants are the first bits of the fractional parts of the roots of the first primes. */
(function fill() {
  const fraction = (x: number) => ((x - Math.floor(x)) * 0x100000000) | 0;
  for (let n = 2, found = 0; found < 64; n++) {
    let isPrime = true;
    for (let i = 2; i * i <= n; i++) {
      isPrime = isPrime && n % i !== 0;
    }
    if (isPrime) {
      if (found < 8) {
        START[found] = fraction(Math.sqrt(n));
      }
      K[found++] = fraction(Math.cbrt(n));
    }
  }
})();

function padded(text: string): DataView {
  const bytes = new TextEncoder().encode(text);
  const view = new DataView(new ArrayBuffer((((bytes.length + 8) >> 6) + 1) << 6));
  new Uint8Array(view.buffer).set(bytes);
  view.setUint8(bytes.length, 0x80);
  view.setUint32(view.byteLength - 8, Math.floor(bytes.length / 0x20000000));
  view.setUint32(view.byteLength - 4, bytes.length << 3);
  return view;
}

function rotate(x: number, n: number): number {
  return (x >>> n) | (x << (32 - n));
}

function compress(hash: Uint32Array, w: Uint32Array): void {
  for (let i = 16; i < 64; i++) {
    const a = w[i - 15]!, b = w[i - 2]!;
    const s0 = rotate(a, 7) ^ rotate(a, 18) ^ (a >>> 3);
    const s1 = rotate(b, 17) ^ rotate(b, 19) ^ (b >>> 10);
    w[i] = w[i - 16]! + s0 + w[i - 7]! + s1;
  }
  let [a, b, c, d, e, f, g, h] = hash as unknown as [number, number, number, number, number, number, number, number];
  for (let i = 0; i < 64; i++) {
    const t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + K[i]! + w[i]!;
    const t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  [a, b, c, d, e, f, g, h].forEach((x, i) => {
    hash[i] = hash[i]! + x;
  });
}

/** 64 hexadecimal digits, of the text in UTF-8. */
export function sha256(text: string): string {
  const view = padded(text), hash = START.slice(), w = new Uint32Array(64);
  for (let at = 0; at < view.byteLength; at += 64) {
    for (let i = 0; i < 16; i++) {
      w[i] = view.getUint32(at + 4 * i);
    }
    compress(hash, w);
  }
  return Array.from(hash, (x) => x.toString(16).padStart(8, "0")).join("");
}
