--- Tests without a dependency: `LUA harness.lua SUITE`, where a suite is a file that calls `t.test`.
--- The environment says where to work (TEST_DIR) and which server to test (SOCKPROC_BIN).
local native = require("sockproc_native")

local t = {
	dir = assert(os.getenv("TEST_DIR"), "TEST_DIR is not set"),
	binary = assert(os.getenv("SOCKPROC_BIN"), "SOCKPROC_BIN is not set"),
	--- The interpreter that runs this, for tests that start another.
	interpreter = arg[-1],
}

-- Another copy of this may run. The address of a table differs from process to process.
math.randomseed(tonumber(tostring(t):match("0x(%x+)"), 16) % 2147483647)

--- How many milliseconds to wait for an event that must come.
local PATIENCE = 30000

local tests, at_end = {}, {}
local count = 0

--- Declares a test. Its name is the fact that it proves.
function t.test(name, body)
	tests[#tests + 1] = { name = name, body = body }
end

local function show(value)
	return type(value) == "string" and ("%q"):format(#value > 200 and value:sub(1, 200) .. "..." or value)
		or tostring(value)
end

--- A shell command to run when all tests are over, passed or not.
function t.at_end(command)
	at_end[#at_end + 1] = command
end

function t.equal(got, expected, what)
	if got ~= expected then
		error((what and what .. ": " or "") .. "expected " .. show(expected) .. ", got " .. show(got), 2)
	end
end

--- Checks that `text` is a string that contains `part`.
function t.contains(text, part)
	if type(text) ~= "string" or not text:find(part, 1, true) then
		error("expected a string with " .. show(part) .. ", got " .. show(text), 2)
	end
end

--- Checks that a call returned `nil, message, kind`, and that the message contains `part`.
function t.fails(kind, part, value, message, got_kind)
	t.equal(value, nil, message)
	t.equal(type(message), "string")
	t.equal(got_kind, kind, message)
	t.contains(message, part)
end

--- Waits until `condition` returns a true value, and returns that.
function t.poll(what, condition)
	for _ = 1, PATIENCE / 10 do
		local value = condition()
		if value then
			return value
		end
		native.sleep(10)
	end
	error("never came: " .. what, 2)
end

function t.quote(text)
	return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- A path that no other test uses.
function t.path(name)
	count = count + 1
	return t.dir .. "/" .. count .. "-" .. name
end

function t.read(path)
	local file = io.open(path, "rb")
	local content = file and file:read("*a")
	if file then
		file:close()
	end
	return content
end

function t.write(path, content)
	local file = assert(io.open(path, "wb"))
	file:write(content)
	file:close()
end

--- The output of a shell command, without the last newline.
function t.shell(command)
	local pipe = assert(io.popen(command))
	local said = pipe:read("*a")
	pipe:close()
	return (said:gsub("\n$", ""))
end

--- Starts a shell command in the background and returns its pid; it is killed at the end.
function t.background(command)
	local pid = t.shell(command .. " </dev/null >>" .. t.dir .. "/log 2>&1 & echo $!")
	t.at_end("kill -9 " .. pid .. " 2>/dev/null")
	return pid
end

--- Whether any thread of a process is left: a killed one holds its sockets until the last has ended. A
--- zombie is dead.
function t.is_alive(pid)
	for line in t.shell("cat /proc/" .. pid .. "/task/*/stat 2>/dev/null"):gmatch("[^\n]+") do
		if not line:find("^%d+ %b() [ZX]") then
			return true
		end
	end
	return false
end

--- Starts a server that lives until the end. Returns its address and pid.
function t.server()
	local socket, pidfile = t.path("server.sock"), t.path("server.pid")
	t.shell(t.quote(t.binary) .. " " .. socket .. " " .. pidfile)
	local pid = assert(t.read(pidfile), "the server did not start")
	t.at_end("kill " .. pid .. " 2>/dev/null")
	return "unix:" .. socket, pid
end

--- Starts a server that does not speak the protocol: it runs a shell command for each connection. Returns its
--- address and pid.
function t.fake_server(command)
	local socket, script = t.path("fake.sock"), t.path("fake.sh")
	t.write(script, command)
	local pid = t.background("exec socat UNIX-LISTEN:" .. socket .. ",fork,backlog=1 EXEC:'sh " .. script .. "',nofork")
	t.poll("the fake server's socket", function()
		return native.tcp():connect("unix:" .. socket)
	end)
	return "unix:" .. socket, pid
end

local function run()
	local failed = 0
	for _, test in ipairs(tests) do
		local ok, err = xpcall(test.body, debug.traceback)
		if not ok then
			failed = failed + 1
			print("FAILED " .. test.name .. "\n  " .. tostring(err):gsub("\n", "\n  "))
		end
	end
	for _, command in ipairs(at_end) do
		os.execute(command)
	end
	print(#tests - failed .. " passed, " .. failed .. " failed")
	os.exit(failed == 0 and 0 or 1)
end

package.loaded.harness = t
dofile(arg[1])
run()
