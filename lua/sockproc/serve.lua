--- Servers: this process becomes one, or starts one as a process of its own.
local native = require("sockproc_native")
local arguments = require("sockproc.arguments")
local transport = require("sockproc.transport")

---@class sockproc.ServeOptions
---@field address? string|integer where to listen; else $SOCKPROC_SOCKET
---@field background? boolean start a process of its own (in nginx always)
---@field user? string whom the background server runs as; its name or number
---@field allow_root? boolean in nginx: serve as root, so that workers can run commands as root

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

local OPTIONS = { address = true, background = true, user = true, allow_root = true }

--- How long a probe of a server's address may take.
local PROBE_TIMEOUT = 10000

--- Checks the options of `serve`; nil and what is wrong with them.
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
	if checked.user and not checked.background then
		return nil, what .. " (only a server in the background has a user of its own)"
	end
	return checked
end

local function exists(path)
	local file = io.open(path, "rb")
	return file ~= nil and file:close()
end

--- Where the `sockproc` binary is: $SOCKPROC_BIN, beside the native module, or on the PATH.
local function find_binary()
	local named = os.getenv("SOCKPROC_BIN")
	if named and named ~= "" then
		return named
	end
	for template in package.cpath:gmatch("[^;]+") do
		local module = template:gsub("%?", "sockproc_native")
		local directory = module:match("^.*/")
		if directory and exists(module) and exists(directory .. "sockproc") then
			return directory .. "sockproc"
		end
	end
	return "sockproc"
end

--- The address as the command line takes it, where digits are a port.
local function in_words(address)
	if address.port then
		return tostring(address.port)
	end
	local path = address.host:gsub("^unix:", "")
	return path:find("^/") and path or "./" .. path
end

--- Whether somebody listens; called where nginx has no cosockets, so with a socket of ours.
local function is_live(address)
	local sock = native.tcp()
	sock:settimeouts(PROBE_TIMEOUT, PROBE_TIMEOUT, PROBE_TIMEOUT)
	local ok, err = sock:connect(address.host, address.port)
	sock:close()
	-- A full backlog belongs to somebody who listens.
	return ok or err:find("temporarily unavailable", 1, true) ~= nil
end

local function server(address, pid)
	local self = { address = in_words(address), pid = pid, reused = pid == nil }
	if pid then
		self.process, self.obstacle = native.open_process(pid)
	end
	return setmetatable(self, Server)
end

local function start_in_background(address, opts)
	if is_live(address) then
		return server(address)
	end
	if transport.in_nginx and not opts.user and not opts.allow_root and native.user_id() == 0 then
		return nil,
			"refusing to serve as root: whoever reaches the server would be root; "
				.. "name a 'user', or give 'allow_root = true'",
			"refused"
	end
	local pid, err = native.launch(find_binary(), in_words(address), opts.user)
	if pid then
		return server(address, pid)
	end
	-- Another process may have been faster.
	if is_live(address) then
		return server(address)
	end
	return nil, "cannot serve " .. in_words(address) .. ": " .. err, "connect"
end

--- Starts a server with checked options. In the foreground this process becomes the server, so this
--- returns only when it cannot.
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
		return native.exec({ find_binary(), "serve", "--listen", in_words(address) })
	end
	if transport.in_nginx and ngx.get_phase() ~= "init" then
		return nil, "a server can be started in init_by_lua only: elsewhere it would block a worker", "phase"
	end
	return start_in_background(address, opts)
end

--- Ends the server: running commands still get their answers, nothing new is accepted. Waits until
--- it is gone, at most `timeout` milliseconds; call it again to wait on.
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
	if self.reused then
		return nil, "the server at " .. self.address .. " was there before: whoever started it ends it", "refused"
	end
	if not self.process then
		return nil, "cannot end process " .. self.pid .. ": " .. self.obstacle, "closed"
	end
	local ok, err, kind = true
	if not self.is_stopping then
		-- Once only: the server takes a second signal as an order to kill what still runs.
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
