--- Servers: this process becomes one, or starts one as a process of its own.
local native = require("sockproc_native")
local arguments = require("sockproc.arguments")
local binary = require("sockproc.binary")
local revival = require("sockproc.revival")
local transport = require("sockproc.transport")

---@class sockproc.ServeOptions These, and those of `sockproc serve` with underscores: see its `--help`.
---@field address? string|integer where to listen; default $SOCKPROC_SOCKET
---@field background? boolean start a process of its own (in nginx always)
---@field allow_root? boolean in nginx: serve as root, so that workers can run commands as root
---@field user? string|integer the user to serve as, with that user's groups and HOME and a clean environment
---@field mode? string|integer permission bits of the socket, in octal digits
---@field owner? string USER, USER:GROUP or :GROUP, of the socket
---@field pidfile? string
---@field log? string level of what a server in the foreground logs on stderr
---@field classic_linger? integer ms
---@field classic_on_disconnect? "finish"|"kill" default: "kill" in nginx, elsewhere "finish"
---@field grace? integer ms
---@field cgroup? string
---@field reply_memory? integer|string bytes
---@field spill_dir? string
---@field max_spill? integer|string bytes
---@field max_spill_total? integer|string bytes
---@field drain_timeout? integer seconds
---@field max_queue? integer requests that wait for room at once; default 4096
---@field token_file? string what clients must show; no client in Lua can

---@class sockproc.Server A server in the background. It outlives this object and this process.
---@field address string where it listens
---@field pid? integer nil if it was there before
---@field reused boolean whether it was there before
---@field private process? table
---@field private is_stopping? boolean
---@field private obstacle? string why there is no `process`
local Server = {}
Server.__index = Server

local M = {}

local OPTIONS = { address = true, background = true, allow_root = true }
for _, name in ipairs(arguments.SERVER_OPTIONS) do
	OPTIONS[name] = true
end

--- Checks the options of `serve`; returns nil and a message if one is wrong.
function M.options(opts)
	local what = "bad argument 'opts' of 'serve'"
	local checked, mistake = arguments.options(what, opts, OPTIONS)
	if not checked then
		return nil, mistake
	end
	if transport.in_nginx and checked.background == false then
		return nil, what .. " (nginx serves only in the background)"
	end
	checked.background = checked.background or transport.in_nginx
	if checked.log and checked.background then
		return nil, what .. " (a server in the background has nowhere to log to)"
	end
	if transport.in_nginx then
		-- A request that is given up must leave no command behind.
		checked.classic_on_disconnect = checked.classic_on_disconnect or "kill"
	end
	return checked
end

--- The address as the command line takes it, which reads digits as a port.
local function in_words(address)
	if address.port then
		return tostring(address.port)
	end
	local path = address.host:gsub("^unix:", "")
	return path:find("^/") and path or "./" .. path
end

--- The command line that serves as the options say.
local function command_line(address, opts)
	local words = { binary.find(), "serve", "--listen=" .. in_words(address) }
	for _, name in ipairs(arguments.SERVER_OPTIONS) do
		if opts[name] then
			words[#words + 1] = "--" .. name:gsub("_", "-") .. "=" .. opts[name]
		end
	end
	return words
end

--- Whether a server is there that runs as `user` or as root. Any other would get our commands and could
--- forge their results. It uses our own sockets, because nginx has no cosockets here.
---@return boolean? nil if another program is there
---@return string? err
---@return sockproc.Kind? kind
local function is_live(address, user)
	local place = in_words(address)
	local listener, err, kind = native.listener(place)
	if not listener then
		if kind == "connect" then
			return false
		end
		-- A server whose backlog stays full is there, but does not answer.
		kind = kind == "backlog" and "connect" or kind
		return nil, "cannot look at the server at " .. place .. ": " .. err, kind
	end
	if listener ~= 0 and listener ~= user then
		return nil, ("%s is served by user %d, not by user %d or root"):format(place, listener, user), "refused"
	end
	local ours, reason = native.answers(place)
	if not ours then
		return nil, "what listens at " .. place .. " is no sockproc server: " .. reason, "refused"
	end
	return true
end

local function server(address, pid)
	local self = { address = in_words(address), pid = pid, reused = pid == nil }
	if pid then
		self.process, self.obstacle = native.open_process(pid)
	end
	return setmetatable(self, Server)
end

--- Finds the server or starts it. Returns its pid, or false if it was there.
local function find_or_start(address, user, words)
	local live, reason, kind = is_live(address, user)
	if live == false then
		local pid, err = native.launch(words)
		if pid then
			return tonumber(pid)
		end
		-- Another process may have been faster.
		live, reason, kind = is_live(address, user)
		if live == false then
			return nil, "cannot serve " .. in_words(address) .. ": " .. err, "connect"
		end
	end
	if live then
		return false
	end
	return nil, reason, kind
end

local function start_in_background(address, opts)
	local user = native.user_id()
	if opts.user then
		local found, reason = native.find_user(opts.user)
		if not found then
			return nil, "cannot serve " .. in_words(address) .. ": " .. reason, "connect"
		end
		user = found
	elseif transport.in_nginx and not opts.allow_root and user == 0 then
		return nil,
			"refusing to serve as root: whoever reaches the server would be root; "
				.. "name a 'user', or give 'allow_root = true'",
			"refused"
	end
	local words = command_line(address, opts)
	words[#words + 1] = "--daemon"
	local pid, err, kind = find_or_start(address, user, words)
	if pid == nil then
		return nil, err, kind
	end
	if transport.in_nginx then
		revival.remember(address, words, user)
	end
	return server(address, pid or nil)
end

--- Starts a server with checked options. In the foreground this process becomes the server, so the call
--- returns only if that fails.
---@return sockproc.Server?, string?, sockproc.Kind?
function M.start(opts)
	local address, reason = opts.address
	if not address then
		address, reason = arguments.default_server()
		if not address then
			return nil, (reason:gsub("'server'", "'address'")), "connect"
		end
	end
	if not opts.background then
		return native.exec(command_line(address, opts))
	end
	if transport.would_block() then
		return nil, "a server can be started in init_by_lua only: elsewhere it would block a worker", "phase"
	end
	return start_in_background(address, opts)
end

--- Ends the server. Running commands are still answered, no new ones are accepted. Waits until the server
--- is gone, at most `timeout` milliseconds; call it again to wait longer.
---@param timeout? integer
---@return true?
---@return string? err
---@return sockproc.Kind? kind
function Server:stop(timeout)
	if getmetatable(self) ~= Server then
		error("bad self of 'stop' (call it as server:stop())", 2)
	end
	local checked, mistake = arguments.options(
		"bad argument 'timeout' of 'stop'",
		{ timeout = timeout },
		{ timeout = true }
	)
	if not checked then
		error(mistake, 2)
	end
	if transport.would_block() then
		return nil, "a server can be stopped in init_by_lua only: elsewhere it would block a worker", "phase"
	end
	if self.reused then
		return nil, "the server at " .. self.address .. " was there before: whoever started it ends it", "refused"
	end
	if not self.process then
		return nil, "cannot end process " .. self.pid .. ": " .. self.obstacle, "closed"
	end
	local ok, err, kind = true
	if not self.is_stopping then
		-- Only once: at a second signal the server kills what still runs.
		ok, err, kind = self.process:terminate()
		self.is_stopping = ok
	end
	while ok do
		ok, err, kind = self.process:wait(timeout)
		if ok then
			return true
		end
		ok = err == "interrupted"
	end
	return nil, err, kind
end

return M
