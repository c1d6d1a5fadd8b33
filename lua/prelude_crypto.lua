-- Random bytes, base64, digests and the like: also in workers. See prelude.lua and bind_crypto.c.

local core, app = ...

app.random, app.uuid = core.random, core.uuid
app.base64, app.base64_decode = core.base64, core.base64_decode
app.base64url, app.base64url_decode = core.base64url, core.base64url_decode
app.hex, app.hex_decode = core.to_hex, core.from_hex
app.sha256, app.sha512, app.hmac = core.sha256, core.sha512, core.hmac_of
app.equal = core.equal
app.seal, app.open = core.seal, core.open_seal
