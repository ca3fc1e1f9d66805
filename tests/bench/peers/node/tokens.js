// Who asks: a verified JWT, kept by the verifier until it expires.
import { createVerifier } from 'fast-jwt';
import { config } from './config.js';

const CACHE_ENTRIES = 20_000;

const verify = createVerifier({
  key: config.jwtSecret,
  algorithms: ['HS256'],
  requiredClaims: ['sub', 'exp'],
  clockTolerance: 30_000,
  cache: CACHE_ENTRIES,
});

const SCHEME = 'Bearer ';

/** The claims, or null for a token that is missing or no good. */
export function claimsOf(request) {
  const header = request.headers.authorization;
  if (!header?.startsWith(SCHEME)) return null;
  try {
    return verify(header.slice(SCHEME.length));
  } catch {
    return null;
  }
}

export function mayRead(claims, userId) {
  return claims.sub === userId || (claims.scope?.includes('sessions:admin') ?? false);
}
