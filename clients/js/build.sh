#!/bin/sh
# Compiles src to dist/esm and dist/cjs, with types, in its folder or another one. The comments stand in the types.
set -eu
cd "${1:-$(dirname "$0")}"
rm -rf dist
tsc -p . --emitDeclarationOnly
tsc -p . --removeComments --declaration false
tsc -p . --removeComments --declaration false --module commonjs --outDir dist/cjs
for types in dist/esm/*.d.ts; do
    cp "$types" dist/cjs/
done
echo '{"type":"module"}' >dist/esm/package.json
echo '{"type":"commonjs"}' >dist/cjs/package.json
