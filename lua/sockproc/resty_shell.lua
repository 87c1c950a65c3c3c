--- The calls of both libraries that are published as `resty.shell`, run by sockproc:
---
---     package.preload["resty.shell"] = function() return require("sockproc.resty_shell") end
---
--- `execute` is that of juce/lua-resty-shell, `run` that of openresty/lua-resty-shell.
local arguments = require("sockproc.arguments")
local client = require("sockproc.client")

local M = {
	_VERSION = "0.02",
	version = 0.03,
}

--- Where juce's library expects the daemon; $SOCKPROC_SOCKET is asked first.
local DEFAULT_SOCKET = "unix:/tmp/shell.sock"
local EXECUTE_TIMEOUT = 15000
--- The time that ngx.pipe waits for each of its operations.
local RUN_TIMEOUT = 10000
local RUN_MAX_SIZE = 128 * 1024
local LONGEST_TIMEOUT = 2147483647

--- Keeps the first bytes of each stream, and which stream had too many.
local Collector = {}
Collector.__index = Collector

local function collector(max_size)
	-- OpenResty's library reads one byte too many to know that there are too many, and returns it.
	return setmetatable({ max_size = max_size, keep = max_size + 1, stdout = {}, stderr = {} }, Collector)
end

function Collector:announced(stream, len)
	self.left = self.keep
	if len > self.max_size then
		self.too_much = self.too_much or stream
	end
	return true
end

function Collector:data(stream, bytes)
	if self.left > 0 then
		local parts = self[stream]
		parts[#parts + 1] = #bytes > self.left and bytes:sub(1, self.left) or bytes
		self.left = self.left - #bytes
	end
end

function Collector:text(stream)
	return table.concat(self[stream])
end

--- The address of a `socket` argument, unchecked: all that a cosocket can connect to is accepted.
local function address_of(socket)
	if type(socket) == "table" then
		local port = socket.host and tonumber(socket.port)
		if not port then
			error("socket table must have host and port keys", 3)
		end
		return { host = socket.host, port = port }
	end
	return socket and { host = socket } or arguments.default_server() or { host = DEFAULT_SOCKET }
end

--- A timeout as the originals take it: strings of digits and fractions are numbers too.
local function milliseconds(timeout)
	local number = tonumber(timeout)
	if not number or not (number >= 0 and number <= LONGEST_TIMEOUT) then
		error("bad timeout value " .. tostring(timeout), 3)
	end
	return math.floor(number)
end

--- A stdin as cosockets and ngx.pipe take it: tables of strings are joined. A table that cannot be joined is
--- returned as it is; its check refuses it later.
local function text_of(data)
	if type(data) ~= "table" then
		return data
	end
	local parts = {}
	for index, part in ipairs(data) do
		local text = text_of(part)
		if type(text) ~= "string" and type(text) ~= "number" then
			return text
		end
		parts[index] = text
	end
	return table.concat(parts)
end

--- The checked arguments. A mistake in them raises an error at the caller of `execute` or `run`.
local function request(name, cmd, stdin, timeout)
	local opts = { send_timeout = timeout, read_timeout = timeout }
	local checked, mistake = arguments.request(name, cmd, stdin, opts, client.RUN_OPTIONS)
	return checked or error(mistake, 3)
end

--- juce/lua-resty-shell: runs a shell command line.
---@param cmd string a CRLF at its end is removed
---@param args? {timeout?: number, data?: string|table, socket?: string|{host: string, port: integer}}
--- `timeout` in milliseconds; 0 is nginx's own
---@return integer status the raw wait status; -1 if the answer did not come, -2 if no server answers
---@return string? out nil if there is no answer
---@return string? err after -1 and -2 what went wrong
function M.execute(cmd, args)
	args = args or {}
	local server = address_of(args.socket)
	local timeout = milliseconds(args.timeout or EXECUTE_TIMEOUT)
	local line = type(cmd) == "string" and cmd:gsub("\r\n$", "") or cmd
	local checked = request("execute", line, text_of(args.data), timeout > 0 and timeout or nil)
	local sink = collector(math.huge)
	local result, reason, kind = client.new(server, {}):exchange(checked.cmd, checked.stdin, checked.opts, sink)
	if not result then
		return (kind == "connect" or kind == "phase") and -2 or -1, nil, reason
	end
	local out, err = sink:text("stdout"), sink:text("stderr")
	return result.status, out ~= "" and out or nil, err ~= "" and err or nil
end

--- openresty/lua-resty-shell: runs a shell command line, or words.
---@param cmd string|string[]
---@param stdin? string|table
---@param timeout? number milliseconds; 0 means for ever, 10,000 by default
---@param max_size? integer bytes of each stream; 128 KiB by default
---@return boolean? ok whether the exit code is 0; nil if something went wrong
---@return string? stdout
---@return string? stderr
---@return string reason "exit", "signal", or what went wrong
---@return integer? status the exit code or the signal
function M.run(cmd, stdin, timeout, max_size)
	timeout = milliseconds(timeout or RUN_TIMEOUT)
	if type(cmd) == "string" and cmd:find("\r\n", 1, true) then
		-- A classic command line cannot hold CRLF, but a word can.
		cmd = { "/bin/sh", "-c", cmd }
	end
	local checked = request("run", cmd, text_of(stdin), timeout > 0 and timeout or LONGEST_TIMEOUT)
	local sink = collector(max_size or RUN_MAX_SIZE)
	local one_off = client.new(address_of(nil), {})
	local result, reason, kind = one_off:exchange(checked.cmd, checked.stdin, checked.opts, sink)
	if kind == "connect" or kind == "phase" then
		return nil, nil, nil, "failed to spawn: " .. reason
	end
	local stdout, stderr = sink:text("stdout"), sink:text("stderr")
	if not result then
		return nil, stdout, stderr, "failed to wait for process: " .. reason
	elseif sink.too_much then
		return nil, stdout, stderr, "failed to read " .. sink.too_much .. ": too much data"
	elseif result.signal then
		return false, stdout, stderr, "signal", result.signal
	elseif result.code then
		return result.code == 0, stdout, stderr, "exit", result.code
	end
	return nil, stdout, stderr, "failed to wait for process: unknown wait status " .. result.status
end

return M
