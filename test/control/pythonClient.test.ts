/** docs/control-api.md is enough: a client that was written from it, without any of our code, drives a real node. */
import { readFileSync } from "node:fs"
import { createHash } from "node:crypto"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { expect, it } from "@effect/vitest"
import { decodeFile } from "../support/ffprobe.ts"
import { startProgram } from "../support/program.ts"
import { testCluster } from "../support/testCluster.ts"

it.live(
  "a client in Python's standard library opens rooms, sends and receives RTP, records, is refused, and drains the node",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const node = yield* cluster.node("a")
      const script = join(import.meta.dirname, "client.py")
      const client = yield* startProgram("python3", [script, cluster.nats.address, cluster.name])
      const { code } = yield* client.exited
      expect({ code, lines: code === 0 ? [] : client.lines }).toEqual({ code: 0, lines: [] })
      const { recording, ...seen } = JSON.parse(client.lines.at(-1) ?? "") as {
        readonly recording: { readonly file: string; readonly sha256: string; readonly bytes: number }
      }

      expect(seen).toEqual({
        created: true,
        createdAgain: false,
        otherOptions: { tag: "Conflict", retry: "never" },
        noId: { tag: "MalformedMessage", retry: "never" },
        nobody: { tag: "NotFound", retry: "never" },
        unknown: { tag: "UnsupportedMessage", retry: "never" },
        sent: 100,
        received: 100,
        inOrder: true,
        rooms: ["python-1", "python-page-0", "python-page-1", "python-page-2"],
        status: { nodeId: "a", life: "Serving", admission: "open", control: "connected" },
        cordon: { changed: true },
        uncordon: { changed: true },
        closedTwice: { tag: "NotFound", retry: "never" }
      })
      expect(recording).toMatchObject({ state: "Computed", packets: 100, lostPackets: 0, tracks: 1 })
      const file = readFileSync(recording.file)
      expect({ bytes: file.length, sha256: createHash("sha256").update(file).digest("hex") }).toEqual({
        bytes: recording.bytes,
        sha256: recording.sha256
      })
      expect(yield* decodeFile(recording.file)).toEqual({ audio: 100, video: 0, complaints: "" })
      expect((yield* node.exited).code).toBe(0)
    })
)
