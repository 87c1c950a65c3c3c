local sockproc = require("sockproc")
local t = require("harness")

package.preload["resty.shell"] = function()
	return require("sockproc.resty_shell")
end
local shell = require("resty.shell")

local server = t.server()

--- Packs a call's values, nils too.
local function values(...)
	return { n = select("#", ...), ... }
end

local function same(got, ...)
	local expected = values(...)
	for i = 1, math.max(expected.n, got.n) do
		t.equal(got[i], expected[i], "value " .. i)
	end
end

local function execute(cmd, data, timeout)
	return values(shell.execute(cmd, { socket = server, data = data, timeout = timeout }))
end

t.test("execute returns the raw wait status, and nil for an empty stream", function()
	same(execute("echo out; echo err >&2; exit 1"), 256, "out\n", "err\n")
	same(execute("true"), 0, nil, nil)
	same(execute("kill -9 $$"), 9, nil, nil)
	same(execute("tr a-z A-Z", "hello"), 0, "HELLO", nil)
end)

t.test("execute returns -2 without a server, and -1 when the answer does not come", function()
	same(values(shell.execute("true", { socket = "unix:/nowhere" })), -2, nil, "no such file or directory")
	same(values(shell.execute("true", { socket = { host = "127.0.0.1", port = "1" } })), -2, nil, "connection refused")
	same(execute("sleep 20", nil, 50), -1, nil, "timeout")
	local silent = t.fake_server("read -r command; read -r count")
	same(values(shell.execute("x", { socket = silent })), -1, nil, "closed")
	local garbage = t.fake_server("read -r command; read -r count; echo nonsense")
	local status, out, err = shell.execute("x", { socket = garbage })
	same(values(status, out), -1, nil)
	t.contains(err, "not a sockproc server")
end)

t.test("execute raises juce's error for a socket table without host or port", function()
	for _, socket in ipairs({ {}, { host = "x" }, { port = 1 }, { host = "x", port = "y" } }) do
		local ok, err = pcall(function()
			shell.execute("true", { socket = socket })
		end)
		t.equal(ok, false)
		t.contains(err, "resty_shell.lua:")
		t.contains(err, ": socket table must have host and port keys")
	end
end)

t.test("execute takes a table with host and port", function()
	local address = { host = "127.0.0.1", port = nil }
	for port = 40000 + math.random(9999), 60000 do
		local started = sockproc.serve({ address = port, background = true })
		if started and not started.reused then
			address.port = tostring(port)
			same(values(shell.execute("echo tcp", { socket = address })), 0, "tcp\n", nil)
			return started:stop()
		end
	end
	error("no free port")
end)

--- `run` and an `execute` without a socket go to $SOCKPROC_SOCKET, so another interpreter calls them.
local function said(call)
	local program = t.path("call.lua")
	t.write(
		program,
		'local shell = require("sockproc.resty_shell") local function show(...) for i = 1, select("#", ...) do '
			.. 'io.write("[", tostring((select(i, ...))), "]") end end show('
			.. call
			.. ")"
	)
	return t.shell("SOCKPROC_SOCKET=" .. server .. " " .. t.interpreter .. " " .. program .. " 2>&1")
end

t.test("run returns ok, both streams, and how the command ended", function()
	t.equal(said([[shell.run("printf out; printf err >&2")]]), "[true][out][err][exit][0]")
	t.equal(said([[shell.run("exit 3")]]), "[false][][][exit][3]")
	t.equal(said([[shell.run("kill -9 $$")]]), "[false][][][signal][9]")
	t.equal(said([[shell.run({"tr", "a-z", "A-Z"}, "hello")]]), "[true][HELLO][][exit][0]")
	t.equal(said([[shell.execute("printf default")]]), "[0][default][nil]")
end)

t.test("run stops at max_size bytes of a stream, and keeps one more", function()
	t.equal(said([[shell.run("printf 1234", nil, nil, 4)]]), "[true][1234][][exit][0]")
	local cut = "[nil][12345][e][failed to read stdout: too much data]"
	t.equal(said([[shell.run("printf 1234567890; printf e >&2", nil, nil, 4)]]), cut)
	t.equal(
		said([[shell.run("printf 12345 >&2", nil, nil, 4)]]),
		"[nil][][12345][failed to read stderr: too much data]"
	)
	t.equal(said([[(select(4, shell.run("head -c 131072 /dev/zero")))]]), "[exit]")
	t.equal(said([[(select(4, shell.run("head -c 131073 /dev/zero")))]]), "[failed to read stdout: too much data]")
end)

t.test("run says what failed in OpenResty's words", function()
	t.equal(said([[shell.run("sleep 20", nil, 50)]]), "[nil][][][failed to wait for process: timeout]")
	t.contains(said([[shell.run("a\0b")]]), "[failed to wait for process: command holds a NUL")
	local kept = server
	server = "unix:/nowhere"
	t.equal(said([[shell.run("true")]]), "[nil][nil][nil][failed to spawn: no such file or directory]")
	server = kept
end)

t.test("misuse raises at the caller's line", function()
	for _, call in ipairs({ "shell.run()", "shell.run({})", "shell.execute(nil)", [[shell.run("x", true)]] }) do
		t.contains(said(call), "call.lua:1: bad argument '")
	end
	t.contains(said([[shell.run("x", nil, "soon")]]), "call.lua:1: bad timeout value soon")
	t.contains(said([[shell.execute("x", {timeout = -1})]]), "call.lua:1: bad timeout value -1")
	t.contains(said([[shell.execute("x", {timeout = 2^31})]]), "call.lua:1: bad timeout value")
	t.contains(said([[shell.execute("x", {data = {"a", {true}}})]]), "call.lua:1: bad argument 'stdin' of 'execute'")
	t.contains(said([[shell.execute("x", {socket = {}})]]), "call.lua:1: socket table must have host and port keys")
end)

t.test("timeouts may be strings of digits, fractions and 0, as in the originals", function()
	t.equal(said([[shell.execute("printf a", {timeout = "5000"})]]), "[0][a][nil]")
	t.equal(said([[shell.execute("printf a", {timeout = 5000.7})]]), "[0][a][nil]")
	t.equal(said([[shell.execute("sleep 0.2; printf a", {timeout = 0})]]), "[0][a][nil]")
	t.equal(said([[shell.run("sleep 0.2; printf a", nil, 0)]]), "[true][a][][exit][0]")
	t.equal(said([[shell.run("printf a", nil, 5000.5)]]), "[true][a][][exit][0]")
	t.equal(said([[shell.run("sleep 20", nil, 50.5)]]), "[nil][][][failed to wait for process: timeout]")
end)

t.test("stdin may be a table of strings and numbers", function()
	t.equal(said([[shell.run("cat", {"a", 1, "b"})]]), "[true][a1b][][exit][0]")
	t.equal(said([[shell.run("cat", {})]]), "[true][][][exit][0]")
	t.equal(said([[shell.execute("cat", {data = {"a", {1, "b"}}})]]), "[0][a1b][nil]")
	t.equal(said([[shell.execute("cat", {data = 5})]]), "[0][5][nil]")
end)

t.test("a command may end with CRLF: execute ends there, run hands it to the shell", function()
	t.equal(said([[shell.execute("printf a\r\n")]]), "[0][a][nil]")
	t.equal(said([[shell.run("printf %s a\r\nprintf b")]]), "[true][a\rb][][exit][0]")
end)
