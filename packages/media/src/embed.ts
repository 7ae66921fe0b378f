/**
 * A node for a host without Effect: the same as `startMediaNode`, in promises. Installs no listener on `process` and writes nothing to the
 * console; signals are taken only where `drainOnSignals` is called. Errors are thrown as they are: each has a `_tag` and a `retry`.
 */
import type { DrainOutcome, NatsOptions } from "@ebb/actors"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { drainOnSignals, type SignalOptions } from "./drainOnSignals.ts"
import type { DrainCall, MediaNodeOptions, NodeEnd, WebRtcOptions } from "./MediaNodeProcess.ts"
import { startMediaNode } from "./MediaNodeProcess.ts"
import type { NodeReport } from "./protocol/Node.ts"

export interface StartNodeOptions extends Omit<MediaNodeOptions, "nats" | "webRtc"> {
  readonly nats: Omit<NatsOptions, "name" | "password"> & { readonly password?: string }
  readonly webRtc?: Omit<WebRtcOptions, "tokenKeys"> & { readonly tokenKeys: ReadonlyArray<string> }
  /** Told what the node has to say, one line a call. Default: nobody is. */
  readonly log?: (level: string, line: string) => void
}

export interface EmbeddedNode {
  readonly nodeId: string
  readonly incarnation: string
  readonly report: () => Promise<NodeReport>
  /** Begins or joins the drain; resolves when the node has ended, or with `Undrained`. */
  readonly drain: (call?: Partial<DrainCall>) => Promise<DrainOutcome>
  /** From now on and until its end SIGTERM and SIGINT drain this node, beside whatever else listens to them. */
  readonly drainOnSignals: (options?: SignalOptions) => void
  /** Resolves when the node has ended, whatever ended it, and everything it held is released. Never rejects. */
  readonly ended: Promise<NodeEnd>
  /** Ends the node at once: rooms are cut, recordings are left to a later start. */
  readonly close: () => Promise<void>
}

/** Resolves when the node serves. */
export const startNode = async ({
  log,
  nats,
  webRtc,
  ...options
}: StartNodeOptions): Promise<EmbeddedNode> => {
  const scope = Scope.makeUnsafe()
  const close = () => Effect.runPromise(Scope.close(scope, Exit.void))
  const logger = Logger.make(({ cause, logLevel, message }) => {
    const parts = [...[message].flat(), ...(cause.reasons.length > 0 ? [cause] : [])]
    log?.(logLevel, parts.map(String).join(" "))
  })
  const { password, ...connection } = nats
  const context = await Effect.runPromise(Layer.buildWithScope(Logger.layer([logger]), scope))
  const run = Effect.runPromiseWith(context)
  try {
    const node = await run(
      startMediaNode({
        ...options,
        ...(webRtc === undefined
          ? {}
          : { webRtc: { ...webRtc, tokenKeys: webRtc.tokenKeys.map((key) => Redacted.make(key)) } }),
        nats: { ...connection, ...(password === undefined ? {} : { password: Redacted.make(password) }) }
      }).pipe(Scope.provide(scope))
    )
    const listening = Scope.makeUnsafe()
    // Its listeners are off before anybody hears of the end.
    const ended = run(Effect.tap(node.ended, () => Scope.close(listening, Exit.void)))
    return {
      nodeId: node.nodeId,
      incarnation: node.incarnation,
      report: () => run(node.report),
      drain: (call) => run(node.drain({ by: "host", reason: "asked for", ...call })),
      drainOnSignals: (signals) =>
        Effect.runSyncWith(context)(Scope.provide(drainOnSignals(node, signals), listening)),
      ended,
      close
    }
  } catch (error) {
    await close()
    throw error
  }
}
