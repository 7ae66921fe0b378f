/**
 * The way in for browsers, from a program's environment: keys stand there or in files that it names, and never on a command line.
 *
 *     EBB_TOKEN_SECRET       a secret of 32 bytes or more, or several, with a blank or a comma between them
 *     EBB_TOKEN_KEYS         files of keys: JWK, JWKS, PEM, or a secret on each line
 *     EBB_WEBRTC_IP          addresses to listen on, EBB_WEBRTC_ANNOUNCED those that are given out for them, in the same order
 *     EBB_WEBRTC_PORTS       MIN-MAX
 */
import * as Redacted from "effect/Redacted"
import { readFileSync } from "node:fs"
import type { MediaNodeOptions, WebRtcOptions } from "./MediaNodeProcess.ts"

type PortRange = NonNullable<NonNullable<MediaNodeOptions["media"]>["portRange"]>

/** MIN-MAX, or undefined. */
export const portRange = (text: string): PortRange | undefined => {
  const [, min, max] = /^(\d{1,5})-(\d{1,5})$/.exec(text) ?? []
  const range = { min: Number(min), max: Number(max) }
  return range.min >= 1 && range.max <= 65_535 && range.min <= range.max ? range : undefined
}

const list = (text: string | undefined) => text?.split(",").map((each) => each.trim()) ?? []

/** `value` gives a variable's value, undefined when it is not set; `usage` ends the program with its words. Undefined without a key. */
export const webRtcFromEnvironment = (
  value: (variable: string) => string | undefined,
  listenIp: string,
  usage: (problem: string) => never
): WebRtcOptions | undefined => {
  const read = (file: string) => {
    try {
      return readFileSync(file, "utf8")
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : "unreadable"
      return usage(`the keys of --token-keys '${file}' cannot be read: ${code}`)
    }
  }
  const secret = value("EBB_TOKEN_SECRET")
  const tokenKeys = [
    ...list(value("EBB_TOKEN_KEYS")).map(read),
    ...(secret === undefined ? [] : [secret.replaceAll(",", " ")])
  ].map((text) => Redacted.make(text))

  const ips = list(value("EBB_WEBRTC_IP") ?? listenIp)
  const announced = list(value("EBB_WEBRTC_ANNOUNCED"))
  if (announced.length > ips.length) usage("--webrtc-announced has more addresses than --webrtc-ip")
  const ports = value("EBB_WEBRTC_PORTS")
  const range = ports === undefined ? undefined : portRange(ports)
  if (ports !== undefined && range === undefined) usage(`--webrtc-ports is MIN-MAX, not '${ports}'`)

  if (tokenKeys.length === 0) {
    const asked = ["EBB_WEBRTC_IP", "EBB_WEBRTC_ANNOUNCED", "EBB_WEBRTC_PORTS"].some((name) => value(name))
    return asked
      ? usage("--webrtc-... wants --token-keys or EBB_TOKEN_SECRET: without a key nobody can be let in")
      : undefined
  }
  return {
    tokenKeys,
    listen: ips.map((ip, i) => {
      const address = announced[i]
      return address === undefined ? { ip } : { ip, announced: address }
    }),
    ...(range === undefined ? {} : { portRange: range })
  }
}
