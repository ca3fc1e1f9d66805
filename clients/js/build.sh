#!/bin/sh
# Compiles src to dist/esm and dist/cjs, with types, in its folder or another one. The comments stand in the types, the indentation in src.
set -eu
cd "${1:-$(dirname "$0")}"
rm -rf dist
tsc -p . --emitDeclarationOnly
tsc -p . --removeComments --declaration false
tsc -p . --removeComments --declaration false --module commonjs --outDir dist/cjs
sed -i 's/^ *//' dist/esm/*.js dist/cjs/*.js
for types in dist/esm/*.d.ts; do
    cp "$types" dist/cjs/
done
echo '{"type":"module"}' >dist/esm/package.json
echo '{"type":"commonjs"}' >dist/cjs/package.json
