local native = require("sockproc_native")
local sockproc = require("sockproc")
local t = require("harness")

--- Runs a program in another interpreter and returns its pid.
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

--- A directory that every user may enter and write to, with the server's binary in it: only root may be able
--- to enter the checkout.
local function open_place()
	local place = t.path("open")
	t.shell("mkdir " .. place .. " && chmod 777 " .. t.dir .. " " .. place)
	t.shell("cp " .. t.quote(t.binary) .. " " .. place .. "/sockproc")
	return place
end

--- Starts a server as the user `nobody`; returns its pid, or "".
local function nobodys_server(address)
	local binary = open_place() .. "/sockproc"
	local pid = t.shell(binary .. " serve --daemon --user=nobody --listen=" .. address .. " 2>/dev/null")
	t.at_end("kill " .. pid .. " 2>/dev/null")
	return pid
end

local IS_ROOT = native.user_id() == 0

if IS_ROOT then
	t.test("a server of another user is not taken for ours", function()
		local address = open_place() .. "/sock"
		nobodys_server(address)
		t.fails("refused", "is served by user ", sockproc.serve({ address = address, background = true }))
		local same = assert(sockproc.serve({ address = address, background = true, user = "nobody" }))
		t.equal(same.reused, true)
	end)

	t.test("a TCP port of another user is not taken for ours", function()
		local port
		t.poll("a free port", function()
			port = math.random(20000, 60000)
			return nobodys_server(port) ~= ""
		end)
		t.fails("refused", "is served by user ", sockproc.serve({ address = port, background = true }))
		t.equal(assert(sockproc.serve({ address = port, background = true, user = "nobody" })).reused, true)
	end)

	t.test("a server's user brings its groups, its HOME and an environment of its own", function()
		local place = open_place()
		local program = [[
			local server = assert(require("sockproc").serve({ address = %q, background = true, user = "nobody" }))
			io.write(server.pid)
		]]
		program = program:format(place .. "/sock")
		local path = t.path("program.lua")
		t.write(path, program)
		local pid =
			t.shell("SECRET=1 HOME=/root SOCKPROC_BIN=" .. place .. "/sockproc " .. t.interpreter .. " " .. path)
		t.at_end("kill " .. pid .. " 2>/dev/null")
		local said =
			assert(sockproc.run("id -un; id -G; echo $HOME $USER $SECRET", nil, { server = place .. "/sock" })).stdout
		t.equal(said, t.shell("echo nobody; id -G nobody; getent passwd nobody | cut -d: -f6") .. " nobody\n")
	end)
end

t.test("what is no server of ours is not taken for one", function()
	local fake = t.fake_server("cat >/dev/null & echo HTTP/1.1 400 Bad Request; echo")
	t.fails("refused", "is no sockproc server", sockproc.serve({ address = fake, background = true }))
end)

t.test("the server has the options of the command line", function()
	local options = { "listen", "daemon", "help" }
	for _, name in ipairs(require("sockproc.arguments").SERVER_OPTIONS) do
		options[#options + 1] = (name:gsub("_", "-"))
	end
	table.sort(options)
	-- A help text may name an option twice.
	local seen, helped = {}, {}
	for name in t.shell(t.quote(t.binary) .. " serve --help"):gmatch("%-%-([a-z-]+)") do
		if not seen[name] then
			seen[name] = true
			helped[#helped + 1] = name
		end
	end
	table.sort(helped)
	t.equal(table.concat(options, " "), table.concat(helped, " "))
end)

t.test("every option of the server is passed on", function()
	local address, pidfile = t.path("options.sock"), t.path("options.pid")
	local server = assert(sockproc.serve({
		address = address,
		background = true,
		mode = 640,
		owner = native.user_id(),
		pidfile = pidfile,
		classic_linger = 100,
		classic_on_disconnect = "kill",
		grace = 100,
		reply_memory = "1M",
		spill_dir = t.dir,
		max_spill = 4096,
		max_spill_total = 2 ^ 30,
		drain_timeout = 1,
	}))
	t.equal(t.read(pidfile), tostring(server.pid))
	t.equal(t.shell("stat -c %a " .. address), "640")
	local result = assert(sockproc.run("head -c 3000000 /dev/zero", nil, { server = address }))
	t.contains(result.stderr, "--max-spill")
	t.equal(server:stop(), true)
	local refused = { address = address, background = true, classic_on_disconnect = "nothing" }
	t.fails("connect", "neither finish nor kill", sockproc.serve(refused))
end)

t.test("a server that wants a token runs nothing for a client that has none to show", function()
	local address, token = "unix:" .. t.path("token.sock"), t.path("token")
	t.write(token, "secret")
	t.shell("chmod 640 " .. token)
	local options = { address = address, background = true, token_file = token }
	t.fails("connect", "chmod 600", sockproc.serve(options))
	t.shell("chmod 600 " .. token)
	local server = assert(sockproc.serve(options))
	local result = assert(sockproc.run("echo hi", nil, { server = address }))
	t.equal(result.status, 69 * 256)
	t.contains(result.stderr, "token")
	-- It is found to be a server of ours all the same.
	t.equal(assert(sockproc.serve(options)).reused, true)
	t.equal(server:stop(), true)
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

t.test("an address that cannot be listened on is an error that names it", function()
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
