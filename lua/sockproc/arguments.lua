--- Checks the arguments of callers. A check returns the value, or nil and a message: the caller of the
--- check raises that message at its own caller's line.
local native = require("sockproc_native")

local M = {}

--- The longest timeout that cosockets take.
local MAX_MS = 2147483647

---@class sockproc.Address
---@field host string A host, or `unix:` and a path.
---@field port? integer

--- `what` is the argument's place, such as "bad argument 'cmd' of 'run'".
local function wrong(what, expected, value)
	return what .. " (" .. expected .. " expected, got " .. (value == nil and "no value" or type(value)) .. ")"
end

--- Strings, and numbers as Lua's own functions take them.
local function is_text(value)
	return type(value) == "string" or type(value) == "number"
end

--- The number of words, nils included: `#` may stop at any nil (LuaJIT's does). A table of `table.pack`
--- has its length. The second value is a key that is not the place of a word.
local function word_count(words)
	local count = 0
	for key in pairs(words) do
		if type(key) == "number" and key >= 1 and key % 1 == 0 then
			count = count + 1
		elseif key ~= "n" then
			return nil, key
		end
	end
	return type(words.n) == "number" and words.n or count
end

--- A line for the shell, or a sequence of words, which no shell changes.
local function command(what, cmd)
	if is_text(cmd) then
		return tostring(cmd)
	end
	if type(cmd) ~= "table" then
		return nil, wrong(what, "string or sequence of strings", cmd)
	end
	local count, stray = word_count(cmd)
	if stray then
		return nil, what .. " ('" .. tostring(stray) .. "' is the place of no word)"
	end
	if count == 0 then
		return nil, what .. " (argv is empty)"
	end
	for index = 1, count do
		if not is_text(cmd[index]) then
			return nil, wrong(what .. ", word " .. index, "string", cmd[index])
		end
	end
	return cmd
end

---@return sockproc.Address?, string?
local function address(what, value)
	if not is_text(value) then
		return nil, wrong(what, "address", value)
	end
	local host, port = native.parse_address(value)
	if not host then
		return nil, what .. " (" .. port .. ")"
	end
	return { host = host, port = port }
end

local function count(most)
	return function(what, value)
		if type(value) ~= "number" then
			return nil, wrong(what, "number", value)
		end
		-- Written so that NaN is refused too.
		if not (value >= 1 and value <= most) or value % 1 ~= 0 then
			return nil, what .. " (" .. value .. " is no whole number from 1 to " .. most .. ")"
		end
		return value
	end
end

--- Values that the server's command line takes and checks.
local function word(what, value)
	if not is_text(value) then
		return nil, wrong(what, "string or number", value)
	end
	-- Not "10.0", as Lua 5.3 prints a float.
	return type(value) == "number" and value % 1 == 0 and ("%.0f"):format(value) or tostring(value)
end

local function of_type(name)
	return function(what, value)
		if type(value) ~= name then
			return nil, wrong(what, name, value)
		end
		return value
	end
end

local OPTIONS = {
	address = address,
	server = address,
	timeout = count(MAX_MS),
	connect_timeout = count(MAX_MS),
	send_timeout = count(MAX_MS),
	read_timeout = count(MAX_MS),
	max_output = count(2 ^ 53),
	background = of_type("boolean"),
	allow_root = of_type("boolean"),
	stdin_file = of_type("string"),
}

--- The options of `sockproc serve`, except `--listen` and `--daemon`.
M.SERVER_OPTIONS = {
	"cgroup",
	"classic_linger",
	"classic_on_disconnect",
	"drain_timeout",
	"grace",
	"log",
	"max_queue",
	"max_spill",
	"max_spill_total",
	"mode",
	"owner",
	"pidfile",
	"reply_memory",
	"spill_dir",
	"token_file",
	"user",
}
for _, name in ipairs(M.SERVER_OPTIONS) do
	OPTIONS[name] = word
end

--- The checked options of a call; `allowed` is the set of their names. A `timeout` is replaced by the three
--- timeouts that it stands for, so that a call's `timeout` overrides all of its client's.
---@return table?, string?
function M.options(what, opts, allowed)
	if opts ~= nil and type(opts) ~= "table" then
		return nil, wrong(what, "table", opts)
	end
	local checked = {}
	for name, value in pairs(opts or {}) do
		if not allowed[name] then
			return nil, what .. " (unknown option '" .. tostring(name) .. "')"
		end
		local mistake
		checked[name], mistake = OPTIONS[name](what .. ", option '" .. name .. "'", value)
		if mistake then
			return nil, mistake
		end
	end
	for _, name in ipairs({ "connect_timeout", "send_timeout", "read_timeout" }) do
		checked[name] = checked[name] or checked.timeout
	end
	checked.timeout = nil
	return checked
end

--- The arguments of `run`, which its caller knows as `name`.
---@return table?, string?
function M.request(name, cmd, stdin, opts, allowed)
	local what = "' of '" .. name .. "'"
	local request = {}
	local mistake
	request.cmd, mistake = command("bad argument 'cmd" .. what, cmd)
	if mistake then
		return nil, mistake
	end
	if stdin ~= nil and not is_text(stdin) then
		return nil, wrong("bad argument 'stdin" .. what, "string", stdin)
	end
	request.stdin = stdin == nil and "" or tostring(stdin)
	request.opts, mistake = M.options("bad argument 'opts" .. what, opts, allowed)
	if mistake then
		return nil, mistake
	end
	if stdin ~= nil and request.opts.stdin_file then
		return nil, "bad argument 'stdin" .. what .. " (there is a 'stdin_file' too)"
	end
	return request
end

--- The server that the environment names, or nil and the reason; true behind that if it names nothing.
---@return sockproc.Address?, string?, boolean?
function M.default_server()
	local value = os.getenv("SOCKPROC_SOCKET")
	if not value or value == "" then
		return nil, "no server: give one as option 'server' or set SOCKPROC_SOCKET", true
	end
	return address("SOCKPROC_SOCKET", value)
end

return M
