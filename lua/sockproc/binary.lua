--- Where the `sockproc` binary is.
local M = {}

local function exists(path)
	local file = io.open(path, "rb")
	return file ~= nil and file:close()
end

--- $SOCKPROC_BIN, the binary beside the native module, or the one on the PATH.
---@return string
function M.find()
	local named = os.getenv("SOCKPROC_BIN")
	if named and named ~= "" then
		return named
	end
	for template in package.cpath:gmatch("[^;]+") do
		local module = template:gsub("%?", "sockproc_native")
		local directory = module:match("^.*/")
		if directory and exists(module) and exists(directory .. "sockproc") then
			return directory .. "sockproc"
		end
	end
	return "sockproc"
end

return M
