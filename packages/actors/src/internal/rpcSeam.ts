/**
 * Joins contracts of `effect/rpc` to the runtime: which messages a protocol has, how each is encoded, and what a handler is.
 * Messages inside a process are not encoded; those that leave it are, with bytes kept as bytes (MessagePack has them).
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as Stream from "effect/Stream"
import { MalformedMessage } from "../ActorError.ts"
import { Concurrency, Idempotent, type IdempotentOptions, Interruptible, Traced } from "../MessageOptions.ts"

export type AnyMessage = Rpc.Any
export type Tag<R extends AnyMessage> = R["_tag"]
export type Protocol<R extends AnyMessage> = RpcGroup.RpcGroup<R>

type Named<R extends AnyMessage, T extends string> = Extract<R, { readonly _tag: T }>
/** What the caller gives: fields with defaults may be left out. */
export type Input<R extends AnyMessage, T extends Tag<R>> = Rpc.PayloadConstructor<Named<R, T>>
export type Payload<R extends AnyMessage, T extends Tag<R>> = Rpc.Payload<Named<R, T>>
export type Success<R extends AnyMessage, T extends Tag<R>> = Rpc.Success<Named<R, T>>
export type Failure<R extends AnyMessage, T extends Tag<R>> = Rpc.Error<Named<R, T>>

/** The messages that are answered by a stream, and those that are answered once. */
export type StreamTag<R extends AnyMessage> = {
  [T in Tag<R>]: Success<R, T> extends Stream.Stream<any, any, any> ? T : never
}[Tag<R>]
export type AskTag<R extends AnyMessage> = Exclude<Tag<R>, StreamTag<R>>
export type Item<R extends AnyMessage, T extends Tag<R>> = Rpc.SuccessChunk<Named<R, T>>
export type StreamFailure<R extends AnyMessage, T extends Tag<R>> = Rpc.ErrorExit<Named<R, T>>

/**
 * One function per message: an effect of its answer, or, for a message that is declared with `stream: true`, the stream of its answers.
 * A handler's synchronous part runs before any other message or system message is looked at.
 */
export type Handlers<R extends AnyMessage, Env = never> = {
  readonly [T in Tag<R>]: (
    payload: Payload<R, T>
  ) => T extends StreamTag<R>
    ? Stream.Stream<Item<R, T>, StreamFailure<R, T>, Env>
    : Rpc.WrapperOr<Effect.Effect<Success<R, T>, Failure<R, T>, Env>>
}

/** The services that handlers need, all together. */
export type HandlersEnv<H> = H[keyof H] extends (payload: any) => infer Result ? EnvOf<Result> : never
type EnvOf<Result> =
  Result extends Effect.Effect<any, any, infer Env>
    ? Env
    : Result extends Rpc.Wrapper<Effect.Effect<any, any, infer Env>>
      ? Env
      : Result extends Stream.Stream<any, any, infer Env>
        ? Env
        : never

type AnyAnswer = Effect.Effect<unknown, unknown>
export type AnyStream = Stream.Stream<unknown, unknown>
export type AnyHandler = (payload: unknown) => Rpc.WrapperOr<AnyAnswer> | AnyStream

/** The effect of a handler's answer, and whether it lets the next message go ahead beside it. Of a stream: the stream itself. */
export const unwrap = (result: ReturnType<AnyHandler>, codec: MessageCodec) => {
  if (codec.streams) return { effect: Effect.succeed(result), concurrent: false }
  const answer = result as Rpc.WrapperOr<AnyAnswer>
  return Rpc.isWrapper(answer)
    ? { effect: answer.value, concurrent: answer.fork }
    : { effect: answer, concurrent: false }
}

/**
 * How the parts of one message go over the wire, and what its contract says of its handling. `decode*` fail with `MalformedMessage` and
 * never throw. Of a message that is answered by a stream, `*Success` is one item and `*Error` the stream's failure.
 */
export interface MessageCodec {
  readonly tag: string
  readonly streams: boolean
  readonly concurrency: number
  readonly interruptible: boolean
  readonly idempotent: IdempotentOptions | undefined
  readonly traced: boolean
  /** Fills in constructor defaults. What the contract's checks refuse is malformed here as it would be far away. */
  readonly make: (input: unknown) => Exit.Exit<unknown, MalformedMessage>
  /** The message has no payload, or its answer no value. */
  readonly takesNothing: boolean
  readonly givesNothing: boolean
  readonly encodePayload: (payload: unknown) => Exit.Exit<unknown, MalformedMessage>
  readonly decodePayload: (bytes: unknown) => Exit.Exit<unknown, MalformedMessage>
  /** What it allows as it is, here. */
  readonly isSuccess: (value: unknown) => boolean
  readonly encodeSuccess: (value: unknown) => Exit.Exit<unknown, MalformedMessage>
  readonly decodeSuccess: (bytes: unknown) => Exit.Exit<unknown, MalformedMessage>
  readonly encodeError: (error: unknown) => Exit.Exit<unknown, MalformedMessage>
  readonly decodeError: (bytes: unknown) => Exit.Exit<unknown, MalformedMessage>
}

const codecs = new WeakMap<object, MessageCodec>()

/** The codec of `tag` in `protocol`, or undefined when the protocol has no such message. Made once per message. */
export const codecOf = <R extends AnyMessage>(
  protocol: Protocol<R>,
  tag: string
): MessageCodec | undefined => {
  const rpc = protocol.requests.get(tag) as Rpc.AnyWithProps | undefined
  if (rpc === undefined) return undefined
  let codec = codecs.get(rpc)
  if (codec === undefined) {
    codec = makeCodec(rpc)
    codecs.set(rpc, codec)
  }
  return codec
}

// Contracts are plain data: their schemas need no services. A schema that does would fail here, when first used.
type Plain = Schema.Codec<unknown, unknown>

/** An error quotes what it was given, and that may be a megabyte. */
const problemLength = 500
const malformed = (problem: string) =>
  new MalformedMessage({
    problem: problem.length <= problemLength ? problem : `${problem.slice(0, problemLength)}…`
  })

const malformedExit = (tag: string, error: unknown) =>
  Exit.fail(malformed(`${tag}: ${error instanceof Error ? error.message : String(error)}`))

const makeCodec = (rpc: Rpc.AnyWithProps): MessageCodec => {
  const wrap =
    (run: (input: unknown) => Exit.Exit<unknown, Schema.SchemaError>) =>
    (input: unknown): Exit.Exit<unknown, MalformedMessage> =>
      Exit.mapError(run(input), (error) => malformed(`${rpc._tag}: ${error.message}`))
  const streamed = RpcSchema.isStreamSchema(rpc.successSchema) ? rpc.successSchema : undefined
  const payload = rpc.payloadSchema as Plain
  const success = (streamed?.success ?? rpc.successSchema) as Plain
  const error = (streamed?.error ?? rpc.errorSchema) as Plain
  return {
    tag: rpc._tag,
    streams: streamed !== undefined,
    concurrency: Context.get(rpc.annotations, Concurrency),
    interruptible: Context.get(rpc.annotations, Interruptible),
    idempotent: Context.get(rpc.annotations, Idempotent),
    traced: Context.get(rpc.annotations, Traced),
    make: (input) => {
      try {
        return Exit.succeed(rpc.payloadSchema.make(input))
      } catch (error) {
        return malformedExit(rpc._tag, error)
      }
    },
    takesNothing: SchemaAST.isVoid(rpc.payloadSchema.ast),
    givesNothing: SchemaAST.isVoid(rpc.successSchema.ast),
    encodePayload: wrap(Schema.encodeUnknownExit(payload)),
    decodePayload: wrap(Schema.decodeUnknownExit(payload)),
    isSuccess: Schema.is(success),
    encodeSuccess: wrap(Schema.encodeUnknownExit(success)),
    decodeSuccess: wrap(Schema.decodeUnknownExit(success)),
    encodeError: wrap(Schema.encodeUnknownExit(error)),
    decodeError: wrap(Schema.decodeUnknownExit(error))
  }
}
