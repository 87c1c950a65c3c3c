--- The native module by itself: wrong arguments of any kind are errors that Lua code can handle.
local native = require("sockproc_native")
local t = require("harness")

local unpack = rawget(_G, "unpack") or rawget(table, "unpack")

local function every_wrong_value()
	return {
		true,
		false,
		0 / 0,
		-1,
		2.5,
		1e300,
		"",
		"x",
		{},
		{ {} },
		print,
		io.stdout,
		coroutine.create(function() end),
	}
end

--- Calls with every wrong value at every place. Each call must return, and never an mlua userdata.
local function survive(what, call, places)
	for place = 1, places do
		for _, value in ipairs(every_wrong_value()) do
			local arguments = {}
			for i = 1, places do
				arguments[i] = i == place and value or "1"
			end
			local results = { pcall(call, unpack(arguments, 1, places)) }
			t.equal(results[1], true, what .. " raised")
			if results[2] == nil then
				t.equal(type(results[3]), "string", what)
				t.equal(type(results[4]), "string", what)
			end
		end
	end
	t.equal((pcall(call)), true, what .. " without arguments raised")
end

t.test("a panic is an error", function()
	t.fails("protocol", "sockproc_native.panic panicked: asked to panic", native.panic())
	t.fails("protocol", "panicked", native.panic("again"))
end)

t.test("no function raises, with any arguments", function()
	-- `exec`, `sleep` and `launch` would really do what the arguments say.
	for _, name in ipairs({ "session", "backlog_full", "parse_address", "tcp", "open_process", "user_id" }) do
		survive(name, native[name], 3)
	end
end)

t.test("no method raises, with any self and any arguments", function()
	local process = native.open_process(t.shell("echo $PPID"))
	local objects = {
		{ native.session(), { "send_run", "send_stdin", "receive_data", "receive_eof", "next_event" } },
		{ native.tcp(), { "settimeouts", "connect", "send", "receiveany", "close", "abort" } },
		{ process, {} },
	}
	for _, object in ipairs(objects) do
		local self, names = object[1], object[2]
		for _, name in ipairs(names) do
			survive(name, self[name], 4)
			survive(name, function(...)
				return self[name](self, ...)
			end, 3)
			t.fails("misuse", "#1", self[name](native.tcp == self and native.session() or io.stdout))
		end
	end
	t.fails("misuse", "#1", native.session().next_event(native.tcp()))
	t.fails("misuse", "#1", native.tcp().send(native.session(), "x"))
end)

t.test("the objects fail as any other object does", function()
	for _, object in ipairs({ native.session(), native.tcp() }) do
		t.equal(object.nothing, nil)
		for _, misuse in ipairs({
			function()
				object.field = 1
			end,
			function()
				return object + 1
			end,
			function()
				return object()
			end,
			function()
				return #object
			end,
			function()
				return object.x.y
			end,
		}) do
			local ok, err = pcall(misuse)
			t.equal(ok, false)
			t.equal(type(err), "string")
		end
		t.equal(type(tostring(object)), "string")
	end
end)

t.test("nothing but the debug library reaches a finalizer", function()
	t.equal(getmetatable(native.session()), false)
	t.equal(getmetatable(native.tcp()), false)
end)

t.test("a session speaks the classic protocol", function()
	local session = native.session()
	t.equal(session:next_event(), false)
	t.equal(session:send_run("cat", 5), "cat\r\n5\r\n")
	t.equal(session:send_stdin("a\0b"), "a\0b")
	session:receive_data("status:256\r\n3\r\na")
	local event, stream, value = session:next_event()
	t.equal(event .. stream .. value, "announcedstdout3")
	t.equal(select(3, session:next_event()), "a")
	t.equal(session:next_event(), false)
	session:receive_data("\0b0\r\n")
	t.equal(select(3, session:next_event()), "\0b")
	t.equal(select(2, session:next_event()), "stderr")
	local exited, status, code, signal = session:next_event()
	t.equal(exited, "exited")
	t.equal(status, 256)
	t.equal(code, 1)
	t.equal(signal, nil)
	t.equal(session:next_event(), false)
end)

t.test("a session reports its caller's mistakes and the peer's by their kinds", function()
	t.fails(
		"misuse",
		"announced 2",
		(function()
			local session = native.session()
			session:send_run("x", 2)
			return session:send_stdin("abc")
		end)()
	)
	t.fails("bad_request", "CRLF at byte 1", native.session():send_run("a\r\nb", 0))
	t.fails("bad_request", "NUL at byte 1", native.session():send_run("a\0b", 0))
	t.fails("bad_request", "131071", native.session():send_run(("x"):rep(131072), 0))
	for wire, expected in pairs({
		["HTTP/1.1 400"] = "not a sockproc server",
		["status:x\r\n"] = "not a sockproc server",
		["status:0\r\n-1\r\n"] = "not a sockproc server",
		["\0\255"] = "not a sockproc server",
	}) do
		local session = native.session()
		session:send_run("x", 0)
		session:receive_data(wire)
		t.fails("protocol", expected, session:next_event())
	end
	local session = native.session()
	session:send_run("x", 0)
	session:receive_eof()
	t.fails("closed", "ended before", session:next_event())
end)

t.test("an address is a socket's path or a loopback port", function()
	t.equal(native.parse_address("/run/x"), "unix:/run/x")
	t.equal(native.parse_address("unix:x y"), "unix:x y")
	local host, port = native.parse_address(13000)
	t.equal(host, "127.0.0.1")
	t.equal(port, 13000)
	for _, text in ipairs({ "", "0", "70000", "10.0.0.1:80", ("x"):rep(108), "a\0b" }) do
		t.fails("misuse", "", native.parse_address(text))
	end
end)

t.test("words are quoted for the shell", function()
	local function sent(words)
		return native.session():send_run(words, 0)
	end
	t.equal(sent({ "echo", "it's", "", 1 }), [[exec 'echo' 'it'\''s' '' '1']] .. "\r\n0\r\n")
	t.fails("misuse", "empty", sent({}))
	t.fails("bad_request", "NUL", sent({ "echo", "\0" }))
	t.equal(sent({ "a\r\nb" }), "exec 'a\r''\nb'\r\n0\r\n")
	t.fails("bad_request", "dash", sent({ "-x" }))
end)

t.test("a socket that is not connected is closed", function()
	t.fails("closed", "closed", native.tcp():send("x"))
	t.fails("closed", "closed", native.tcp():receiveany(1))
	t.fails("misuse", "0", native.tcp():receiveany(0))
	t.equal(native.tcp():close(), true)
end)
