/**
 * A reader that asks for lists without end, and an operator who looks after a node meanwhile: what each gets. Both are clients that know
 * nothing but bytes.
 */
import { decode, encode } from "@msgpack/msgpack"
import { connect } from "nats"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

export interface FloodOptions {
  /** `host:port`. */
  readonly nats: string
  readonly cluster: string
  readonly nodeId: string
  /** Lists asked for at once, and how often in a second, whatever becomes of those before. */
  readonly atOnce: number
  readonly perSecond: number
  /** How often the operator asks, one after the other. */
  readonly operatorAsks: number
}

export interface FloodSeen {
  /** What the operator waited for each answer, in milliseconds, the shortest first. */
  readonly operatorMs: ReadonlyArray<number>
  /** What was not an answer. */
  readonly operatorRefused: ReadonlyArray<string>
  readonly lists: number
  /** What the reader got in place of lists, by tag. */
  readonly refused: Readonly<Record<string, number>>
}

const timeout = 5_000

/** The tag of an error, without reading on what is large: `{ok: …}` or `{error: {_tag, …}}`. */
const refusalOf = (data: Uint8Array): string | undefined => {
  if (data.length === 0) return "NoResponders"
  if (data[2] === 0x6f) return undefined
  const { error } = decode(data) as { readonly error: { readonly _tag: string } }
  return error._tag
}

const opened = (options: FloodOptions, name: string) =>
  Effect.acquireRelease(
    Effect.promise(() =>
      connect({ servers: options.nats, inboxPrefix: `_INBOX_${name}`, noAsyncTraces: true })
    ),
    (client) => Effect.promise(() => client.close())
  )

/** Ends when all were answered: a reader that never gets an answer holds it up. */
export const floodWithLists = Effect.fnUntraced(function* (options: FloodOptions) {
  const [reader, operator] = [yield* opened(options, "reader"), yield* opened(options, "operator")]
  const subject = (command: string) => `ebb.v1.${options.cluster}.ctl.${command}`
  const refused: Record<string, number> = {}
  let [asked, answered, lists] = [0, 0, 0]
  reader.subscribe("_INBOX_reader.>", {
    callback: (_, { data }) => {
      answered++
      const tag = refusalOf(data)
      if (tag === undefined) lists++
      else refused[tag] = (refused[tag] ?? 0) + 1
    }
  })
  const payload = encode({ limit: 1_000 })
  const askForLists = Effect.sync(() => {
    for (let n = 0; n < options.atOnce; n++) {
      reader.publish(subject("room.list"), payload, { reply: `_INBOX_reader.${asked++}` })
    }
  })
  const flood = yield* askForLists.pipe(
    Effect.andThen(Effect.sleep(1_000 / options.perSecond)),
    Effect.forever,
    Effect.forkScoped
  )

  const operatorMs: Array<number> = []
  const operatorRefused: Array<string> = []
  const status = encode({ nodeId: options.nodeId })
  for (let n = 0; n < options.operatorAsks; n++) {
    yield* Effect.sleep(50)
    const beganAt = performance.now()
    const refusal = yield* Effect.promise(() =>
      operator.request(subject("node.status"), status, { timeout }).then(
        ({ data }) => refusalOf(data),
        (cause: Error) => cause.message
      )
    )
    operatorMs.push(performance.now() - beganAt)
    if (refusal !== undefined) operatorRefused.push(refusal)
  }
  yield* Fiber.interrupt(flood)
  yield* Effect.sleep(10).pipe(Effect.repeat({ while: () => answered < asked }))
  const seen: FloodSeen = {
    operatorMs: operatorMs.toSorted((a, b) => a - b),
    operatorRefused,
    lists,
    refused
  }
  return seen
})

/** What the node's counts say of one command, as any NATS tool reads them. */
export const statsOf = (nats: string, command: string) =>
  Effect.promise(async () => {
    const client = await connect({ servers: nats })
    const answer = await client.request("$SRV.STATS.ebb-node", new Uint8Array(), { timeout })
    await client.close()
    const { endpoints } = answer.json<{
      readonly endpoints: ReadonlyArray<Readonly<Record<string, unknown>>>
    }>()
    return endpoints.find(({ name }) => name === command.replaceAll(".", "-"))
  })
