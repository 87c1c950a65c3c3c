-- SOCKPROC_SOCKET=/run/sockproc.sock lua run.lua 'command' < stdin
local sockproc = require("sockproc")

local result, err = sockproc.run(assert(arg[1], "which command?"), io.read("*a"))
if not result then
	io.stderr:write("run.lua: ", err, "\n")
	os.exit(69)
end
io.stdout:write(result.stdout)
io.stderr:write(result.stderr)
-- As a shell does.
os.exit(result.code or 128 + result.signal)
