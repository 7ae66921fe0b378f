/**
 * What a contract says of how its message is handled: `message("Add", {...}).annotate(Concurrency, 8)`. The options are the contract's, so
 * they hold for every caller alike, here and far away.
 */
import * as Context from "effect/Context"

/**
 * How many messages of this tag may be handled at once, beside each other and beside others. Default 1: it has the actor to itself. Above 1
 * the next message is taken while this one is handled; with `Infinity` as many as come. A message that would be one too many waits, and
 * what is behind it waits too: order is kept.
 */
export const Concurrency: Context.Reference<number> = Context.Reference("@ebb/actors/Concurrency", {
  defaultValue: () => 1
})

/**
 * Its handler is interrupted when the asker is, wherever it is. Default false: a message that waits is taken out, and one that is being
 * handled is handled to its end, because half a change of state is worse than an answer that nobody reads.
 */
export const Interruptible: Context.Reference<boolean> = Context.Reference("@ebb/actors/Interruptible", {
  defaultValue: () => false
})

export interface IdempotentOptions {
  /** The key of a message, from its decoded payload: at most 1024 characters, or the message is a `MalformedMessage`. */
  readonly key: (payload: any) => string
  /** Milliseconds that an answer is kept, from when it was given. Default 300,000. */
  readonly keepMs?: number
  /** Answers kept at once by one actor for this message; the oldest goes first. Default 1024. */
  readonly keep?: number
}

/**
 * A message with the key of one before gets that one's answer, success or failure, and is not handled again; while the first is being
 * handled it waits for the same answer: as many as the mailbox would hold, one more is `MailboxFull`. Answers are as old as the actor: one that crashed and was restarted has none.
 */
export const Idempotent: Context.Reference<IdempotentOptions | undefined> = Context.Reference(
  "@ebb/actors/Idempotent",
  { defaultValue: (): IdempotentOptions | undefined => undefined }
)

/** Whether handling it makes a span, when its asker has one. Default true; false for what is asked a thousand times a second. */
export const Traced: Context.Reference<boolean> = Context.Reference("@ebb/actors/Traced", {
  defaultValue: () => true
})
