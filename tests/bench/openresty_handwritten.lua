--- What one would write without a library: the classic protocol over a cosocket, line by line.
local M = {}

local function read_stream(sock)
	local length = assert(sock:receive("*l"))
	local count = tonumber(length)
	return count > 0 and assert(sock:receive(count)) or ""
end

--- Gives the wait status and both streams.
function M.run(cmd, stdin, server)
	local sock = ngx.socket.tcp()
	assert(sock:connect(server))
	assert(sock:send({ cmd, "\r\n", #stdin, "\r\n", stdin }))
	local status = assert(sock:receive("*l")):match("^status:(%-?%d+)$")
	local stdout = read_stream(sock)
	local stderr = read_stream(sock)
	sock:close()
	return status, stdout, stderr
end

return M
