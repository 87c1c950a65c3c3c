local native = require("sockproc_native")
local sockproc = require("sockproc")
local t = require("harness")

local server = t.server()
local client = assert(sockproc.client({ server = server }))

--- The answer of a fake server that reads the two lines of a request and then says `reply`.
local function after_request(reply)
	return "read -r command; read -r count; printf '" .. reply .. "'"
end

t.test("a result has the wait status, exit code, signal and both streams", function()
	local result = assert(client:run("echo out; echo err >&2; exit 3"))
	t.equal(result.status, 768)
	t.equal(result.code, 3)
	t.equal(result.signal, nil)
	t.equal(result.stdout, "out\n")
	t.equal(result.stderr, "err\n")
	result = assert(client:run("kill -9 $$"))
	t.equal(result.status, 9)
	t.equal(result.code, nil)
	t.equal(result.signal, 9)
end)

t.test("run takes the server from its options, or else from the environment", function()
	t.equal(sockproc.run("echo hi", nil, { server = server }).stdout, "hi\n")
	local program = t.quote('io.write(require("sockproc").run("echo hi").stdout)')
	t.equal(t.shell("SOCKPROC_SOCKET=" .. server .. " " .. t.interpreter .. " -e " .. program), "hi")
	program = t.quote('print(require("sockproc").run("echo hi"))')
	local said = t.shell("SOCKPROC_SOCKET=70000 " .. t.interpreter .. " -e " .. program)
	t.contains(said, 'SOCKPROC_SOCKET (port "70000" is not')
end)

t.test("words reach the program as they are, without a shell between", function()
	local result = assert(client:run({ "printf", "[%s]", "a b", "", "it's", "$HOME", "*", "\n", "\255", 7 }))
	t.equal(result.stdout, "[a b][][it's][$HOME][*][\n][\255][7]")
	t.equal(
		assert(client:run({ "sh", "-c", "echo $0 $$; exec echo $$", "me" })).stdout:match("^me (%d+)\n%1\n$") ~= nil,
		true
	)
end)

t.test("an nginx whose module is too old is told which one will do", function()
	local program = [[
		ngx = { socket = { tcp = print }, config = { ngx_lua_version = 10013 } }
		print(select(2, pcall(require, "sockproc.transport")))
	]]
	local path = t.path("old.lua")
	t.write(path, program)
	t.contains(t.shell(t.interpreter .. " " .. path), "lua-nginx-module 0.10.14 or later")
end)

t.test("a word may hold CRLF", function()
	t.equal(assert(client:run({ "printf", "%s", "a\r\nb\r\n\r\n" })).stdout, "a\r\nb\r\n\r\n")
end)

t.test("20,000 words reach the program", function()
	local words = { "printf", "%s" }
	for n = 1, 20000 do
		words[#words + 1] = n % 10
	end
	local said = assert(client:run(words)).stdout
	t.equal(#said, 20000)
	t.equal(said:sub(1, 12), "123456789012")
end)

t.test("a file is stdin from its begin to its end", function()
	local path = t.path("body")
	local data = ("0123456789abcdef"):rep(100 * 1024)
	t.write(path, data)
	t.equal(assert(client:run("cat", nil, { stdin_file = path })).stdout == data, true)
	t.equal(assert(sockproc.run("wc -c", nil, { server = server, stdin_file = path })).stdout, #data .. "\n")
	t.write(path, "")
	t.equal(assert(client:run("cat", nil, { stdin_file = path })).stdout, "")
end)

t.test("a file that cannot be stdin is told before anything is sent", function()
	local unconnected = assert(sockproc.client({ server = "/nowhere" }))
	t.fails("stdin", "/nowhere/x: no such file", unconnected:run("cat", nil, { stdin_file = "/nowhere/x" }))
	t.fails("stdin", "/tmp: not a regular file", unconnected:run("cat", nil, { stdin_file = "/tmp" }))
	local fifo = t.path("fifo")
	t.shell("mkfifo " .. fifo)
	t.fails("stdin", "not a regular file", unconnected:run("cat", nil, { stdin_file = fifo }))
end)

t.test("a file that is shorter than it was is an error, not a short stdin", function()
	-- The kernel reports 4,096 bytes for each file in /sys, and returns fewer.
	local path, marker = "/sys/kernel/uevent_seqnum", t.path("marker")
	local command = "cat >" .. marker .. ".part; mv " .. marker .. ".part " .. marker
	t.fails("closed", "ended after", client:run(command, nil, { stdin_file = path }))
	t.equal(t.read(marker), nil)
end)

t.test("stdin and both streams carry every byte", function()
	local bytes = {}
	for byte = 0, 255 do
		bytes[#bytes + 1] = string.char(byte)
	end
	local all = table.concat(bytes):rep(100)
	local result = assert(client:run("tee /dev/stderr", all))
	t.equal(result.stdout, all)
	t.equal(result.stderr, all)
	t.equal(assert(client:run("cat", 12)).stdout, "12")
	t.equal(assert(client:run("cat", "")).stdout, "")
end)

t.test("8 MiB go through in both directions, and unread stdin is no error", function()
	local data = ("0123456789abcdef"):rep(512 * 1024)
	t.equal(assert(client:run("cat", data)).stdout == data, true)
	t.equal(assert(client:run("echo done", data)).stdout, "done\n")
end)

t.test("the same runs go over TCP", function()
	local pid, port
	for attempt = 1, 20 do
		port = 20000 + (tonumber(t.shell("echo $PPID")) * 7 + attempt * 101) % 30000
		local pidfile = t.path("tcp.pid")
		t.shell(t.quote(t.binary) .. " " .. port .. " " .. pidfile .. " 2>&1")
		pid = t.read(pidfile)
		if pid then
			break
		end
	end
	assert(pid, "no free port")
	local tcp = assert(sockproc.client({ server = port }))
	t.equal(assert(tcp:run("tr a-z A-Z", "hello")).stdout, "HELLO")
	t.equal(assert(sockproc.run("echo hi", nil, { server = "localhost:" .. port })).stdout, "hi\n")
	t.fails("timeout", "127.0.0.1:" .. port, tcp:run("sleep 20", nil, { timeout = 100 }))
	t.shell("kill " .. pid)
end)

t.test("an address without a server is a connect error that names it", function()
	t.fails(
		"connect",
		"unix:/nowhere/x: no such file or directory",
		sockproc.run("true", nil, { server = "/nowhere/x" })
	)
	local plain = t.path("plain")
	t.write(plain, "")
	t.fails("connect", plain .. ": connection refused", sockproc.run("true", nil, { server = plain }))
	t.fails("connect", "127.0.0.1:1: connection refused", sockproc.run("true", nil, { server = 1 }))
end)

t.test("an answer that does not come in time is a timeout", function()
	for _, option in ipairs({ "timeout", "read_timeout" }) do
		t.fails("timeout", "may have run", client:run("sleep 20", nil, { [option] = 50 }))
	end
	local patient = assert(sockproc.client({ server = server, timeout = 50, max_output = 2 }))
	t.fails("timeout", "", patient:run("sleep 20"))
	t.equal(assert(patient:run("sleep 0.2; echo 1", nil, { timeout = 30000 })).stdout, "1\n")
	t.fails("too_large", "2 bytes", patient:run("sleep 0.2; echo 12", nil, { timeout = 30000 }))
	local slow = assert(sockproc.client({ server = server, read_timeout = 30000 }))
	t.fails("timeout", "", slow:run("sleep 20", nil, { timeout = 50 }))
end)

t.test("a request that cannot be sent in time is a timeout", function()
	local deaf = t.fake_server("sleep 20")
	local data = ("x"):rep(8 * 1024 * 1024)
	t.fails("timeout", "", sockproc.run("cat", data, { server = deaf, send_timeout = 100 }))
end)

t.test("output past max_output is an error, both streams counted", function()
	t.equal(assert(client:run("printf abc; printf de >&2", nil, { max_output = 5 })).stdout, "abc")
	t.fails("too_large", "longer than 4 bytes", client:run("printf abc; printf de >&2", nil, { max_output = 4 }))
end)

t.test("a command that the protocol cannot carry is told, and nothing is sent", function()
	local nowhere = { server = "/nowhere/x" }
	t.fails("bad_request", "CRLF", sockproc.run("a\r\nb", nil, nowhere))
	t.fails("bad_request", "NUL", sockproc.run("a\0b", nil, nowhere))
	t.fails("bad_request", "NUL", sockproc.run({ "echo", "a\0b" }, nil, nowhere))
	t.fails("bad_request", "131071", sockproc.run(("x"):rep(131072), nil, nowhere))
end)

t.test("a server that answers garbage is a protocol error", function()
	for _, reply in ipairs({
		"HTTP/1.1 400 Bad Request\\r\\n",
		"status:no\\r\\n",
		"status:0\\r\\nx\\r\\n",
		"status:0\\r\\n3\\r\\nabc-1\\r\\n",
		"\\000\\377\\376",
		("x"):rep(500),
		"status:" .. ("0"):rep(500),
	}) do
		local address = t.fake_server(after_request(reply))
		t.fails("protocol", "not a sockproc server", sockproc.run("x", nil, { server = address }))
	end
end)

t.test("a server that answers nothing, or not all of it, is a lost connection", function()
	for _, reply in ipairs({
		"",
		"sta",
		"status:0\\r\\n",
		"status:0\\r\\n3\\r\\nab",
		"status:0\\r\\n0\\r\\n9999999999\\r\\nx",
	}) do
		local address = t.fake_server(after_request(reply))
		t.fails("closed", "may have run", sockproc.run("x", nil, { server = address }))
	end
end)

t.test("an announced length takes no memory before its bytes come", function()
	local address = t.fake_server(after_request("status:0\\r\\n18446744073709551615\\r\\nx"))
	t.fails("closed", "", sockproc.run("x", nil, { server = address }))
	t.fails("too_large", "", sockproc.run("x", nil, { server = address, max_output = 2 ^ 53 }))
end)

t.test("an answer that comes before all of stdin was sent counts", function()
	local address = t.fake_server("printf 'status:19200\\r\\n0\\r\\n15\\r\\nsockproc: busy\\n'; head -c 9 >/dev/null")
	local result = assert(sockproc.run("cat", ("x"):rep(4 * 1024 * 1024), { server = address }))
	t.equal(result.code, 75)
	t.equal(result.stderr, "sockproc: busy\n")
end)

t.test("a full backlog is waited for", function()
	local address, pid = t.fake_server(after_request("status:0\\r\\n2\\r\\nhi0\\r\\n"))
	t.shell("kill -STOP " .. pid)
	local fillers = { n = 0 }
	repeat
		fillers.n = fillers.n + 1
		fillers[fillers.n] = native.tcp()
		local ok, err = fillers[fillers.n]:connect(address)
	until not ok and err == "resource temporarily unavailable"
	t.fails("connect", "temporarily unavailable", sockproc.run("x", nil, { server = address, connect_timeout = 20 }))
	t.background("{ sleep 0.3; kill -CONT " .. pid .. "; }")
	t.equal(assert(sockproc.run("x", nil, { server = address })).stdout, "hi")
end)

for what, stdin in pairs({ ["a wait for the answer"] = 0, ["a wait for room to send"] = 20000000 }) do
	t.test("Ctrl-C ends " .. what, function()
		local started = t.path("started")
		local program = t.path("wait.lua")
		local code = 'require("sockproc").run("touch %s; exec sleep 60", ("x"):rep(%d), {server = %q})'
		t.write(program, code:format(started, stdin, server))
		local pid = t.background("exec " .. t.interpreter .. " " .. program)
		t.poll("the command's start", function()
			return t.read(started)
		end)
		t.shell("kill -INT " .. pid)
		t.poll("the interpreter's end", function()
			return not t.is_alive(pid)
		end)
		t.contains(t.read(t.dir .. "/log"), "interrupted!")
	end)
end

t.test("10,000 errors leave the descriptors as they were", function()
	local function descriptors()
		-- A finalizer runs one collection after its object was found dead.
		collectgarbage()
		collectgarbage()
		return tonumber(t.shell("ls /proc/$PPID/fd | wc -l"))
	end
	local before = descriptors()
	for _ = 1, 10000 do
		sockproc.run("true", nil, { server = "/nowhere/x" })
	end
	for _ = 1, 100 do
		assert(client:run("true"))
	end
	-- popen closes its end of the pipe some time after `ls` has started.
	t.poll("as few descriptors as before", function()
		return descriptors() <= before
	end)
end)
