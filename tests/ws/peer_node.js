// Node's ws (Debian: node-ws) as a client: see scripts/ws_peers.sh. Argument: ws://host:port.
"use strict"
const WebSocket = require("ws")
const assert = require("assert")

const base = process.argv[2]
const isShort = process.env.WS_PEERS === "short"
const text = '{"user": "jos\u00e9", "text": "hello \u{1f600}"}, '
const sizes = [0, 1, 125, 126, 1023, 1024, 65535, 65536, 1 << (isShort ? 17 : 20)]
const offers = {
    "no compression": false,
    "deflate": { threshold: 0 },
    "deflate, neither keeps its context": { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true },
    "deflate, the client keeps none": { threshold: 0, clientNoContextTakeover: true },
    "deflate, windows of 9 and 9": { threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
    "deflate, windows of 14 and 15": { threshold: 0, serverMaxWindowBits: 14, clientMaxWindowBits: 15 },
    "deflate of long messages": {},
}

function once(ws, name) {
    return new Promise((resolve, reject) => {
        ws.once(name, (...args) => resolve(args))
        ws.once("error", reject)
        if (name !== "close") ws.once("close", code => reject(new Error("closed with " + code)))
    })
}

async function expect(ws, message, isBinary) {
    ws.send(message, { binary: isBinary })
    const [got, gotBinary] = await once(ws, "message")
    assert(gotBinary === isBinary && got.equals(Buffer.from(message)), "an echo of " + message.length + " differs")
}

async function check(target, offer) {
    const protocols = target === "/echo" ? ["v1.echo"] : [] // it insists on one that it offers
    const ws = new WebSocket(base + target, protocols, { perMessageDeflate: offer, maxPayload: 1 << 24 })
    ws.setMaxListeners(0)
    await once(ws, "open")
    assert.strictEqual(ws.extensions !== "", offer !== false && target === "/echo")
    for (const size of sizes) {
        const message = text.repeat(size / text.length + 1).slice(0, size)
        await expect(ws, message, false)
        await expect(ws, Buffer.from(message), true)
    }
    for (let i = 0; i < (isShort ? 20 : 200); i++) await expect(ws, i + " " + text.repeat(9), false)
    for (let i = 0; i < (isShort ? 5 : 50); i++) { // fragments, with a ping between them
        const pong = once(ws, "pong"), echo = once(ws, "message")
        ws.send("a" + i, { fin: false })
        ws.ping("p" + i)
        ws.send(text.repeat(20), { fin: false })
        ws.send("", { fin: true })
        assert.strictEqual((await pong)[0].toString(), "p" + i)
        assert.strictEqual((await echo)[0].toString(), "a" + i + text.repeat(20))
    }
    const echoes = []
    const all = new Promise(resolve => ws.on("message", data => echoes.push(data) === 100 && resolve()))
    for (let i = 0; i < 100; i++) ws.send(text.repeat(i)) // many on the way
    await all
    echoes.forEach((echo, i) => assert.strictEqual(echo.toString(), text.repeat(i)))
    const closed = once(ws, "close")
    ws.close(4000, "enough")
    assert.strictEqual((await closed)[0], 4000)
}

async function main() {
    for (const target of isShort ? ["/echo"] : ["/plain", "/echo"]) {
        for (const name of Object.keys(offers)) {
            await check(target, offers[name])
            console.log("ok " + target + " " + name)
        }
    }
}

main().catch(error => { console.error(error); process.exit(1) })
