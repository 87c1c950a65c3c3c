--- What differs between nginx and plain Lua: the socket, the sleep, and where waiting is possible.
local native = require("sockproc_native")
local binary = require("sockproc.binary")

local ngx = rawget(_G, "ngx")

local M = {}

---@class sockproc.Socket The methods of a cosocket that the client uses.
---@field connect fun(self, name: string, port?: integer): boolean?, string?
---@field settimeouts fun(self, connect?: integer, send?: integer, read?: integer)
---@field send fun(self, data: string|string[]): integer?, string?
---@field receiveany fun(self, max: integer): string?, string?
---@field close fun(self)
---@field abort? fun(self)
---@field connect_helper? fun(self): boolean?, string?, string?

--- Whether this is nginx, where only cosockets may wait.
M.in_nginx = type(ngx) == "table" and type(ngx.socket) == "table" and ngx.socket.tcp ~= nil

--- What strerror(3) says of EAGAIN, which a connect to a full backlog fails with, as cosockets write it.
local BACKLOG_FULL = native.backlog_full()

--- Whether a connect failed only because the server's backlog is full: nothing was sent, so it may be tried
--- again. Our own socket tells by `kind`; a cosocket has no more than the kernel's text.
---@return boolean
function M.is_backlog_full(err, kind)
	return kind == "backlog" or (kind == nil and err == BACKLOG_FULL)
end

if not M.in_nginx then
	---@type fun(): sockproc.Socket
	M.tcp = native.tcp
	---@type fun(ms: integer)
	M.sleep = native.sleep

	--- The private helper of this process, which is started when the first command is run.
	---@return sockproc.Address?, string?
	function M.helper()
		native.set_helper(binary.find())
		return { host = "the private helper", is_helper = true }
	end

	--- The reason why no command can be run at this point, or nil.
	---@return string?
	function M.obstacle()
		return nil
	end

	--- Whether a call that blocks would delay requests.
	function M.would_block()
		return false
	end

	return M
end

-- 0.10.14 brought `receiveany`.
if ngx.config.ngx_lua_version < 10014 then
	error("sockproc needs lua-nginx-module 0.10.14 or later, as in OpenResty 1.15.8 and Debian 12", 0)
end

---@return sockproc.Socket
function M.tcp()
	return ngx.socket.tcp()
end

--- A worker must not wait for a start, and only a server of its own protects its requests from each other.
function M.helper()
	return nil,
		"no server: give one as option 'server' or set SOCKPROC_SOCKET; in nginx there is no private helper, "
			.. "start a server by serve() in init_by_lua"
end

function M.sleep(ms)
	ngx.sleep(ms / 1000)
end

--- The phases in which a plain nginx can wait, by their names in `ngx.get_phase()`. There are cosockets in
--- ssl_client_hello and ssl_session_fetch too, but only OpenResty's nginx, which is patched for it, can
--- wait there: Debian's ends the handshake.
local PHASES = {
	server_rewrite = true,
	rewrite = true,
	access = true,
	content = true,
	timer = true,
	ssl_cert = true,
}

--- What to do in phases where a timer that starts at once is no help.
local HINTS = {
	init = "nor can timers be started: use init_worker_by_lua, and ngx.timer.at(0, ...) there",
	exit_worker = "nor do timers start any more",
}

local function always()
	return true
end

--- A function that says whether the running coroutine may yield. nginx replaces the `coroutine`
--- table by one without `isyieldable`, so LuaJIT's own C function is asked.
local function yield_probe()
	local has_ffi, ffi = pcall(require, "ffi")
	if not has_ffi then
		return always
	end
	pcall(ffi.cdef, "int lua_isyieldable(void *L);")
	local found, isyieldable = pcall(function()
		return ffi.C.lua_isyieldable
	end)
	if not found then
		return always
	end
	return function()
		-- A coroutine prints as the address of its lua_State.
		local address = tostring(coroutine.running()):match("0x%x+")
		return not address or isyieldable(ffi.cast("void *", tonumber(address))) ~= 0
	end
end

local can_yield = yield_probe()

--- In init the master has no requests to serve.
function M.would_block()
	return ngx.get_phase() ~= "init"
end

function M.obstacle()
	local phase = ngx.get_phase()
	if not PHASES[phase] then
		local hint = HINTS[phase] or "use ngx.timer.at(0, ...)"
		return "no command can be run in the '" .. phase .. "' phase, cosockets are off there: " .. hint
	end
	if not can_yield() then
		return "no command can be run inside a C call, which cannot wait: in a callback of string.gsub or table.sort, "
			.. "or at a module's top level; run it outside, or use ngx.timer.at(0, ...)"
	end
end

return M
