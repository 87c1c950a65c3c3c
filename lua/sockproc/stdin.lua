--- A stdin: its length, which is known in advance, and its pieces.
local native = require("sockproc_native")

local M = {}

--- The most of a file that is in memory at once.
local PIECE = 262144

---@class sockproc.Source
---@field len integer
---@field read fun(self): string?, string? the next piece, or nil and the reason
---@field close fun(self)

local Text = {}
Text.__index = Text

function Text:read()
	return self.text
end

function Text.close() end

local File = {}
File.__index = File

function File:read()
	local piece, err = self.file:read(math.min(PIECE, self.len - self.sent))
	if not piece then
		return nil,
			self.path .. " ended after " .. self.sent .. " of " .. self.len .. " bytes" .. (err and ": " .. err or "")
	end
	self.sent = self.sent + #piece
	return piece
end

function File:close()
	self.file:close()
end

--- The stdin of a text, or of a file if its path is given.
---@return sockproc.Source?
---@return string? err
---@return sockproc.Kind? kind
function M.open(text, path)
	if not path then
		return setmetatable({ len = #text, text = text }, Text)
	end
	local len, err = native.file_len(path)
	local file
	if len then
		file, err = io.open(path, "rb")
	end
	if not file then
		return nil, "cannot read stdin_file " .. path .. ": " .. err, "stdin"
	end
	return setmetatable({ len = len, file = file, path = path, sent = 0 }, File)
end

return M
