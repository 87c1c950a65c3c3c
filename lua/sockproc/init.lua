--- Runs commands for programs that must not block or fork: a sockproc server runs them.
---
---     local sockproc = require("sockproc")
---     local result, err = sockproc.run("tr a-z A-Z", "hello", { server = "unix:/run/sockproc.sock" })
---     print(result and result.stdout or err) --> HELLO
local arguments = require("sockproc.arguments")
local client = require("sockproc.client")
local transport = require("sockproc.transport")

local M = {
	_VERSION = "0.1.0",
}

local ONE_OFF_OPTIONS, CLIENT_OPTIONS = { server = true }, { server = true }
for name in pairs(client.RUN_OPTIONS) do
	ONE_OFF_OPTIONS[name] = true
	-- A file is the stdin of one run.
	CLIENT_OPTIONS[name] = name ~= "stdin_file" or nil
end

--- A client of the server that the options or $SOCKPROC_SOCKET name, else of a private helper.
local function open(opts)
	local server = opts.server
	if not server then
		local reason, is_unset
		server, reason, is_unset = arguments.default_server()
		if is_unset then
			server, reason = transport.helper()
		end
		if not server then
			return nil, reason, "connect"
		end
	end
	return client.new(server, opts)
end

--- Runs a command: a line for the shell, or a sequence of words, which no shell changes.
--- A command that fails is a result. If there is no result, it returns nil, a message and its kind.
---@param cmd string|string[]
---@param stdin? string
---@param opts? sockproc.ClientOptions
---@return sockproc.Result?
---@return string? err
---@return sockproc.Kind? kind
function M.run(cmd, stdin, opts)
	local request, mistake = arguments.request("run", cmd, stdin, opts, ONE_OFF_OPTIONS)
	if not request then
		error(mistake, 2)
	end
	local one_off, err, kind = open(request.opts)
	if not one_off then
		return nil, err, kind
	end
	request.opts = { stdin_file = request.opts.stdin_file }
	return one_off:perform(request)
end

--- A client. Its options are the defaults of its runs.
---@param opts? sockproc.ClientOptions
---@return sockproc.Client?
---@return string? err
---@return sockproc.Kind? kind
function M.client(opts)
	local checked, mistake = arguments.options("bad argument 'opts' of 'client'", opts, CLIENT_OPTIONS)
	if not checked then
		error(mistake, 2)
	end
	return open(checked)
end

--- Starts a server: see `sockproc.ServeOptions`.
---@param opts? sockproc.ServeOptions
---@return sockproc.Server?
---@return string? err
---@return sockproc.Kind? kind
function M.serve(opts)
	local serve = require("sockproc.serve")
	local checked, mistake = serve.options(opts)
	if not checked then
		error(mistake, 2)
	end
	return serve.start(checked)
end

return M
