#!/usr/bin/env bash
# Our client in nginx against a hand-written one: tests/bench/openresty.sh [--rounds N] [--seconds N]
# Measures with the server at $SOCKPROC_BIN, or else a release build.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lua/prepare
prepare luajit=luajit2 nginx=nginx /usr/lib/nginx/modules/ngx_http_lua_module.so=libnginx-mod-http-lua \
    /usr/share/lua/5.1/resty/core.lua=lua-resty-core wrk=wrk python3=python3
make -s -C lua module CARGO='cargo --quiet' LUA=luajit MODULE="$MODULES/bench/sockproc_native.so"
SOCKPROC_LUA_MODULES=$MODULES/bench exec python3 tests/bench/openresty.py "$@"
