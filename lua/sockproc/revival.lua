--- Servers that nginx has started. A worker that finds one gone starts it again.
local native = require("sockproc_native")

local M = {}

--- How many milliseconds a call waits for a server that was started again.
local PATIENCE = 2000

--- The servers by address; filled before nginx forks its workers.
local servers = {}

local function key(address)
	return address.host .. " " .. (address.port or "")
end

--- Remembers a server, so that it is started again if it has gone: `words` start it, `user` is the id that it runs
--- as. The environment is saved now, because nginx empties that of its workers.
function M.remember(address, words, user)
	servers[key(address)] = { words = words, user = user, environment = native.environment(), started = -math.huge }
end

--- Called after connecting has failed with `err`, `waited` milliseconds after the first attempt of a call.
--- Returns whether another attempt may succeed, and the reason if not.
---@return boolean
---@return string err
function M.attempt(address, err, waited)
	local server = servers[key(address)]
	local is_gone = err == "connection refused" or err == "no such file or directory"
	if not server or not is_gone or waited > PATIENCE then
		return false, err
	end
	local user = native.user_id()
	if user ~= 0 and user ~= server.user then
		return false,
			err .. "; user " .. user .. " cannot start it again as user " .. server.user .. ", a reload of nginx does"
	end
	-- One start is enough for all calls of a worker that wait.
	local now = ngx.now() * 1000
	if now - server.started > PATIENCE then
		server.started = now
		local ok, reason = native.start(server.words, server.environment)
		if not ok then
			return false, err .. "; " .. reason
		end
	end
	return true, err
end

return M
