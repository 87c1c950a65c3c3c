--- The private helper of a process that names no server.
local t = require("harness")

--- What a program of its own prints.
local function said_by(program, environment)
	local path = t.path("program.lua")
	t.write(path, 'local sockproc = require("sockproc")\n' .. program)
	return t.shell("env -u SOCKPROC_SOCKET " .. (environment or "") .. " " .. t.interpreter .. " " .. path .. " 2>&1")
end

t.test("nothing has to be started", function()
	local program = [[
		io.write(assert(sockproc.run("tr a-z A-Z", "hello")).stdout)
		local client = assert(sockproc.client({ timeout = 10000 }))
		io.write(assert(client:run({ "echo", "$HOME" })).stdout)
		io.write(assert(client:run("exit 3")).code)
	]]
	t.equal(said_by(program), "HELLO$HOME\n3")
	t.equal(said_by(program, "SOCKPROC_SOCKET="), "HELLO$HOME\n3")
end)

t.test("all runs of a process have one helper, which ends with it", function()
	local said = said_by([[
		print((assert(sockproc.run("echo $PPID")).stdout:gsub("%s", "")))
		print((assert(sockproc.run("echo $PPID")).stdout:gsub("%s", "")))
	]])
	local first, second = said:match("^(%d+)\n(%d+)$")
	t.equal(first, second, said)
	t.poll("the end of the helper", function()
		return not t.read("/proc/" .. first .. "/stat")
	end)
end)

t.test("a command finds its caller's directory, environment and no descriptor of it", function()
	local said = said_by(
		[[io.write(assert(sockproc.run("echo $MARK; /bin/pwd; ls /proc/self/fd | wc -l")).stdout)]],
		"MARK=mine"
	)
	local here = t.shell("/bin/pwd")
	-- The fourth is that of ls itself.
	t.equal(said, "mine\n" .. here .. "\n4")
end)

t.test("a helper that was killed is started anew", function()
	local said = said_by([[
		local lost, err, kind = sockproc.run("kill -9 $PPID; sleep 1000")
		print(lost, kind, err)
		for _ = 1, 10 do
			local helper = assert(sockproc.run("echo $PPID")).stdout:match("%d+")
			os.execute("kill -9 " .. helper .. "; while kill -0 " .. helper .. " 2>&-; do sleep 0.01; done")
		end
		print("done")
	]])
	t.contains(said, "nil\tclosed\tconnection to the private helper was lost (closed); the command may have run")
	t.contains(said, "done")
end)

t.test("a helper that dies is not asked again", function()
	local said = said_by([[
		for _ = 1, 100 do
			assert(not sockproc.run("kill -9 $PPID; sleep 1000"))
			assert(sockproc.run("true"))
		end
		print("done")
	]])
	t.contains(said, "done")
end)

t.test("a helper is kept after a timeout", function()
	local said = said_by([[
		local helper = sockproc.run("echo $PPID").stdout
		assert(not sockproc.run("sleep 1000", nil, { timeout = 50 }))
		print(sockproc.run("echo $PPID").stdout == helper)
	]])
	t.equal(said, "true")
end)

t.test("without a binary the error says what was looked for", function()
	local program = 'print(sockproc.run("true"))'
	local said = said_by(program, "SOCKPROC_BIN=/nowhere/sockproc")
	for _, part in ipairs({ "no server:", "/nowhere/sockproc", "'server'", "SOCKPROC_SOCKET\tconnect" }) do
		t.contains(said, part)
	end
end)

t.test("a helper that cannot serve says why", function()
	local path = t.path("program.lua")
	t.write(path, 'print(require("sockproc").run("true"))')
	local said = t.shell("unset SOCKPROC_SOCKET; ulimit -n 16; " .. t.interpreter .. " " .. path .. " 2>&1")
	t.contains(said, "the limit of 16 open files is too low")
	t.contains(said, "connect")
end)

t.test("in nginx there is no helper, and the error says so", function()
	local program = [[
		ngx = { socket = { tcp = print }, config = { ngx_lua_version = 10020 } }
		coroutine.isyieldable = nil
		print(require("sockproc").run("true"))
	]]
	local path = t.path("nginx.lua")
	t.write(path, program)
	local said = t.shell("unset SOCKPROC_SOCKET; " .. t.interpreter .. " " .. path .. " 2>&1")
	t.contains(said, "in nginx there is no private helper")
end)
