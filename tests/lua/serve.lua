local native = require("sockproc_native")
local sockproc = require("sockproc")
local t = require("harness")

--- Runs a program in another interpreter and gives its pid.
local function start(program, environment)
	local path = t.path("program.lua")
	t.write(path, program)
	return t.background((environment or "") .. " exec " .. t.interpreter .. " " .. path)
end

local function is_live(address)
	return native.tcp():connect(address)
end

local function background(address)
	local server = assert(sockproc.serve({ address = address, background = true }))
	t.at_end("kill " .. server.pid .. " 2>/dev/null")
	return server
end

t.test("a server in the background answers as soon as it is there, and stop ends it", function()
	local address = "unix:" .. t.path("background.sock")
	local server = background(address)
	t.equal(server.reused, false)
	t.equal(assert(sockproc.run("echo hi", nil, { server = address })).stdout, "hi\n")
	t.equal(server:stop(), true)
	t.equal(t.is_alive(server.pid), false)
	t.fails("connect", "no such file", sockproc.run("true", nil, { server = address }))
	t.equal(server:stop(), true, "stop again")
end)

t.test("a server in the background also listens on TCP", function()
	local server
	t.poll("a free port", function()
		local port = math.random(20000, 60000)
		if not native.tcp():connect("127.0.0.1", port) then
			server = sockproc.serve({ address = port, background = true })
			return server and not server.reused
		end
	end)
	t.equal(assert(sockproc.run("echo hi", nil, { server = server.address })).stdout, "hi\n")
	t.equal(server:stop(), true)
	t.equal(t.is_alive(server.pid), false)
end)

t.test("stop lets running commands answer, and says when it waited too long", function()
	local address = "unix:" .. t.path("draining.sock")
	local server = background(address)
	local go, done, started = t.path("go"), t.path("done"), t.path("started")
	local program = [[
		local result = require("sockproc").run(
			"touch %s; while ! [ -e %s ]; do sleep 0.05; done; echo late", nil, { server = %q })
		local file = io.open(%q, "w")
		file:write(result and result.stdout or "lost")
		file:close()
	]]
	start(program:format(started, go, address, done))
	t.poll("the command's start", function()
		return t.read(started)
	end)
	t.fails("timeout", "timeout", server:stop(100))
	t.write(go, "")
	t.equal(server:stop(), true)
	t.poll("the answer", function()
		return t.read(done) == "late\n"
	end)
end)

t.test("a live server is reused, and only its starter stops it", function()
	local address, pid = t.server()
	local server = assert(sockproc.serve({ address = address, background = true }))
	t.equal(server.reused, true)
	t.equal(server.pid, nil)
	t.fails("refused", "was there before", server:stop())
	t.equal(t.is_alive(pid), true)
end)

t.test("the address may come from the environment", function()
	local address = "unix:" .. t.path("environment.sock")
	start('assert(require("sockproc").serve({background = true}))', "SOCKPROC_SOCKET=" .. address)
	t.poll("the server", function()
		return is_live(address)
	end)
	local pid = assert(sockproc.run("echo $PPID", nil, { server = address })).stdout
	t.shell("kill " .. pid)
	local said = t.shell("unset SOCKPROC_SOCKET; " .. t.interpreter .. [[ -e 'print(require("sockproc").serve())']])
	t.contains(said, "no server: give one as option 'address' or set SOCKPROC_SOCKET\tconnect")
end)

t.test("serving where nobody can listen is an error that names the address", function()
	t.fails("connect", "/nowhere/x", sockproc.serve({ address = "/nowhere/x", background = true }))
	local plain = t.path("plain")
	t.write(plain, "precious")
	t.fails("connect", plain, sockproc.serve({ address = plain, background = true }))
	t.equal(t.read(plain), "precious")
end)

t.test("a binary that is not there or no server is an error that names it", function()
	local program = ("print(require('sockproc').serve({address = %q, background = true}))"):format(t.path("x.sock"))
	local function try(binary)
		return t.shell("SOCKPROC_BIN=" .. binary .. " " .. t.interpreter .. ' -e "' .. program:gsub('"', '\\"') .. '"')
	end
	t.contains(try("/nowhere/sockproc"), 'cannot start "/nowhere/sockproc": no such file or directory\tconnect')
	t.contains(try("/bin/false"), "cannot serve")
end)

for _, signal in ipairs({ "INT", "TERM" }) do
	t.test("a server in the foreground serves until SIG" .. signal, function()
		local address = t.path("foreground.sock")
		local pid = start(('print(require("sockproc").serve({address = %q}))'):format(address))
		t.poll("the server", function()
			return is_live("unix:" .. address)
		end)
		t.equal(assert(sockproc.run("echo $PPID", nil, { server = address })).stdout, pid .. "\n")
		t.shell("kill -" .. signal .. " " .. pid)
		t.poll("the server's end", function()
			return not t.is_alive(pid)
		end)
		t.equal(t.read(address), nil)
		t.fails("connect", "no such file", sockproc.run("true", nil, { server = address }))
	end)
end

t.test("a server in the background holds no descriptor of its starter's", function()
	local address, ready = "unix:" .. t.path("inherited.sock"), t.path("ready")
	-- The standard library opens files that programs inherit.
	local pid = start(([[
		local held = io.open(%q, "w")
		local server = assert(require("sockproc").serve({address = %q, background = true}))
		held:write(server.pid)
		held:flush()
		while true do end
	]]):format(ready, address))
	local server = t.poll("the server", function()
		local said = t.read(ready)
		return said and said ~= "" and said
	end)
	t.shell("kill -9 " .. pid)
	t.equal(t.shell("ls -l /proc/" .. server .. "/fd | grep -c ready"), "0")
	t.equal(assert(sockproc.run("ls /proc/self/fd | wc -l", nil, { server = address })).stdout:match("%d+"), "4")
	t.shell("kill " .. server)
end)
