/** `ebb token`: runs media's `ebb-token` in place of this command, because the deployer knows of media its protocol alone. */
import { spawn } from "node:child_process"
import process from "node:process"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { mediaProgram } from "../cluster/nodeLaunch.ts"
import { paragraph } from "./help.ts"
import { command, Ended, root } from "./root.ts"

const text = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.optional)

const given = (name: string, value: Option.Option<string>) =>
  Option.match(value, { onNone: () => [], onSome: (value) => [`--${name}=${value}`] })

export const token = Command.make(
  "token",
  {
    room: Argument.String("room").pipe(Argument.withMetavar("ROOM"), Argument.withDescription("Its id")),
    peer: Argument.String("peer").pipe(
      Argument.withMetavar("PEER"),
      Argument.withDescription("Whom the room is to know the browser as")
    ),
    can: text("can", "LIST", "What it may send: of audio, video, data (default: all)"),
    ttl: text("ttl", "SECONDS", "Until the token expires (default: 3600)"),
    key: text("key", "FILE", "A private key, PEM or JWK, or a secret (default: EBB_TOKEN_SECRET)")
  },
  ({ can, key, peer, room, ttl }) =>
    command(
      Effect.gen(function* () {
        const { json } = yield* root
        const flags = [...given("can", can), ...given("ttl", ttl), ...given("key", key)]
        const args = [room, peer, ...flags, ...(json ? ["--json"] : [])]
        const code = yield* Effect.callback<number>((resume) => {
          const child = spawn(process.execPath, [mediaProgram("ebb-token"), ...args], {
            stdio: "inherit",
            env: { ...process.env, EBB_CALLED_AS: "ebb token" }
          })
          child.once("close", (code) => resume(Effect.succeed(code ?? 1)))
          return Effect.sync(() => child.kill("SIGKILL"))
        })
        if (code !== 0) return yield* new Ended({ code })
      })
    )
).pipe(
  Command.withShortDescription("Sign a token by which a browser is let into a room"),
  Command.withDescription(
    paragraph(
      "Sign a token by which a browser is let into a room, by WebRTC. The token alone",
      "goes to standard output.",
      "",
      "The key is the nodes' secret, in EBB_TOKEN_SECRET, or the private key to the",
      "public one that they have, in a file. It is never given on a command line."
    )
  )
)
