/**
 * Sends the clip to many rooms at once, in real time and without an end, each room at another place of it:
 *
 *     node sender.ts <clip.json>        standard input: {"rooms":[{"video":PORT,"audio":PORT}, …]}, then an empty line for each count
 *
 * Answers each empty line with `{"sent":N}`, the packets sent so far.
 */
import { createSocket } from "node:dgram"
import { readFileSync } from "node:fs"
import { createInterface } from "node:readline"
import { type Clip, endless } from "./clip.ts"

const clip = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as Clip
const socket = createSocket("udp4")
const endlessOf = { video: endless(clip, "video"), audio: endless(clip, "audio") }

let sent = 0
const begin = (rooms: ReadonlyArray<{ readonly video: number; readonly audio: number }>) => {
  const beganMs = performance.now()
  const streams = rooms.flatMap(({ audio, video }, i) => {
    const laterMs = (i / rooms.length) * 2000
    return [
      { kind: "video" as const, port: video, n: 0, laterMs },
      { kind: "audio" as const, port: audio, n: 0, laterMs }
    ]
  })
  setInterval(() => {
    const nowMs = performance.now() - beganMs
    for (const stream of streams) {
      const { dueMs, packet } = endlessOf[stream.kind]
      while (dueMs(stream.n) + stream.laterMs <= nowMs) {
        socket.send(packet(stream.n), stream.port, "127.0.0.1")
        stream.n += 1
        sent += 1
      }
    }
  }, 5)
}

createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "") process.stdout.write(`${JSON.stringify({ sent })}\n`)
  else begin((JSON.parse(line) as { rooms: Parameters<typeof begin>[0] }).rooms)
})
