#!/usr/bin/env node
/**
 * Signs a token by which a browser is let into a room:
 *
 *     EBB_TOKEN_SECRET=… ebb-token ROOM PEER [--can audio,video,data] [--ttl SECONDS] [--key FILE] [--json]
 *
 * The key stands in the environment or in a file, never on the command line. Only the token goes to standard output.
 */
import { readFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { type Grant, grants } from "../protocol/WebRtc.ts"
import { signToken } from "../token/signToken.ts"

const help = `ebb-token: signs a token by which a browser is let into a room

Usage: ebb-token ROOM PEER [options]

  --can LIST     what the peer may send: of audio, video, data (default: all)
  --ttl SECONDS  until the token expires (default: 3600)
  --key FILE     what it is signed by: a private key (PEM, JWK),    EBB_TOKEN_KEY
                 or a secret; or a secret itself, only by           EBB_TOKEN_SECRET
                 (of several the first)
  --json         one line of JSON: token, roomId, peerId, can, expiresAt
  --help

A node checks by the same secret, or by the public key: see 'ebb-node --help', --token-keys.
Exit codes: 0 ok, 1 the key cannot be used, 64 bad usage.
`

/** Another program may run it as a command of its own. */
const name = process.env["EBB_CALLED_AS"] ?? "ebb-token"

const usage = (problem: string): never => {
  process.stderr.write(`${name}: ${problem}\nTry '${name} --help'.\n`)
  process.exit(64)
}
const failed = (problem: string): never => {
  process.stderr.write(`${name}: ${problem}\n`)
  process.exit(1)
}
const parse = () => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        can: { type: "string", default: grants.join() },
        ttl: { type: "string", default: "3600" },
        key: { type: "string" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false }
      }
    })
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error))
  }
}
const { positionals, values } = parse()
if (values.help) {
  process.stdout.write(help)
  process.exit(0)
}
const [roomId = "", peerId = "", ...more] = positionals
if (more.length > 0) usage("name one room and one peer")
for (const id of [roomId, peerId]) {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(id))
    usage(`name a room and a peer, each 1 to 64 letters, digits, _ or -, not '${id}'`)
}
const isGrant = (word: string): word is Grant => grants.some((grant) => grant === word)
const can = values.can.split(",").map((word) => word.trim())
if (!can.every(isGrant)) usage(`--can is a list of ${grants.join(", ")}, not '${values.can}'`)
const seconds = Number(values.ttl)
if (!Number.isInteger(seconds) || seconds < 1)
  usage(`--ttl is a number of seconds from 1 on, not '${values.ttl}'`)

const read = (file: string) => {
  try {
    return readFileSync(file, "utf8")
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unreadable"
    return failed(`the key '${file}' cannot be read: ${code}`)
  }
}
const file = values.key ?? (process.env["EBB_TOKEN_KEY"] || undefined)
const key =
  file === undefined ? (process.env["EBB_TOKEN_SECRET"] || undefined)?.replaceAll(",", " ") : read(file)

const token = await signToken(
  { roomId, peerId, can: can.filter(isGrant), expiresInSeconds: seconds },
  key ?? usage("there is no key: set EBB_TOKEN_SECRET, or name a file with --key")
).catch((error: unknown) => failed(error instanceof Error ? error.message : String(error)))
const expiresAt = new Date(Date.now() + seconds * 1000).toISOString()
process.stdout.write(
  values.json ? `${JSON.stringify({ token, roomId, peerId, can, expiresAt })}\n` : `${token}\n`
)
