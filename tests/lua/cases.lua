--- The reader of tests/conformance/cases.txt, whose format tests/README.md defines.
local ESCAPES = { n = "\n", r = "\r", t = "\t", ["\\"] = "\\" }

local KEYS = { name = true, command = true, stdin = true, stdout = true, stderr = true, exit = true, signal = true }

--- In one pass, so that an escaped backslash does not begin an escape.
local function unescape(text)
	return (
		text:gsub("\\(.)(%x?%x?)", function(letter, hex)
			return letter == "x" and string.char(tonumber(hex, 16)) or ESCAPES[letter] .. hex
		end)
	)
end

local M = {}

--- All cases of a file, in order.
function M.read(path)
	local cases, case = {}, {}
	local file = assert(io.open(path, "rb"))
	local text = file:read("*a")
	file:close()
	for line in (text .. "\n\n"):gmatch("([^\n]*)\n") do
		local key, times, value = line:match("^(%l+)%*?(%d*): ?(.*)$")
		if line == "" then
			if next(case) then
				cases[#cases + 1] = case
			end
			case = {}
		elseif line:sub(1, 1) ~= "#" then
			assert(key and KEYS[key], "not a line of a case: " .. line)
			case[key] = (case[key] or "") .. unescape(value):rep(tonumber(times) or 1)
		end
	end
	return cases
end

--- Describes what is wrong with the result of running `case`; nil if it is right.
function M.compare(case, result, err)
	if not result then
		return case.name .. ": " .. tostring(err)
	end
	local expected = {
		code = tonumber(case.exit),
		signal = tonumber(case.signal),
		stdout = case.stdout or "",
		stderr = case.stderr or "",
	}
	for _, field in ipairs({ "code", "signal", "stdout", "stderr" }) do
		local got = result[field]
		if got ~= expected[field] then
			local shown = tostring(got):sub(1, 100)
			return case.name .. ": " .. field .. " is " .. shown .. ", not " .. tostring(expected[field]):sub(1, 100)
		end
	end
end

return M
