--- The client: one loop between a socket and a session, the same in nginx and in plain Lua.
local native = require("sockproc_native")
local arguments = require("sockproc.arguments")
local revival = require("sockproc.revival")
local stdin_of = require("sockproc.stdin")
local transport = require("sockproc.transport")

---@alias sockproc.Kind
---| "connect"     # nothing was sent: no server answers at the address
---| "bad_request" # nothing was sent: no server could run this command
---| "phase"       # nothing was sent: nginx cannot wait here
---| "stdin"       # nothing was sent: `stdin_file` cannot be read
---| "refused"     # nothing was started: it is not allowed
---| "timeout"     # no answer in time; the command may have run
---| "closed"      # the connection ended before the answer was complete; the command may have run
---| "protocol"    # the answer is not that of a sockproc server; the command may have run
---| "too_large"   # output past `max_output`; the command has run

---@class sockproc.Result How a command ended. A command that fails is not an error.
---@field status integer the raw wait status
---@field code? integer the exit code, unless a signal ended it
---@field signal? integer the signal that ended it
---@field stdout string
---@field stderr string

---@class sockproc.RunOptions
---@field timeout? integer milliseconds for each of connecting, sending and waiting for output
---@field connect_timeout? integer
---@field send_timeout? integer
---@field read_timeout? integer
---@field max_output? integer bytes of both streams together; more is an error
---@field stdin_file? string the path of a regular file, sent from its beginning as stdin

---@class sockproc.ClientOptions: sockproc.RunOptions
---@field server? string|integer `unix:/path`, `/path`, `host:port` or a port; default $SOCKPROC_SOCKET, or a helper

---@class sockproc.Client
---@field private server sockproc.Address
---@field private defaults sockproc.RunOptions
local Client = {}
Client.__index = Client

local RECEIVE = 65536
--- The default timeout for connecting, as that of cosockets.
local CONNECT_TIMEOUT = 60000
local LONGEST_PAUSE = 50

local M = {}

M.RUN_OPTIONS = {
	timeout = true,
	connect_timeout = true,
	send_timeout = true,
	read_timeout = true,
	max_output = true,
	stdin_file = true,
}

---@param server sockproc.Address
---@param defaults table checked options
---@return sockproc.Client
function M.new(server, defaults)
	return setmetatable({ server = server, defaults = defaults }, Client)
end

--- Keeps the output in memory, up to a limit.
local Collector = {}
Collector.__index = Collector

local function collector(max_output)
	return setmetatable({ left = max_output, max = max_output, stdout = {}, stderr = {} }, Collector)
end

--- The length of a stream is known. Any result but true gives the exchange up.
function Collector:announced(_, len)
	if self.left then
		self.left = self.left - len
		if self.left < 0 then
			return nil, "output is longer than " .. self.max .. " bytes", "too_large"
		end
	end
	return true
end

function Collector:data(stream, bytes)
	local parts = self[stream]
	parts[#parts + 1] = bytes
end

local function connect(server, opts)
	local sock = transport.tcp()
	local limit = opts.connect_timeout
	if limit or opts.send_timeout or opts.read_timeout then
		sock:settimeouts(limit, opts.send_timeout, opts.read_timeout)
	end
	local waited, pause = 0, 1
	while true do
		local ok, err, kind
		if server.is_helper then
			ok, err, kind = sock:connect_helper()
		elseif server.port then
			ok, err, kind = sock:connect(server.host, server.port)
		else
			ok, err, kind = sock:connect(server.host)
		end
		if ok then
			return sock
		end
		local may_come = transport.is_backlog_full(err, kind)
		if not may_come then
			may_come, err = revival.attempt(server, err, waited)
		end
		if not may_come or waited + pause > (limit or CONNECT_TIMEOUT) then
			return nil, err, kind == "lua" and kind or "connect"
		end
		transport.sleep(pause)
		waited, pause = waited + pause, math.min(2 * pause, LONGEST_PAUSE)
	end
end

--- A cosocket returns no kind. "lua" is the interpreter's own error inside the native module, such as that
--- of Ctrl-C's hook; it is raised again. "connect" is a private helper that has run nothing.
local function kind_of(err, kind)
	return (kind == "lua" or kind == "connect") and kind or err == "timeout" and "timeout" or "closed"
end

--- Passes the next bytes, or the end of file, to the session.
local function receive(sock, session)
	local data, err, kind = sock:receiveany(RECEIVE)
	if data then
		return session:receive_data(data)
	elseif err == "closed" then
		return session:receive_eof()
	elseif err == "interrupted" then
		-- Back in Lua the interpreter has handled the signal; go on.
		return true
	end
	return nil, err, kind_of(err, kind)
end

local function read_answer(sock, session, sink)
	while true do
		local event, a, b, c = session:next_event()
		local ok, err, kind = true
		if event == "exited" then
			return { status = a, code = b, signal = c }
		elseif event == "data" then
			sink:data(a, b)
		elseif event == "announced" then
			ok, err, kind = sink:announced(a, b)
		elseif event == false then
			ok, err, kind = receive(sock, session)
		else
			-- An early end is "closed", as cosockets say.
			ok, err, kind = nil, b == "closed" and b or a, b
		end
		if not ok then
			return nil, err, kind
		end
	end
end

--- Sends everything. Returns to Lua at each signal, as `receive` does.
local function send(sock, data)
	local sent, err, kind
	repeat
		sent, err, kind = sock:send(data)
	until err ~= "interrupted"
	return sent, err, kind
end

--- Sends the head and the whole stdin; the first piece goes together with the head.
local function send_request(sock, session, head, stdin)
	local pending, left = { head }, stdin.len
	repeat
		if left > 0 then
			local piece, reason = stdin:read()
			if not piece then
				return nil, reason, "source"
			end
			left = left - #piece
			pending[#pending + 1] = session:send_stdin(piece)
		end
		local sent, err, kind = send(sock, pending)
		if not sent then
			return nil, err, kind_of(err, kind)
		end
		pending = {}
	until left <= 0
	return true
end

local function converse(sock, session, head, stdin, sink)
	local sent, err, kind = send_request(sock, session, head, stdin)
	if not sent and kind ~= "closed" then
		return nil, err, kind == "source" and "closed" or kind
	end
	-- A server that does not read the whole request may have answered before it closed.
	local result, reason, why = read_answer(sock, session, sink)
	if not result and not sent and why == "closed" then
		reason = err
	end
	return result, reason, why
end

--- Connects and does the exchange. The arguments are checked.
local function exchange(server, cmd, stdin, opts, sink)
	local obstacle = transport.obstacle()
	if obstacle then
		return nil, obstacle, "phase"
	end
	local head, sock, source, err, kind
	local session = native.session()
	source, err, kind = stdin_of.open(stdin, opts.stdin_file)
	if source then
		head, err, kind = session:send_run(cmd, source.len)
	end
	if head then
		sock, err, kind = connect(server, opts)
	end
	if not sock then
		if source then
			source:close()
		end
		return nil, err, kind
	end
	local result
	result, err, kind = converse(sock, session, head, source, sink)
	source:close()
	-- Over TCP a plain close looks like a half-close; only our own socket can reset.
	if not result and sock.abort then
		sock:abort()
	else
		sock:close()
	end
	return result, err, kind
end

--- Runs one command; its arguments are checked. Returns `{status, code, signal}` with the output in `sink`, or
--- nil, the bare reason and its kind.
function Client:exchange(cmd, stdin, opts, sink)
	local result, err, kind = exchange(self.server, cmd, stdin, opts, sink)
	if kind == "lua" then
		error(err, 0)
	end
	return result, err, kind
end

local function explain(server, reason, kind)
	local place = server.port and (server.host .. ":" .. server.port) or server.host
	if kind == "connect" and server.is_helper then
		return reason
	elseif kind == "connect" then
		return "cannot connect to " .. place .. ": " .. reason
	elseif kind == "timeout" then
		return "no answer from " .. place .. " in time; the command may have run"
	elseif kind == "closed" then
		return "connection to " .. place .. " was lost (" .. reason .. "); the command may have run"
	end
	return reason
end

--- Runs a request that `arguments.request` has checked. Its options override the client's.
---@return sockproc.Result?, string?, sockproc.Kind?
function Client:perform(request)
	local opts = setmetatable(request.opts, { __index = self.defaults })
	local sink = collector(opts.max_output)
	local result, reason, kind = self:exchange(request.cmd, request.stdin, opts, sink)
	if not result then
		return nil, explain(self.server, reason, kind), kind
	end
	result.stdout, result.stderr = table.concat(sink.stdout), table.concat(sink.stderr)
	return result
end

--- Runs a command: a line for the shell, or a sequence of words, which no shell changes.
---@param cmd string|string[]
---@param stdin? string
---@param opts? sockproc.RunOptions
---@return sockproc.Result?
---@return string? err
---@return sockproc.Kind? kind
function Client:run(cmd, stdin, opts)
	if getmetatable(self) ~= Client then
		error("bad self of 'run' (call it as client:run(...))", 2)
	end
	local request, mistake = arguments.request("run", cmd, stdin, opts, M.RUN_OPTIONS)
	if not request then
		error(mistake, 2)
	end
	return self:perform(request)
end

return M
