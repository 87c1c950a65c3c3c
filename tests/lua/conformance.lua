local cases = require("cases")
local sockproc = require("sockproc")
local t = require("harness")

local client = assert(sockproc.client({ server = t.server() }))
--- On a private helper: SOCKPROC_SOCKET is not set here.
local embedded = assert(sockproc.client())
local all = cases.read("tests/conformance/cases.txt")

for _, case in ipairs(all) do
	t.test(case.name, function()
		for _, how in ipairs({ client, embedded }) do
			local wrong = cases.compare(case, how:run(case.command, case.stdin))
			if wrong then
				error(wrong, 0)
			end
		end
	end)
end

t.test("no case is missing", function()
	assert(#all >= 60, #all .. " cases")
	print("conformance: " .. #all .. " cases")
end)
