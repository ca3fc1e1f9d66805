#!/bin/sh
# As clients/js/build.sh, after which it has to run.
set -eu
cd "$(dirname "$0")"
exec sh ../js/build.sh "$PWD"
